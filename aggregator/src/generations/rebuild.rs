//! Making state anew from the log, and putting it in the place of the one in use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Generations, RETRY_FIRST, RETRY_MAX};
use crate::control::ControlError;
use crate::influx::{Pending, Written};
use crate::log::{EventLog as _, LogError, LogReader as _};
use crate::process::{Board, Processing};
use crate::server::StartError;
use crate::state::{FORMAT, Progress, StateError, StateStore as _, Store};
use crate::stats::Stats;

/// How often it is looked at how far the new generation is.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the old generation to finish what it has begun; what is left the new one has anyway.
const OLD_STOPS: Duration = Duration::from_secs(10);

/// Why state was not made anew; the generation that was in use still is.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// One at a time.
    #[error("the state is being rebuilt already")]
    Running,
    /// The same of figures.
    #[error("the figures in InfluxDB are being written anew already")]
    WritingAgain,
    /// There is no InfluxDB.
    #[error(
        "metrics.url is not set: figures are in the state only, and `rebuild state` makes that anew"
    )]
    NoMetrics,
    /// Figures are made of the state.
    #[error("the state is not there yet, and so no figures: /readyz says why")]
    NoState,
    /// There is nothing to replay from.
    #[error("the log ends at offset {end}: there is nothing at {from} or above")]
    NothingThere {
        /// What was asked for.
        from: u64,
        /// Offset after the newest record.
        end: u64,
    },
    /// There is no such generation to go back to.
    #[error("{0}")]
    NoGeneration(String),
    /// Nothing was logged at that time or later.
    #[error("nothing was logged at {time} or later: the log ends at {end}")]
    NothingSince {
        /// What was asked for.
        time: String,
        /// Offset after the newest record.
        end: u64,
    },
    /// The server stops, or lost the state to another one.
    #[error("the server stops: the state that was in use stays in use")]
    Stopped,
    /// The store of the new generation can't be opened.
    #[error(transparent)]
    Open(#[from] StartError),
    /// The store of the new generation failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The list of generations can't be changed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads can't be started.
    #[error("start processing")]
    Threads(#[source] std::io::Error),
}

/// How far a rebuild is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Of state.
    State {
        /// Every record of the log below this offset is in the new state.
        applied: u64,
        /// Offset after the newest record of the log.
        log_end: u64,
    },
    /// Of figures in InfluxDB.
    Metrics {
        /// Windows written so far.
        written: u64,
        /// Windows that are known to wait.
        waiting: u64,
        /// Why it does not go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
}

/// A generation of state, as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its number.
    pub generation: u32,
    /// `in_use`; `previous`, to which `rollback` goes back; or `unused`: being made, or to be removed.
    pub is: &'static str,
}

/// What a rebuild, or going back, did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The generation that is in use now.
    pub generation: u32,
    /// Offset after the newest record that is in it.
    pub applied: u64,
    /// Events that came into its figures.
    pub events: u64,
    /// Copies of events that were in its figures already.
    pub duplicates: u64,
    /// How long it took, in ms.
    pub took_ms: u64,
}

/// A generation that is being made.
struct New {
    number: u32,
    store: Arc<Store>,
    board: Arc<Board>,
    pending: Option<Arc<Pending>>,
    processing: Processing,
    stats: Arc<Stats>,
}

impl Generations {
    /// The offset of the first record that was appended at `time` or later.
    pub(crate) async fn offset_at(&self, time: jiff::Timestamp) -> Result<u64, RebuildError> {
        let time_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
        let end = *self.log.end().borrow();
        let mut reader = self.log.reader(0);
        loop {
            let entries = reader.next(1 << 20).await?;
            // What comes in meanwhile is not what was asked for.
            if entries.first().is_none_or(|first| first.offset >= end) {
                let time = time.to_string();
                return Err(RebuildError::NothingSince { time, end });
            }
            let mut entries = entries.into_iter();
            let first = entries.find(|entry| {
                let stamp = entry.record.as_ref().map(|record| record.appended_at);
                entry.offset < end && stamp.is_some_and(|stamp| stamp >= time_ms)
            });
            if let Some(first) = first {
                return Ok(first.offset);
            }
        }
    }

    /// Makes sure that the log has something at `from` or above.
    pub(crate) fn check_offset(&self, from: u64) -> Result<(), RebuildError> {
        let end = *self.log.end().borrow();
        if from >= end {
            return Err(RebuildError::NothingThere { from, end });
        }
        Ok(())
    }

    /// Makes a new generation from the whole log and puts it in the place of the one in use.
    pub(crate) async fn rebuild(
        self: &Arc<Self>,
        tell: impl Fn(Step),
    ) -> Result<Rebuilt, RebuildError> {
        let Ok(_one) = self.rebuilding.try_lock() else {
            return Err(RebuildError::Running);
        };
        let number = self.control.add_generation(FORMAT)?;
        let made = async {
            self.wipe(number).await?;
            self.make(number, &tell).await
        };
        let made = made.await;
        if made.is_err() {
            self.remove(number).await;
        }
        made
    }

    /// Puts the generation that was in use before in its place again, once that has caught up with the log. `number`: only
    /// if it is that one.
    pub(crate) async fn go_back(
        self: &Arc<Self>,
        number: Option<u32>,
        tell: impl Fn(Step),
    ) -> Result<Rebuilt, RebuildError> {
        let Ok(_one) = self.rebuilding.try_lock() else {
            return Err(RebuildError::Running);
        };
        let listed = self.control.generations()?;
        let wrong = |why: String| Err(RebuildError::NoGeneration(why));
        let Some(previous) = listed.previous else {
            return wrong("there is no previous generation: `rebuild state` makes one".to_owned());
        };
        if let Some(number) = number.filter(|number| *number != previous.number) {
            return wrong(if number == listed.in_use.number {
                format!("generation {number} is in use already")
            } else {
                format!(
                    "there is no generation {number}: the previous one is {}",
                    previous.number
                )
            });
        }
        if previous.format != FORMAT {
            return wrong(format!(
                "generation {} was made by another version, whose records this one does not read",
                previous.number
            ));
        }
        self.make(previous.number, &tell).await
    }

    /// Has all figures written to InfluxDB as a new generation, and waits until readers have it. The old one is deleted.
    pub(crate) async fn rebuild_metrics(
        &self,
        tell: impl Fn(Step),
    ) -> Result<Written, RebuildError> {
        let begun = Instant::now();
        let influx = self.influx.as_ref().ok_or(RebuildError::NoMetrics)?;
        if self.in_use().is_none() {
            return Err(RebuildError::NoState);
        }
        let before = influx.report().windows_written;
        if !influx.write_again() {
            return Err(RebuildError::WritingAgain);
        }
        let mut told = Instant::now();
        let mut said = None;
        loop {
            let report = influx.report();
            let written = report.windows_written - before;
            if let Some(generation) = influx.settled() {
                return Ok(Written {
                    generation,
                    windows: written,
                    took_ms: begun.elapsed().as_millis() as u64,
                });
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let step = Step::Metrics {
                    written,
                    waiting: report.pending_windows,
                    trouble: report.write_trouble,
                };
                if said.as_ref() != Some(&step) {
                    said = Some(step.clone());
                    tell(step);
                }
            }
            self.pause(LOOK_EVERY).await?;
        }
    }

    /// Waits, unless the server ends.
    async fn pause(&self, time: Duration) -> Result<(), RebuildError> {
        tokio::select! {
            () = self.end.cancelled() => Err(RebuildError::Stopped),
            () = self.stopping.cancelled() => Err(RebuildError::Stopped),
            () = self.failed.cancelled() => Err(RebuildError::Stopped),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Lets a generation catch up with the log, and puts it in the place of the one in use.
    async fn make(
        self: &Arc<Self>,
        number: u32,
        tell: &impl Fn(Step),
    ) -> Result<Rebuilt, RebuildError> {
        let begun = Instant::now();
        let new = self.begin(number).await?;
        let done = async {
            let end = *self.log.end().borrow();
            self.reach(&new.board, end, tell).await
        };
        if let Err(error) = done.await {
            new.processing.stop(std::future::ready(())).await;
            return Err(error);
        }
        let (applied, stats) = self.switch(new, tell).await?;
        Ok(Rebuilt {
            generation: number,
            applied,
            events: stats.events_counted.get(),
            duplicates: stats.events_duplicate.get(),
            took_ms: begun.elapsed().as_millis() as u64,
        })
    }

    /// Starts to process the log into a generation that is not in use, unseen.
    async fn begin(&self, number: u32) -> Result<New, RebuildError> {
        let store = self.open(number).await?;
        let mut progress: Vec<Progress> = Vec::new();
        for partition in 0..self.partitions() {
            progress.push(store.load(partition).await?);
        }
        let offsets = progress.iter().map(|at| at.next_offset);
        let board = Arc::new(Board::new(self.log.end(), 0, offsets, 0));
        let stats = Arc::new(Stats::default());
        let pending = self.pending();
        let shared = self.shared(&store, &board, &stats, pending.as_ref(), false);
        let processing = Processing::start(&shared, &self.config, &self.log, progress)
            .map_err(RebuildError::Threads)?;
        Ok(New {
            number,
            store,
            board,
            pending,
            processing,
            stats,
        })
    }

    /// Waits until everything below `end` is applied.
    async fn reach(
        &self,
        board: &Board,
        end: u64,
        tell: &impl Fn(Step),
    ) -> Result<(), RebuildError> {
        let mut told = Instant::now();
        loop {
            let at = board.watermark();
            if at.applied >= end {
                return Ok(());
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                tell(Step::State {
                    applied: at.applied,
                    log_end: at.log_end,
                });
            }
            self.pause(LOOK_EVERY).await?;
        }
    }

    /// Stops the old generation, lets the new one catch up with it, and puts that in its place.
    async fn switch(
        self: &Arc<Self>,
        new: New,
        tell: &impl Fn(Step),
    ) -> Result<(u64, Arc<Stats>), RebuildError> {
        let mut processing = self.processing.lock().await;
        let old = self.in_use();
        if let Some(processing) = processing.take() {
            processing.stop(tokio::time::sleep(OLD_STOPS)).await;
        }
        // The old one is not further than this, so that no figure steps back.
        let end = *self.log.end().borrow();
        let reached = self.reach(&new.board, end, tell).await;
        new.processing.stop(std::future::pending()).await;
        let switched = match reached {
            Ok(()) => match new.store.persist().await {
                Ok(()) => self
                    .control
                    .use_generation(new.number, self.config.state.keep_previous)
                    .map_err(RebuildError::from),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        let (store, board, pending) = match (&switched, &old) {
            (Ok(()), _) => (Arc::clone(&new.store), Arc::clone(&new.board), new.pending),
            (Err(_), Some(old)) => (
                Arc::clone(&old.store),
                Arc::clone(&old.board),
                old.pending.clone(),
            ),
            (Err(_), None) => return switched.map(|()| (end, new.stats)),
        };
        if switched.is_ok() {
            self.put_in_use(
                new.number,
                Arc::clone(&store),
                Arc::clone(&board),
                pending.clone(),
            );
        }
        // Without a server there is none in use, and nothing goes on.
        if old.is_some() {
            *processing = self.go_on_at_last(&store, &board, pending.as_ref()).await;
        }
        switched?;
        // What can't be listed now the next start removes.
        for unused in self.control.generations().map_or(vec![], |all| all.others) {
            tokio::spawn(Arc::clone(self).remove_later(unused));
        }
        Ok((end, new.stats))
    }

    /// Goes on as soon as that is possible. `None`: the server ends, also because it never will be.
    async fn go_on_at_last(
        &self,
        store: &Arc<Store>,
        board: &Arc<Board>,
        pending: Option<&Arc<Pending>>,
    ) -> Option<Processing> {
        let mut wait = RETRY_FIRST;
        loop {
            let begun = self.go_on(store, board, pending);
            let error = match self.end.run_until_cancelled(begun).await? {
                Ok(processing) => return Some(processing),
                Err(error) => error,
            };
            if !error.may_pass() {
                self.fail(error);
                return None;
            }
            self.tell(&error);
            self.pause(wait).await.ok()?;
            wait = RETRY_MAX.min(wait * 2);
        }
    }

    /// Processes the log into a generation from where it is, seen by whoever watches.
    async fn go_on(
        &self,
        store: &Arc<Store>,
        board: &Arc<Board>,
        pending: Option<&Arc<Pending>>,
    ) -> Result<Processing, StartError> {
        let mut progress = Vec::new();
        for partition in 0..self.partitions() {
            let loaded = store.load(partition).await;
            progress.push(loaded.map_err(|error| self.failed_state(error))?);
        }
        let shared = self.shared(store, board, &self.stats, pending, true);
        Processing::start(&shared, &self.config, &self.log, progress).map_err(StartError::Data)
    }
}
