//! Reads the log and hands each record to the worker of its partition.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::worker::Task;
use crate::causes::Causes;
use crate::log::{Entry, EventLog, LogReader};
use crate::stats::Stats;

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes of records that may wait for workers.
const QUEUE_BYTES: usize = 8 << 20;
/// What a record takes at least, so that many small ones are bounded, too.
const MIN_RECORD_BYTES: usize = 512;
/// Records after which partitions without any are moved on.
const CHECKPOINT_RECORDS: u64 = 8192;
/// Quiet time after which all partitions are moved on, and after which a failed read is tried again.
const QUIET: Duration = Duration::from_secs(1);

pub(super) struct Dispatcher<R> {
    reader: R,
    log_end: watch::Receiver<u64>,
    /// Committed offsets by partition at the start.
    offsets: Vec<u64>,
    queues: Vec<mpsc::UnboundedSender<Task>>,
    room: Arc<Semaphore>,
    board: Arc<Board>,
    stats: Arc<Stats>,
    drain: CancellationToken,
    /// Offset of the last checkpoint.
    checkpoint: u64,
}

impl<R: LogReader> Dispatcher<R> {
    pub(super) fn new<L: EventLog<Reader = R>>(
        log: &L,
        offsets: Vec<u64>,
        queues: Vec<mpsc::UnboundedSender<Task>>,
        board: Arc<Board>,
        stats: Arc<Stats>,
        drain: CancellationToken,
    ) -> Self {
        let from = offsets.iter().copied().min().unwrap_or(0);
        Self {
            reader: log.reader(from),
            log_end: log.end(),
            offsets,
            queues,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            board,
            stats,
            drain,
            checkpoint: from,
        }
    }

    /// Returns when told to drain, or when nobody writes the log any more.
    pub(super) async fn run(mut self) {
        let drain = self.drain.clone();
        let _ = drain.run_until_cancelled(self.hand_out()).await;
        let position = self.checkpoint;
        tracing::debug!(position, "reads the log no more");
    }

    async fn hand_out(&mut self) {
        loop {
            // Before reading, so that what is appended meanwhile is noticed.
            self.log_end.mark_unchanged();
            let entries = match self.reader.next(READ_BYTES).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::error!(error = %Causes(&error), "read the log, will try again");
                    tokio::time::sleep(QUIET).await;
                    continue;
                }
            };
            let caught_up = entries.is_empty();
            for entry in entries {
                self.hand_over(entry).await;
            }
            self.board.read_to(self.reader.position());
            if self.reader.position() >= self.checkpoint + CHECKPOINT_RECORDS {
                self.checkpoint();
            }
            if caught_up {
                match tokio::time::timeout(QUIET, self.log_end.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_closed)) => return,
                    Err(_quiet) => self.checkpoint(),
                }
            }
        }
    }

    async fn hand_over(&mut self, entry: Entry) {
        let Entry {
            offset,
            bytes,
            lost,
            ..
        } = entry;
        let applied = entry.applied().and_then(|(partition, record)| {
            let committed = *self.offsets.get(usize::from(partition))?;
            Some((partition, committed, record))
        });
        let Some((partition, committed, record)) = applied else {
            tracing::error!(offset, "a record of the log is of no partition");
            self.stats.records_unreadable.add(1);
            return;
        };
        if offset < committed {
            return;
        }
        if lost > 0 {
            tracing::error!(
                offset,
                lost,
                "lost_corrupt: records of the log can't be read"
            );
        }
        let bytes = bytes.clamp(MIN_RECORD_BYTES, QUEUE_BYTES) as u32;
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes).await else {
            return; // the semaphore is never closed
        };
        let worker = usize::from(partition) % self.queues.len();
        self.board.hand_over(partition, offset);
        // Fails only if the worker halted: then its partitions stay where they are.
        let _ = self.queues[worker].send(Task::Record {
            partition,
            offset,
            record,
            room,
        });
    }

    fn checkpoint(&mut self) {
        let position = self.reader.position();
        if position > self.checkpoint {
            self.checkpoint = position;
            for queue in &self.queues {
                let _ = queue.send(Task::Checkpoint(position));
            }
        }
    }
}
