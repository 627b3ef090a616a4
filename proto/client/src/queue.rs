//! Events that wait, oldest first.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use alloc::sync::Arc;

use wakeline_proto::EventId;
use wakeline_proto::v1::{Consent, EventType};

use crate::config::{Config, Now};
use crate::encode;
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

/// Boxed, so that moving them about is little work and little code.
pub(crate) type Entries = Vec<Box<Entry>>;

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
            .map_or(0, |order| 8 + encode::order(order).bytes.len())
        + event
            .exposure
            .as_ref()
            .map_or(0, |exposure| 8 + encode::exposure(exposure).bytes.len())
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By `arrival`.
    entries: Entries,
    weight: usize,
    arrivals: u64,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(AsRef::as_ref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(AsMut::as_mut)
    }

    /// The number of entries that ever arrived.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    pub(crate) fn push(&mut self, mut entry: Box<Entry>) {
        entry.arrival = self.arrivals;
        self.arrivals += 1;
        self.weight += entry.weight;
        self.entries.push(entry);
    }

    /// Puts entries back that [`take`](Self::take) took.
    pub(crate) fn put_back(&mut self, taken: Entries) {
        let mut queued = core::mem::take(&mut self.entries).into_iter().peekable();
        for entry in taken {
            while let Some(older) = queued.next_if(|queued| queued.arrival < entry.arrival) {
                self.entries.push(older);
            }
            self.weight += entry.weight;
            self.entries.push(entry);
        }
        self.entries.extend(queued);
    }

    /// Takes out the entries whose arrivals are in `sorted`; gives them by arrival.
    pub(crate) fn take(&mut self, sorted: &[u64]) -> Entries {
        let mut taken = Vec::with_capacity(sorted.len());
        for entry in core::mem::take(&mut self.entries) {
            if sorted.binary_search(&entry.arrival).is_ok() {
                self.weight -= entry.weight;
                taken.push(entry);
            } else {
                self.entries.push(entry);
            }
        }
        taken
    }

    /// Takes out what is over the limits, the oldest first and orders last.
    pub(crate) fn shed(&mut self, config: &Config) -> Vec<(EventId, DropReason)> {
        let (mut events, mut weight) = (self.entries.len(), self.weight);
        let mut dropped = Vec::new();
        for orders in [false, true] {
            if events <= config.queue_events && weight <= config.queue_bytes {
                break; // as nearly always
            }
            self.entries.retain(|entry| {
                let reason = if entry.is_order() != orders {
                    return true;
                } else if events > config.queue_events {
                    DropReason::QueueEvents
                } else if weight > config.queue_bytes {
                    DropReason::QueueBytes
                } else {
                    return true;
                };
                events -= 1;
                weight -= entry.weight;
                dropped.push((entry.id, reason));
                false
            });
        }
        self.weight = weight;
        dropped
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
pub(crate) fn by_priority(entry: &Entry) -> (u64, u64) {
    (u64::from(!entry.is_order()), entry.arrival)
}

/// As they came.
pub(crate) fn by_arrival(entry: &Entry) -> (u64, u64) {
    (0, entry.arrival)
}

/// As a batch has them.
pub(crate) fn by_id(entry: &Entry) -> (u64, u64) {
    (entry.id.stream, entry.id.seq)
}

/// Sorts by a key: a heap sort that is compiled once, for all keys. Each use of the standard library's sorts would
/// add kilobytes to the browser SDK.
pub(crate) fn sort(entries: &mut [&Entry], key: fn(&Entry) -> (u64, u64)) {
    for root in (0..entries.len() / 2).rev() {
        sift_down(entries, root, key);
    }
    for end in (1..entries.len()).rev() {
        entries.swap(0, end);
        if let Some(heap) = entries.get_mut(..end) {
            sift_down(heap, 0, key);
        }
    }
}

/// Moves the entry at `root` down until those below it are smaller.
fn sift_down(heap: &mut [&Entry], mut root: usize, key: fn(&Entry) -> (u64, u64)) {
    let at = |heap: &[&Entry], index: usize| heap.get(index).map(|entry| key(entry));
    loop {
        let left = 2 * root + 1;
        let child = left + usize::from(at(heap, left + 1) > at(heap, left));
        if at(heap, child) <= at(heap, root) {
            return; // also if there is no child: `None` is smallest
        }
        heap.swap(root, child);
        root = child;
    }
}

/// Takes out of `entries` those that make up the next batch: of one identity, by order, within the limits.
/// With `whole`, the first is taken whatever its weight.
pub(crate) fn chunk<'a>(
    entries: &mut Vec<&'a Entry>,
    max_events: usize,
    max_weight: usize,
    whole: bool,
    alike: fn(&Entry, &Entry) -> bool,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wakeline_proto::EventId;

    use super::{At, Entry, Identity, by_arrival, by_id, sort};
    use crate::event::Event;

    fn entry(arrival: u64, seq: u64) -> Entry {
        Entry {
            id: EventId { stream: 1, seq },
            at: At::Mono(0),
            event: Event::page_view(),
            page: None,
            identity: Arc::new(Identity::default()),
            predecessor: None,
            queued_at: 0,
            held_until: 0,
            suspect: false,
            arrival,
            weight: 0,
        }
    }

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(keys in prop::collection::vec((0..50_u64, 0..50_u64), 0..60)) {
            let entries: Vec<Entry> = keys.iter().map(|(arrival, seq)| entry(*arrival, *seq)).collect();
            for key in [by_arrival, by_id] {
                let mut sorted: Vec<&Entry> = entries.iter().collect();
                sort(&mut sorted, key);
                let mut expected: Vec<_> = entries.iter().map(key).collect();
                expected.sort_unstable();
                prop_assert_eq!(sorted.into_iter().map(key).collect::<Vec<_>>(), expected);
            }
        }
    }
}
