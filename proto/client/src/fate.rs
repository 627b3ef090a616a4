use alloc::vec::Vec;
use wakeline_proto::Reason;

/// What became of an event. Each recorded event has one fate, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// A collector has it durably.
    Accepted,
    /// A collector refused it; `None`: for a reason that this version does not know.
    Rejected(Option<Reason>),
    /// The client gave it up.
    Dropped(DropReason),
}

impl Fate {
    /// A name for people and metrics: `accepted`, or the name of the reason.
    #[inline(never)] // each copy would bring all names into the browser SDK once more
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(Some(reason)) => reason.as_str(),
            Self::Rejected(None) => "rejected",
            Self::Dropped(reason) => reason.as_str(),
        }
    }
}

/// Why the client gave an event up. A closed set; changing a name is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// More events waited than `queue_events`.
    QueueEvents,
    /// More bytes waited than `queue_bytes`.
    QueueBytes,
    /// It waited longer than `queue_age_ms`.
    QueueAge,
    /// The server cannot read a batch with this event alone (400).
    Unreadable,
    /// A batch with this event alone is too large for the server (413).
    TooLarge,
}

impl DropReason {
    /// Metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueEvents => "queue_events",
            Self::QueueBytes => "queue_bytes",
            Self::QueueAge => "queue_age",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "batch_too_large",
        }
    }
}

/// [`Client::record`](crate::Client::record) did not take an event; it has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refused {
    /// The same names as a collector's.
    pub reason: Reason,
    /// For people, in English; empty in browsers.
    pub detail: &'static str,
}

/// What a client has counted since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that got an id.
    pub recorded: u64,
    /// Events that earlier pages left, and that were taken over.
    pub restored: u64,
    /// Snapshots, or parts of them, that could not be read.
    pub corrupt_snapshots: u64,
    /// Events that [`record`](crate::Client::record) and [`adopt`](crate::Client::adopt) refused, by reason.
    pub refused: Vec<(Reason, u64)>,
    /// Events whose fate is known.
    pub fates: Vec<(Fate, u64)>,
}

/// Counts one more of `key`.
pub(crate) fn bump<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => counts.push((key, 1)),
    }
}
