//! The events of a snapshot's frame: those of one identity, in the order of their ids.
//!
//! First the identity: visitor and user, the day of the first event, consent. Of each event: what is as with the last event (1:
//! not the stream, 2: the page); its stream, the stream before that and the last number given in it, if need be; the differences of
//! its number and time to the last event's; and the event, [packed](crate::packed), without a page that was said. Integers are
//! varints; texts, and events, come after their length.

use alloc::sync::Arc;
use alloc::vec::Vec;

use wakeline_proto::EventId;
use wakeline_proto::limits::MAX_SEQ;
use wakeline_proto::v1::Consent;

use crate::config::Now;
use crate::packed::Packed;
use crate::queue::{Entry, Identity};
use crate::wire::{Reader, sized, unzigzag, varint, zigzag};

// What an event's first byte says.
const STREAM: u8 = 1;
const SAME_PAGE: u8 = 2;

/// Bytes that a frame's events may come to, far more than are ever written into one.
const MAX_FRAME_BYTES: usize = 8 << 20;

/// Writes `entries`, which are of one identity and sorted [by id](crate::queue::by_id).
pub(super) fn write(out: &mut Vec<u8>, entries: &[&Entry], now: Now) {
    if let Some(first) = entries.first() {
        let identity = &first.identity;
        sized(out, &identity.visitor);
        sized(out, &identity.user);
        varint(out, u64::from(identity.first_day));
        out.push(identity.consent as u8);
    }
    let (mut before, mut page, mut next_seq, mut time) = (None, None, 0, 0);
    for entry in entries {
        let stream = Some((entry.id.stream, entry.predecessor));
        let same_page = page == Some(entry.packed.page());
        let moved = if stream == before { 0 } else { STREAM };
        out.push(moved | if same_page { SAME_PAGE } else { 0 });
        if stream != before {
            let last = entry.predecessor.unwrap_or(EventId { stream: 0, seq: 0 });
            out.extend(entry.id.stream.to_le_bytes());
            out.extend(last.stream.to_le_bytes());
            varint(out, last.seq);
            next_seq = 0;
        }
        let recorded_at = (now.wall_ms as i64)
            .saturating_sub(entry.at.age(now))
            .max(0);
        varint(out, entry.id.seq.wrapping_sub(next_seq));
        varint(out, zigzag(recorded_at.wrapping_sub(time)));
        if same_page {
            sized(out, &entry.packed.without_page());
        } else {
            sized(out, entry.packed.bytes());
        }
        next_seq = entry.id.seq.wrapping_add(1);
        (before, page, time) = (stream, Some(entry.packed.page()), recorded_at);
    }
}

/// Reads a frame's events until the first that cannot be read.
pub(crate) struct Events<'a> {
    reader: Reader<'a>,
    identity: Arc<Identity>,
    corrupt: bool,
    // What the next event's differences are relative to.
    stream: u64,
    predecessor: Option<EventId>,
    page: Vec<u8>,
    next_seq: u64,
    time: i64,
    /// Bytes that may still be handed out.
    budget: usize,
}

/// An event that an earlier page left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub id: EventId,
    /// The stream before the id's, and the last number given in it.
    pub predecessor: Option<EventId>,
    /// When it happened, by the wall clock, in ms since 1970.
    pub recorded_at: u64,
    /// What happened.
    pub packed: Packed,
}

impl<'a> Events<'a> {
    /// `None` if the identity cannot be read.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let identity = Identity {
            visitor: reader.sized()?.to_vec(),
            user: reader.sized()?.to_vec(),
            first_day: u32::try_from(reader.varint()?).ok()?,
            consent: Consent::try_from(i32::from(reader.byte()?)).ok()?,
        };
        Some(Self {
            reader,
            identity: Arc::new(identity),
            corrupt: false,
            stream: 0,
            predecessor: None,
            page: Vec::new(),
            next_seq: 0,
            time: 0,
            budget: MAX_FRAME_BYTES,
        })
    }

    /// Whose the events are.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether an event could not be read.
    pub(crate) fn corrupt(&self) -> bool {
        self.corrupt
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Left> {
        if self.corrupt || self.reader.is_empty() {
            return None;
        }
        let left = self.read();
        self.corrupt = left.is_none();
        left
    }

    fn read(&mut self) -> Option<Left> {
        let flags = self.reader.byte()?;
        if flags & STREAM != 0 {
            self.stream = self.reader.fixed64()?;
            let last = EventId {
                stream: self.reader.fixed64()?,
                seq: self.reader.varint()?,
            };
            self.predecessor = (last.stream != 0).then_some(last);
            self.next_seq = 0;
        }
        let seq = self.next_seq.wrapping_add(self.reader.varint()?);
        if self.stream == 0 || seq > MAX_SEQ {
            return None;
        }
        self.next_seq = seq + 1;
        self.time = self.time.wrapping_add(unzigzag(self.reader.varint()?));
        let bytes = self.reader.sized()?;
        let packed = if flags & SAME_PAGE == 0 {
            Packed::read(bytes.to_vec())?
        } else {
            Packed::read_with_page(bytes, &self.page)?
        };
        self.page = packed.page().to_vec();
        self.budget = self.budget.checked_sub(packed.bytes().len())?;
        Some(Left {
            id: EventId {
                stream: self.stream,
                seq,
            },
            predecessor: self.predecessor,
            recorded_at: self.time.max(0) as u64,
            packed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wakeline_proto::EventId;
    use wakeline_proto::v1::Consent;

    use super::{Events, Left, write};
    use crate::config::Now;
    use crate::event::{Event, Page};
    use crate::packed::Packed;
    use crate::queue::{At, Entry, Identity};

    const NOW: Now = Now {
        mono_ms: 5_000,
        wall_ms: 1_790_000_000_000,
    };

    fn identity() -> Identity {
        Identity {
            visitor: b"install".to_vec(),
            first_day: 20_717,
            user: b"user".to_vec(),
            consent: Consent::Granted,
        }
    }

    fn entry(stream: u64, seq: u64, event: &Event) -> Entry {
        let predecessor = EventId {
            stream: 1,
            seq: 300,
        };
        Entry {
            at: At::Wall(1_789_999_990_000 + 7 * seq),
            identity: Arc::new(identity()),
            predecessor: (stream == 2).then_some(predecessor),
            ..Entry::new(
                EventId { stream, seq },
                Packed::new(&Page::default(), event),
            )
        }
    }

    fn entries() -> Vec<Entry> {
        vec![
            entry(1, 0, &Event::page_view()),
            entry(1, 300, &Event::custom("values").with("text", "values")),
            entry(2, 4, &Event::page_view()),
            entry(2, 5, &Event::page_view()),
        ]
    }

    fn written() -> Vec<u8> {
        let entries = entries();
        let mut bytes = Vec::new();
        write(&mut bytes, &entries.iter().collect::<Vec<_>>(), NOW);
        bytes
    }

    /// All that can be read, whether it is all that there was, and the identity.
    fn read(bytes: &[u8]) -> Option<(Vec<Left>, bool, Arc<Identity>)> {
        let mut events = Events::new(bytes)?;
        let left = std::iter::from_fn(|| events.next()).collect();
        Some((left, !events.corrupt(), Arc::clone(events.identity())))
    }

    #[test]
    fn events_come_back_with_all_that_they_have() {
        let Some((left, whole, of)) = read(&written()) else {
            panic!("no identity");
        };
        assert!(whole);
        assert_eq!(*of, identity());
        assert_eq!(left.len(), entries().len());
        for (left, entry) in std::iter::zip(left, entries()) {
            assert_eq!(left.id, entry.id);
            assert_eq!(left.predecessor, entry.predecessor);
            assert_eq!(At::Wall(left.recorded_at), entry.at);
            assert_eq!(left.packed, entry.packed);
        }
    }

    #[test]
    fn an_end_that_is_cut_off_costs_the_last_event() {
        let mut bytes = written();
        bytes.pop();
        let read = read(&bytes).map(|(left, whole, _)| (left.len(), whole));
        assert_eq!(read, Some((entries().len() - 1, false)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            damage in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            read(&bytes);
            let mut damaged = written();
            let damage = damage.index(damaged.len());
            damaged[damage] = value;
            read(&damaged);
        }
    }
}
