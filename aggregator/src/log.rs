//! The log: everything that collectors pushed, in one order.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use tokio::sync::watch;
use wakeline_proto::v1::{Block, LogRecord};
use wakeline_spool::{AppendError, OpenError, Options, ReadError, Reader, SegmentLog, Stats};

/// Why the log could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log can't be opened.
    #[error("open the log")]
    Open(#[from] OpenError),
    /// A block is not durable, as far as is known.
    #[error("append to the log")]
    Append(#[from] AppendError),
    /// Records can't be read.
    #[error("read the log")]
    Read(#[from] ReadError),
}

/// A record of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its offset.
    pub offset: u64,
    /// What was appended; `None` if it can't be read any more.
    pub record: Option<LogRecord>,
    /// How many records can't be read, from `offset` on: 0 if there is one.
    pub lost: u64,
    /// Length of the encoded record.
    pub bytes: usize,
}

/// Where events become durable and get their order. Collectors are answered after `append` is `Ok`.
///
/// - `Ok`: the block survives a crash of process and machine, and every reader will see it at that offset.
/// - `Err`: stored or not, unknown. Appending again is safe: of groups at or below the highest spool position seen of
///   their edge and partition, whoever reads takes only events with ids of their own that are new. This needs blocks of
///   one edge and partition in spool order, so that the next one is appended after the one before it is `Ok`.
/// - Each record carries a stamp of the clock, which never runs backwards along the log.
/// - Offsets grow; readers see only durable records, each exactly once, in order. For records that were damaged on disk
///   there is an entry that says how many they were: they never stop a reader.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Reads from some offset on.
    type Reader: LogReader;

    /// Appends a block. Its place in the order is taken by this call, not by the first poll.
    fn append(
        &self,
        edge: u64,
        block: Block,
    ) -> impl Future<Output = Result<u64, LogError>> + Send + 'static;

    /// Reads the records at `from` and above.
    fn reader(&self, from: u64) -> Self::Reader;

    /// Follows the offset after the newest durable record.
    fn end(&self) -> watch::Receiver<u64>;

    /// No record to come gets an offset below this. Above [`end`](Self::end) where the end was damaged and cut: records
    /// up to here may have been read before.
    fn next(&self) -> u64;
}

impl Entry {
    /// The partition that it is for, and what that is to apply: a record as it is; for records that are lost, a stand-in
    /// that says how many they were, which is for partition 0, since it can't be told whose they were.
    pub(crate) fn applied(self) -> Option<(u16, LogRecord)> {
        let Some(record) = self.record else {
            let stand_in = LogRecord {
                edge: self.lost,
                ..LogRecord::default()
            };
            return Some((0, stand_in));
        };
        let partition = u16::try_from(record.block.as_ref()?.partition).ok()?;
        Some((partition, record))
    }
}

/// Reads a log in order. May block the calling thread while it reads the disk.
pub trait LogReader: Send + 'static {
    /// The next records, of about `max_bytes` (at least one); empty if there is nothing newer yet.
    fn next(
        &mut self,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, LogError>> + Send;

    /// The offset after the last record that was returned or skipped.
    fn position(&self) -> u64;
}

/// A log in segment files of a local folder.
#[derive(Clone, Debug)]
pub struct SegmentEventLog {
    segments: SegmentLog,
    /// The newest stamp. Held while a place in the log is taken, so that stamps and offsets agree.
    stamp: Arc<Mutex<u64>>,
    /// What `next` was when it was opened.
    opened_at: u64,
}

impl SegmentEventLog {
    /// Opens or makes the log in `dir`.
    pub fn open(dir: &Path, segment_bytes: u64) -> Result<Self, LogError> {
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let (segments, recovery) = SegmentLog::open(dir, options)?;
        if recovery.lost_corrupt > 0 {
            tracing::error!(
                lost_corrupt = recovery.lost_corrupt,
                "the log has damaged records"
            );
        }
        tracing::info!(
            end = recovery.next_position,
            segments = recovery.segments,
            torn_bytes = recovery.torn_bytes,
            "opened the log"
        );
        Ok(Self {
            segments,
            stamp: Arc::default(),
            opened_at: recovery.next_position,
        })
    }

    /// Stamps are not below `stamp_ms` from now on: the newest one already in the log, which its opener has to find.
    pub fn raise_stamp(&self, stamp_ms: u64) {
        let mut newest = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = stamp_ms.max(*newest);
    }

    /// Counters and gauges of the files.
    pub fn stats(&self) -> Stats {
        self.segments.stats()
    }

    /// Writes what is queued and refuses appends from then on.
    pub async fn close(self) {
        self.segments.close().await;
    }
}

impl EventLog for SegmentEventLog {
    type Reader = SegmentReader;

    fn append(
        &self,
        edge: u64,
        block: Block,
    ) -> impl Future<Output = Result<u64, LogError>> + Send + 'static {
        let append = {
            let mut newest = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
            *newest = now_ms().max(*newest);
            let record = LogRecord {
                appended_at: *newest,
                edge,
                block: Some(block),
            };
            self.segments.append(record.encode_to_vec().into(), 1)
        };
        async move { Ok(append.await?) }
    }

    fn reader(&self, from: u64) -> SegmentReader {
        SegmentReader(self.segments.reader(from))
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.segments.watch()
    }

    fn next(&self) -> u64 {
        self.segments.durable().max(self.opened_at)
    }
}

/// Reads a [`SegmentEventLog`].
#[derive(Debug)]
pub struct SegmentReader(Reader);

impl LogReader for SegmentReader {
    async fn next(&mut self, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let records = self.0.next(max_bytes)?.into_iter().map(|record| {
            let (offset, bytes) = (record.position, record.payload.len());
            // The bytes are those that were written: if they are no record, whoever wrote them was wrong.
            let record = LogRecord::decode(record.payload).ok();
            let lost = u64::from(record.is_none());
            Entry {
                offset,
                record,
                lost,
                bytes,
            }
        });
        let mut entries: Vec<Entry> = records.collect();
        entries.extend(self.0.take_lost().into_iter().map(|lost| Entry {
            offset: lost.from,
            record: None,
            lost: lost.positions(),
            bytes: 0,
        }));
        entries.sort_by_key(|entry| entry.offset);
        Ok(entries)
    }

    fn position(&self) -> u64 {
        self.0.position()
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
