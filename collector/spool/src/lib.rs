//! A segment log: CRC-framed records, group-committed.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

/// How a log uses disk and time.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed once it is this long.
    pub segment_bytes: u64,
    /// Most bytes on disk; `u64::MAX` = unbounded.
    pub max_bytes: u64,
    /// Bytes below `max_bytes` at which appends are refused, kept for rewriting after a failure.
    pub reserve_bytes: u64,
    /// A group is written once it has this many bytes.
    pub commit_bytes: usize,
    /// A group is written this long after its first append, however small it is.
    pub commit_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: u64::MAX,
            reserve_bytes: 0,
            commit_bytes: 256 << 10,
            commit_wait: Duration::from_millis(1),
        }
    }
}

/// What `open` found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Position that the next append gets at the earliest.
    pub next_position: u64,
    /// Bytes of a half-written record that were cut from the end.
    pub torn_bytes: u64,
    /// Records found corrupt so far: those in the last segment; readers find the others.
    pub lost_corrupt: u64,
    /// Segment files.
    pub segments: usize,
}

/// State of a log, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes on disk.
    pub bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Corrupt records skipped since the log was opened; each is counted once, whoever reads it.
    pub lost_corrupt: u64,
    /// Successful fdatasyncs of groups.
    pub fsyncs: u64,
    /// Failed writes and fdatasyncs.
    pub failed_fsyncs: u64,
    /// The last append was refused for want of room.
    pub full: bool,
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the log is in use by another process")]
    InUse,
    /// The folder can't be read or written.
    #[error("open log")]
    Io(#[from] std::io::Error),
}

/// Why a record is not durable.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No room until something is trimmed.
    #[error("the log is full")]
    Full,
    /// Stored or not: unknown.
    #[error("write log")]
    Io(#[source] std::io::Error),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why records can't be read.
#[derive(Debug, thiserror::Error)]
#[error("read log")]
pub struct ReadError(#[from] std::io::Error);

/// Why segments can't be deleted.
#[derive(Debug, thiserror::Error)]
#[error("trim log")]
pub struct TrimError(#[from] std::io::Error);

/// A durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first of its positions.
    pub position: u64,
    /// How many positions it takes.
    pub span: u32,
    /// What was appended.
    pub payload: Bytes,
}

/// A log in a folder. Clones share it.
#[derive(Clone, Debug)]
pub struct SegmentLog {}

/// Reads a log from some position on.
#[derive(Debug)]
pub struct Reader {}

impl SegmentLog {
    /// Opens or makes the log in `dir`.
    pub fn open(_dir: &Path, _options: Options) -> Result<(Self, Recovery), OpenError> {
        unimplemented!()
    }

    /// Appends a record of `span` positions and resolves to the first of them once it is durable.
    ///
    /// The place in the order of records is taken by this call, not by the first poll.
    pub fn append(
        &self,
        _payload: Bytes,
        _span: u32,
    ) -> impl Future<Output = Result<u64, AppendError>> + Send + 'static {
        async { unimplemented!() }
    }

    /// The position after the last durable record.
    pub fn durable(&self) -> u64 {
        unimplemented!()
    }

    /// Follows [`durable`](Self::durable).
    pub fn watch(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// The oldest position still kept.
    pub fn first(&self) -> u64 {
        unimplemented!()
    }

    /// Reads durable records from the one that holds `from` on.
    pub fn reader(&self, _from: u64) -> Reader {
        unimplemented!()
    }

    /// Deletes the segments whose records are all below `below`.
    pub fn trim(&self, _below: u64) -> Result<(), TrimError> {
        unimplemented!()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Writes what is queued and stops the writer thread. Other clones get [`AppendError::Closed`] from then on.
    pub async fn close(self) {
        unimplemented!()
    }
}

impl Reader {
    /// The next records, of about `max_bytes` of payload (at least one record); empty if there is nothing newer yet.
    pub fn next(&mut self, _max_bytes: usize) -> Result<Vec<Record>, ReadError> {
        unimplemented!()
    }

    /// The position after the last record returned.
    pub fn position(&self) -> u64 {
        unimplemented!()
    }
}
