//! The lake of this aggregator: what feeds it, keeps it in order, and answers questions from it.

mod columns;
mod events;
mod follow;
mod report;
mod rows;

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wakeline_engine::day_window;
use wakeline_lake::{ErasedEvents, Lake, LakeError, S3Options, Store};

pub(crate) use self::events::LakeEvents;
pub(crate) use self::follow::FollowError;
use self::follow::Follower;
pub use self::report::LakeReport;
use crate::causes::Causes;
use crate::config::Config;
use crate::generations::Generations;
use crate::lock::FolderLock;
use crate::log::EventLog;
use crate::process::{at_first_event, engine_rules};
use crate::server::now_ms;
use crate::state::StateStore;

/// What failed is tried again after this, then after twice as long, …
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Quiet time after which the log is looked at again.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is looked whether rows are worth a file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often files that nobody names are looked for, and events that are too old.
const TIDY_EVERY: Duration = Duration::from_secs(300);
/// How much others come first, from 0 (not at all) to 19.
const NICENESS: i32 = 10;
/// What is told before the lake was tried to be opened.
const OPENING: &str = "it is being opened";
/// How long a question waits for that.
const FIRST_TRY: Duration = Duration::from_secs(3);
/// How often it is looked whether it is.
const OPEN_LOOK: Duration = Duration::from_millis(10);
/// How long a command waits for the lake to be open.
const OPEN: Duration = Duration::from_secs(10);

/// Why the lake does not answer.
#[derive(Debug, thiserror::Error)]
pub enum LakeUnavailable {
    /// It is switched off.
    #[error("there is no lake: lake.enabled is false")]
    Off,
    /// It is not open.
    #[error("the lake is not open: {0}")]
    Closed(String),
    /// It said no.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

/// Gives the lake the next counted events; false if there are none yet.
async fn feed<L: EventLog, S: StateStore>(
    lake: &Lake,
    follower: &mut Follower<L>,
    store: impl Fn() -> Option<Arc<S>>,
) -> Result<bool, FollowError> {
    let from = lake.snapshot().end;
    let Some((to, rows)) = follower.next(from, u64::MAX, store).await? else {
        return Ok(false);
    };
    lake.append(from, to, &rows)?;
    Ok(true)
}

/// The lake, and what is done about it in the background.
pub(crate) struct LakeService {
    config: Config,
    generations: Weak<Generations>,
    /// Once it is open.
    lake: OnceLock<Arc<Lake>>,
    trouble: Mutex<Option<String>>,
    /// The offset up to which it has everything.
    end: watch::Sender<u64>,
    stop: CancellationToken,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl LakeService {
    /// Opens the lake in the background and begins to feed it, until `stop` says otherwise.
    pub(crate) fn start(
        generations: &Arc<Generations>,
        config: &Config,
        stop: CancellationToken,
        lock: Arc<FolderLock>,
    ) -> std::io::Result<Arc<Self>> {
        let service = Arc::new(Self {
            config: config.clone(),
            generations: Arc::downgrade(generations),
            lake: OnceLock::new(),
            trouble: Mutex::new(Some(OPENING.to_owned())),
            end: watch::Sender::new(0),
            stop,
            thread: Mutex::default(),
        });
        let (runtime, running) = (Handle::current(), Arc::clone(&service));
        let thread = thread::Builder::new()
            .name("lake".to_owned())
            .spawn(move || {
                // Of this thread, on Linux: what counts events comes first. Where it is refused it runs like everything else.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                let stop = running.stop.clone();
                runtime.block_on(stop.run_until_cancelled(running.run()));
                drop(lock);
            })?;
        *service
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(service)
    }

    async fn run(&self) {
        let lake = self.open().await;
        let _ = self.lake.set(Arc::clone(&lake));
        tokio::join!(self.follow(&lake), self.keep(&lake));
    }

    /// Opens the lake, as soon as that is possible.
    async fn open(&self) -> Arc<Lake> {
        let mut wait = RETRY_FIRST;
        loop {
            match self.try_open().await {
                Ok(lake) => {
                    let damage = lake.verify().await.err();
                    self.tell(damage.map(|damage| Causes(&damage).to_string()));
                    self.end.send_replace(lake.snapshot().end);
                    return Arc::new(lake);
                }
                Err(error) => self.tell(Some(error)),
            }
            tokio::time::sleep(wait).await;
            wait = RETRY_MAX.min(wait * 2);
        }
    }

    async fn try_open(&self) -> Result<Lake, String> {
        let generations = self.generations.upgrade().ok_or("the server stops")?;
        let config = &self.config.lake;
        let store = match config.url() {
            Some(url) => {
                let s3 = S3Options {
                    endpoint: config.s3_endpoint.clone(),
                    region: config.s3_region.clone(),
                    key: config
                        .s3_access_key_id
                        .clone()
                        .zip(config.s3_secret_access_key.clone()),
                };
                Store::open(url, &s3)
            }
            None => Store::folder(&self.config.data.join("lake")),
        };
        let words = |error: LakeError| Causes(&error).to_string();
        let (log, writer) = generations.names();
        let lake = Lake::open(store.map_err(words)?, log, config.buckets, writer).await;
        let lake = lake.map_err(words)?;
        let (end, next) = (lake.snapshot().end, generations.log.next());
        if end > next {
            return Err(format!(
                "the lake has the log up to offset {end}, but that ends at {next}: this is an older copy of the data folder; \
                 give it a lake of its own (lake.url)"
            ));
        }
        tracing::info!(lake = lake.store().name(), end, "opened the lake");
        Ok(lake)
    }

    /// Keeps what is wrong, and logs it when it changes.
    fn tell(&self, why: Option<String>) {
        let mut before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != why {
            if let Some(why) = &why {
                tracing::error!(why, "the lake is in trouble, and is tried again");
            } else {
                tracing::debug!("the lake is well");
            }
            *before = why;
        }
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    /// Feeds the lake.
    async fn follow(&self, lake: &Arc<Lake>) {
        let Some((log, control)) = (self.generations.upgrade())
            .map(|generations| (generations.log.clone(), Arc::clone(&generations.control)))
        else {
            return;
        };
        let mut follower = match Follower::new(&log, &control, None) {
            Ok(follower) => follower,
            Err(error) => return self.tell(Some(error.to_string())),
        };
        let mut log_end = log.end();
        let mut wait = RETRY_FIRST;
        loop {
            if lake.snapshot().tail_bytes() >= self.config.lake.tail_bytes {
                // Files can't be written: the log keeps what does not fit.
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            log_end.mark_unchanged();
            let store = || self.generations.upgrade()?.store();
            match feed(lake, &mut follower, store).await {
                Ok(true) => {
                    wait = RETRY_FIRST;
                    self.end.send_replace(lake.snapshot().end);
                }
                Ok(false) => {
                    if let Ok(Err(_closed)) = tokio::time::timeout(QUIET, log_end.changed()).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %Causes(&error), "feed the lake, will try again");
                    tokio::time::sleep(wait).await;
                    wait = RETRY_MAX.min(wait * 2);
                }
            }
        }
    }

    /// Makes files, merges them, and lets go of what is not wanted any more.
    async fn keep(&self, lake: &Arc<Lake>) {
        let config = &self.config.lake;
        let mut flushed = Instant::now();
        let mut tidied: Option<Instant> = None;
        // Stays told until it is repaired.
        let mut damage = self.trouble();
        let mut wait = RETRY_FIRST;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let due = flushed.elapsed() >= Duration::from_millis(config.flush_interval_ms)
                || lake.snapshot().tail_bytes() >= config.flush_bytes;
            let tidy = tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY);
            if !due && !tidy {
                continue;
            }
            match self.work(lake, due, tidy).await {
                Ok(()) => {
                    wait = RETRY_FIRST;
                    if due {
                        flushed = Instant::now();
                    }
                    if tidy {
                        tidied = Some(Instant::now());
                        damage = lake
                            .verify()
                            .await
                            .err()
                            .map(|why| Causes(&why).to_string());
                    }
                    self.tell(damage.clone());
                }
                Err(error) => {
                    self.tell(Some(Causes(&error).to_string()));
                    tokio::time::sleep(wait).await;
                    wait = RETRY_MAX.min(wait * 2);
                }
            }
        }
    }

    async fn work(&self, lake: &Lake, flush: bool, tidy: bool) -> Result<(), LakeError> {
        if flush {
            lake.flush().await?;
            // A history of many days makes many files: those that came meanwhile come first.
            let full = || lake.snapshot().tail_bytes() >= self.config.lake.flush_bytes;
            while lake.compact().await? && !full() {}
        }
        if tidy {
            lake.resume_erasures().await?;
            let Some(generations) = self.generations.upgrade() else {
                return Ok(());
            };
            let control = generations.control.snapshot();
            let now = now_ms();
            let today = move |site: u64| {
                let rules = engine_rules(site, &at_first_event(&control, site));
                day_window(&rules.timezone, now) as i32
            };
            lake.expire(today).await?;
            lake.clean(now).await?;
        }
        Ok(())
    }

    /// The lake, if it is open.
    pub(crate) fn lake(&self) -> Result<&Arc<Lake>, LakeUnavailable> {
        self.lake.get().ok_or_else(|| {
            LakeUnavailable::Closed(self.trouble().unwrap_or_else(|| OPENING.to_owned()))
        })
    }

    /// The lake, if it is open; just after the start it may be about to.
    async fn opened(&self) -> Result<&Arc<Lake>, LakeUnavailable> {
        let until = Instant::now() + FIRST_TRY;
        loop {
            let lake = self.lake();
            let trouble = self.trouble();
            let opening = trouble.is_none_or(|why| why == OPENING);
            if lake.is_ok() || !opening || Instant::now() >= until {
                return lake;
            }
            tokio::time::sleep(OPEN_LOOK).await;
        }
    }

    /// Waits for the lake to have what the figures have now, but no longer than `most`.
    async fn catch_up(&self, most: Duration) {
        let Some(wanted) = (self.generations.upgrade()).map(|at| at.watermark().applied) else {
            return;
        };
        let mut end = self.end.subscribe();
        let reached = end.wait_for(|end| *end >= wanted);
        let _ = tokio::time::timeout(most, reached).await;
    }

    /// Waits until the lake is open and has all that the log has now, or says what is in the way.
    pub(crate) async fn ready(&self) -> Result<(), LakeUnavailable> {
        let until = Instant::now() + OPEN;
        while self.lake.get().is_none() {
            if Instant::now() >= until {
                return self.lake().map(drop);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let Some(wanted) = (self.generations.upgrade()).map(|at| *at.log.end().borrow()) else {
            return Ok(());
        };
        let mut end = self.end.subscribe();
        let _ = end.wait_for(|end| *end >= wanted).await;
        Ok(())
    }

    /// Removes a visitor's events so far, and what comes later of that time.
    pub(crate) async fn erase(
        &self,
        site: u64,
        visitor: &str,
        until_ms: i64,
    ) -> Result<ErasedEvents, LakeUnavailable> {
        let hash = crate::state::VisitorKey::new(site, visitor).hash;
        let visitor = format!("{hash:032x}");
        Ok(self.lake()?.erase(site, &visitor, until_ms).await?)
    }

    /// Begins anew, from the beginning of the log.
    pub(crate) async fn rebuild(&self) -> Result<(), LakeUnavailable> {
        let lake = self.lake()?;
        lake.reset().await?;
        self.end.send_replace(0);
        Ok(())
    }

    /// How the lake is.
    pub(crate) fn report(&self) -> LakeReport {
        LakeReport::new(
            self.lake.get().map(|lake| (&**lake, lake.snapshot())),
            self.trouble(),
        )
    }

    /// Ends in order: what is in no file yet becomes one, if that is done by the deadline; else the next start does it.
    pub(crate) async fn stop(&self, deadline: tokio::time::Instant) {
        self.halt();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        if let Some(lake) = self.lake.get() {
            let flushed = tokio::time::timeout_at(deadline, lake.flush()).await;
            if let Ok(Err(error)) = flushed {
                tracing::warn!(error = %Causes(&error), "write the newest events to the lake");
            }
        }
    }

    /// Stops at once, as a crash would.
    pub(crate) fn halt(&self) {
        self.stop.cancel();
    }
}
