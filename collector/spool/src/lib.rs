//! A segment log: CRC-framed records, group-committed. The collector's spool and the aggregator's embedded log.
//!
//! What it promises:
//! - `Ok` of an append comes after fdatasync of the record, and of the folder if its file is new.
//! - Records are read in the order of their appends, each once, however the process ended. A position is never given
//!   to two records, also not after everything was trimmed or a damaged end was cut.
//! - After a failed write or fdatasync the file is not written again: a new segment is made, the records that were not
//!   durable are written there, at new positions, and the header of the new segment makes their old copies void.
//!   If that fails too, these appends fail, and all that had queued behind them.
//! - A corrupt record is counted, logged as an error and skipped with its positions. Opening is never refused for one.
//!   A damaged end can't be told from a write that was cut short: it is cut, and reported as torn. Records that vanish
//!   without a trace, from a disk that lied about fdatasync, are not noticed.
//! - Appends wait in memory only as long as their futures live: dropping a future before its record's turn cancels it.
//!   So the callers' number bounds memory; a group takes 4 MiB at most beyond that.
//!
//! One thread writes. It takes what has queued as soon as there are `commit_bytes`, or the first has waited
//! `commit_wait`; what comes while it syncs forms the next group. In a simulation a task does the same: see [`work`].

mod cursor;
mod disk;
mod frame;
mod index;
mod reader;
mod recovery;
pub mod work;
mod writer;

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

pub use disk::{Disk, OsDisk, SegmentFile};
pub use reader::{Lost, Reader};

use crate::{
    frame::{MAX_PAYLOAD, RECORD_HEADER},
    index::Index,
    recovery::{DirLock, recover},
    writer::{Entry, Queue, Writer},
};

/// Folders above a log's that are made durable with it: `DATA/log/segments` is made where only the one of `DATA` is.
const ANCESTORS: usize = 3;

/// How a log uses disk and time.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed once it is this long. At most a quarter of `max_bytes` is used, so that trimming makes room.
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
    /// Corrupt places in the last segment, each at least one record. Readers find the others.
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
    /// Corrupt places skipped since the log was opened, each at least one record, counted once whoever reads it.
    pub lost_corrupt: u64,
    /// Positions that were in them.
    pub lost_positions: u64,
    /// Bytes that were cut from the end when the log was opened. What was in them is in no other figure.
    pub torn_bytes: u64,
    /// Successful fdatasyncs of groups.
    pub fsyncs: u64,
    /// Failed writes and fdatasyncs.
    pub failed_fsyncs: u64,
    /// The last append was refused for want of room.
    pub full: bool,
    /// The last group could not be made durable. The writer tries by itself whether a new segment can be made, so this
    /// ends also if nothing is appended.
    pub failing: bool,
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
    /// Stored or not: unknown. Also for a span of 0 or a payload of more than 64 MiB, which are not stored.
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

/// A log in a folder. Clones share it; the last one to be dropped waits until what is queued is written.
#[derive(Clone)]
pub struct SegmentLog {
    handle: Arc<Handle>,
}

struct Shared {
    index: Mutex<Index>,
    queue: Mutex<Queue>,
    /// Something was queued that the writer may wait for.
    queued: Condvar,
    /// The same, for a writer that is a task.
    queued_task: Notify,
    durable: watch::Sender<u64>,
    fsyncs: AtomicU64,
    failed_fsyncs: AtomicU64,
    full: AtomicBool,
    failing: AtomicBool,
    torn_bytes: u64,
}

struct Handle {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    commit_bytes: usize,
}

/// What runs the writer.
enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl SegmentLog {
    /// Opens or makes the log in `dir`, which one process may have open at a time. Blocks.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Arc::new(OsDisk), dir, options)
    }

    /// Like [`open`](Self::open), writing through `disk`: for tests of what happens when it fails.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        mut options: Options,
    ) -> Result<(Self, Recovery), OpenError> {
        fs::create_dir_all(dir)?;
        // Its own name must be durable, and of the folders that may have been made with it.
        for ancestor in dir
            .ancestors()
            .skip(1)
            .take(ANCESTORS)
            .filter(|dir| dir.is_dir())
        {
            disk.sync_dir(ancestor)?;
        }
        let dir_lock = DirLock::take(dir)?;
        let recovered = recover(dir, &disk)?;
        let mut report = recovered.report;
        let usable = options.max_bytes.saturating_sub(options.reserve_bytes);
        options.segment_bytes = options.segment_bytes.min(usable / 4).max(1);
        let commit_bytes = options.commit_bytes;

        let shared = Arc::new(Shared {
            durable: watch::Sender::new(recovered.index.durable()),
            index: Mutex::new(recovered.index),
            queue: Mutex::default(),
            queued: Condvar::new(),
            queued_task: Notify::new(),
            fsyncs: AtomicU64::new(0),
            failed_fsyncs: AtomicU64::new(0),
            full: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            torn_bytes: report.torn_bytes,
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            dir: dir.to_owned(),
            options,
            disk,
            active: recovered.active,
            next_position: report.next_position,
            buffer: Vec::new(),
        };
        if writer.active.is_none() {
            // Its name keeps the next position, whatever becomes of the segments before.
            writer.roll()?;
        }
        for path in recovered.void {
            fs::remove_file(path)?;
        }
        report.segments = lock(&shared.index).len();
        let running = if work::is_in_turn() {
            Running::Task(tokio::spawn(async move {
                let _dir_lock = dir_lock;
                writer.run_in_turn().await;
            }))
        } else {
            let thread = thread::Builder::new().name("spool-writer".to_owned());
            Running::Thread(thread.spawn(move || {
                let _dir_lock = dir_lock;
                writer.run();
            })?)
        };
        let handle = Handle {
            shared,
            running: Mutex::new(Some(running)),
            commit_bytes,
        };
        let log = Self {
            handle: Arc::new(handle),
        };
        Ok((log, report))
    }

    /// Appends a record of `span` positions and resolves to the first of them once it is durable.
    ///
    /// The place in the order of records is taken by this call, not by the first poll. An append called before an
    /// earlier one's failure was seen may succeed: who can't have gaps waits for one before calling the next. Dropping
    /// the future cancels the append if it is not being written yet.
    pub fn append(
        &self,
        payload: Bytes,
        span: u32,
    ) -> impl Future<Output = Result<u64, AppendError>> + Send + 'static {
        let (done, outcome) = oneshot::channel();
        let bytes = payload.len() + RECORD_HEADER;
        let valid = span > 0 && payload.len() <= MAX_PAYLOAD;
        let payload = Arc::new(Mutex::new(Some(payload)));
        let cancel = CancelOnDrop(Arc::clone(&payload));
        let shared = &self.handle.shared;
        if valid {
            let mut queue = lock(&shared.queue);
            if !queue.closed {
                queue.entries.push_back(Entry {
                    payload,
                    bytes,
                    span,
                    at: Instant::now(),
                    done,
                });
                let before = queue.bytes;
                queue.bytes += bytes;
                let enough = self.handle.commit_bytes;
                if before == 0 || (before < enough && queue.bytes >= enough) {
                    shared.wake_writer();
                }
            }
        }
        async move {
            let _cancel = cancel;
            if !valid {
                let error = std::io::Error::new(
                    std::io::ErrorKind::InvalidInput,
                    "span of 0 or payload too long",
                );
                return Err(AppendError::Io(error));
            }
            outcome.await.unwrap_or(Err(AppendError::Closed))
        }
    }

    /// The position after the last durable record.
    pub fn durable(&self) -> u64 {
        *self.handle.shared.durable.borrow()
    }

    /// Follows [`durable`](Self::durable).
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.handle.shared.durable.subscribe()
    }

    /// The oldest position still kept.
    pub fn first(&self) -> u64 {
        lock(&self.handle.shared.index).first()
    }

    /// Reads durable records from the one that holds `from` on, or from the oldest kept if `from` was trimmed.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(Arc::clone(&self.handle.shared), from)
    }

    /// Deletes the segments whose records are all below `below`. The one being written goes once its room is needed.
    pub fn trim(&self, below: u64) -> Result<(), TrimError> {
        let shared = &self.handle.shared;
        let (gone, all) = {
            let mut index = lock(&shared.index);
            (index.trim(below), index.all_trimmed())
        };
        if all || !gone.is_empty() {
            shared.full.store(false, Ordering::Relaxed);
        }
        index::delete(&gone)?;
        Ok(())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let shared = &self.handle.shared;
        let index = lock(&shared.index);
        Stats {
            bytes: index.bytes(),
            segments: index.len(),
            lost_corrupt: index.lost_records,
            lost_positions: index.lost_positions,
            fsyncs: shared.fsyncs.load(Ordering::Relaxed),
            failed_fsyncs: shared.failed_fsyncs.load(Ordering::Relaxed),
            full: shared.full.load(Ordering::Relaxed),
            torn_bytes: shared.torn_bytes,
            failing: shared.failing.load(Ordering::Relaxed),
        }
    }

    /// Writes what is queued and stops the writer thread. Other clones get [`AppendError::Closed`] from then on.
    pub async fn close(self) {
        // It ends by itself; it answers with a panic at worst, which its own message told.
        match self.handle.stop() {
            Some(Running::Thread(thread)) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Some(Running::Task(task)) => {
                let _ = task.await;
            }
            None => {}
        }
    }
}

impl fmt::Debug for SegmentLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentLog")
            .field("first", &self.first())
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn wake_writer(&self) {
        self.queued.notify_one();
        self.queued_task.notify_one();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Handle {
    fn stop(&self) -> Option<Running> {
        lock(&self.shared.queue).closed = true;
        self.shared.wake_writer();
        lock(&self.running).take()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(Running::Thread(thread)) = self.stop() {
            let _ = thread.join();
        }
    }
}

/// Takes a record out of the queue again if its future is dropped.
struct CancelOnDrop(Arc<Mutex<Option<Bytes>>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

/// Locks; what a panicking thread left is still whole, as each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
