//! What the aggregator knows of visitors and windows, and how far in the log it is.
//!
//! State belongs to partitions. A partition's visitors, rollup rows, names, edge positions, marks of what is to be
//! exported, notes of what did not count, and next log offset change together in one [`commit`](StateStore::commit) or not at all, so whatever a
//! store loses by a crash is replayed from the log and comes out the same.

mod fjall;
mod keys;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod redis;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod suite;
mod uncounted;

use std::collections::HashMap;
use std::ops::Range;

use wakeline_engine::{Dimension, Grain, RowKey};

pub use self::fjall::FjallState;
pub use self::redis::{Owner, RedisState, RedisStateError};
pub(crate) use self::store::Store;
pub use self::uncounted::{Uncounted, UncountedIn};

/// The format of visitors and rows: raised when an older version's can't be read any more. State of another format is made
/// anew from the log.
pub(crate) const FORMAT: u32 = 4;

/// Why state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Somebody else has committed to the partition: its owner must load it again.
    #[error("partition {partition} is at offset {found}, not at {expected}")]
    Fenced {
        /// The partition.
        partition: u16,
        /// The offset that the writer knew.
        expected: u64,
        /// The offset of the store.
        found: u64,
    },
    /// Another aggregator has the state.
    #[error(
        "another aggregator uses the state, for {seconds} s more at least; stop it first, or give this one a state of \
         its own"
    )]
    InUse {
        /// How long its lease lasts unless it is renewed, in seconds.
        seconds: u64,
    },
    /// A newer owner has claimed the partition: this one may not write any more.
    #[error(
        "another aggregator has taken the state over: partition {partition} is in epoch {found}, not in {epoch}"
    )]
    Replaced {
        /// The partition.
        partition: u16,
        /// The writer's.
        epoch: u64,
        /// The store's.
        found: u64,
    },
    /// The partition was made of another log: another aggregator uses the store, or did.
    #[error(
        "partition {partition} of the state was made from another log: give each aggregator a store of its own"
    )]
    OtherLog {
        /// The partition.
        partition: u16,
    },
    /// The store failed; a commit that failed so may or may not have happened.
    #[error("use the state store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the store holds can't be read: it has to be rebuilt from the log.
    #[error("state is corrupt: {0}")]
    Corrupt(&'static str),
}

/// A visitor of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitorKey {
    /// The site's id.
    pub site: u64,
    /// XXH3-128 of the visitor's id.
    pub hash: u128,
}

impl VisitorKey {
    /// The key of `visitor` at `site`.
    pub fn new(site: u64, visitor: &str) -> Self {
        Self {
            site,
            hash: xxhash_rust::xxh3::xxh3_128(visitor.as_bytes()),
        }
    }
}

/// A rollup row of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowAddress {
    /// The site's id.
    pub site: u64,
    /// Which row.
    pub key: RowKey,
}

/// A stretch of time of a site: the window of some of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteWindow {
    /// The site's id.
    pub site: u64,
    /// How long it is.
    pub grain: Grain,
    /// Which, as in [`RowKey::window`].
    pub window: i64,
}

/// A window whose rows of a partition changed since they were exported, and the offset of the commit that changed them
/// last. 0 for those that only have to be exported once more.
pub type Mark = (SiteWindow, u64);

/// The rules that a site's events were counted by in a partition, fixed by its first event there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRules {
    /// IANA name.
    pub timezone: String,
    /// Longest pause inside a visit, in ms.
    pub gap_ms: i64,
}

/// Where a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every record of the log below this offset is in the state.
    pub next_offset: u64,
    /// Append stamp of the newest record that changed something, in ms since 1970-01-01 UTC.
    pub stamp_ms: u64,
    /// The highest spool position applied of each edge.
    pub edges: HashMap<u64, u64>,
    /// Rules by site.
    pub rules: HashMap<u64, StoredRules>,
}

/// What one commit changes; everything is an absolute value.
#[derive(Debug, Default)]
pub struct Changes {
    /// Encoded visitors.
    pub visitors: Vec<(VisitorKey, Vec<u8>)>,
    /// Encoded rows; `None` removes one.
    pub rows: Vec<(RowAddress, Option<Vec<u8>>)>,
    /// Texts by site and [`text_id`](wakeline_engine::text_id).
    pub names: Vec<(u64, u64, String)>,
    /// Rules by site.
    pub rules: Vec<(u64, StoredRules)>,
    /// Highest spool positions by edge.
    pub edges: Vec<(u64, u64)>,
    /// Append stamp of the newest record, in ms; `None` leaves it.
    pub stamp_ms: Option<u64>,
    /// Windows of `rows`, to be marked with the commit's next offset.
    pub marks: Vec<SiteWindow>,
    /// Of records that have some, by offset: which of their events did not count, see [`Uncounted`].
    pub uncounted: Vec<(u64, Uncounted)>,
}

/// A stored rollup row: window, value of the dimension, encoded [`Row`](wakeline_engine::Row).
pub type StoredRow = (i64, u64, Vec<u8>);

/// Where state is kept.
///
/// - `commit` is atomic: readers, and whoever loads the partition later, see all of it or nothing.
/// - `commit` is fenced: it fails with [`StateError::Fenced`] and changes nothing unless the partition's next offset
///   is `expected_offset`. An owner that was replaced can't write any more.
/// - `commit` need not be durable, but what survives a crash is a prefix of the commits of each partition.
/// - After any other failure of `commit`, whether it happened is unknown, and it may yet happen, as long as the
///   partition's next offset is `expected_offset`: load the partition again. So nothing may be committed that was made
///   of another offset's contents: ask for `offsets` after the last read.
/// - A store of its own may fall back to an earlier commit, or to nothing, while it is used: owners ask for `offsets`
///   now and then, and apply again what is in the log. What was on its way to it before it fell back never happens: it
///   was lost with the server that had it.
///
/// An embedded store may block the calling thread while it reads the disk: call it from threads made for that.
pub trait StateStore: Send + Sync + 'static {
    /// Where the partition is.
    fn load(&self, partition: u16) -> impl Future<Output = Result<Progress, StateError>> + Send;

    /// The next offset of each partition.
    fn offsets(
        &self,
        partitions: &[u16],
    ) -> impl Future<Output = Result<Vec<u64>, StateError>> + Send;

    /// Encoded visitors, in the order of `keys`.
    fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StateError>> + Send;

    /// Encoded rows, in the order of `keys`.
    fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StateError>> + Send;

    /// Makes `changes` and moves the partition to `next_offset`.
    fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// At most `limit` marks of the partition, in no particular order.
    fn marks(
        &self,
        partition: u16,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Mark>, StateError>> + Send;

    /// Marks windows with 0, but for those that are marked already.
    fn mark(
        &self,
        partition: u16,
        windows: &[SiteWindow],
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Removes those of `marks` that are still the same.
    fn unmark(
        &self,
        partition: u16,
        marks: &[Mark],
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The rows of a site's windows, ascending by window and value.
    fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> impl Future<Output = Result<Vec<StoredRow>, StateError>> + Send;

    /// The texts that ids stand for, in the order of `ids`.
    fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> impl Future<Output = Result<Vec<Option<String>>, StateError>> + Send;

    /// What was noted by commits of the records at `offsets`, and the partition's next offset, both of one moment: of the
    /// records below that offset it is all there is.
    fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> impl Future<Output = Result<UncountedIn, StateError>> + Send;

    /// Makes every commit so far as durable as the store can; fails also if the store will soon be unable to go on.
    fn persist(&self) -> impl Future<Output = Result<(), StateError>> + Send;
}
