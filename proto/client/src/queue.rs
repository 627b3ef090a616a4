//! Events that wait, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message as _;
use wakeline_proto::EventId;
use wakeline_proto::v1::{Consent, EventType};

use crate::config::{Config, Now};
use crate::event::{Event, Page, Value};
use crate::fate::DropReason;

/// Who an event is of. A batch has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) visitor: String,
    pub(crate) first_day: u32,
    pub(crate) user: String,
    pub(crate) consent: Consent,
}

/// When an event was recorded: by the monotonic clock if by this process, else by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Mono(u64),
    Wall(u64),
}

impl At {
    /// In ms; negative if the wall clock was set back.
    pub(crate) fn age(self, now: Now) -> i64 {
        match self {
            Self::Mono(at) => now.mono_ms.saturating_sub(at) as i64,
            Self::Wall(at) => now.wall_ms as i64 - at as i64,
        }
    }
}

/// An event that waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EventId,
    pub(crate) at: At,
    pub(crate) event: Event,
    pub(crate) page: Option<Arc<Page>>,
    pub(crate) identity: Arc<Identity>,
    /// The stream before `id.stream`, with the last number given in it.
    pub(crate) predecessor: Option<EventId>,
    /// Monotonic time at which the event joined this process's queue.
    pub(crate) queued_at: u64,
    /// Monotonic time until which a copy, sent as a beacon, is trusted to have arrived.
    pub(crate) held_until: u64,
    /// Was in a batch that the server could not read, and may be what spoils it.
    pub(crate) suspect: bool,
    /// Position in the order of arrival; set by the queue.
    pub(crate) arrival: u64,
    /// See [`weight`].
    pub(crate) weight: usize,
}

impl Entry {
    /// More than this event adds to a batch that has `previous` already.
    pub(crate) fn weight_after(&self, previous: Option<&Self>) -> usize {
        let same_page = |previous: &Self| previous.page == self.page;
        match &self.page {
            Some(page) if previous.is_some_and(same_page) => self.weight - page_weight(page),
            _ => self.weight,
        }
    }

    fn is_order(&self) -> bool {
        self.event.event_type == EventType::Order
    }
}

/// What a text adds to an encoded batch besides its bytes: a tag, a length, an index.
const TEXT: usize = 8;

fn page_weight(page: &Page) -> usize {
    16 + 3 * TEXT + page.url.len() + page.referrer.len() + page.title.len()
}

/// More than an event can add to an encoded batch, were it the only one with its stream, page, names and texts.
pub(crate) fn weight(event: &Event, page: Option<&Page>) -> usize {
    // Stream with tags and lengths 56, event 48, kind 16.
    const FIXED: usize = 120;
    let properties = event.properties.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => TEXT + text.len(),
            _ => 0,
        };
        TEXT + name.len() + 12 + value
    });
    FIXED
        + TEXT
        + event.name.len()
        + page.map_or(0, page_weight)
        + properties.sum::<usize>()
        + event
            .order
            .as_ref()
            .map_or(0, |order| 8 + order.encoded_len())
        + event
            .exposure
            .as_ref()
            .map_or(0, |exposure| 8 + exposure.encoded_len())
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By `arrival`.
    entries: VecDeque<Entry>,
    weight: usize,
    arrivals: u64,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// The number of entries that ever arrived.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    pub(crate) fn push(&mut self, mut entry: Entry) {
        entry.arrival = self.arrivals;
        self.arrivals += 1;
        self.weight += entry.weight;
        self.entries.push_back(entry);
    }

    /// Puts entries back that [`take`](Self::take) took.
    pub(crate) fn put_back(&mut self, entries: Vec<Entry>) {
        self.weight += entries.iter().map(|entry| entry.weight).sum::<usize>();
        self.entries.extend(entries);
        self.entries
            .make_contiguous()
            .sort_unstable_by_key(|entry| entry.arrival);
    }

    /// Takes out the entries whose arrivals are in `sorted`.
    pub(crate) fn take(&mut self, sorted: &[u64]) -> Vec<Entry> {
        let (taken, left) = self
            .entries
            .drain(..)
            .partition::<Vec<_>, _>(|entry| sorted.binary_search(&entry.arrival).is_ok());
        self.entries = left.into();
        self.weight -= taken.iter().map(|entry| entry.weight).sum::<usize>();
        taken
    }

    /// Takes out what is over the limits, the oldest first and orders last.
    pub(crate) fn shed(&mut self, config: &Config) -> Vec<(EventId, DropReason)> {
        let mut dropped = Vec::new();
        loop {
            let reason = if self.entries.len() > config.queue_events {
                DropReason::QueueEvents
            } else if self.weight > config.queue_bytes {
                DropReason::QueueBytes
            } else {
                return dropped;
            };
            let oldest = self.entries.iter().position(|entry| !entry.is_order());
            let Some(entry) = self.entries.remove(oldest.unwrap_or(0)) else {
                return dropped;
            };
            self.weight -= entry.weight;
            dropped.push((entry.id, reason));
        }
    }

    /// Takes out what is too old.
    pub(crate) fn expire(&mut self, config: &Config, now: Now) -> Vec<EventId> {
        let limit = i64::try_from(config.queue_age_ms).unwrap_or(i64::MAX);
        let old = |entry: &Entry| entry.at.age(now) > limit;
        let arrivals: Vec<u64> = self
            .iter()
            .filter(|entry| old(entry))
            .map(|entry| entry.arrival)
            .collect();
        if arrivals.is_empty() {
            return Vec::new();
        }
        self.take(&arrivals).iter().map(|entry| entry.id).collect()
    }
}

/// Orders first, then by arrival.
pub(crate) fn by_priority(entries: &mut [&Entry]) {
    entries.sort_unstable_by_key(|entry| (!entry.is_order(), entry.arrival));
}

/// Takes out of `entries` those that make up the next batch: of one identity, by order, within the limits.
/// With `whole`, the first is taken whatever its weight.
pub(crate) fn chunk<'a>(
    entries: &mut Vec<&'a Entry>,
    max_events: usize,
    max_weight: usize,
    whole: bool,
    alike: impl Fn(&Entry, &Entry) -> bool,
) -> Vec<&'a Entry> {
    let mut chunk: Vec<&Entry> = Vec::new();
    let mut left = max_weight;
    entries.retain(|entry| {
        let weight = entry.weight_after(chunk.last().copied());
        let fits = weight <= left || (whole && chunk.is_empty());
        let alike = chunk
            .first()
            .is_none_or(|first| first.identity == entry.identity && alike(first, entry));
        let taken = chunk.len() < max_events && fits && alike;
        if taken {
            left = left.saturating_sub(weight);
            chunk.push(entry);
        }
        !taken
    });
    chunk
}
