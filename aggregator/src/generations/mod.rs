//! Generations of state: the one in use, and how another takes its place.
//!
//! State is made from the log, so it can be made anew at any time: into a generation of its own, beside the one in use,
//! which goes on. When the new one is as far as the log, the old one is stopped, the new one catches up with it, and one
//! transaction of the control store puts it in the old one's place. Readers hold one generation for as long as they need
//! it. A process that dies before that transaction leaves the old generation in use. The one before is kept as it was: to
//! go back is to let it catch up, and to put it in the other's place. What is neither is removed.
//!
//! The state need not be there: while Redis is away at the start, everything else works, and collectors are answered.

mod open;
mod owner;
mod read;
mod rebuild;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub(crate) use self::open::write_durably;
pub use self::rebuild::{Listed, RebuildError, Rebuilt, Step};
use crate::config::Config;
use crate::control::Control;
use crate::health::Troubles;
use crate::influx::{Exporting, Influx, MetricsReport, Pending, Sources};
use crate::lake::{LakeReport, LakeService, LakeUnavailable};
use crate::ledger::{DeadLetters, StateFates};
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::{EventLog as _, SegmentEventLog};
use crate::metrics::{MetricStore, StateMetrics, Watermark};
use crate::process::{Board, Outage, Positions, Processing, Recovered, Shared, recover};
use crate::server::StartError;
use crate::state::{Owner, RedisState, StateError, StateStore as _, Store};
use crate::stats::Stats;

/// The state is made durable this often; what is lost in a crash is replayed from the log.
const PERSIST_EVERY: Duration = Duration::from_secs(1);
/// State that can't be had is tried again after this, then after twice as long, …
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A generation that is read and written.
pub(crate) struct InUse {
    number: u32,
    store: Arc<Store>,
    board: Arc<Board>,
    metrics: Arc<dyn MetricStore>,
    /// What it has to export, and what does that; if it is exported.
    pending: Option<Arc<Pending>>,
    exporting: Option<Exporting>,
    fates: StateFates<Store>,
}

/// All generations of a data folder, and what they are made by.
pub(crate) struct Generations {
    config: Config,
    pub(crate) control: Arc<Control>,
    pub(crate) log: SegmentEventLog,
    pub(crate) live: Arc<Live>,
    pub(crate) stats: Arc<Stats>,
    /// Where refused events are kept.
    pub(crate) letters: Arc<DeadLetters>,
    /// How far edges are; of what is in the state only once that is there.
    pub(crate) positions: Arc<Positions>,
    pub(crate) troubles: Arc<Troubles>,
    /// Where figures are exported to.
    influx: Option<Influx>,
    lock: Arc<FolderLock>,
    /// Who writes to Redis.
    owner: Owner,
    /// The way to Redis, once there is one.
    redis: Mutex<Option<RedisState>>,
    /// `None` until the state is there.
    in_use: RwLock<Option<Arc<InUse>>>,
    /// The stores of generations that were in use, as long as somebody reads them.
    replaced: Mutex<HashMap<u32, Weak<Store>>>,
    /// What makes the generation in use from the log.
    processing: tokio::sync::Mutex<Option<Processing>>,
    /// Every event as Parquet; `None` until it is started, and where there is none.
    lake: OnceLock<Arc<LakeService>>,
    /// Held by whoever rebuilds.
    rebuilding: tokio::sync::Mutex<()>,
    failure: Mutex<Option<StartError>>,
    failed: CancellationToken,
    /// Ends what runs in the background.
    end: CancellationToken,
    /// The server is about to stop: no one waits any longer for what is being made anew.
    stopping: CancellationToken,
}

impl Drop for Generations {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Generations {
    /// Makes the state available and begins to process the log. If it can't be had now, but may be later, as when Redis is
    /// away, that goes on in the background.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), StartError> {
        match self.bring_up().await {
            Ok(()) => {}
            Err(error) if error.may_pass() => {
                self.log.raise_stamp(open::newest_stamp(&self.log).await?);
                self.tell(&error);
                tokio::spawn(Arc::clone(self).wait_for_state(self.end.clone()));
            }
            Err(error) => return Err(error),
        }
        tokio::spawn(persist(Arc::downgrade(self), self.end.clone()));
        Ok(())
    }

    async fn wait_for_state(self: Arc<Self>, end: CancellationToken) {
        let mut wait = RETRY_FIRST;
        while end
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            match self.bring_up().await {
                Ok(()) => {
                    self.troubles.tell(None);
                    return;
                }
                Err(error) if error.may_pass() => self.tell(&error),
                Err(error) => return self.fail(error),
            }
            wait = RETRY_MAX.min(wait * 2);
        }
    }

    fn tell(&self, error: &StartError) {
        let why = crate::causes::Causes(error).to_string();
        self.troubles.tell(Some(format!(
            "{why}; figures wait for it, and nothing is lost: the log has all that collectors send"
        )));
    }

    /// Opens the generation in use, and starts to process the log into it.
    async fn bring_up(self: &Arc<Self>) -> Result<(), StartError> {
        let number = self.choose().await?;
        let store = self.open(number).await?;
        let Recovered {
            progress,
            positions,
            stamp_ms,
        } = recover(&*store, &self.log, self.partitions())
            .await
            .map_err(|error| self.failed_recovery(error))?;
        self.positions.merge(positions);
        self.log.raise_stamp(stamp_ms);
        let offsets = progress.iter().map(|at| at.next_offset);
        let read = offsets.clone().min().unwrap_or(0);
        let applied_ms = progress.iter().map(|at| at.stamp_ms).max().unwrap_or(0);
        let board = Arc::new(Board::new(self.log.end(), read, offsets, applied_ms));
        let mut processing = self.processing.lock().await;
        let pending = self.pending();
        let shared = self.shared(&store, &board, &self.stats, pending.as_ref(), true);
        *processing = Some(
            Processing::start(&shared, &self.config, &self.log, progress)
                .map_err(StartError::Data)?,
        );
        self.put_in_use(number, store, board, pending);
        self.watch_redis();
        tokio::spawn(Arc::clone(self).remove_unused());
        Ok(())
    }

    /// Begins to feed the lake, if there is to be one.
    pub(crate) fn start_lake(self: &Arc<Self>) -> Result<(), StartError> {
        if self.config.lake.enabled {
            let stop = self.end.child_token();
            let lake = LakeService::start(self, &self.config, stop, Arc::clone(&self.lock));
            // It is started once.
            let _ = self.lake.set(lake.map_err(StartError::Data)?);
        }
        Ok(())
    }

    /// The lake.
    pub(crate) fn lake(&self) -> Result<&Arc<LakeService>, LakeUnavailable> {
        self.lake.get().ok_or(LakeUnavailable::Off)
    }

    /// How the lake is, if there is one.
    pub(crate) fn lake_report(&self) -> Option<LakeReport> {
        self.lake.get().map(|lake| lake.report())
    }

    /// The random names of the log, and of this process.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.owner.log, &self.owner.name)
    }

    /// The state in use, if it is there.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.in_use().map(|in_use| Arc::clone(&in_use.store))
    }

    fn partitions(&self) -> u16 {
        self.config.log.partitions.get()
    }

    /// What processing the log into a store needs. `seen`: live listeners, counters and dead letters take part; else this
    /// has happened before.
    fn shared(
        &self,
        store: &Arc<Store>,
        board: &Arc<Board>,
        stats: &Arc<Stats>,
        pending: Option<&Arc<Pending>>,
        seen: bool,
    ) -> Arc<Shared<Store>> {
        Arc::new(Shared {
            store: Arc::clone(store),
            control: Arc::clone(&self.control),
            live: if seen {
                Arc::clone(&self.live)
            } else {
                Arc::default()
            },
            stats: Arc::clone(stats),
            board: Arc::clone(board),
            letters: seen.then(|| Arc::clone(&self.letters)),
            pending: pending.cloned(),
            outage: Outage::default(),
            _lock: Arc::clone(&self.lock),
        })
    }

    /// The generation that readers see from now on.
    fn put_in_use(
        &self,
        number: u32,
        store: Arc<Store>,
        board: Arc<Board>,
        pending: Option<Arc<Pending>>,
    ) {
        let (metrics, exporting) = self.export(number, &store, &board, pending.as_ref());
        let fates = StateFates {
            store: Arc::clone(&store),
            partitions: self.partitions(),
        };
        let new = Arc::new(InUse {
            number,
            store,
            board,
            metrics,
            pending,
            exporting,
            fates,
        });
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        let Some(old) = in_use.replace(new) else {
            return;
        };
        if let Some(exporting) = &old.exporting {
            exporting.end();
        }
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|_, store| store.strong_count() > 0);
        replaced.insert(old.number, Arc::downgrade(&old.store));
    }

    /// Marks for a generation, if it will be exported.
    fn pending(&self) -> Option<Arc<Pending>> {
        self.influx.as_ref().map(Influx::pending)
    }

    /// What queries of a generation are answered from, and what exports it.
    fn export(
        &self,
        number: u32,
        store: &Arc<Store>,
        board: &Arc<Board>,
        pending: Option<&Arc<Pending>>,
    ) -> (Arc<dyn MetricStore>, Option<Exporting>) {
        let state = || StateMetrics {
            store: Arc::clone(store),
            partitions: self.partitions(),
            max_values: self.config.query.max_values,
            board: Arc::clone(board),
        };
        let (Some(influx), Some(pending)) = (&self.influx, pending) else {
            return (Arc::new(state()), None);
        };
        let sources = Sources {
            store: Arc::clone(store),
            metrics: state(),
            control: Arc::clone(&self.control),
            partitions: self.partitions(),
            state: number,
            log: self.owner.log.clone(),
            clock: crate::server::now_ms,
        };
        match influx.start(pending, sources, state(), Arc::clone(&self.lock)) {
            Ok((metrics, exporting)) => (metrics, Some(exporting)),
            Err(error) => {
                tracing::error!(%error, "start a thread that exports figures: they are in the state only");
                (Arc::new(state()), None)
            }
        }
    }

    /// How the export is.
    pub(crate) fn export_report(&self) -> MetricsReport {
        let influx = self.influx.as_ref();
        influx.map_or_else(MetricsReport::of_state, Influx::report)
    }

    /// The generation in use, if the state is there.
    pub(crate) fn in_use(&self) -> Option<Arc<InUse>> {
        self.in_use
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How far the generation in use is.
    pub(crate) fn watermark(&self) -> Watermark {
        self.in_use().map_or_else(
            || Watermark {
                log_end: *self.log.end().borrow(),
                ..Watermark::default()
            },
            |in_use| in_use.board.watermark(),
        )
    }

    /// The server can't go on: whoever runs it has to end it.
    fn fail(&self, error: StartError) {
        tracing::error!(error = %crate::causes::Causes(&error), "the aggregator can't go on");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.failed.cancel();
    }

    /// Returns when the server can't go on, and tells the first who asks why.
    pub(crate) async fn failed(&self) -> StartError {
        self.failed.cancelled().await;
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match failure {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Ends whoever waits for a rebuild, so that connections end, too.
    pub(crate) fn end_rebuilds(&self) {
        self.stopping.cancel();
    }

    /// Finishes what was read from the log and makes it durable. `deadline` says to leave the rest to the next start.
    pub(crate) async fn stop(&self, deadline: tokio::time::Instant) {
        if let Some(lake) = self.lake.get() {
            lake.stop(deadline).await;
        }
        self.end.cancel();
        if let Some(processing) = self.processing.lock().await.take() {
            processing.stop(tokio::time::sleep_until(deadline)).await;
        }
        if let Some(in_use) = self.in_use()
            && let Some(exporting) = &in_use.exporting
        {
            exporting.finish(deadline).await;
        }
        self.log.clone().close().await;
        if let Some(in_use) = self.in_use()
            && let Err(error) = in_use.store.persist().await
        {
            tracing::warn!(error = %crate::causes::Causes(&error), "make the state durable");
        }
        self.release().await;
    }

    /// Gives Redis's lease back, so that another place need not wait for its end.
    pub(crate) async fn release(&self) {
        if let Some(redis) = self.redis_now()
            && let Err(error) = redis.release().await
        {
            tracing::warn!(error = %crate::causes::Causes(&error), "give the state's lease back");
        }
    }

    /// Stops at once, as a crash would.
    pub(crate) fn halt(&self) {
        self.end.cancel();
        // Whoever holds it is about to see that the end has come.
        if let Ok(mut processing) = self.processing.try_lock() {
            processing.take();
        }
        if let Some(redis) = self.redis_now() {
            redis.abandon();
        }
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn redis_now(&self) -> Option<RedisState> {
        self.redis
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the server when another aggregator has the state.
    fn watch_redis(self: &Arc<Self>) {
        if let Some(redis) = self.redis_now() {
            let over = redis.over().clone();
            let (weak, end) = (Arc::downgrade(self), self.end.clone());
            tokio::spawn(async move {
                if end.run_until_cancelled(over.cancelled()).await.is_some()
                    && let Some(generations) = weak.upgrade()
                {
                    generations.fail(StartError::Replaced);
                }
            });
        }
    }
}

/// Keeps what a crash would have to replay short, and tells how the store is.
async fn persist(generations: std::sync::Weak<Generations>, end: CancellationToken) {
    let mut every = tokio::time::interval(PERSIST_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        let Some(generations) = generations.upgrade() else {
            return;
        };
        let Some(in_use) = generations.in_use() else {
            continue; // told by whoever waits for it
        };
        let runtime = tokio::runtime::Handle::current();
        let done =
            tokio::task::spawn_blocking(move || runtime.block_on(in_use.store.persist())).await;
        if let Ok(done) = done {
            let trouble = done.err();
            let why = trouble.map(|error: StateError| crate::causes::Causes(&error).to_string());
            generations.troubles.tell(why);
        }
    }
}
