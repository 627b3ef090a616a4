//! Reads the log behind the workers: the events that they counted.
//!
//! Which events counted is not decided again: each commit notes which of its records' events did not
//! ([`Uncounted`](crate::state::Uncounted)), and these notes are in the state exactly as long as the figures are. So the lake
//! has the events of the figures, whatever it has to read again after a crash, and whenever.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use wakeline_lake::{LakeError, Rows};
use wakeline_proto::v1::LogRecord;

use super::rows::{self, Place, Zones};
use crate::control::Control;
use crate::log::{EventLog, LogError, LogReader};
use crate::process::Decoder;
use crate::state::{StateError, StateStore, Uncounted};

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 1 << 20;
/// How often it is looked whether records that were read have been applied.
const APPLIED: Duration = Duration::from_millis(10);

/// Why counted events could not be read from the log; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state does not say which events counted.
    #[error(transparent)]
    State(#[from] StateError),
    /// The lake does not take them.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// There is no state yet that could say which events counted.
    #[error("the state is not there yet")]
    NoState,
}

/// Where the log is read.
pub(super) struct Follower<L: EventLog> {
    log: L,
    reader: L::Reader,
    control: Arc<Control>,
    decoder: Decoder,
    zones: Zones,
    /// Whose events are taken; `None`: everybody's.
    site: Option<u64>,
}

impl<L: EventLog> Follower<L> {
    /// Of a log, for the events of `site`; `None`: of all.
    pub(super) fn new(log: &L, control: &Arc<Control>, site: Option<u64>) -> std::io::Result<Self> {
        Ok(Self {
            reader: log.reader(0),
            log: log.clone(),
            control: Arc::clone(control),
            decoder: Decoder::new()?,
            zones: Zones::default(),
            site,
        })
    }

    /// The counted events of the next records from offset `from` on, once the state of `store` has them, and the offset after
    /// these records, `until` at most. `None` if there are none yet.
    ///
    /// `store` is asked for again and again, since another generation may take its place.
    pub(super) async fn next<S: StateStore>(
        &mut self,
        from: u64,
        until: u64,
        store: impl Fn() -> Option<Arc<S>>,
    ) -> Result<Option<(u64, RecordBatch)>, FollowError> {
        if self.reader.position() != from {
            // What was read last was not taken.
            self.reader = self.log.reader(from);
        }
        let entries = self.reader.next(READ_BYTES).await?;
        let to = self.reader.position().min(until);
        if to <= from {
            return Ok(None);
        }
        let mut records: Vec<(Place, LogRecord)> = Vec::new();
        let mut spans: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.offset < until) {
            let block = entry
                .record
                .as_ref()
                .and_then(|record| record.block.as_ref());
            let partition = block.and_then(|block| u16::try_from(block.partition).ok());
            let (Some(partition), Some(record)) = (partition, entry.record) else {
                continue; // reported by the workers
            };
            let offset = entry.offset;
            spans.entry(partition).or_insert((offset, offset)).1 = offset;
            records.push((Place { partition, offset }, record));
        }
        let notes = notes(&store, &spans).await?;
        let mut rows = Rows::default();
        let control = self.control.snapshot();
        for (at, record) in &records {
            let uncounted = notes.get(&(at.partition, at.offset));
            rows::add(
                &mut rows,
                &mut self.decoder,
                &mut self.zones,
                &control,
                (at, record),
                uncounted,
                self.site,
            );
        }
        let rows = rows.finish().map_err(LakeError::from)?;
        Ok(Some((to, rows)))
    }
}

/// Waits until the state has the records of `spans`, first and last of each partition; then what it notes of them.
async fn notes<S: StateStore>(
    store: &impl Fn() -> Option<Arc<S>>,
    spans: &BTreeMap<u16, (u64, u64)>,
) -> Result<HashMap<(u16, u64), Uncounted>, FollowError> {
    let mut all = HashMap::new();
    for (&partition, &(first, last)) in spans {
        loop {
            let store = store().ok_or(FollowError::NoState)?;
            let found = store.uncounted(partition, first..last + 1).await?;
            if found.next_offset > last {
                let records = found.records.into_iter();
                all.extend(records.map(|(offset, some)| ((partition, offset), some)));
                break;
            }
            drop(store);
            tokio::time::sleep(APPLIED).await;
        }
    }
    Ok(all)
}
