//! What queries read: whichever generation is in use when they begin.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use wakeline_engine::{Dimension, Grain, Row};

use super::{Generations, InUse};
use crate::events::{EventSource, LogEvents};
use crate::lake::LakeEvents;
use crate::ledger::{FateRow, FateStore};
use crate::metrics::{MetricError, MetricStore, ValueRow, Watermark};

/// There is no state to read.
#[derive(Debug, thiserror::Error)]
#[error("the state is not there yet; /readyz says why")]
struct NotThere;

impl MetricStore for InUse {
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>> {
        self.metrics.totals(site, grain, windows)
    }

    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<ValueRow>, MetricError>> {
        self.metrics.breakdown(site, dimension, days)
    }

    fn watermark(&self) -> Watermark {
        self.metrics.watermark()
    }

    fn generation(&self) -> u64 {
        self.number.into()
    }
}

impl FateStore for Generations {
    fn fates(
        &self,
        site: u64,
        hours: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<FateRow>, MetricError>> {
        Box::pin(async move { self.there()?.fates.fates(site, hours).await })
    }
}

impl Generations {
    /// Where questions find events.
    pub(crate) fn events(self: &Arc<Self>) -> Arc<dyn EventSource> {
        let log = self.log.clone();
        let metrics = Arc::clone(self) as Arc<dyn MetricStore>;
        let of_log = LogEvents::new(log, metrics, self.config.query.clone());
        let limits = self.config.query.clone();
        Arc::new(LakeEvents::new(Arc::clone(self), of_log, limits))
    }

    fn there(&self) -> Result<Arc<InUse>, MetricError> {
        self.in_use()
            .ok_or_else(|| MetricError::Read(Box::new(NotThere)))
    }
}

impl MetricStore for Generations {
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>> {
        Box::pin(async move { self.there()?.totals(site, grain, windows).await })
    }

    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<ValueRow>, MetricError>> {
        Box::pin(async move { self.there()?.breakdown(site, dimension, days).await })
    }

    fn watermark(&self) -> Watermark {
        Generations::watermark(self)
    }

    fn generation(&self) -> u64 {
        self.in_use().map_or(0, |in_use| in_use.generation())
    }

    fn pinned(&self) -> Option<Arc<dyn MetricStore>> {
        self.in_use().map(|in_use| in_use as Arc<dyn MetricStore>)
    }
}
