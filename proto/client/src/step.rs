use alloc::vec::Vec;
use wakeline_proto::EventId;

/// What the shell does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes to `POST /w/1/batch` and report the reply, whatever it is, with [`Client::on_reply`](crate::Client::on_reply).
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
pub struct BatchHandle(pub(crate) u64);

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

/// A batch for `sendBeacon`, by [`Client::leave`](crate::Client::leave).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    pub(crate) bytes: Vec<u8>,
    /// Sorted.
    pub(crate) ids: Vec<EventId>,
}

impl Beacon {
    /// An encoded `Batch`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What [`Client::restore`](crate::Client::restore) found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Events taken over.
    pub events: usize,
    /// Something could not be read. Counted; whatever could be was taken over.
    pub corrupt: bool,
}
