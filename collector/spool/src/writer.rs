//! The one thread that writes: gathers appends into groups, makes each group durable, and answers.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    AppendError, Options, Shared,
    disk::{Disk, SegmentFile},
    frame::{SEGMENT_HEADER, SegmentHeader, encode_record},
    index::{Segment, delete},
    lock,
};

/// A group takes no more than this, unless one record alone does.
const GROUP_BYTES: usize = 4 << 20;
/// Blocks are reserved in steps of this.
const ALLOCATE_BYTES: u64 = 4 << 20;
/// After a failure on two files, the next attempt waits this long; appends queue meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// While appends fail and none comes, a new segment is tried this often.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// An append that waits for its turn.
pub(crate) struct Entry {
    /// Empty once the future was dropped.
    pub(crate) payload: Arc<Mutex<Option<Bytes>>>,
    pub(crate) bytes: usize,
    pub(crate) span: u32,
    pub(crate) at: Instant,
    pub(crate) done: oneshot::Sender<Result<u64, AppendError>>,
}

impl Entry {
    fn fail(self, error: AppendError) {
        // Nobody waits if the future was dropped.
        let _ = self.done.send(Err(error));
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) bytes: usize,
    pub(crate) closed: bool,
}

/// What a look into the queue gave.
enum Gathered {
    Group(Vec<Entry>),
    /// Wait for more: no longer than this, if it is given.
    Nothing(Option<Duration>),
    Closed,
}

/// The file that is being written.
pub(crate) struct Active {
    pub(crate) file: Box<dyn SegmentFile>,
    pub(crate) length: u64,
    pub(crate) allocated: u64,
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    /// Absent after a failure: a file that failed once is not written again.
    pub(crate) active: Option<Active>,
    pub(crate) next_position: u64,
    pub(crate) buffer: Vec<u8>,
}

struct Pending {
    entry: Entry,
    payload: Bytes,
    position: u64,
}

impl Writer {
    /// Returns when the log is closed and the queue is empty.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut queue = lock(&shared.queue);
        loop {
            queue = match self.gather(&mut queue) {
                Gathered::Closed => return,
                Gathered::Group(entries) => {
                    drop(queue);
                    if let Some(pause) = self.settle(entries) {
                        pause_thread(&shared, pause);
                    }
                    lock(&shared.queue)
                }
                Gathered::Nothing(None) => wait(&shared, queue),
                Gathered::Nothing(Some(longest)) => {
                    let (mut queue, timed_out) = wait_timeout(&shared, queue, longest);
                    if timed_out && queue.entries.is_empty() && !queue.closed {
                        drop(queue);
                        self.probe();
                        queue = lock(&shared.queue);
                    }
                    queue
                }
            };
        }
    }

    /// Like [`run`](Self::run), as a task: for simulations.
    pub(crate) async fn run_in_turn(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let gathered = self.gather(&mut lock(&shared.queue));
            match gathered {
                Gathered::Closed => return,
                Gathered::Group(entries) => {
                    if let Some(pause) = self.settle(entries) {
                        tokio::time::sleep(pause).await;
                    }
                }
                Gathered::Nothing(None) => shared.queued_task.notified().await,
                Gathered::Nothing(Some(longest)) => {
                    let more = tokio::time::timeout(longest, shared.queued_task.notified()).await;
                    if more.is_err() && lock(&shared.queue).entries.is_empty() {
                        self.probe();
                    }
                }
            }
        }
    }

    /// Takes a group out of the queue if there is one: `commit_bytes`, or the first has waited `commit_wait`. What came
    /// while the last group was written has mostly waited long enough.
    fn gather(&self, queue: &mut Queue) -> Gathered {
        let Some(first) = queue.entries.front() else {
            return if queue.closed {
                Gathered::Closed
            } else {
                Gathered::Nothing(self.failing().then_some(PROBE_EVERY))
            };
        };
        let left = self.options.commit_wait.saturating_sub(first.at.elapsed());
        if !queue.closed && queue.bytes < self.options.commit_bytes && !left.is_zero() {
            return Gathered::Nothing(Some(left));
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = queue.entries.front()
            && (taken.is_empty() || bytes + entry.bytes <= GROUP_BYTES)
            && let Some(entry) = queue.entries.pop_front()
        {
            bytes += entry.bytes;
            taken.push(entry);
        }
        queue.bytes -= bytes;
        Gathered::Group(taken)
    }

    /// Makes a group durable and answers it. After a failure, how long to give the disk a pause.
    fn settle(&mut self, entries: Vec<Entry>) -> Option<Duration> {
        let mut group = self.admit(entries);
        if group.is_empty() {
            self.probe();
            return None;
        }
        // What was not made durable in one file is written again in a new one.
        match self.commit(&mut group).or_else(|first| {
            tracing::error!(error = %first, "write log: going on in a new segment");
            self.commit(&mut group)
        }) {
            Ok(()) => {
                self.shared.failing.store(false, Ordering::Relaxed);
                for pending in group {
                    let _ = pending.entry.done.send(Ok(pending.position));
                }
                None
            }
            Err(error) => {
                self.fail(group, &error);
                Some(PAUSE)
            }
        }
    }

    /// Refuses what has no room, and forgets what nobody waits for.
    fn admit(&mut self, entries: Vec<Entry>) -> Vec<Pending> {
        let mut group = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        let mut room = self.room();
        let mut refused = false;
        for entry in entries {
            let Some(payload) = lock(&entry.payload).take() else {
                continue;
            };
            let after = bytes + entry.bytes as u64;
            if after > room && !refused {
                self.make_room();
                room = self.room();
            }
            if after > room {
                refused = true;
                self.shared.full.store(true, Ordering::Relaxed);
                entry.fail(AppendError::Full);
                continue;
            }
            bytes = after;
            group.push(Pending {
                entry,
                payload,
                position: 0,
            });
        }
        if !refused && !group.is_empty() {
            self.shared.full.store(false, Ordering::Relaxed);
        }
        group
    }

    /// Bytes that may be appended. Keeps back what a new segment's header takes.
    fn room(&self) -> u64 {
        let used = lock(&self.shared.index).bytes() + SEGMENT_HEADER as u64;
        self.options
            .max_bytes
            .saturating_sub(self.options.reserve_bytes)
            .saturating_sub(used)
    }

    /// If all there is was trimmed, it can go but for the segment being written: starts a new one.
    fn make_room(&mut self) {
        if !lock(&self.shared.index).all_trimmed()
            || self
                .active
                .as_ref()
                .is_none_or(|active| active.length <= SEGMENT_HEADER as u64)
        {
            return;
        }
        if let Err(error) = self.roll() {
            tracing::error!(%error, "make a new segment");
            return;
        }
        let gone = lock(&self.shared.index).trim(0);
        if let Err(error) = delete(&gone) {
            tracing::warn!(%error, "delete trimmed segments");
        }
    }

    /// Writes the group to the active segment, or to a new one where there is none or it is long enough, and syncs it.
    fn commit(&mut self, group: &mut [Pending]) -> io::Result<()> {
        let mut active = match self.active.take() {
            Some(active) if active.length < self.options.segment_bytes => active,
            _ => {
                self.roll()?;
                self.active
                    .take()
                    .ok_or_else(|| io::Error::other("no segment"))?
            }
        };
        self.buffer.clear();
        for pending in group.iter_mut() {
            // Positions of a group that fails are not given again: its bytes may have reached the disk.
            pending.position = self.next_position;
            self.next_position += u64::from(pending.entry.span);
            encode_record(
                &mut self.buffer,
                pending.position,
                pending.entry.span,
                &pending.payload,
            );
        }
        let length = self.buffer.len() as u64;
        let written = self.write(&mut active, length);
        if self.buffer.capacity() > 2 * GROUP_BYTES {
            self.buffer = Vec::new(); // one huge record should not be paid for ever after
        }
        if let Err(error) = written {
            self.shared.failed_fsyncs.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        self.shared.fsyncs.fetch_add(1, Ordering::Relaxed);
        active.length += length;
        self.active = Some(active);
        lock(&self.shared.index).grown(length, self.next_position);
        self.shared.durable.send_replace(self.next_position);
        Ok(())
    }

    fn write(&self, active: &mut Active, length: u64) -> io::Result<()> {
        if active.length + length > active.allocated {
            let from = active.allocated.max(active.length);
            let to = (active.length + length)
                .max((from + ALLOCATE_BYTES).min(self.options.segment_bytes));
            active.file.allocate(from, to - from);
            active.allocated = to;
        }
        active.file.write_all_at(&self.buffer, active.length)?;
        active.file.sync_data()
    }

    /// Makes a new segment, durable with its name, and goes on in it.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        self.active = None;
        let first = self.next_position;
        let path = self.dir.join(file_name(first));
        let header = SegmentHeader {
            first,
            previous_end: lock(&self.shared.index).durable(),
        };
        match self.create(&path, header) {
            Ok(file) => {
                lock(&self.shared.index).push(Segment {
                    first,
                    previous_end: header.previous_end,
                    bytes: SEGMENT_HEADER as u64,
                    path,
                });
                self.active = Some(Active {
                    file,
                    length: SEGMENT_HEADER as u64,
                    allocated: 0,
                });
                Ok(())
            }
            Err(error) => {
                self.shared.failed_fsyncs.fetch_add(1, Ordering::Relaxed);
                // Should the file stay, its name must not be needed again.
                self.next_position += 1;
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn create(
        &self,
        path: &std::path::Path,
        header: SegmentHeader,
    ) -> io::Result<Box<dyn SegmentFile>> {
        let mut file = self.disk.create(path)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.dir)?;
        Ok(file)
    }

    fn failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// After a failure: makes a new segment, to see whether the disk takes anything again. Whoever sends nothing while
    /// the log fails would never learn that it works.
    fn probe(&mut self) {
        if self.failing() && self.roll().is_ok() {
            tracing::info!("write log: the disk takes segments again");
            self.shared.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Answers the group, and what has queued behind it, with the error.
    fn fail(&self, group: Vec<Pending>, error: &io::Error) {
        tracing::error!(%error, "write log: appends fail");
        self.shared.failing.store(true, Ordering::Relaxed);
        let mut queue = lock(&self.shared.queue);
        queue.bytes = 0;
        let queued = std::mem::take(&mut queue.entries);
        for entry in group.into_iter().map(|pending| pending.entry).chain(queued) {
            entry.fail(AppendError::Io(io::Error::new(
                error.kind(),
                error.to_string(),
            )));
        }
    }
}

/// Lets `pause` pass, or ends it when the log is closed.
fn pause_thread(shared: &Shared, pause: Duration) {
    let until = Instant::now() + pause;
    let mut queue = lock(&shared.queue);
    while !queue.closed {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        queue = wait_timeout(shared, queue, left).0;
    }
}

/// Name of the segment whose first position is `first`.
pub(crate) fn file_name(first: u64) -> String {
    format!("{first:020}.seg")
}

fn wait<'a>(
    shared: &Shared,
    queue: std::sync::MutexGuard<'a, Queue>,
) -> std::sync::MutexGuard<'a, Queue> {
    shared
        .queued
        .wait(queue)
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether the time was over, too.
fn wait_timeout<'a>(
    shared: &Shared,
    queue: std::sync::MutexGuard<'a, Queue>,
    timeout: Duration,
) -> (std::sync::MutexGuard<'a, Queue>, bool) {
    let (queue, result) = shared
        .queued
        .wait_timeout(queue, timeout)
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    (queue, result.timed_out())
}
