use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use wakeline_client::v1::Consent;
use wakeline_client::{
    BatchHandle, Beacon, Client, Config, DropReason, EventId, Fate, Left, Now, Packed, Reply,
    Start, Step,
};

/// What [`Core::step`] gives when a batch is to be sent.
const SEND: f64 = -1.0;
/// What [`Core::step`] gives when there is nothing to do before the next call.
const IDLE: f64 = -2.0;

/// A client, and what it has on its way. Times are in ms: `mono` by `performance.now()`, `wall` by `Date.now()`.
#[derive(Debug)]
pub struct Core {
    client: Client,
    in_flight: Option<BatchHandle>,
    beacons: Vec<Beacon>,
}

impl Core {
    /// A client with an empty queue. `bytes`: the stream in eight bytes, little endian as all numbers here, the write key in
    /// `key_length` bytes, and an encoded `Batch` that has only `client` and `device`.
    pub fn new(bytes: &[u8], key_length: usize, now: Now) -> Self {
        let (stream, rest) = number(bytes).unwrap_or_default();
        let (key, about) = rest.split_at_checked(key_length).unwrap_or_default();
        let mut config = Config::new(String::new());
        // Ten thousand events of some properties.
        config.queue_bytes = 4 << 20;
        config.keep_fates = usize::MAX; // they are taken after each call
        let start = Start {
            now,
            stream: NonZeroU64::new(stream).unwrap_or(NonZeroU64::MAX),
            install: String::new(),
            first_day: 0,
            seed: stream,
        };
        Self {
            client: Client::described(key.to_vec(), about.to_vec(), config, start),
            in_flight: None,
            beacons: Vec::new(),
        }
    }

    /// The last event of an earlier page, as stream and number, and until when (by the wall clock) that was asked to wait. The
    /// most recent page first.
    pub fn follow(&mut self, bytes: &[u8], wait_until: u64, now: Now) {
        let last = event_id(bytes).and_then(|(last, _)| last);
        self.client.follow(last, wait_until, now);
    }

    /// Takes over what another page stored, of the person that is set: its stream and number, the stream before that one and the
    /// last number given there, or zeros, and the event, [packed](Packed). `at` is when it happened, and `held_until` until when a
    /// beacon's copy is trusted, by the wall clock. False if the bytes are something else.
    pub fn inherit(&mut self, bytes: &[u8], at: u64, held_until: u64, now: Now) -> bool {
        let left = event_id(bytes).and_then(|(id, bytes)| {
            let (predecessor, bytes) = event_id(bytes)?;
            Some(Left {
                id: id?,
                predecessor,
                recorded_at: at,
                packed: Packed::read(bytes.to_vec())?,
            })
        });
        let read = left.is_some();
        if let Some(left) = left {
            self.client.inherit(left, held_until, now);
        }
        read
    }

    /// Whose the next events are: install id, in `length` bytes, and user; `first_day` of the install in days since 1970.
    pub fn person(&mut self, texts: &[u8], length: usize, first_day: u32, granted: bool) {
        let (install, user) = texts.split_at_checked(length).unwrap_or_default();
        let consent = if granted {
            Consent::Granted
        } else {
            Consent::Unspecified
        };
        self.client.set_person_of(install, user, first_day, consent);
    }

    /// Queues an event, [packed](Packed), under its number in the page's stream. `at` is when it happened, by the monotonic
    /// clock. False if the bytes are something else or the number was used.
    pub fn record(&mut self, packed: &[u8], seq: u64, at: u64, now: Now) -> bool {
        Packed::read(packed.to_vec())
            .is_some_and(|packed| self.client.adopt_packed(seq, packed, at, now))
    }

    /// Sends what is queued as soon as the server allows.
    pub fn flush(&mut self) {
        self.client.flush();
    }

    /// What to do now: send what is written to `body` and call [`reply`](Self::reply) (−1), nothing until the next
    /// call (−2), or ask again at the given monotonic time.
    pub fn step(&mut self, body: &mut Vec<u8>, now: Now) -> f64 {
        match self.client.next_step(now) {
            Step::Send { batch, bytes } => {
                self.in_flight = Some(batch);
                *body = bytes;
                SEND
            }
            Step::WaitUntil(at) => at as f64,
            Step::Idle => IDLE,
        }
    }

    /// How the batch was answered: HTTP status, or 0 if it was not; `Retry-After` in ms; the body.
    pub fn reply(&mut self, status: u16, retry_after: Option<u64>, body: &[u8], now: Now) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        let reply = if status == 0 {
            Reply::Unreachable
        } else {
            Reply::of_status(status, retry_after, body)
        };
        self.client.on_reply(batch, reply, now);
    }

    /// When the page goes: prepares beacons of at most `max_bytes` together and gives their number.
    pub fn leave(&mut self, max_bytes: usize, now: Now) -> usize {
        self.beacons = self.client.leave(now, max_bytes);
        self.beacons.len()
    }

    /// The bytes of a beacon that [`leave`](Self::leave) prepared.
    pub fn beacon(&self, index: usize) -> &[u8] {
        self.beacons.get(index).map_or(&[], Beacon::bytes)
    }

    /// The browser took this beacon.
    pub fn beaconed(&mut self, index: usize, now: Now) {
        if let Some(beacon) = self.beacons.get(index) {
            self.client.beaconed(beacon, now);
        }
    }

    /// The fates since the last call: of each the stream and the number, eight bytes each, and a byte: 0 the server has it,
    /// 1 the server refused it; given up as one of too many events, 2, or bytes, 3, as too old, 4, unreadable, 5, or too
    /// large, 6.
    pub fn fates(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, fate) in self.client.take_fates() {
            bytes.extend_from_slice(&id.stream.to_le_bytes());
            bytes.extend_from_slice(&id.seq.to_le_bytes());
            bytes.push(match fate {
                Fate::Accepted => 0,
                Fate::Rejected(_) => 1,
                Fate::Dropped(DropReason::QueueEvents) => 2,
                Fate::Dropped(DropReason::QueueBytes) => 3,
                Fate::Dropped(DropReason::QueueAge) => 4,
                Fate::Dropped(DropReason::Unreadable) => 5,
                Fate::Dropped(DropReason::TooLarge) => 6,
            });
        }
        bytes
    }
}

/// A number of eight bytes, and what follows.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// A stream and a number, unless the stream is 0, and what follows.
fn event_id(bytes: &[u8]) -> Option<(Option<EventId>, &[u8])> {
    let (stream, bytes) = number(bytes)?;
    let (seq, bytes) = number(bytes)?;
    Some(((stream != 0).then_some(EventId { stream, seq }), bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "codes are exact")]

    use proptest::prelude::*;
    use wakeline_client::{Event, Now, Packed, Page};
    use wakeline_proto::v1;

    use super::{Core, IDLE, SEND};

    const STREAM: u64 = 0x9e37_79b9_7f4a_7c15;

    fn at(ms: u64) -> Now {
        Now {
            mono_ms: ms,
            wall_ms: 1_790_000_000_000 + ms,
        }
    }

    fn core(stream: u64) -> Core {
        // `device` with the language "de-DE".
        let about = [b"\x2a\x07\x0a\x05", &b"de-DE"[..]].concat();
        let bytes = [&stream.to_le_bytes()[..], b"wk", &about].concat();
        let mut core = Core::new(&bytes, 2, at(0));
        core.person(b"installuser", 7, 20_717, true);
        core
    }

    fn packed(event: &Event) -> Vec<u8> {
        let page = Page {
            url: "https://shop.example/".to_owned(),
            ..Page::default()
        };
        Packed::new(&page, event).bytes().to_vec()
    }

    fn sent(core: &mut Core, now: Now) -> v1::Batch {
        core.flush();
        let mut body = Vec::new();
        assert_eq!(core.step(&mut body, now), SEND);
        wakeline_proto::batch::decode(&body).expect("a batch")
    }

    fn fate(stream: u64, seq: u64, code: u8) -> Vec<u8> {
        [&stream.to_le_bytes()[..], &seq.to_le_bytes(), &[code]].concat()
    }

    #[test]
    fn what_the_page_says_reaches_the_batch() {
        let mut core = core(STREAM);
        assert!(core.record(&packed(&Event::custom("e").with("n", 7)), 0, 5, at(10)));
        let batch = sent(&mut core, at(20));
        assert_eq!(
            (&*batch.key, &*batch.visitor, &*batch.user),
            ("wk", "install", "user")
        );
        assert_eq!(batch.first_day, 20_717);
        assert_eq!(batch.consent, v1::Consent::Granted as i32);
        assert_eq!(batch.streams[0].id, STREAM);
        assert_eq!(batch.device.unwrap_or_default().language, "de-DE");
        core.reply(202, None, &[8, 1], at(30));
        assert_eq!(core.fates(), fate(STREAM, 0, 0));
        assert!(core.fates().is_empty());
        assert_eq!(core.step(&mut Vec::new(), at(40)), IDLE);
    }

    #[test]
    fn a_number_is_used_once() {
        let mut core = core(STREAM);
        let event = packed(&Event::page_view());
        assert!(core.record(&event, 3, 5, at(10)));
        assert!(!core.record(&event, 3, 5, at(10)));
        assert!(!core.record(&event[1..], 4, 5, at(10)));
        assert_eq!(sent(&mut core, at(20)).streams[0].events.len(), 1);
    }

    #[test]
    fn what_an_earlier_page_left_is_sent_under_its_id_once_a_beacons_time_is_over() {
        let mut next = core(STREAM);
        let (id, before) = (fate(7, 3, 0), fate(6, 9, 0));
        let left = [&id[..16], &before[..16], &packed(&Event::page_view())].concat();
        assert!(next.inherit(&left, at(0).wall_ms, at(30_100).wall_ms, at(100)));
        next.follow(&id[..16], 0, at(100));
        assert!(!next.inherit(&left[..40], 0, 0, at(100)));
        assert_eq!(next.step(&mut Vec::new(), at(100)), 30_100.0);
        assert!(next.record(&packed(&Event::page_view()), 0, 100, at(100)));
        let batch = sent(&mut next, at(30_100));
        let streams: Vec<_> = batch
            .streams
            .iter()
            .map(|stream| (stream.id, stream.predecessor, stream.predecessor_last_seq))
            .collect();
        assert_eq!(streams, [(7, 6, 9), (STREAM, 7, 3)]);
        next.reply(413, None, &[], at(30_200));
        assert!(next.fates().is_empty());
    }

    #[test]
    fn beacons_have_what_waits_and_leave_it_there() {
        let mut core = core(STREAM);
        assert!(core.record(&packed(&Event::page_view()), 0, 5, at(10)));
        assert_eq!(core.leave(60_000, at(20)), 1);
        assert!(!core.beacon(0).is_empty() && core.beacon(1).is_empty());
        core.beaconed(0, at(20));
        assert_eq!(core.leave(60_000, at(30)), 0);
        assert_eq!(core.step(&mut Vec::new(), at(30)), 30_020.0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), seq in any::<u64>(), ms in any::<u64>()) {
            let mut core = Core::new(&bytes, seq as usize, at(0));
            core.follow(&bytes, ms, at(1));
            core.inherit(&bytes, ms, ms, at(1));
            core.record(&bytes, seq, ms, at(1));
            core.person(&bytes, seq as usize, u32::MAX, false);
            core.reply(202, Some(ms), &bytes, at(2));
            core.step(&mut Vec::new(), at(3));
            core.reply(202, Some(ms), &bytes, at(4));
            core.fates();
        }
    }
}
