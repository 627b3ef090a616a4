//! Where questions find events: in the lake, and what that does not have yet in the log.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio::time::Instant;
use wakeline_lake::{Lake, LakeError, Wanted};
use wakeline_query::Field;

use super::columns::{Columns, columns};
use super::follow::Follower;
use super::{LakeService, NICENESS};
use crate::config::QueryConfig;
use crate::events::{EachBatch, EventError, EventSource, LogEvents};
use crate::generations::Generations;
use crate::log::SegmentEventLog;

/// How long a question waits for the lake to have what the figures have: then it reads the rest from the log.
const CATCH_UP: Duration = Duration::from_millis(300);
/// Memory of an event in a batch, in bytes, and of each of its texts.
const EVENT_BYTES: usize = 48;

/// The events of the lake, and of the log beyond it, up to where the figures are. Where there is to be no lake, those of the log.
pub(crate) struct LakeEvents {
    generations: Arc<Generations>,
    of_log: LogEvents<SegmentEventLog>,
    limits: QueryConfig,
    /// Held by whoever reads: one question at a time, so that memory is bounded for all together.
    turn: Mutex<()>,
}

impl LakeEvents {
    /// `of_log` is asked where there is to be no lake.
    pub(crate) fn new(
        generations: Arc<Generations>,
        of_log: LogEvents<SegmentEventLog>,
        limits: QueryConfig,
    ) -> Self {
        Self {
            generations,
            of_log,
            limits,
            turn: Mutex::new(()),
        }
    }

    async fn read_lake(
        &self,
        service: &LakeService,
        lake: &Lake,
        wanted: (u64, &Range<i64>, &[Field]),
        each: &mut EachBatch<'_>,
    ) -> Result<(), EventError> {
        let (site, times, fields) = wanted;
        let deadline = Instant::now() + Duration::from_millis(self.limits.max_time_ms);
        let in_time = || EventError::time(&self.limits);
        let end = self.generations.watermark().applied;
        service.catch_up(CATCH_UP).await;
        let snapshot = lake.snapshot();
        let beyond = tokio::time::timeout_at(deadline, self.beyond(site, snapshot.end..end));
        let beyond = beyond.await.map_err(|_| in_time())??;
        let wanted = Wanted {
            site,
            times: times.clone(),
            columns: columns(fields),
        };
        let scan = tokio::time::timeout_at(deadline, lake.scan(&snapshot, &beyond, &wanted));
        let mut scan = scan.await.map_err(|_| in_time())??;
        let mut columns = Columns::new(fields);
        loop {
            let parts = tokio::time::timeout_at(deadline, scan.next());
            let parts = parts.await.map_err(|_| in_time())??;
            if parts.is_empty() {
                return Ok(());
            }
            let batch = columns.batch(&parts)?;
            // Each part becomes a batch, and all of them one.
            let batches = 2 * batch.len() * (EVENT_BYTES + 4 * fields.len());
            if scan.bytes() + columns.bytes() + batches > self.limits.max_memory_bytes {
                return Err(EventError::memory(&self.limits));
            }
            each(&batch, &columns.texts)?;
            if Instant::now() > deadline {
                return Err(in_time());
            }
        }
    }

    /// The counted events of a site in those records of the log.
    async fn beyond(&self, site: u64, records: Range<u64>) -> Result<Vec<RecordBatch>, EventError> {
        let mut all = Vec::new();
        if records.is_empty() {
            return Ok(all);
        }
        let (log, control) = (&self.generations.log, &self.generations.control);
        let follower = Follower::new(log, control, Some(site));
        let mut follower = follower.map_err(EventError::Start)?;
        let (mut at, mut bytes) = (records.start, 0);
        while at < records.end {
            let store = || self.generations.store();
            let Some((to, rows)) = follower.next(at, records.end, store).await? else {
                break; // what is applied was read
            };
            at = to;
            bytes += rows.get_array_memory_size();
            if rows.num_rows() > 0 {
                all.push(rows);
            }
            if bytes > self.limits.max_memory_bytes {
                return Err(EventError::memory(&self.limits));
            }
        }
        Ok(all)
    }
}

impl EventSource for LakeEvents {
    fn read(
        &self,
        site: u64,
        range: &Range<i64>,
        fields: &[Field],
        each: &mut EachBatch<'_>,
    ) -> Result<(), EventError> {
        let Ok(service) = self.generations.lake() else {
            return self.of_log.read(site, range, fields, each);
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = Handle::current();
        // Not from the log instead: it still has whom the lake was told to erase.
        let lake = runtime.block_on(service.opened())?;
        let read = move || {
            // As the thread that feeds the lake.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let read = self.read_lake(service, lake, (site, range, fields), each);
            match runtime.block_on(read) {
                // A file that is not what it was is named, if it can be told which.
                Err(EventError::Lake(
                    error @ (LakeError::Store { .. } | LakeError::Foreign { .. }),
                )) => {
                    let damage = runtime.block_on(lake.verify()).err();
                    Err(EventError::Lake(damage.unwrap_or(error)))
                }
                read => read,
            }
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("events".to_owned());
            let reader = thread.spawn_scoped(scope, read);
            let reader = reader.map_err(EventError::Start)?;
            // It may panic where a file is damaged.
            reader.join().map_err(|_| EventError::Stopped)?
        })
    }
}
