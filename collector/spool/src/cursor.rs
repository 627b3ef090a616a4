//! Walks the records of one segment file.

use std::{fs::File, io};

use bytes::Bytes;

use crate::{
    Record,
    disk::read_at,
    frame::{RECORD_HEADER, RECORD_MARK, RecordHeader, SEGMENT_HEADER},
};

/// Bytes read at once while looking for the next sound record.
const SCAN_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Cursor {
    file: File,
    /// Where the next record begins.
    offset: u64,
    /// The position it should have.
    expected: u64,
    /// Bytes of the file from `offset` on.
    buffer: Bytes,
}

#[derive(Debug)]
pub(crate) enum Step {
    Record(Record),
    /// No bytes are left.
    End,
    /// The bytes at the cursor are no sound record.
    Damaged,
}

impl Cursor {
    /// Starts behind the header of a segment.
    pub(crate) fn new(file: File, first: u64) -> Self {
        Self {
            file,
            offset: SEGMENT_HEADER as u64,
            expected: first,
            buffer: Bytes::new(),
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// The next record of the first `end` bytes of the file, reading `chunk` bytes or more at once.
    pub(crate) fn step(&mut self, end: u64, chunk: usize) -> io::Result<Step> {
        if self.offset >= end {
            return Ok(Step::End);
        }
        if self.buffer.len() < RECORD_HEADER {
            self.fill(end, chunk.max(RECORD_HEADER))?;
        }
        let Some(header) = RecordHeader::decode(&self.buffer) else {
            return Ok(Step::Damaged);
        };
        if self.buffer.len() < header.total() {
            if self.offset + header.total() as u64 > end {
                return Ok(Step::Damaged);
            }
            self.fill(end, chunk.max(header.total()))?;
        }
        if self.buffer.len() < header.total() || !header.is_sound(&self.buffer) {
            return Ok(Step::Damaged);
        }
        let record = self.buffer.split_to(header.total());
        self.offset += header.total() as u64;
        self.expected = self.expected.max(header.end());
        Ok(Step::Record(Record {
            position: header.position,
            span: header.span,
            payload: record.slice(RECORD_HEADER..),
        }))
    }

    /// Goes to the next sound record behind the damage at the cursor, among positions from the expected one to below
    /// `limit`; false if there is none.
    pub(crate) fn resync(&mut self, end: u64, limit: u64) -> io::Result<bool> {
        let mut at = self.offset + 1;
        while at + RECORD_HEADER as u64 <= end {
            let bytes = read_at(&self.file, at, (end - at).min(SCAN_BYTES as u64) as usize)?;
            if bytes.len() < RECORD_HEADER {
                break;
            }
            for (index, _) in bytes
                .windows(RECORD_MARK.len())
                .enumerate()
                .filter(|(_, window)| *window == RECORD_MARK)
            {
                let start = at + index as u64;
                let head = read_at(&self.file, start, RECORD_HEADER)?;
                let Some(header) = RecordHeader::decode(&head) else {
                    continue;
                };
                let inside = start + header.total() as u64 <= end
                    && (self.expected..limit).contains(&header.position);
                if !inside {
                    continue;
                }
                let record = read_at(&self.file, start, header.total())?;
                if record.len() == header.total() && header.is_sound(&record) {
                    self.offset = start;
                    self.buffer = Bytes::from(record);
                    return Ok(true);
                }
            }
            // A mark may lie across the border.
            at += (bytes.len() - RECORD_MARK.len() + 1) as u64;
        }
        Ok(false)
    }

    /// Passes over positions below `limit` that no record was found for.
    pub(crate) fn give_up(&mut self, limit: u64) {
        self.expected = self.expected.max(limit);
    }

    fn fill(&mut self, end: u64, wanted: usize) -> io::Result<()> {
        let length = (end - self.offset).min(wanted as u64) as usize;
        self.buffer = Bytes::from(read_at(&self.file, self.offset, length)?);
        Ok(())
    }
}
