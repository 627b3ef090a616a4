//! Queries answered by InfluxDB, but for windows that it does not have as they are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use wakeline_engine::{Dimension, Grain, Row};

use super::pending::Pending;
use super::points::{self, Tags};
use super::quarantine::Quarantine;
use super::report::Report;
use super::server::Server;
use crate::metrics::{MetricError, MetricStore, ValueRow, Watermark};

/// Ranges of so few minutes are live: the state has them at hand.
const LIVE_MINUTES: i64 = 60;
/// After a failure the state is asked for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// What writer and queries share.
pub(super) struct Shared {
    pub(super) client: Arc<dyn Server>,
    pub(super) pending: Arc<Pending>,
    pub(super) report: Arc<Report>,
    pub(super) quarantine: Arc<Quarantine>,
    /// The generation that is written, and read here; 0: not known yet.
    pub(super) generation: AtomicU32,
    /// Somebody wants everything to be written as a new generation.
    pub(super) again: Arc<AtomicBool>,
    /// Points from this time on are kept, in s since 1970-01-01 UTC.
    pub(super) kept_from: AtomicI64,
}

impl Shared {
    /// Nothing is known of the bucket yet: points are taken to be kept for ever, and no window to be clean.
    pub(super) fn new(
        client: Arc<dyn Server>,
        pending: Arc<Pending>,
        report: Arc<Report>,
        quarantine: Arc<Quarantine>,
        again: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client,
            pending,
            report,
            quarantine,
            generation: AtomicU32::new(0),
            again,
            kept_from: AtomicI64::new(i64::MIN),
        }
    }
}

/// Totals from InfluxDB where it has them as they are, the rest from the state.
pub(super) struct InfluxMetrics<S> {
    state: S,
    shared: Arc<Shared>,
    /// Until when InfluxDB is not asked.
    paused: Mutex<Option<Instant>>,
}

impl<S: MetricStore> InfluxMetrics<S> {
    pub(super) fn new(state: S, shared: Arc<Shared>) -> Self {
        Self {
            state,
            shared,
            paused: Mutex::new(None),
        }
    }

    /// Windows that the state has to answer for; `None`: all of them.
    fn stale(&self, site: u64, grain: Grain, windows: &Range<i64>) -> Option<Vec<i64>> {
        let first = points::nearest_time(grain, windows.start);
        let kept = first >= self.shared.kept_from.load(Ordering::Acquire);
        let live =
            grain == Grain::Minute && windows.end.saturating_sub(windows.start) <= LIVE_MINUTES;
        if live || !kept {
            return None;
        }
        self.shared.pending.dirty(site, grain, windows)
    }

    fn generation(&self) -> u32 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The rows that InfluxDB has; `None` if it does not answer.
    async fn ask(&self, of: Tags, grain: Grain, windows: &Range<i64>) -> Option<Vec<(i64, Row)>> {
        let paused = || self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = self.shared.client.totals(of, grain, windows).await;
        self.shared.report.tell_queries(answer.as_ref().err());
        *paused() = answer.is_err().then(|| Instant::now() + PAUSE);
        // Of a generation that was replaced meanwhile some may be deleted already.
        answer.ok().filter(|_| self.generation() == of.generation)
    }
}

impl<S: MetricStore> MetricStore for InfluxMetrics<S> {
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>> {
        Box::pin(async move {
            let of = Tags {
                generation: self.generation(),
                site,
            };
            // Looked up before InfluxDB is asked: what is written later is newer, not older.
            let Some(stale) = self.stale(site, grain, &windows) else {
                return self.state.totals(site, grain, windows).await;
            };
            let Some(mut rows) = self.ask(of, grain, &windows).await else {
                return self.state.totals(site, grain, windows).await;
            };
            rows.retain(|(window, row)| !row.is_zero() && stale.binary_search(window).is_err());
            if let (Some(first), Some(last)) = (stale.first(), stale.last()) {
                let fresh = self.state.totals(site, grain, *first..last + 1).await?;
                let fresh = fresh.into_iter();
                rows.extend(fresh.filter(|(window, _)| stale.binary_search(window).is_ok()));
                rows.sort_unstable_by_key(|(window, _)| *window);
            }
            Ok(rows)
        })
    }

    /// InfluxDB has the first of each day only.
    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<ValueRow>, MetricError>> {
        self.state.breakdown(site, dimension, days)
    }

    fn watermark(&self) -> Watermark {
        self.state.watermark()
    }
}
