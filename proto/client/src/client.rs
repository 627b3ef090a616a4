use wakeline_proto::EventId;
use wakeline_proto::v1::Consent;

use crate::config::{Config, Now, Start};
use crate::event::{Event, Page};
use crate::fate::{Counts, Fate, Refused};

/// What the shell does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes to `POST /w/1/batch` and report the reply, whatever it is, with [`Client::on_reply`].
    Send {
        /// Names the batch in the reply.
        batch: BatchHandle,
        /// An encoded `Batch`.
        bytes: Vec<u8>,
    },
    /// Ask again at this time of the monotonic clock, in ms, or after the next call.
    WaitUntil(u64),
    /// Ask again after the next call: nothing is queued, or a batch is in flight.
    Idle,
}

/// Names a batch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHandle(u64);

/// How a batch was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 202, with the body. A body that isn't an answer to the batch (a captive portal's) counts as unreachable.
    Accepted(Vec<u8>),
    /// Any status that asks to come back: 408, 425, 429, 5xx; with `Retry-After` in ms, if there was one.
    RetryAfter(Option<u64>),
    /// 413: the batch is split.
    TooLarge,
    /// Any other status. 400: the event that spoils the batch is searched and dropped; else all is kept for a
    /// later try.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// No answer: no network, timed out, cut.
    Unreachable,
}

impl Reply {
    /// The reply by its HTTP status, `Retry-After` in ms, and body.
    pub fn of_status(status: u16, retry_after_ms: Option<u64>, body: &[u8]) -> Self {
        match status {
            202 => Self::Accepted(body.to_vec()),
            408 | 425 | 429 | 500..=599 => Self::RetryAfter(retry_after_ms),
            413 => Self::TooLarge,
            _ => Self::Refused { status },
        }
    }
}

/// A batch for `sendBeacon`, by [`Client::leave`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    bytes: Vec<u8>,
    ids: Vec<EventId>,
}

impl Beacon {
    /// An encoded `Batch`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What [`Client::restore`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Events taken over.
    pub events: usize,
    /// Something could not be read. Counted; whatever could be was taken over.
    pub corrupt: bool,
}

/// See the [crate's documentation](crate).
#[derive(Debug)]
pub struct Client {}

impl Client {
    /// A client with an empty queue.
    pub fn new(config: Config, start: Start) -> Self {
        todo!()
    }

    /// Takes over what an earlier page or process of this install left, by its [`snapshot`](Self::snapshot); may be
    /// called for several, the most recent first: that one becomes this stream's predecessor. Call it before the
    /// first event is sent. Once the own snapshot is stored, the restored ones can be deleted.
    pub fn restore(&mut self, snapshot: &[u8], now: Now) -> Restored {
        todo!()
    }

    /// The page on which the next events happen.
    pub fn set_page(&mut self, page: Page) {
        todo!()
    }

    /// What the person agreed to, for the next events. While denied or pending, events are refused.
    pub fn set_consent(&mut self, consent: Consent) {
        todo!()
    }

    /// Queues an event and gives it its id. What breaks a limit is refused, and counted.
    pub fn record(&mut self, event: Event, now: Now) -> Result<EventId, Refused> {
        todo!()
    }

    /// Queues an event that a loader recorded at `at_mono_ms` and gave the number `seq` in this client's stream.
    /// Numbers come in order: one at or below an earlier one is refused as malformed. `now` may be later.
    pub fn adopt(
        &mut self,
        seq: u64,
        event: Event,
        at_mono_ms: u64,
        now: Now,
    ) -> Result<EventId, Refused> {
        todo!()
    }

    /// Names the person for this and later events, and records an identify event.
    pub fn identify(&mut self, user: &str, now: Now) -> Result<EventId, Refused> {
        todo!()
    }

    /// Sends what is queued as soon as the server allows, without waiting for more.
    pub fn flush(&mut self) {
        todo!()
    }

    /// What to do now.
    pub fn next_step(&mut self, now: Now) -> Step {
        todo!()
    }

    /// Takes in the reply to a batch. Ignored if it isn't the batch in flight.
    pub fn on_reply(&mut self, batch: BatchHandle, reply: Reply, now: Now) {
        todo!()
    }

    /// When the page goes: batches of all that is queued (in flight or not), orders first, of at most `max_bytes`
    /// together. Empty while the server asked to wait. Nothing leaves the queue: tell
    /// [`beaconed`](Self::beaconed) what the user agent took, then store a snapshot.
    pub fn leave(&mut self, now: Now, max_bytes: usize) -> Vec<Beacon> {
        todo!()
    }

    /// The user agent took the beacon, whose answer nobody will see: its events are sent once more, after
    /// `beacon_grace_ms`, under the same ids.
    pub fn beaconed(&mut self, beacon: &Beacon, now: Now) {
        todo!()
    }

    /// All that the next page needs: what is queued or in flight, with wall-clock times, and this stream's last
    /// number. Bounded like the queue. Worth storing even if nothing is queued.
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        todo!()
    }

    /// Whether a snapshot would hold events.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Events queued or in flight.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        todo!()
    }

    /// The fates since the last call, oldest first; at most `keep_fates`.
    pub fn take_fates(&mut self) -> Vec<(EventId, Fate)> {
        todo!()
    }

    /// This client's stream.
    pub fn stream(&self) -> u64 {
        todo!()
    }
}
