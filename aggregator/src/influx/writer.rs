//! Writes what is dirty: minutes each second, hours each 10 s, days and their breakdowns each minute.

mod deliver;
mod fill;
mod rows;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wakeline_engine::Grain;
use wakeline_engine::window::start_of_window;

use self::deliver::{Fate, deliver};
use self::fill::Sweep;
use super::client::InfluxError;
use super::generation::{Book, Generation};
use super::known::{Fields, Known};
use super::pending::Marks;
use super::points;
use super::store::Shared;
use crate::causes::Causes;
use crate::control::Control;
use crate::metrics::{MetricError, StateMetrics};
use crate::state::{Mark, SiteWindow, StateError, StateStore};

/// The present is looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// The shortest time between two writes of a minute. A little less than a tick, since these are not quite regular.
const MINUTES_EVERY: Duration = Duration::from_millis(900);
/// The same of minutes that are over: visits go on in them.
const PAST_MINUTES_EVERY: Duration = Duration::from_secs(60);
/// The same of hours, and of days.
const HOURS_EVERY: Duration = Duration::from_millis(9_900);
const DAYS_EVERY: Duration = Duration::from_millis(59_900);
/// A minute is over so long after its end.
const OVER_AFTER_MS: i64 = 60_000;
/// A window that InfluxDB refused is tried again after this.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
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
/// Whoever writes for longer than this without being through is behind.
const SLOW: Duration = Duration::from_secs(5);

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
    pub(crate) partitions: u16,
    /// The generation of state that this is.
    pub(crate) state: u32,
    /// The name of the log that it is made from.
    pub(crate) log: String,
    /// Unix milliseconds.
    pub(crate) clock: fn() -> i64,
}

/// The one writer of all series of this process.
pub(super) struct Writer<S> {
    from: Sources<S>,
    to: Arc<Shared>,
    /// Which generation has everything that is not marked.
    book: Book,
    /// What the book says, once that was compared with the bucket.
    generation: Option<Generation>,
    sweep: Sweep,
    known: Known,
    /// Until when refused windows are left alone.
    refused: HashMap<SiteWindow, Instant>,
    bucket_checked: Option<Instant>,
    /// The last attempt failed, and the next is after this pause.
    pause: Option<Duration>,
    /// When the last round began that wrote all that was due, in Unix milliseconds; at first, when this was made.
    through_at: i64,
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
    pub(super) fn new(from: Sources<S>, book: Book, to: Arc<Shared>) -> Self {
        Self {
            through_at: (from.clock)(),
            from,
            to,
            book,
            generation: None,
            sweep: Sweep::default(),
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
            let begun = (self.from.clock)();
            // What is on its way at the end stays marked.
            let Some(done) = end.run_until_cancelled(self.round(false)).await else {
                break;
            };
            match done {
                Ok(()) => {
                    self.pause = None;
                    self.through_at = begun;
                    self.tell_far(None);
                    self.to.report.tell_writing(None);
                }
                Err(error) => {
                    let pause = self.pause_after(&error);
                    self.tell_far(Some(self.through_at));
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

    /// Tells how far it is, and since when it is not where it should be.
    fn tell_far(&self, behind_since_ms: Option<i64>) {
        self.to.report.change(|report| {
            report.behind_since_ms = behind_since_ms;
            report.pending_windows = self.to.pending.len() as u64;
            report.drained = self.to.pending.is_drained();
        });
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
        let generation = self.generation().await?;
        let begun = Instant::now();
        loop {
            self.read_marks().await?;
            let taken = self.take(all);
            if taken.is_empty() {
                break;
            }
            self.write(&generation, taken).await?;
            if begun.elapsed() > SLOW {
                self.tell_far(Some(self.through_at));
            }
        }
        self.advance(generation).await
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
                Grain::Minute => MINUTES_EVERY,
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
    async fn write(
        &mut self,
        generation: &Generation,
        taken: Vec<(SiteWindow, Marks)>,
    ) -> Result<(), WriteError> {
        let work = match self.prepare(generation.number, &taken).await {
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
        let delivered = deliver(&self.to, &lines, self.from.clock).await;
        drop(lines);
        if delivered.expired {
            self.bucket_checked = None; // its retention is not what it was
        }

        let now = Instant::now();
        let mut fates = delivered.fates.into_iter();
        let (mut written, mut unwritten, mut refused) = (Vec::new(), Vec::new(), Vec::new());
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
                refused.push(at.window);
            }
            unwritten.push((at.window, at.marks));
        }
        // What was read while a store had fallen back is not what it has once its commits are made again: marks of these stay.
        let marks = by_partition(&self.to.pending.known(&written));
        self.to.pending.finished(unwritten, false);
        self.to.pending.refused(&refused);
        let count = written.len() as u64;
        self.to
            .report
            .change(|report| report.windows_written += count);
        let mut unmarked = Ok(());
        for (partition, marks) in marks {
            unmarked = unmarked.and(self.from.store.unmark(partition, &marks).await);
        }
        self.to.pending.finished(written, true);
        unmarked?;
        if let Some(error) = delivered.error {
            if matches!(error, InfluxError::NoBucket(_)) {
                self.bucket_checked = None;
                self.to.pending.forget(0..self.from.partitions);
            }
            return Err(error.into());
        }
        Ok(())
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
