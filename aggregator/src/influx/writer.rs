//! Writes what is dirty: minutes each second, hours each 10 s, days and their breakdowns each minute.

mod deliver;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_util::sync::CancellationToken;
use wakeline_engine::window::start_of_window;
use wakeline_engine::{Dimension, Grain, Row, RowKey};

use self::deliver::{Fate, deliver};
use super::client::InfluxError;
use super::known::{Fields, Known};
use super::line::Value;
use super::pending::Marks;
use super::points::{self, Points};
use super::store::Shared;
use crate::causes::Causes;
use crate::control::Control;
use crate::metrics::{MetricError, MetricStore, StateMetrics};
use crate::state::{Mark, RowAddress, SiteWindow, StateError, StateStore};
use crate::stats::Stats;

/// The shortest time between two writes of a window.
const TICK: Duration = Duration::from_secs(1);
/// The same of minutes that are over: visits go on in them.
const PAST_MINUTES_EVERY: Duration = Duration::from_secs(60);
/// The same of hours, and of days. A little less than so many ticks, since these are not quite regular.
const HOURS_EVERY: Duration = Duration::from_millis(9_900);
const DAYS_EVERY: Duration = Duration::from_millis(59_900);
/// A minute is over so long after its end.
const OVER_AFTER_MS: i64 = 60_000;
/// A window that InfluxDB refused is tried again after this.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
/// The bucket is looked at this often: whoever makes it anew gets everything again.
const BUCKET_EVERY: Duration = Duration::from_secs(60);
/// Windows that are read and written together; days have many lines.
const WINDOWS_AT_ONCE: usize = 2_000;
const DAYS_AT_ONCE: usize = 20;
/// Marks that are read from a partition at once.
const MARKS_AT_ONCE: usize = 50_000;
/// Fields that are remembered, so that only what changed is written: about 100 bytes each.
const KNOWN_FIELDS: usize = 500_000;
/// Partitions that are read at a time.
const READS: usize = 8;
/// After a failure this pause, then one twice as long, …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long the last writes may take when the server stops: the rest is written when it starts again.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// InfluxDB drops points at the end of their retention; they are read from the state some time before.
const RETENTION_MARGIN_S: i64 = 86_400;

/// Why windows are not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Influx(#[from] InfluxError),
    #[error("read what is to be written to InfluxDB")]
    State(#[from] StateError),
    #[error(transparent)]
    Metrics(#[from] MetricError),
    #[error("remember which bucket is written")]
    Bucket(#[source] io::Error),
}

/// Where the writer gets and leaves things.
pub(crate) struct Sources<S> {
    pub(crate) store: Arc<S>,
    /// The rows of `store`, with their names.
    pub(crate) metrics: StateMetrics<S>,
    pub(crate) control: Arc<Control>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) partitions: u16,
    /// Unix milliseconds.
    pub(crate) clock: fn() -> i64,
}

/// The one writer of all series of this process.
pub(super) struct Writer<S> {
    from: Sources<S>,
    to: Arc<Shared>,
    /// File that says which bucket has everything that is not marked.
    bucket_file: PathBuf,
    known: Known,
    /// Until when refused windows are left alone.
    refused: HashMap<SiteWindow, Instant>,
    bucket_checked: Option<Instant>,
    /// The last attempt failed, and the next is after this pause.
    pause: Option<Duration>,
}

/// A window on its way.
struct Work {
    window: SiteWindow,
    marks: Marks,
    lines: Vec<String>,
    /// What InfluxDB has of it then.
    fields: Fields,
}

impl<S: StateStore> Writer<S> {
    pub(super) fn new(from: Sources<S>, bucket_file: PathBuf, to: Arc<Shared>) -> Self {
        Self {
            from,
            to,
            bucket_file,
            known: Known::new(KNOWN_FIELDS),
            refused: HashMap::new(),
            bucket_checked: None,
            pause: None,
        }
    }

    /// Writes until `end`, and if it is to `finish` what is left then, if that is done quickly. The state may block the
    /// thread.
    pub(super) async fn run(mut self, end: CancellationToken, finish: &AtomicBool) {
        let mut every = tokio::time::interval(TICK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while end.run_until_cancelled(every.tick()).await.is_some() {
            // What is on its way at the end stays marked.
            let Some(done) = end.run_until_cancelled(self.round(false)).await else {
                break;
            };
            self.to
                .report
                .change(|report| report.drained = self.to.pending.is_drained());
            match done {
                Ok(()) => {
                    self.pause = None;
                    self.to.report.tell_writing(None);
                }
                Err(error) => {
                    let pause = self.pause_after(&error);
                    self.to
                        .report
                        .tell_writing(Some(Causes(&error).to_string()));
                    end.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        if self.pause.is_none() && finish.load(Ordering::Acquire) {
            let last = self.round(true);
            if !matches!(tokio::time::timeout(LAST_WRITES, last).await, Ok(Ok(()))) {
                tracing::info!("what is not in InfluxDB yet will be written at the next start");
            }
        }
    }

    fn pause_after(&mut self, error: &WriteError) -> Duration {
        let next = self.pause.map_or(FIRST_PAUSE, |last| last * 2);
        let next = next.min(MAX_PAUSE);
        self.pause = Some(next);
        match error {
            WriteError::Influx(InfluxError::Busy {
                retry_after: Some(asked),
                ..
            }) => *asked,
            _ => next,
        }
    }

    /// Writes all that is due; with `all` all that is dirty.
    async fn round(&mut self, all: bool) -> Result<(), WriteError> {
        if self.pause.is_some() {
            self.to.client.health().await?;
        }
        let checked = self.bucket_checked;
        if checked.is_none_or(|at| at.elapsed() >= BUCKET_EVERY) {
            self.check_bucket().await?;
        }
        loop {
            self.read_marks().await?;
            let taken = self.take(all);
            if taken.is_empty() {
                break;
            }
            self.write(taken).await?;
        }
        let waiting = self.to.pending.len() as u64;
        self.to
            .report
            .change(|report| report.pending_windows = waiting);
        Ok(())
    }

    /// Makes sure that the bucket is the one that was written before; else everything is marked.
    async fn check_bucket(&mut self) -> Result<(), WriteError> {
        let bucket = self.to.client.bucket().await?;
        let kept_from = bucket.keeps_s.map_or(i64::MIN, |seconds| {
            (self.from.clock)() / 1_000 - seconds + RETENTION_MARGIN_S
        });
        self.to.kept_from.store(kept_from, Ordering::Release);
        let now = format!("{} {}\n", bucket.id, bucket.keeps_s.unwrap_or(0));
        let file = &self.bucket_file;
        let before = match std::fs::read_to_string(file) {
            Ok(before) => before,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(WriteError::Bucket(error)),
        };
        if before != now {
            tracing::info!("the bucket in InfluxDB is a new one: everything will be written");
            self.known.clear();
            self.to.pending.forget(0..self.from.partitions);
            self.mark_all().await?;
            crate::generations::write_durably(file, &now).map_err(WriteError::Bucket)?;
            self.to.pending.forget(0..self.from.partitions);
        }
        self.bucket_checked = Some(Instant::now());
        Ok(())
    }

    /// Marks every window that has rows.
    async fn mark_all(&self) -> Result<(), StateError> {
        let store = &self.from.store;
        for partition in 0..self.from.partitions {
            for site in store.load(partition).await?.rules.into_keys() {
                for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
                    let windows = i64::MIN..i64::MAX;
                    let rows = store
                        .scan(partition, site, grain, Dimension::Total, windows)
                        .await?;
                    let windows = rows.into_iter().map(|(window, _, _)| SiteWindow {
                        site,
                        grain,
                        window,
                    });
                    store.mark(partition, &windows.collect::<Vec<_>>()).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads marks that only the state has, as far as there is room.
    async fn read_marks(&self) -> Result<(), StateError> {
        for (partition, event) in self.to.pending.unknown() {
            let room = self.to.pending.room().min(MARKS_AT_ONCE);
            if room == 0 {
                break;
            }
            let marks = self.from.store.marks(partition, room).await?;
            let all = marks.len() < room;
            self.to.pending.read(partition, event, marks, all);
        }
        Ok(())
    }

    /// What is to be written next: the present first.
    fn take(&mut self, all: bool) -> Vec<(SiteWindow, Marks)> {
        let now = Instant::now();
        let now_ms = (self.from.clock)();
        self.refused.retain(|_, until| *until > now);
        let due = |window: &SiteWindow| {
            let every = match window.grain {
                Grain::Minute if is_over(window.window, now_ms) => PAST_MINUTES_EVERY,
                Grain::Minute => Duration::ZERO,
                Grain::Hour => HOURS_EVERY,
                Grain::Day => DAYS_EVERY,
            };
            let waits = self.known.age(window, now).is_some_and(|age| age < every);
            (all || !waits) && !self.refused.contains_key(window) && self.owns(window.site)
        };
        let pending = &self.to.pending;
        let mut taken = pending.take(WINDOWS_AT_ONCE, |window| {
            window.grain == Grain::Minute && !is_over(window.window, now_ms) && due(window)
        });
        let most = WINDOWS_AT_ONCE - taken.len();
        taken.extend(pending.take(most, |at| at.grain != Grain::Day && due(at)));
        taken.extend(pending.take(DAYS_AT_ONCE, |at| at.grain == Grain::Day && due(at)));
        taken
    }

    /// Whether this process writes the series of a site: it owns all partitions.
    fn owns(&self, site: u64) -> bool {
        (0..self.from.partitions).contains(&points::owner(site, self.from.partitions))
    }

    /// Writes windows and takes their marks back; those that are not written are dirty again.
    async fn write(&mut self, taken: Vec<(SiteWindow, Marks)>) -> Result<(), WriteError> {
        let fallbacks = self.from.stats.state_fallbacks.get();
        let work = match self.prepare(&taken).await {
            Ok(work) => work,
            Err(error) => {
                self.to.pending.finished(taken, false);
                return Err(error);
            }
        };
        let lines: Vec<&str> = work
            .iter()
            .flat_map(|at| &at.lines)
            .map(|at| &**at)
            .collect();
        let (fates, error) = deliver(&self.to, &lines, self.from.clock).await;
        drop(lines);

        let now = Instant::now();
        let mut fates = fates.into_iter();
        let (mut written, mut unwritten) = (Vec::new(), Vec::new());
        for at in work {
            let fates: Vec<Fate> = fates.by_ref().take(at.lines.len()).collect();
            if fates.iter().all(|fate| *fate == Fate::Written) && is_datable(&at.window) {
                self.known.put(at.window, at.fields, now);
                written.push((at.window, at.marks));
                continue;
            }
            // A write that timed out may have happened: what is there is not known.
            self.known.forget(&at.window);
            if !fates.contains(&Fate::Left) {
                self.refused.insert(at.window, now + REFUSED_AGAIN);
            }
            unwritten.push((at.window, at.marks));
        }
        let marks = by_partition(&written);
        self.to.pending.finished(unwritten, false);
        // What was read before a store fell back may be more than it has now, or less: then marks stay.
        if fallbacks == self.from.stats.state_fallbacks.get() {
            let mut unmarked = Ok(());
            for (partition, marks) in marks {
                unmarked = unmarked.and(self.from.store.unmark(partition, &marks).await);
            }
            self.to.pending.finished(written, true);
            unmarked?;
        } else {
            self.to.pending.finished(written, false);
        }
        if let Some(error) = error {
            if matches!(error, InfluxError::NoBucket(_)) {
                self.bucket_checked = None;
                self.to.pending.forget(0..self.from.partitions);
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Sums rows over all partitions, and finds the lines that differ from what InfluxDB has.
    async fn prepare(&mut self, taken: &[(SiteWindow, Marks)]) -> Result<Vec<Work>, WriteError> {
        let windows: Vec<SiteWindow> = taken.iter().map(|(window, _)| *window).collect();
        let rows = self.totals(&windows).await?;
        let kept_from = self.to.kept_from.load(Ordering::Acquire);
        let mut work = Vec::with_capacity(taken.len());
        for ((window, marks), row) in taken.iter().zip(rows) {
            let (mut lines, mut fields) = (Vec::new(), Fields::new());
            let seconds = points::time(window.grain, window.window);
            if let Some(seconds) = seconds.filter(|seconds| *seconds >= kept_from) {
                let mut points = Points::new();
                points::add_totals(&mut points, window.site, window.grain, &row);
                if window.grain == Grain::Day {
                    self.add_day(&mut points, window).await?;
                }
                (lines, fields) = self.known.difference(window, seconds, points);
            }
            work.push(Work {
                window: *window,
                marks: marks.clone(),
                lines,
                fields,
            });
        }
        Ok(work)
    }

    async fn add_day(&mut self, points: &mut Points, at: &SiteWindow) -> Result<(), WriteError> {
        if !self.known.has(at) {
            // A value may be gone since an earlier process wrote it.
            let there = self.to.client.day(at.site, at.window).await?;
            let long_ago = Instant::now().checked_sub(DAYS_EVERY);
            let long_ago = long_ago.unwrap_or_else(Instant::now);
            self.known.put(*at, there, long_ago);
        }
        for dimension in Dimension::ALL {
            if points::kind(dimension).is_some() {
                let days = at.window..at.window + 1;
                let breakdown = self.from.metrics.breakdown(at.site, dimension, days);
                points::add_values(points, at.site, dimension, &breakdown.await?);
            }
        }
        let control = self.from.control.snapshot();
        if let Some(site) = control.find_site(&at.site.to_string()) {
            let day = points::series_of(points::measurement(Grain::Day), at.site, &[]);
            let domain = Value::Text(site.domain.clone());
            points
                .entry(day)
                .or_default()
                .insert("domain".to_owned(), domain);
        }
        Ok(())
    }

    async fn totals(&self, windows: &[SiteWindow]) -> Result<Vec<Row>, StateError> {
        let address = |at: &SiteWindow| RowAddress {
            site: at.site,
            key: RowKey {
                grain: at.grain,
                window: at.window,
                dimension: Dimension::Total,
                value: 0,
            },
        };
        let addresses: Vec<RowAddress> = windows.iter().map(address).collect();
        let partitions = 0..self.from.partitions;
        let mut reads = futures_util::stream::iter(
            partitions.map(|partition| self.from.store.rows(partition, &addresses)),
        )
        .buffer_unordered(READS);
        let mut sums = vec![Row::default(); windows.len()];
        while let Some(rows) = reads.try_next().await? {
            for (sum, encoded) in sums.iter_mut().zip(rows) {
                if let Some(encoded) = encoded {
                    let row = Row::decode(&encoded).map_err(|_| StateError::Corrupt("row"))?;
                    sum.add(&row);
                }
            }
        }
        Ok(sums)
    }
}

/// Whether a minute has passed some time ago.
fn is_over(minute: i64, now_ms: i64) -> bool {
    start_of_window(minute) + 60_000 + OVER_AFTER_MS < now_ms
}

/// Whether InfluxDB has a time for it. Nothing ever takes the mark of another: the state answers for it.
fn is_datable(at: &SiteWindow) -> bool {
    points::time(at.grain, at.window).is_some()
}

fn by_partition(windows: &[(SiteWindow, Marks)]) -> HashMap<u16, Vec<Mark>> {
    let mut of: HashMap<u16, Vec<Mark>> = HashMap::new();
    for (window, marks) in windows {
        for (partition, offset) in marks {
            of.entry(*partition).or_default().push((*window, *offset));
        }
    }
    of
}
