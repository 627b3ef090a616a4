//! Reads the fates that commits have put into the state.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use wakeline_engine::{Dimension, Grain};

use crate::metrics::{MetricError, names, sum};
use crate::state::{StateError, StateStore};

/// How many events of an hour had a fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FateRow {
    /// The unix minute at which the hour of UTC begins.
    pub hour: i64,
    /// `accepted`, `counted`, `duplicate`, `late`, `unreadable`, `lost_corrupt`, `lost_by_client`, or `rejected:` and a
    /// reason.
    pub fate: String,
    /// How many.
    pub events: u64,
}

/// Where fates are read.
pub trait FateStore: Send + Sync {
    /// The fates of a site (0: of what belongs to none) in `hours`, unix minutes, ascending by hour.
    fn fates(
        &self,
        site: u64,
        hours: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<FateRow>, MetricError>>;
}

/// The rows of a state store.
pub(crate) struct StateFates<S> {
    pub(crate) store: Arc<S>,
    pub(crate) partitions: u16,
}

impl<S: StateStore> FateStore for StateFates<S> {
    fn fates(
        &self,
        site: u64,
        hours: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<FateRow>, MetricError>> {
        let store = Arc::clone(&self.store);
        let partitions = self.partitions;
        let runtime = Handle::current();
        let read = move || runtime.block_on(read(&*store, partitions, site, hours));
        Box::pin(async move {
            tokio::task::spawn_blocking(read)
                .await
                .map_err(|error| MetricError::Read(Box::new(error)))?
                .map_err(|error| MetricError::Read(Box::new(error)))
        })
    }
}

async fn read<S: StateStore>(
    store: &S,
    partitions: u16,
    site: u64,
    hours: Range<i64>,
) -> Result<Vec<FateRow>, StateError> {
    let partitions = 0..partitions;
    let sums = sum(
        store,
        partitions.clone(),
        site,
        Grain::Hour,
        Dimension::Fate,
        hours,
    )
    .await?;
    let names = names(store, partitions, site, sums.keys().map(|(_, id)| *id)).await?;
    let rows = sums.into_iter().map(|((hour, id), row)| {
        let fate = names.get(&id).cloned();
        Ok(FateRow {
            hour,
            fate: fate.ok_or(StateError::Corrupt("a fate has no name"))?,
            events: u64::try_from(row.events).unwrap_or(0),
        })
    });
    rows.collect()
}
