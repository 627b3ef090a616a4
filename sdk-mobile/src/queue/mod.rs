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
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;

use wakeline_client::{DropReason, EventId, RecordedAt, Stored};

pub(crate) use files::{Files, Folder, sync_folder};
pub(crate) use frame::Record;
use frame::{Frame, Frames};
pub(crate) use slot::Slot;

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
    pub(crate) fn push(&mut self, mut records: Vec<Record>) {
        for record in &mut records {
            record.arrival = self.next_arrival;
            self.next_arrival += 1;
            self.last = Some(record.id);
        }
        let frames: Vec<Vec<u8>> = records
            .iter()
            .map(|record| {
                let mut frame = Vec::with_capacity(80 + record.stored.len());
                frame::write_event(&mut frame, record);
                frame
            })
            .collect();
        for (record, frame) in records.into_iter().zip(frames) {
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

    /// Reads all segments: the number of damaged places.
    fn read_all(&mut self) -> u64 {
        let segments = match self.files.list() {
            Ok(segments) => segments,
            Err(error) => {
                self.fail(&error);
                return 0;
            }
        };
        let (mut corrupt, mut settled) = (0, HashSet::new());
        let mut known = BTreeMap::new();
        for number in segments {
            self.next_segment = number + 1;
            let mut segment = Segment::default();
            if let Ok(bytes) = self.files.read(number) {
                segment.bytes = bytes.len() as u64;
                let mut frames = Frames::new(&bytes);
                for (at, length, frame) in frames.by_ref() {
                    match frame {
                        Frame::Event(record) => {
                            self.last = Some(record.id);
                            self.next_arrival = self.next_arrival.max(record.arrival + 1);
                            let entry = Entry {
                                id: record.id,
                                arrival: record.arrival,
                                at: record.at,
                                context: record.context,
                                length: length as u32,
                                order: record.order,
                                loaded: false,
                                place: Place::Disk {
                                    segment: number,
                                    at: at as u32,
                                },
                            };
                            known.insert((entry.arrival, entry.id), entry); // the later copy
                        }
                        Frame::Settled(ids) => settled.extend(ids),
                        Frame::Last(id) => self.last = Some(id),
                    }
                }
                corrupt += u64::from(frames.damaged > 0);
            } else {
                corrupt += 1;
            }
            self.segments.insert(number, segment);
        }
        known.retain(|_, entry: &mut Entry| !settled.contains(&entry.id));
        for entry in known.into_values() {
            self.bytes += u64::from(entry.length);
            self.count(&entry.place, 1);
            self.entries.push_back(entry);
        }
        let waiting = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.waiting > 0);
        for number in waiting.map(|(number, _)| *number).collect::<Vec<_>>() {
            // Whoever wrote it may have ended before it was durable.
            if self.files.sync_segment(number).is_err() {
                self.bring_back(Some(number));
            }
        }
        self.tidy();
        corrupt
    }

    /// Writes the entries that are in memory only, in segments.
    fn write_memory(&mut self) {
        while self.memory_bytes > 0 && self.error.is_none() {
            let full = |segment: &Segment| segment.bytes >= SEGMENT_BYTES;
            let current = self.current.and_then(|number| self.segments.get(&number));
            if current.is_none_or(full) {
                self.rotate();
            }
            let Some(segment) = self.current else { return };
            let Some(start) = self.segments.get(&segment).map(|segment| segment.bytes) else {
                return;
            };
            let (mut group, mut places) = (Vec::new(), Vec::new());
            // What is new is at the end: mostly all of it.
            let (mut first, mut left) = (self.entries.len(), self.memory_bytes);
            while left > 0 && first > 0 {
                first -= 1;
                left -= self.entries.get(first).map_or(0, Entry::in_memory);
            }
            for (index, entry) in self.entries.iter().enumerate().skip(first) {
                if let Place::Memory(frame) = &entry.place {
                    places.push((index, start + group.len() as u64));
                    group.extend_from_slice(frame);
                }
                if start + group.len() as u64 >= SEGMENT_BYTES {
                    break;
                }
            }
            if places.is_empty() || !self.append(&group) {
                return;
            }
            for (index, at) in places {
                if let Some(entry) = self.entries.get_mut(index) {
                    self.memory_bytes -= u64::from(entry.length);
                    entry.place = Place::Disk {
                        segment,
                        at: at as u32,
                    };
                }
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.waiting += 1;
                }
            }
        }
    }

    /// Appends to the current segment. False: it failed, and is not appended to any more.
    fn append(&mut self, bytes: &[u8]) -> bool {
        if let Err(error) = self.files.append(bytes) {
            // What was written before may still be made durable where it is.
            let segment = self.current;
            let durable = !self.unsynced || self.files.sync().is_ok();
            self.fail(&error);
            if !durable {
                self.bring_back(segment);
            }
            return false;
        }
        self.unsynced = true;
        let segment = self
            .current
            .and_then(|number| self.segments.get_mut(&number));
        if let Some(segment) = segment {
            segment.bytes += bytes.len() as u64;
        }
        true
    }

    /// Begins the next segment.
    fn rotate(&mut self) {
        if self.unsynced && !self.sync() && self.error.is_some() {
            return;
        }
        let number = self.next_segment;
        self.next_segment += 1;
        self.current = None;
        if let Err(error) = self.files.create(number) {
            self.fail(&error);
            return;
        }
        self.current = Some(number);
        self.segments.insert(number, Segment::default());
        if let Some(last) = self.last {
            let mut frame = Vec::new();
            frame::write_last(&mut frame, last);
            self.append(&frame);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.current = None;
        self.unsynced = false;
        self.error = Some(error.to_string());
    }

    /// Takes what waits in a segment back into memory.
    fn bring_back(&mut self, from: Option<u64>) {
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index) else {
                return;
            };
            let Place::Disk { segment, .. } = entry.place else {
                continue;
            };
            if Some(segment) != from {
                continue;
            }
            let Some(record) = self.record(entry) else {
                continue;
            };
            let mut frame = Vec::new();
            frame::write_event(&mut frame, &record);
            self.memory_bytes += frame.len() as u64;
            if let Some(segment) = self.segments.get_mut(&segment) {
                segment.waiting -= 1;
                segment.moved = true;
            }
            if let Some(entry) = self.entries.get_mut(index) {
                entry.place = Place::Memory(frame);
            }
        }
    }

    fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| {
            let gone = gone(entry);
            if gone {
                self.bytes -= u64::from(entry.length);
                self.memory_bytes -= entry.in_memory();
                if entry.loaded {
                    self.loaded.events -= 1;
                    self.loaded.bytes -= entry.length as usize;
                }
                self.count(&entry.place, -1);
            }
            !gone
        });
        self.entries = entries;
    }

    fn count(&mut self, place: &Place, by: isize) {
        if let Place::Disk { segment, .. } = place
            && let Some(segment) = self.segments.get_mut(segment)
        {
            segment.waiting = segment.waiting.saturating_add_signed(by);
        }
    }

    /// Deletes segments that nothing needs, from the oldest on: a later one may settle events of an earlier one. Moves what
    /// keeps an old one, once files are twice what waits.
    fn tidy(&mut self) {
        while let Some((&oldest, segment)) = self.segments.first_key_value() {
            if Some(oldest) == self.current {
                return;
            }
            if segment.waiting > 0 {
                let on_disk: u64 = self.segments.values().map(|segment| segment.bytes).sum();
                let wasteful = on_disk > 2 * (self.bytes - self.memory_bytes) + 4 * SEGMENT_BYTES;
                if !wasteful || self.error.is_some() {
                    return;
                }
                self.bring_back(Some(oldest));
                self.write_memory();
                self.sync();
            }
            let done = |segment: &Segment| {
                segment.waiting == 0 && !(segment.moved && (self.unsynced || self.memory_bytes > 0))
            };
            if !self.segments.get(&oldest).is_some_and(done) {
                return;
            }
            // The last one names the last id.
            if self.segments.len() == 1 && self.current.is_none() {
                return;
            }
            if self.files.remove(oldest).is_err() {
                return; // tried again with the next that is settled
            }
            self.segments.remove(&oldest);
        }
    }
}
