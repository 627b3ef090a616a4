//! What the engine takes in.

use xxhash_rust::xxh3::xxh3_64;

/// An event's identity, unique among the events of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// Given by an SDK: a page load or process, and a number in it that counts from 0.
    Stream {
        /// 64 random bits.
        stream: u64,
        /// Counts from 0.
        seq: u64,
    },
    /// Fingerprint of an id that another client gave.
    Client(u64),
    /// The place in an edge's spool, for clients that give no id. Always new here: copies of a place are skipped
    /// before they reach the engine.
    Position {
        /// The edge.
        edge: u64,
        /// The place in its spool.
        position: u64,
    },
}

impl Id {
    /// Settles the order of events of one millisecond, the same in every copy of the log.
    pub(crate) fn hash(self) -> u64 {
        let (kind, a, b) = match self {
            Self::Stream { stream, seq } => (0, stream, seq),
            Self::Client(fingerprint) => (1, fingerprint, 0),
            Self::Position { edge, position } => (2, edge, position),
        };
        let mut bytes = [kind; 17];
        bytes[1..9].copy_from_slice(&a.to_le_bytes());
        bytes[9..].copy_from_slice(&b.to_le_bytes());
        xxh3_64(&bytes)
    }
}

/// What an event does to its visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A page or screen was shown.
    Pageview,
    /// The visitor did something: the visit is no bounce.
    Interactive,
    /// It happened without the visitor's doing. Passive events alone are no visit.
    Passive,
    /// Passive, and not among `events`: only tells how long a page was attended to.
    Engagement,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// ISO 4217, upper case.
    pub currency: [u8; 3],
    /// In minor units; negative for a refund.
    pub minor: i64,
}

/// An event of a visitor, as far as numbers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Events of equal ids are one event; the first copy applied counts.
    pub id: Id,
    /// Corrected time, in ms since 1970-01-01 UTC.
    pub time_ms: i64,
    /// What it does to its visit.
    pub kind: Kind,
    /// [`page_id`] of the page it happened on.
    pub page: Option<u64>,
    /// Attention since the last such report, in ms.
    pub engagement_ms: u32,
    /// Value of the order that it reports.
    pub order: Option<Money>,
}

/// The number by which a page is counted: XXH3-64 of its path.
pub fn page_id(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}
