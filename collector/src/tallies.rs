//! Counts of what is refused as a whole request, before anything of it is read: unknown keys, for instance.
//!
//! They are kept in memory and spooled each second, so that a flood of such requests takes a few bytes a second on disk.
//! A kill therefore loses the counts of a second at most; an orderly end loses none. There are no more of them than sites
//! times reasons.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wakeline_proto::Reason;
use wakeline_spool::SegmentLog;

use crate::http::now_ms;
use crate::judge::groups::{encoded, record, tallied};

const SPOOL_EVERY: Duration = Duration::from_secs(1);
/// Requests with a key that nobody knows belong to no site.
pub(crate) const UNKNOWN_SITE: u64 = 0;

/// What was not spooled yet, by site and reason.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<BTreeMap<(u64, Reason), u64>>);

impl Tallies {
    /// Counts refused requests or events.
    pub(crate) fn add(&self, site: u64, reason: Reason, count: u64) {
        self.put_back([((site, reason), count)]);
    }

    /// Spools what was counted each second, and once more when `stop` fires.
    pub(crate) async fn run(self: Arc<Self>, log: SegmentLog, stop: CancellationToken) {
        let mut every = tokio::time::interval(SPOOL_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            self.spool(&log).await;
        }
        self.spool(&log).await;
    }

    async fn spool(&self, log: &SegmentLog) {
        let taken = std::mem::take(&mut *self.lock());
        let mut sites: BTreeMap<u64, Vec<(Reason, u64)>> = BTreeMap::new();
        for ((site, reason), count) in &taken {
            sites.entry(*site).or_default().push((*reason, *count));
        }
        let now = now_ms();
        let groups = sites
            .into_iter()
            .map(|(site, tallies)| encoded(&tallied(site, now, tallies)));
        let Some((payload, span)) = record(groups) else {
            return;
        };
        if let Err(error) = log.append(payload, span).await {
            tracing::debug!(%error, "counts of refused requests wait for the spool");
            self.put_back(taken);
        }
    }

    fn put_back(&self, counts: impl IntoIterator<Item = ((u64, Reason), u64)>) {
        let mut all = self.lock();
        for (key, count) in counts {
            let sum = all.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u64, Reason), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
