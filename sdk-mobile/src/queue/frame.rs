//! What stands in a segment: frames, each of which is found again whatever is wrong with others.
//!
//! `A7 5C`, the length of what follows the checksum and its CRC-32C (32 bits each, all numbers little endian), a kind,
//! and what the kind has. Where no frame begins, reading goes on a byte further: damage costs what it hit.

use wakeline_client::EventId;

use crate::clock::Moment;

const MAGIC: [u8; 2] = [0xa7, 0x5c];
/// Bytes before the kind.
const HEAD: usize = 10;
/// Longer than any frame that is written.
const MAX_FRAME_BYTES: usize = 256 << 10;

const EVENT: u8 = 1;
const SETTLED: u8 = 2;
const LAST: u8 = 3;

/// An event as a queue keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: EventId,
    /// Its place among all events of this install.
    pub(crate) arrival: u64,
    /// Goes before all others, and is given up last.
    pub(crate) order: bool,
    pub(crate) at: Moment,
    /// Differs if the event's device does.
    pub(crate) context: u32,
    /// A [`Stored`](wakeline_client::Stored) event.
    pub(crate) stored: Vec<u8>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Event(Record),
    /// These need not be sent any more.
    Settled(Vec<EventId>),
    /// The last id that was given before this segment.
    Last(EventId),
}

/// Appends an event's frame.
pub(crate) fn write_event(out: &mut Vec<u8>, record: &Record) {
    frame(out, EVENT, |out| {
        for number in [
            record.arrival,
            record.id.stream,
            record.id.seq,
            record.at.mono_ms,
            record.at.wall_ms,
            record.at.boot,
        ] {
            out.extend(number.to_le_bytes());
        }
        out.extend(record.context.to_le_bytes());
        out.push(u8::from(record.order));
        out.extend(&record.stored);
    });
}

/// Appends a frame that settles events.
pub(crate) fn write_settled(out: &mut Vec<u8>, ids: &[EventId]) {
    for ids in ids.chunks(4_096) {
        frame(out, SETTLED, |out| {
            for id in ids {
                out.extend(id.stream.to_le_bytes());
                out.extend(id.seq.to_le_bytes());
            }
        });
    }
}

/// Appends a frame that names the last id.
pub(crate) fn write_last(out: &mut Vec<u8>, id: EventId) {
    frame(out, LAST, |out| {
        out.extend(id.stream.to_le_bytes());
        out.extend(id.seq.to_le_bytes());
    });
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend([0; 8]);
    out.push(kind);
    payload(out);
    if let Some((head, body)) = out
        .get_mut(start..)
        .and_then(|frame| frame.split_at_mut_checked(HEAD))
    {
        let length = (body.len() as u32).to_le_bytes();
        let checksum = crc32c::crc32c(body).to_le_bytes();
        head.iter_mut()
            .skip(MAGIC.len())
            .zip(length.into_iter().chain(checksum))
            .for_each(|(to, byte)| *to = byte);
    }
}

/// Reads the frames of a segment, each with its position and length.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes that are of no frame.
    pub(crate) damaged: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            damaged: 0,
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = (usize, usize, Frame);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            if let Some((length, frame)) = read(rest) {
                let at = self.at;
                self.at += length;
                return Some((at, length, frame));
            }
            self.at += 1;
            self.damaged += 1;
        }
        None
    }
}

/// The frame at the beginning of `bytes`, and its length.
pub(crate) fn read(bytes: &[u8]) -> Option<(usize, Frame)> {
    let mut reader = Reader(bytes.strip_prefix(&MAGIC)?);
    let length = reader.u32()? as usize;
    let checksum = reader.u32()?;
    let body = reader.0.get(..length)?;
    if length > MAX_FRAME_BYTES || crc32c::crc32c(body) != checksum {
        return None;
    }
    let (kind, body) = body.split_first()?;
    let mut reader = Reader(body);
    let frame = match *kind {
        EVENT => Frame::Event(Record {
            arrival: reader.u64()?,
            id: reader.id()?,
            at: Moment {
                mono_ms: reader.u64()?,
                wall_ms: reader.u64()?,
                boot: reader.u64()?,
            },
            context: reader.u32()?,
            order: reader.u8()? != 0,
            stored: reader.0.to_vec(),
        }),
        SETTLED => {
            let mut ids = Vec::with_capacity(body.len() / 16);
            while !reader.0.is_empty() {
                ids.push(reader.id()?);
            }
            Frame::Settled(ids)
        }
        LAST => Frame::Last(reader.id()?),
        _ => return None,
    };
    Some((HEAD + length, frame))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn id(&mut self) -> Option<EventId> {
        Some(EventId {
            stream: self.u64()?,
            seq: self.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let id = || (1..9_u64, 0..9_u64).prop_map(|(stream, seq)| EventId { stream, seq });
        let event = (
            id(),
            any::<u64>(),
            any::<bool>(),
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..40),
        )
            .prop_map(|(id, arrival, order, context, stored)| {
                let at = Moment {
                    mono_ms: arrival / 2,
                    wall_ms: arrival / 3,
                    boot: 4,
                };
                Frame::Event(Record {
                    id,
                    arrival,
                    order,
                    at,
                    context,
                    stored,
                })
            });
        let frame = prop_oneof![
            event,
            prop::collection::vec(id(), 1..5).prop_map(Frame::Settled),
            id().prop_map(Frame::Last),
        ];
        prop::collection::vec(frame, 0..8)
    }

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            match frame {
                Frame::Event(record) => write_event(&mut bytes, record),
                Frame::Settled(ids) => write_settled(&mut bytes, ids),
                Frame::Last(id) => write_last(&mut bytes, *id),
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_come_back(frames in frames()) {
            let bytes = written(&frames);
            let mut read = Frames::new(&bytes);
            let found: Vec<Frame> = read.by_ref().map(|(_, _, frame)| frame).collect();
            prop_assert_eq!(found, frames);
            prop_assert_eq!(read.damaged, 0);
        }

        #[test]
        fn damage_costs_the_frame_that_it_hit(frames in frames(), at: usize, bit in 0..8_u8) {
            let mut bytes = written(&frames);
            prop_assume!(!bytes.is_empty());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let mut read = Frames::new(&bytes);
            let found: Vec<Frame> = read.by_ref().map(|(_, _, frame)| frame).collect();
            prop_assert_eq!(found.len() + 1, frames.len());
            prop_assert!(found.iter().all(|frame| frames.contains(frame)));
            prop_assert!(read.damaged > 0);
        }

        #[test]
        fn a_torn_end_costs_the_last_frame_only(frames in frames(), cut in 1..10_usize) {
            let bytes = written(&frames);
            let found: Vec<Frame> = Frames::new(&bytes[..bytes.len().saturating_sub(cut)]).map(|(_, _, frame)| frame).collect();
            let whole = frames.len().saturating_sub(1);
            prop_assert_eq!(found.as_slice(), &frames[..whole]);
        }

        #[test]
        fn arbitrary_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            for at in (0..bytes.len().saturating_sub(12)).step_by(13) {
                bytes[at..at + 2].copy_from_slice(&MAGIC);
                bytes[at + 2..at + 6].copy_from_slice(&[5, 0, 0, 0]);
            }
            let _ = Frames::new(&bytes).count();
        }
    }
}
