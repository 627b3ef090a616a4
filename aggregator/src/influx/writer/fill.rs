//! Generations of figures: when a new one begins, when readers get it, and when older ones go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wakeline_engine::{Dimension, Grain};

use super::super::client::{Bucket, InfluxError, Pointer};
use super::super::generation::{Generation, Stage, pointer};
use super::super::server::Server;
use super::{WriteError, Writer};
use crate::causes::Causes;
use crate::state::{SiteWindow, StateError, StateStore};

/// The bucket is looked at this often: whoever makes it anew gets everything again.
const BUCKET_EVERY: Duration = Duration::from_secs(60);
/// InfluxDB drops points at the end of their retention; they are read from the state this long before, or a tenth of the
/// retention if that is less.
const RETENTION_MARGIN_S: i64 = 86_400;
/// Old generations that could not be deleted are tried again after this.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// The deletion of older generations: it may take minutes, which no figure is to wait for.
#[derive(Default)]
pub(super) struct Sweep {
    /// With the generation that is to be the oldest.
    task: Option<(u32, JoinHandle<Result<(), InfluxError>>)>,
    not_before: Option<Instant>,
}

impl<S: StateStore> Writer<S> {
    /// The generation that is to be written: a new one if the bucket, or the state, is not the one that the last was in, or
    /// made of, or if somebody asked for it.
    pub(super) async fn generation(&mut self) -> Result<Generation, WriteError> {
        let checked = self.bucket_checked;
        let asked = self.to.again.load(Ordering::Acquire);
        if let Some(generation) = &self.generation
            && !asked
            && checked.is_some_and(|at| at.elapsed() < BUCKET_EVERY)
        {
            return Ok(generation.clone());
        }
        let bucket = self.to.client.bucket().await?;
        let kept_from = bucket.keeps_s.map_or(i64::MIN, |seconds| {
            (self.from.clock)() / 1_000 - seconds + RETENTION_MARGIN_S.min(seconds / 10)
        });
        self.to.kept_from.store(kept_from, Ordering::Release);
        let pointer = self.to.client.pointer().await?;
        if let Some(other) = &pointer
            && other.log != self.from.log
        {
            return Err(self.to.client.foreign(&other.log).into());
        }
        let before = self.book.read().map_err(WriteError::Bucket)?;
        let readable = pointer.as_ref().and_then(|pointer| pointer.generation);
        let generation = match before {
            Some(before)
                if !asked
                    && before.goes_on(&bucket, self.from.state)
                    && (before.stage == Stage::Filling || readable == Some(before.number)) =>
            {
                before
            }
            before => self.begin(bucket, pointer.as_ref(), before).await?,
        };
        self.to
            .generation
            .store(generation.number, Ordering::Release);
        self.to.report.change(|report| {
            report.generation = Some(generation.number);
            report.readable_generation = readable;
        });
        if asked {
            self.to.again.store(false, Ordering::Release);
        }
        self.bucket_checked = Some(Instant::now());
        self.generation = Some(generation.clone());
        Ok(generation)
    }

    /// Begins a generation: everything is marked, and nothing is known of what is there.
    async fn begin(
        &mut self,
        bucket: Bucket,
        there: Option<&Pointer>,
        before: Option<Generation>,
    ) -> Result<Generation, WriteError> {
        let client = Arc::clone(&self.to.client);
        let found = client.generations().await?;
        let numbers = found.iter().filter_map(|tag| tag.parse().ok());
        let readable = there.and_then(|pointer| pointer.generation);
        let last: Option<u32> = numbers
            .chain(before.map(|before| before.number))
            .chain(readable)
            .max();
        if there.is_none() {
            client.write(&pointer(&self.from.log, None)).await?;
        }
        let generation = Generation {
            number: last.unwrap_or(0).saturating_add(1),
            stage: Stage::Filling,
            bucket,
            state: self.from.state,
        };
        tracing::info!(
            generation = generation.number,
            "everything is written to InfluxDB as a new generation"
        );
        let partitions = 0..self.from.partitions;
        self.known.clear();
        self.refused.clear();
        // Until all marks are read again, everybody asks the state.
        self.to.pending.forget(partitions.clone());
        self.mark_all().await?;
        self.book.write(&generation).map_err(WriteError::Bucket)?;
        self.to.pending.forget(partitions);
        Ok(generation)
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

    /// Gives readers a generation that has everything once, and has older ones deleted then.
    pub(super) async fn advance(&mut self, mut generation: Generation) -> Result<(), WriteError> {
        match generation.stage {
            Stage::Filling if self.to.pending.is_filled() => {
                let number = generation.number;
                let now = pointer(&self.from.log, Some(number));
                self.to.client.write(&now).await?;
                self.to
                    .report
                    .change(|report| report.readable_generation = Some(number));
                tracing::info!(generation = number, "readers of InfluxDB have all figures");
                generation.stage = Stage::Current;
            }
            Stage::Current if self.sweep.is_done(&self.to.client, generation.number).await => {
                generation.stage = Stage::Alone;
            }
            _ => return Ok(()),
        }
        self.book.write(&generation).map_err(WriteError::Bucket)?;
        self.generation = Some(generation);
        Ok(())
    }
}

impl Sweep {
    /// Whether no generation before `number` is left; begins to delete them if need be.
    async fn is_done(&mut self, client: &Arc<dyn Server>, number: u32) -> bool {
        let now = Instant::now();
        // What went before an earlier generation says nothing of this one.
        match self.task.take().filter(|(oldest, _)| *oldest == number) {
            None if self.not_before.is_none_or(|at| at <= now) => {
                let task = tokio::spawn(delete_before(Arc::clone(client), number));
                self.task = Some((number, task));
                false
            }
            None => false,
            Some((oldest, task)) if !task.is_finished() => {
                self.task = Some((oldest, task));
                false
            }
            Some((_, task)) => match task.await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = %Causes(&error),
                        "delete what no reader of InfluxDB needs; trying again"
                    );
                    self.not_before = Some(now + SWEEP_AGAIN);
                    false
                }
                Err(_panic) => {
                    self.not_before = Some(now + SWEEP_AGAIN);
                    false
                }
            },
        }
    }
}

/// Deletes all generations before `number`: a later one may have begun meanwhile.
async fn delete_before(client: Arc<dyn Server>, number: u32) -> Result<(), InfluxError> {
    for tag in client.generations().await? {
        if tag.parse::<u32>().is_ok_and(|old| old < number) {
            client.delete(&tag).await?;
        }
    }
    Ok(())
}
