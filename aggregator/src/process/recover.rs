//! What has to be known before the first block is taken: how far state and edges are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::log::{EventLog, LogError, LogReader};
use crate::state::{Progress, StateError, StateStore};

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Why an aggregator can't go on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The state can't be read.
    #[error("load the state")]
    State(#[from] StateError),
    /// The log can't be read.
    #[error("read the end of the log")]
    Log(#[from] LogError),
    /// The state belongs to another log, or the log lost its end.
    #[error(
        "partition {partition} of the state is at offset {next_offset}, but the log ends at {end}: the state was made from more \
         than this folder has. Go on with the folder that has it; or, if that is lost, count what this one has with \
         `rebuild state`"
    )]
    LogTooShort {
        /// The partition.
        partition: u16,
        /// Its next offset.
        next_offset: u64,
        /// Where the log ends.
        end: u64,
    },
}

/// The highest spool position in the log by edge and partition.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<HashMap<(u64, u16), u64>>);

impl Positions {
    /// The highest logged position, if there is any.
    pub(crate) fn get(&self, edge: u64, partition: u16) -> Option<u64> {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.get(&(edge, partition)).copied()
    }

    /// A block that ends at `position` is in the log.
    pub(crate) fn raise(&self, edge: u64, partition: u16, position: u64) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = positions.entry((edge, partition)).or_default();
        *highest = position.max(*highest);
    }

    /// Takes over what was found elsewhere.
    pub(crate) fn merge(&self, found: Self) {
        let found = found.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for ((edge, partition), position) in found {
            self.raise(edge, partition, position);
        }
    }
}

/// Where things are at the start.
pub(crate) struct Recovered {
    pub(crate) progress: Vec<Progress>,
    pub(crate) positions: Positions,
    /// Newest append stamp of the log, in ms; 0 if it is empty.
    pub(crate) stamp_ms: u64,
}

/// Loads all partitions, and reads the part of the log that is not in the state of all of them.
pub(crate) async fn recover<S: StateStore, L: EventLog>(
    store: &S,
    log: &L,
    partitions: u16,
) -> Result<Recovered, RecoverError> {
    let end = *log.end().borrow();
    let mut progress = Vec::new();
    let positions = Positions::default();
    let mut stamp_ms = 0;
    for partition in 0..partitions {
        let at = store.load(partition).await?;
        // What a damaged end held is in the state, or lost: it keeps nobody from going on.
        if at.next_offset > log.next() {
            return Err(RecoverError::LogTooShort {
                partition,
                next_offset: at.next_offset,
                end,
            });
        }
        for (edge, position) in &at.edges {
            positions.raise(*edge, partition, *position);
        }
        stamp_ms = stamp_ms.max(at.stamp_ms);
        progress.push(at);
    }
    let lowest = progress.iter().map(|at| at.next_offset).min().unwrap_or(0);
    let mut reader = log.reader(lowest);
    loop {
        let entries = reader.next(READ_BYTES).await?;
        if entries.is_empty() {
            break;
        }
        for record in entries.into_iter().filter_map(|entry| entry.record) {
            stamp_ms = stamp_ms.max(record.appended_at);
            if let Some(block) = record.block
                && let Ok(partition) = u16::try_from(block.partition)
            {
                positions.raise(record.edge, partition, block.last_position);
            }
        }
    }
    tracing::info!(
        from = lowest,
        end,
        "read the part of the log that is not in the state"
    );
    Ok(Recovered {
        progress,
        positions,
        stamp_ms,
    })
}
