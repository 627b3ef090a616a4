//! What a page leaves for the next one.
//!
//! A version byte, then frames: length and FNV-1a of a payload (32 bits each, little endian), and the payload. The
//! first is the [`Head`]; each other holds [events](events) of one identity, after the wall-clock time until which
//! they are held. A damaged frame costs its own events; a wrong length, all after it.

use alloc::vec;
use alloc::vec::Vec;

mod events;

pub(crate) use events::Events;
pub use events::Left;

use crate::config::Now;
use crate::queue::{self, Entry};
use crate::strings::fnv1a;
use wakeline_proto::EventId;
use wakeline_proto::limits::MAX_EVENTS_PER_BATCH;

const VERSION: u8 = 3;
/// Weight of the events in a frame: what damage may cost.
const MAX_FRAME_WEIGHT: usize = 1 << 20;

/// What is remembered besides events. Times are wall-clock ms; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The page's stream and the last number given in it; if it gave none, its predecessor's.
    pub(crate) last: Option<EventId>,
    /// The page's stream.
    pub(crate) stream: u64,
    /// Until when the server asked to wait.
    pub(crate) wait_until: u64,
}

/// A frame of events.
pub(crate) struct Frame<'a> {
    /// Until when they are held.
    pub(crate) held_until: u64,
    /// To be read by [`Events`].
    pub(crate) events: &'a [u8],
}

pub(crate) fn write(head: Head, mut entries: Vec<&Entry>, now: Now) -> Vec<u8> {
    let last = head.last.unwrap_or(EventId { stream: 0, seq: 0 });
    let fields = [head.stream, last.stream, last.seq, head.wait_until];
    let mut bytes = vec![VERSION];
    frame(&mut bytes, &fields.map(u64::to_le_bytes).concat());
    while !entries.is_empty() {
        let mut chunk = queue::chunk(
            &mut entries,
            MAX_EVENTS_PER_BATCH,
            MAX_FRAME_WEIGHT,
            true,
            |a, b| a.held_until == b.held_until,
        );
        let Some(first) = chunk.first() else { break };
        let held_until = match first.held_until.saturating_sub(now.mono_ms) {
            0 => 0,
            left => now.wall_ms.saturating_add(left),
        };
        queue::sort(&mut chunk, queue::by_id);
        let mut payload = held_until.to_le_bytes().to_vec();
        events::write(&mut payload, &chunk, now);
        frame(&mut bytes, &payload);
    }
    bytes
}

fn frame(bytes: &mut Vec<u8>, payload: &[u8]) {
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(fnv1a(payload).to_le_bytes());
    bytes.extend(payload);
}

/// The head, the frames that are whole, and whether there were others.
pub(crate) fn read(bytes: &[u8]) -> (Option<Head>, Vec<Frame<'_>>, bool) {
    let Some((&VERSION, mut bytes)) = bytes.split_first() else {
        return (None, Vec::new(), true);
    };
    let (mut head, mut frames, mut corrupt) = (None, Vec::new(), false);
    let mut first = true;
    while !bytes.is_empty() {
        let Some((payload, whole, rest)) = next_frame(bytes) else {
            return (head, frames, true);
        };
        bytes = rest;
        let taken = whole
            && if first {
                head = read_head(payload);
                head.is_some()
            } else {
                let frame = payload.split_first_chunk();
                frames.extend(frame.map(|(held_until, events)| Frame {
                    held_until: u64::from_le_bytes(*held_until),
                    events,
                }));
                frame.is_some()
            };
        first = false;
        corrupt |= !taken;
    }
    (head, frames, corrupt || first)
}

fn next_frame(bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk()?;
    let (checksum, bytes) = bytes.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (payload, rest) = bytes.split_at_checked(length)?;
    Some((
        payload,
        fnv1a(payload) == u32::from_le_bytes(*checksum),
        rest,
    ))
}

fn read_head(mut payload: &[u8]) -> Option<Head> {
    let mut next = || {
        let (field, rest) = payload.split_first_chunk()?;
        payload = rest;
        Some(u64::from_le_bytes(*field))
    };
    let (stream, last_stream, seq, wait_until) = (next()?, next()?, next()?, next()?);
    Some(Head {
        last: (last_stream != 0).then_some(EventId {
            stream: last_stream,
            seq,
        }),
        stream,
        wait_until,
    })
}
