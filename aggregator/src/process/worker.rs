//! A worker: a thread that owns some of the partitions.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use wakeline_proto::v1::LogRecord;

use super::Shared;
use super::decode::Decoder;
use super::partition::{Memory, Owned, checkpoint, process};
use crate::log::{EventLog, LogReader as _};
use crate::state::StateStore;

/// Most bytes of records that are applied and committed together.
const CHUNK_BYTES: usize = 2 << 20;
/// The store failed: try again after this, then after twice as long, …
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a store is asked whether it fell back.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What the dispatcher hands to a worker, in the order of the log.
pub(super) enum Task {
    Record {
        partition: u16,
        offset: u64,
        record: LogRecord,
        /// Gives its bytes back when the record was processed.
        room: OwnedSemaphorePermit,
    },
    /// Every record below this offset that is for the worker was handed over.
    Checkpoint(u64),
}

/// A partition of a worker.
pub(super) struct Place {
    /// `None` after a failure: to be loaded again.
    owned: Option<Owned>,
    /// Everything below was applied and committed once. A store that fell back may be below.
    reach: u64,
}

impl Place {
    pub(super) fn new(owned: Owned) -> Self {
        Self {
            reach: owned.progress.next_offset,
            owned: Some(owned),
        }
    }
}

/// What failed at a partition.
type Failure = (u16, Box<dyn Error + Send + Sync>);

pub(super) struct Worker<S, L> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) log: L,
    pub(super) memory: Memory,
    pub(super) decoder: Decoder,
    /// The partitions owned.
    pub(super) partitions: HashMap<u16, Place>,
    /// When the store was last asked whether it fell back.
    pub(super) checked: Instant,
    pub(super) tasks: mpsc::UnboundedReceiver<Task>,
    /// Stop after the commit in progress, leaving what is queued to the next start.
    pub(super) halt: CancellationToken,
}

impl<S: StateStore, L: EventLog> Worker<S, L> {
    /// Returns when all was done that was handed over, or when told to halt.
    pub(super) async fn run(mut self) {
        while !self.halt.is_cancelled() {
            let first = match tokio::time::timeout(CHECK_EVERY, self.tasks.recv()).await {
                Ok(Some(first)) => Some(first),
                Ok(None) => return,
                Err(_quiet) => None,
            };
            if self.checked.elapsed() >= CHECK_EVERY {
                self.check().await;
            }
            let mut chunk: BTreeMap<u16, Vec<(u64, LogRecord)>> = BTreeMap::new();
            let mut rooms = Vec::new();
            let mut checkpoint = None;
            let mut bytes = 0;
            let mut next = first;
            while let Some(task) = next {
                match task {
                    Task::Checkpoint(offset) => checkpoint = Some(offset),
                    Task::Record {
                        partition,
                        offset,
                        record,
                        room,
                    } => {
                        bytes += room.num_permits();
                        rooms.push(room);
                        chunk.entry(partition).or_default().push((offset, record));
                    }
                }
                next = (bytes < CHUNK_BYTES)
                    .then(|| self.tasks.try_recv().ok())
                    .flatten();
            }
            for (partition, records) in chunk {
                self.settle(partition, &records).await;
            }
            if let Some(offset) = checkpoint {
                self.checkpoint(offset).await;
            }
        }
    }

    /// Processes until it works: a failing store is waited for.
    async fn settle(&mut self, partition: u16, records: &[(u64, LogRecord)]) {
        let mut wait = RETRY_FIRST;
        while let Err(failure) = self.try_process(partition, records).await {
            self.forget(&failure);
            tokio::select! {
                () = self.halt.cancelled() => return,
                () = tokio::time::sleep(wait) => wait = RETRY_MAX.min(wait * 2),
            }
        }
    }

    async fn try_process(
        &mut self,
        partition: u16,
        records: &[(u64, LogRecord)],
    ) -> Result<(), Failure> {
        self.restore().await?;
        self.apply(partition, records).await
    }

    /// Applies records of a partition that is loaded.
    async fn apply(&mut self, partition: u16, records: &[(u64, LogRecord)]) -> Result<(), Failure> {
        let Some(place) = self.partitions.get_mut(&partition) else {
            return Ok(()); // the dispatcher gives each worker its own
        };
        let Some(owned) = &mut place.owned else {
            return Ok(()); // restored before this is called
        };
        process(
            &self.shared,
            &mut self.memory,
            &mut self.decoder,
            partition,
            owned,
            records,
        )
        .await
        .map_err(|error| (partition, error.into()))?;
        place.reach = place.reach.max(owned.progress.next_offset);
        self.shared.outage.works(partition);
        Ok(())
    }

    /// Loads partitions again after failures, and applies again what the store lost of them.
    async fn restore(&mut self) -> Result<(), Failure> {
        let mut behind = BTreeMap::new();
        let loaded = self.load_again(&mut behind).await;
        // Also if some could not be loaded: where loads fail often, all of them in a row may never work.
        let replayed = self.replay(&behind).await;
        if replayed.is_err() || self.halt.is_cancelled() {
            // Only what is caught up may go on.
            for partition in behind.keys() {
                if let Some(place) = self.partitions.get_mut(partition) {
                    place.owned = None;
                }
            }
        }
        replayed.and(loaded)
    }

    /// Loads partitions after failures; those that the store has lost something of are `behind`, also if others can't be
    /// loaded.
    async fn load_again(&mut self, behind: &mut BTreeMap<u16, Range<u64>>) -> Result<(), Failure> {
        for (&partition, place) in &mut self.partitions {
            if place.owned.is_some() {
                continue;
            }
            let progress = self.shared.store.load(partition).await;
            let progress = progress.map_err(|error| (partition, error.into()))?;
            if let Some(pending) = &self.shared.pending {
                pending.forget(partition..partition + 1);
            }
            let (at, stamp_ms) = (progress.next_offset, progress.stamp_ms);
            if at < place.reach {
                tracing::warn!(
                    partition,
                    at,
                    reach = place.reach,
                    "the state fell back: applying again what it lost"
                );
                self.shared.stats.state_fallbacks.add(1);
                self.shared.board.fell_back(partition, at, place.reach);
                behind.insert(partition, at..place.reach);
            } else {
                // A commit that was said to fail may have happened.
                self.shared.board.applied(partition, at, stamp_ms);
                place.reach = at;
            }
            place.owned = Some(Owned::new(progress));
        }
        Ok(())
    }

    /// Reads the log once for all partitions that are behind.
    async fn replay(&mut self, behind: &BTreeMap<u16, Range<u64>>) -> Result<(), Failure> {
        let Some(from) = behind.values().map(|range| range.start).min() else {
            return Ok(());
        };
        let to = behind.values().map(|range| range.end).max().unwrap_or(from);
        let mut reader = self.log.reader(from);
        while reader.position() < to && !self.halt.is_cancelled() {
            let entries = reader.next(CHUNK_BYTES).await;
            let any = behind.keys().next().copied().unwrap_or_default();
            let entries = entries.map_err(|error| (any, error.into()))?;
            if entries.is_empty() {
                break;
            }
            let mut chunk: BTreeMap<u16, Vec<(u64, LogRecord)>> = BTreeMap::new();
            for entry in entries {
                let offset = entry.offset;
                if let Some((partition, record)) = entry.applied()
                    && let Some(range) = behind.get(&partition)
                    && range.contains(&offset)
                {
                    chunk.entry(partition).or_default().push((offset, record));
                }
            }
            for (partition, records) in chunk {
                self.apply(partition, &records).await?;
            }
        }
        for (&partition, range) in behind {
            if let Some(place) = self.partitions.get_mut(&partition)
                && let Some(owned) = &mut place.owned
                && !self.halt.is_cancelled()
            {
                checkpoint(&self.shared, partition, owned, range.end)
                    .await
                    .map_err(|error| (partition, error.into()))?;
            }
        }
        Ok(())
    }

    /// Asks the store whether it is where it was left, and restores what is not. The next check tries again what fails.
    async fn check(&mut self) {
        self.checked = Instant::now();
        let partitions: Vec<u16> = self.partitions.keys().copied().collect();
        // A failure is told by whoever needs the store.
        let Ok(offsets) = self.shared.store.offsets(&partitions).await else {
            return;
        };
        for (partition, at) in partitions.into_iter().zip(offsets) {
            if let Some(place) = self.partitions.get_mut(&partition)
                && at < place.reach
            {
                place.owned = None;
                self.memory.clear();
            }
        }
        match self.restore().await {
            Ok(()) => {
                for partition in self.partitions.keys() {
                    self.shared.outage.works(*partition);
                }
            }
            Err(failure) => self.forget(&failure),
        }
    }

    /// Failures need no second try here: the next checkpoint covers this one.
    async fn checkpoint(&mut self, offset: u64) {
        let mut failures: Vec<Failure> = Vec::new();
        for (partition, place) in &mut self.partitions {
            if let Some(owned) = &mut place.owned {
                match checkpoint(&self.shared, *partition, owned, offset).await {
                    Ok(()) => place.reach = place.reach.max(offset),
                    Err(error) => failures.push((*partition, error.into())),
                }
            }
        }
        for failure in failures {
            self.forget(&failure);
        }
    }

    fn forget(&mut self, (partition, error): &Failure) {
        self.shared.outage.fails(*partition, &**error);
        self.shared.stats.state_failures.add(1);
        self.memory.clear();
        if let Some(place) = self.partitions.get_mut(partition) {
            place.owned = None;
        }
    }
}
