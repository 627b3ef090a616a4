//! The durable queue: events that wait until the collector has them, in segment files.
//!
//! - [`push`](Queue::push) appends a group of events to the last segment at once: they outlive the process. [`sync`](Queue::sync)
//!   makes them outlive the device.
//! - An index of some hundred bytes an event is in memory; events are read back when they are to be sent.
//! - [`settle`](Queue::settle) notes which need not be sent any more. A note that is lost costs a copy, which servers recognise.
//!   A segment goes when it and all before it hold nothing that waits; where an old event keeps one, the event moves.
//! - Over a limit the oldest go first, orders last.
//! - When writing fails, events stay in memory, under a smaller limit, until a new segment can be written: after an error
//!   nothing more is written to the old one. What can't be read is counted, and costs what was damaged.

mod files;
mod frame;
mod segments;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};

use wakeline_client::{DropReason, EventId, RecordedAt, Stored};

pub(crate) use files::{Files, Folder, sync_folder};
use frame::Frame;
pub(crate) use frame::Record;
pub(crate) use slot::{Slot, locked};

use crate::clock::Moment;

/// Size at which a segment is followed by the next.
const SEGMENT_BYTES: u64 = 256 << 10;

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of events.
    pub(crate) bytes: u64,
    /// Bytes of events while they are in memory only.
    pub(crate) memory_bytes: u64,
    /// Age at which an event is given up, in ms.
    pub(crate) age_ms: i64,
}

/// How much of a queue the client has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) events: usize,
    /// As they are on disk.
    pub(crate) bytes: usize,
}

/// What was found when a queue was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The last id that was given.
    pub(crate) last: Option<EventId>,
    /// Events that wait.
    pub(crate) restored: u64,
    /// Damaged places.
    pub(crate) corrupt: u64,
}

/// See the [module's documentation](self).
pub(crate) struct Queue<F> {
    files: F,
    limits: Limits,
    /// By arrival.
    entries: VecDeque<Entry>,
    bytes: u64,
    memory_bytes: u64,
    /// What the client has.
    loaded: Window,
    segments: BTreeMap<u64, Segment>,
    /// The one that is appended to; `None`: the next one is made first.
    current: Option<u64>,
    next_segment: u64,
    next_arrival: u64,
    last: Option<EventId>,
    unsynced: bool,
    error: Option<String>,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    waiting: usize,
    /// Events were written again elsewhere.
    moved: bool,
}

#[derive(Debug)]
struct Entry {
    id: EventId,
    arrival: u64,
    at: Moment,
    context: u32,
    length: u32,
    order: bool,
    /// The client has it.
    loaded: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Disk {
        segment: u64,
        at: u32,
    },
    /// A frame.
    Memory(Vec<u8>),
}

impl Entry {
    /// Bytes that it has in memory.
    fn in_memory(&self) -> u64 {
        match self.place {
            Place::Memory(_) => u64::from(self.length),
            Place::Disk { .. } => 0,
        }
    }
}

impl<F: Files> Queue<F> {
    /// Reads what is there.
    pub(crate) fn open(files: F, limits: Limits) -> (Self, Found) {
        let mut queue = Self {
            files,
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            memory_bytes: 0,
            loaded: Window::default(),
            segments: BTreeMap::new(),
            current: None,
            next_segment: 0,
            next_arrival: 0,
            last: None,
            unsynced: false,
            error: None,
        };
        let corrupt = queue.read_all();
        let found = Found {
            last: queue.last,
            restored: queue.entries.len() as u64,
            corrupt,
        };
        (queue, found)
    }

    /// Adds events, and gives each its arrival.
    pub(crate) fn push(&mut self, records: impl IntoIterator<Item = Record>) {
        for mut record in records {
            record.arrival = self.next_arrival;
            self.next_arrival += 1;
            self.last = Some(record.id);
            let mut frame = Vec::with_capacity(80 + record.stored.len());
            frame::write_event(&mut frame, &record);
            self.bytes += frame.len() as u64;
            self.memory_bytes += frame.len() as u64;
            self.entries.push_back(Entry {
                id: record.id,
                arrival: record.arrival,
                at: record.at,
                context: record.context,
                length: frame.len() as u32,
                order: record.order,
                loaded: false,
                place: Place::Memory(frame),
            });
        }
        if self.error.is_none() {
            self.write_memory();
        }
    }

    /// Tries to write what is in memory only, after writing failed. True: all is written.
    pub(crate) fn recover(&mut self) -> bool {
        self.error = None;
        if self.current.is_none() {
            self.rotate();
        }
        self.write_memory();
        self.error.is_none()
    }

    /// Where it is.
    pub(crate) fn files(&mut self) -> &mut F {
        &mut self.files
    }

    /// Makes durable what was written. True: nothing is missing.
    pub(crate) fn sync(&mut self) -> bool {
        if self.unsynced {
            match self.files.sync() {
                Ok(()) => self.unsynced = false,
                Err(error) => {
                    // What the segment holds is not known any more: all that waits in it is written again.
                    self.unsynced = false;
                    let segment = self.current;
                    self.fail(&error);
                    self.bring_back(segment);
                }
            }
        }
        self.memory_bytes == 0
    }

    /// These need not be sent any more.
    pub(crate) fn settle(&mut self, ids: &[EventId]) {
        if ids.is_empty() {
            return;
        }
        let settled: HashSet<EventId> = ids.iter().copied().collect();
        self.remove(|entry| settled.contains(&entry.id));
        if self.error.is_none() && self.current.is_some() {
            let mut frames = Vec::new();
            frame::write_settled(&mut frames, ids);
            self.append(&frames);
        }
        self.tidy();
    }

    /// Gives up what is too old or too much; `withdraw` is asked for those that the client has, and may refuse.
    pub(crate) fn shed(
        &mut self,
        now: Moment,
        mut withdraw: impl FnMut(EventId) -> bool,
    ) -> Vec<(EventId, DropReason)> {
        let limits = self.limits;
        let (mut bytes, mut memory) = (self.bytes, self.memory_bytes);
        let old = |entry: &Entry| entry.at.age(now) > limits.age_ms;
        let fits = bytes <= limits.bytes && memory <= limits.memory_bytes;
        if fits && !self.entries.front().is_some_and(old) {
            return Vec::new(); // as nearly always
        }
        let mut given_up = Vec::new();
        for orders in [false, true] {
            for entry in &self.entries {
                let in_memory = entry.in_memory();
                let too_much =
                    bytes > limits.bytes || (in_memory > 0 && memory > limits.memory_bytes);
                let reason = if entry.order == orders && old(entry) {
                    DropReason::QueueAge
                } else if entry.order == orders && too_much {
                    DropReason::QueueBytes
                } else {
                    continue;
                };
                if entry.loaded && !withdraw(entry.id) {
                    continue;
                }
                bytes -= u64::from(entry.length);
                memory -= in_memory;
                given_up.push((entry.id, reason));
            }
        }
        let ids: Vec<EventId> = given_up.iter().map(|(id, _)| *id).collect();
        self.settle(&ids);
        given_up
    }

    /// The context of the event that is to be sent next, of a client that has none.
    pub(crate) fn next_context(&self) -> Option<u32> {
        let order = self.entries.iter().find(|entry| entry.order);
        let next = order.or(self.entries.front());
        next.map(|entry| entry.context)
    }

    /// The next events for the client, orders first, then the oldest, of one context: until it has `window`. Those that
    /// can't be read are given up: their number.
    pub(crate) fn load(
        &mut self,
        context: u32,
        window: Window,
        now: Moment,
    ) -> (Vec<(Stored, RecordedAt)>, u64) {
        let (mut loaded, mut unreadable) = (Vec::new(), Vec::new());
        for orders in [true, false] {
            let most = if orders {
                window.events * 2
            } else {
                window.events
            };
            for index in 0..self.entries.len() {
                let Some(entry) = self.entries.get(index) else {
                    break;
                };
                if entry.loaded || entry.order != orders || entry.context != context {
                    continue;
                }
                let bytes = self.loaded.bytes + entry.length as usize;
                if self.loaded.events >= most || (bytes > window.bytes && self.loaded.events > 0) {
                    break;
                }
                let Some(stored) = self.read(entry) else {
                    unreadable.push(entry.id);
                    continue;
                };
                loaded.push((stored, entry.at.recorded_at(now)));
                self.loaded = Window {
                    events: self.loaded.events + 1,
                    bytes,
                };
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.loaded = true;
                }
            }
        }
        self.settle(&unreadable);
        (loaded, unreadable.len() as u64)
    }

    /// The client has no events any more.
    pub(crate) fn unload(&mut self) {
        for entry in &mut self.entries {
            entry.loaded = false;
        }
        self.loaded = Window::default();
    }

    /// Erases all: the number of events.
    pub(crate) fn clear(&mut self) -> usize {
        let erased = self.entries.len();
        self.entries.clear();
        self.current = None;
        self.unsynced = false;
        for segment in std::mem::take(&mut self.segments).into_keys() {
            let _ = self.files.remove(segment); // the next start finds it, and nobody its events
        }
        (self.bytes, self.memory_bytes) = (0, 0);
        self.loaded = Window::default();
        erased
    }

    /// Takes over the events of another queue, which is empty then. Found: what it had.
    pub(crate) fn take_over(&mut self, files: F) -> Found {
        let (mut other, found) = Queue::open(files, self.limits);
        let records: Vec<Record> = other
            .entries
            .iter()
            .filter_map(|entry| other.record(entry))
            .collect();
        if !records.is_empty() {
            let last = self.last;
            self.push(records);
            self.last = last;
        }
        if self.sync() {
            other.clear();
        }
        found
    }

    /// Lets go of the files. Nothing is called after this.
    pub(crate) fn close(&mut self) {
        self.files.close();
    }

    /// Events that wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Why events are in memory only; `None`: they are not.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether something that was written is not durable yet.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    fn read(&self, entry: &Entry) -> Option<Stored> {
        let stored = Stored::from_bytes(&self.record(entry)?.stored)?;
        (stored.id == entry.id).then_some(stored)
    }

    fn record(&self, entry: &Entry) -> Option<Record> {
        let read;
        let bytes = match &entry.place {
            Place::Memory(frame) => frame,
            Place::Disk { segment, at } => {
                let length = entry.length as usize;
                read = self.files.read_at(*segment, u64::from(*at), length).ok()?;
                &read
            }
        };
        match frame::read(bytes)? {
            (_, Frame::Event(record)) if record.id == entry.id => Some(record),
            _ => None,
        }
    }
}
