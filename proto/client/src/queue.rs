//! Events that wait, oldest first.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use wakeline_proto::EventId;
use wakeline_proto::v1::Consent;

use crate::config::{Config, Now, Person};
use crate::fate::DropReason;
use crate::packed::Packed;

/// Who an event is of. A batch has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In UTF-8, as is `user`.
    pub(crate) visitor: Vec<u8>,
    pub(crate) first_day: u32,
    pub(crate) user: Vec<u8>,
    pub(crate) consent: Consent,
}

impl From<Person> for Identity {
    fn from(person: Person) -> Self {
        Self {
            visitor: person.install.into_bytes(),
            first_day: person.first_day,
            user: person.user.into_bytes(),
            consent: person.consent,
        }
    }
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

/// An event that waits, or is in flight.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EventId,
    pub(crate) at: At,
    pub(crate) packed: Packed,
    pub(crate) identity: Arc<Identity>,
    /// The stream before `id.stream`, with the last number given in it.
    pub(crate) predecessor: Option<EventId>,
    /// Monotonic time at which the event joined this process's queue.
    pub(crate) queued_at: u64,
    /// Monotonic time until which a copy, sent as a beacon, is trusted to have arrived.
    pub(crate) held_until: u64,
    /// Was in a batch that the server could not read, and may be what spoils it.
    pub(crate) suspect: bool,
    /// Is in the batch that was sent last, whose reply is awaited.
    pub(crate) in_flight: bool,
    /// Position in the order of arrival; set by the queue.
    pub(crate) arrival: u64,
}

impl Entry {
    /// An event of nobody, just now.
    pub(crate) fn new(id: EventId, packed: Packed) -> Self {
        Self {
            id,
            at: At::Mono(0),
            packed,
            identity: Arc::default(),
            predecessor: None,
            queued_at: 0,
            held_until: 0,
            suspect: false,
            in_flight: false,
            arrival: 0,
        }
    }

    /// More than this event adds to a batch that has `previous` already.
    pub(crate) fn weight_after(&self, previous: Option<&Self>) -> usize {
        let page = self.packed.page();
        match previous {
            Some(previous) if previous.packed.page() == page => self.packed.weight() - page.len(),
            _ => self.packed.weight(),
        }
    }
}

/// Boxed, so that moving them about is little work and little code.
type Entries = Vec<Box<Entry>>;

/// Events by arrival, those in flight among them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: Entries,
    /// Of those that wait.
    len: usize,
    weight: usize,
    arrivals: u64,
}

impl Queue {
    /// Events that wait or are in flight.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(AsRef::as_ref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(AsMut::as_mut)
    }

    /// The number of entries that ever arrived.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    pub(crate) fn push(&mut self, mut entry: Entry) {
        entry.arrival = self.arrivals;
        self.arrivals += 1;
        self.len += 1;
        self.weight += entry.packed.weight();
        self.entries.push(Box::new(entry));
    }

    /// Those whose arrivals are in `sorted` are in flight from now on.
    pub(crate) fn launch(&mut self, sorted: &[u64]) {
        for entry in &mut self.entries {
            if sorted.binary_search(&entry.arrival).is_ok() {
                entry.in_flight = true;
                self.len -= 1;
                self.weight -= entry.packed.weight();
            }
        }
    }

    /// Nothing is in flight any more: what was is gone, or waits again.
    pub(crate) fn land(&mut self, gone: bool) {
        if !gone {
            for entry in &mut self.entries {
                if entry.in_flight {
                    entry.in_flight = false;
                    self.len += 1;
                    self.weight += entry.packed.weight();
                }
            }
        }
        self.entries.retain(|entry| !entry.in_flight);
    }

    /// Takes out the oldest that waits, orders last, if more do than may.
    pub(crate) fn shed(&mut self, config: &Config) -> Option<(EventId, DropReason)> {
        let reason = if self.len > config.queue_events {
            DropReason::QueueEvents
        } else if self.weight > config.queue_bytes {
            DropReason::QueueBytes
        } else {
            return None; // as nearly always
        };
        let id = self.give_up(&|entry| !entry.packed.is_order());
        Some((id.or_else(|| self.give_up(&|_| true))?, reason))
    }

    /// Takes out the first that is too old.
    pub(crate) fn expire(&mut self, config: &Config, now: Now) -> Option<EventId> {
        let limit = i64::try_from(config.queue_age_ms).unwrap_or(i64::MAX);
        self.give_up(&|entry| entry.at.age(now) > limit)
    }

    /// Takes out the first of what waits that is like this.
    pub(crate) fn give_up(&mut self, like: &dyn Fn(&Entry) -> bool) -> Option<EventId> {
        let waits = |entry: &Entry| !entry.in_flight && like(entry);
        let index = self.iter().position(waits)?;
        let entry = self.entries.remove(index);
        self.len -= 1;
        self.weight -= entry.packed.weight();
        Some(entry.id)
    }
}

/// Orders first, then by arrival.
pub(crate) fn by_priority(entry: &Entry) -> (u64, u64) {
    (u64::from(!entry.packed.is_order()), entry.arrival)
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
    use proptest::prelude::*;
    use wakeline_proto::EventId;

    use super::{Entry, by_arrival, by_id, sort};
    use crate::packed::Packed;

    fn entry(arrival: u64, seq: u64) -> Entry {
        let id = EventId { stream: 1, seq };
        Entry {
            arrival,
            ..Entry::new(id, Packed::refused("malformed"))
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
