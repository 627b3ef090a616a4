//! A worker: a thread that owns some of the partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use wakeline_proto::v1::LogRecord;

use super::Shared;
use super::decode::Decoder;
use super::partition::{Memory, Owned, checkpoint, process};
use crate::causes::Causes;
use crate::state::{StateError, StateStore};

/// Most bytes of records that are applied and committed together.
const CHUNK_BYTES: usize = 2 << 20;
/// The store failed: try again after this, then after twice as long, …
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(5);

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

pub(super) struct Worker<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) memory: Memory,
    pub(super) decoder: Decoder,
    /// The partitions owned; `None` after a failure: to be loaded again.
    pub(super) partitions: HashMap<u16, Option<Owned>>,
    pub(super) tasks: mpsc::UnboundedReceiver<Task>,
    /// Stop after the commit in progress, leaving what is queued to the next start.
    pub(super) halt: CancellationToken,
}

impl<S: StateStore> Worker<S> {
    /// Returns when all was done that was handed over, or when told to halt.
    pub(super) async fn run(mut self) {
        while !self.halt.is_cancelled() {
            let Some(first) = self.tasks.recv().await else {
                return;
            };
            let mut chunk: BTreeMap<u16, Vec<(u64, LogRecord)>> = BTreeMap::new();
            let mut rooms = Vec::new();
            let mut checkpoint = None;
            let mut bytes = 0;
            let mut next = Some(first);
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
        while let Err(error) = self.try_process(partition, records).await {
            self.forget(partition, &error);
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
    ) -> Result<(), StateError> {
        let slot = self.partitions.entry(partition).or_default();
        let owned = if let Some(owned) = slot {
            owned
        } else {
            let progress = self.shared.store.load(partition).await?;
            // A commit that was said to fail may have happened.
            let (next_offset, stamp_ms) = (progress.next_offset, progress.stamp_ms);
            self.shared.board.applied(partition, next_offset, stamp_ms);
            slot.insert(Owned::new(progress))
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
    }

    /// Failures need no second try here: the next checkpoint covers this one.
    async fn checkpoint(&mut self, offset: u64) {
        let mut failures = Vec::new();
        for (partition, owned) in &mut self.partitions {
            if let Some(owned) = owned
                && let Err(error) = checkpoint(&self.shared, *partition, owned, offset).await
            {
                failures.push((*partition, error));
            }
        }
        for (partition, error) in failures {
            self.forget(partition, &error);
        }
    }

    fn forget(&mut self, partition: u16, error: &StateError) {
        tracing::error!(error = %Causes(error), partition, "use the state, will try again");
        self.shared.stats.state_failures.add(1);
        self.memory.clear();
        self.partitions.insert(partition, None);
    }
}
