use std::{fs::File, io, sync::Arc};

use crate::{
    ReadError, Record, Shared,
    cursor::{Cursor, Step},
    index::View,
    lock,
    recovery::GAP,
};

/// Bytes read from a file at once, at least, where there are as many.
const CHUNK: usize = 64 << 10;

/// Reads durable records in order, each once, skipping what is corrupt. Made by [`SegmentLog::reader`](crate::SegmentLog::reader).
///
/// Reading blocks the thread on the file system. Records share the buffer they were read with.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    position: u64,
    /// Name of the segment to read, and the place in it once it is open.
    place: Option<(u64, Option<Cursor>)>,
    /// Damage that was passed over and that nobody has asked for yet.
    lost: Vec<Lost>,
}

/// Positions whose records are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first of them.
    pub from: u64,
    /// The position after the last.
    pub to: u64,
}

impl Lost {
    /// How many of the positions had been given to something: an opening after a torn end leaves 2^32 out.
    pub const fn positions(&self) -> u64 {
        (self.to - self.from) % GAP
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: u64) -> Self {
        Self {
            shared,
            position: from,
            place: None,
            lost: Vec::new(),
        }
    }

    /// The damage that was passed over since this was asked last, in order. What was read is before or behind it.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// The position after the last record returned or passed over, or where reading started.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next records, of about `max_bytes` of payload and at least one; empty if there is nothing newer yet.
    ///
    /// After an error the next call tries the same place again.
    pub fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, ReadError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some((view, mut cursor)) = self.enter()? {
            let first = view.segment.first;
            let more = self.read_segment(&view, &mut cursor, max_bytes, &mut bytes, &mut records);
            self.place = Some((first, Some(cursor)));
            match more {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before the error is good; the error comes again.
                Err(_) if !records.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
            match view.next_first {
                Some(next) => self.place = Some((next, None)),
                None => break,
            }
        }
        Ok(records)
    }

    /// The segment to read from, with a cursor in it; `None` if there is none yet.
    fn enter(&mut self) -> io::Result<Option<(View, Cursor)>> {
        loop {
            let index = lock(&self.shared.index);
            let (view, cursor) = match self.place.take() {
                Some((first, cursor)) => (index.view(first), cursor),
                None => (None, None),
            };
            let place_kept = view.is_some();
            // The start, or the place was trimmed away.
            let Some(view) = view.or_else(|| index.segment_for(self.position)) else {
                return Ok(None);
            };
            drop(index);
            let first = view.segment.first;
            if let Some(cursor) = cursor.filter(|_| place_kept) {
                return Ok(Some((view, cursor)));
            }
            match File::open(&view.segment.path) {
                Ok(file) => return Ok(Some((view, Cursor::new(file, first)))),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && lock(&self.shared.index).view(first).is_none() => {} // trimmed meanwhile
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads on in a segment. True if it has nothing more and never will.
    fn read_segment(
        &mut self,
        view: &View,
        cursor: &mut Cursor,
        max_bytes: usize,
        bytes: &mut usize,
        records: &mut Vec<Record>,
    ) -> io::Result<bool> {
        let end = view.segment.bytes;
        let chunk = max_bytes.max(CHUNK);
        while cursor.expected() < view.limit {
            if *bytes >= max_bytes && !records.is_empty() {
                return Ok(false);
            }
            let expected = cursor.expected();
            match cursor.step(end, chunk)? {
                Step::Record(record) if record.position >= view.limit => {
                    self.lost(expected, view.limit);
                    break;
                }
                Step::Record(record) => {
                    if record.position > expected {
                        self.lost(expected, record.position);
                    }
                    let next = record.position + u64::from(record.span);
                    if record.position >= expected && next > self.position {
                        self.position = next;
                        *bytes += record.payload.len();
                        records.push(record);
                    }
                }
                Step::Damaged | Step::End => {
                    if !cursor.resync(end, view.limit)? {
                        self.lost(expected, view.limit);
                        cursor.give_up(view.limit);
                        break;
                    }
                }
            }
        }
        Ok(view.next_first.is_some())
    }

    fn lost(&mut self, from: u64, to: u64) {
        lock(&self.shared.index).lost(from, to);
        let lost = Lost {
            from: from.max(self.position),
            to,
        };
        if lost.from < lost.to {
            self.position = to;
            if lost.positions() > 0 {
                self.lost.push(lost);
            }
        }
    }
}
