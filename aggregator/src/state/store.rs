//! The store that was configured.

use std::ops::Range;

use wakeline_engine::{Dimension, Grain};

use super::{
    Changes, FjallState, Mark, Progress, RedisState, RowAddress, SiteWindow, StateError,
    StateStore, StoredRow, UncountedIn, VisitorKey,
};

/// One of the stores.
pub(crate) enum Store {
    Embedded(FjallState),
    // Boxed: it is much larger.
    Redis(Box<RedisState>),
}

/// Calls the same of whichever store it is.
macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::Embedded($store) => $call.await,
            Store::Redis($store) => $call.await,
        }
    };
}

impl StateStore for Store {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        either!(self, store => store.load(partition))
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        either!(self, store => store.offsets(partitions))
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        either!(self, store => store.visitors(partition, keys))
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        either!(self, store => store.rows(partition, keys))
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        either!(self, store => store.commit(partition, expected_offset, changes, next_offset))
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        either!(self, store => store.marks(partition, limit))
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        either!(self, store => store.mark(partition, windows))
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        either!(self, store => store.unmark(partition, marks))
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        either!(self, store => store.scan(partition, site, grain, dimension, windows))
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        either!(self, store => store.names(partition, site, ids))
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        either!(self, store => store.uncounted(partition, offsets))
    }

    async fn persist(&self) -> Result<(), StateError> {
        either!(self, store => store.persist())
    }
}
