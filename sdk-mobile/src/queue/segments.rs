//! The queue's segments: read, written, moved, deleted.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::frame::{self, Frame, Frames};
use super::{Entry, Files, Place, Queue, SEGMENT_BYTES, Segment};

impl<F: Files> Queue<F> {
    /// Reads all segments: the number of damaged places.
    pub(super) fn read_all(&mut self) -> u64 {
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
                // An earlier one may have the only copies that are durable.
                for segment in self.segments.values_mut() {
                    segment.moved = true;
                }
            }
        }
        self.tidy();
        corrupt
    }

    /// Writes the entries that are in memory only, in segments.
    pub(super) fn write_memory(&mut self) {
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
    pub(super) fn append(&mut self, bytes: &[u8]) -> bool {
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
    pub(super) fn rotate(&mut self) {
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

    pub(super) fn fail(&mut self, error: &io::Error) {
        self.current = None;
        self.unsynced = false;
        self.error = Some(error.to_string());
    }

    /// Takes what waits in a segment back into memory.
    pub(super) fn bring_back(&mut self, from: Option<u64>) {
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

    pub(super) fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
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

    pub(super) fn count(&mut self, place: &Place, by: isize) {
        if let Place::Disk { segment, .. } = place
            && let Some(segment) = self.segments.get_mut(segment)
        {
            segment.waiting = segment.waiting.saturating_add_signed(by);
        }
    }

    /// Deletes segments that nothing needs, from the oldest on: a later one may settle events of an earlier one. Moves what
    /// keeps an old one, once files are twice what waits.
    pub(super) fn tidy(&mut self) {
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
