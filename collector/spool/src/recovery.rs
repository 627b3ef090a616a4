//! What is done when a log is opened.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    OpenError, Recovery,
    cursor::{Cursor, Step},
    disk::{Disk, read_at},
    frame::{RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader},
    index::{Index, Segment},
    writer::{Active, file_name},
};

/// Left out after a torn end. What was cut may have been acknowledged and read before it was damaged, and its positions
/// must not be given to other records; how many they were can't be known.
pub(crate) const GAP: u64 = 1 << 32;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// The last segment, if it can be written on.
    pub(crate) active: Option<Active>,
    /// Segments without anything in them. Their names keep the next position until there is a new segment.
    pub(crate) void: Vec<PathBuf>,
    pub(crate) report: Recovery,
}

/// Held while the log is open; the system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
}

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("LOCK"))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse),
            Err(errno) => Err(OpenError::Io(errno.into())),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile has the file open until it executes its program.
        if let Err(error) = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock) {
            tracing::warn!(%error, "unlock the log's folder");
        }
    }
}

/// Finds the segments, walks through the last one and cuts its torn end.
pub(crate) fn recover(dir: &Path, disk: &Arc<dyn Disk>) -> io::Result<Recovered> {
    let mut found = list(dir)?;
    let mut recovered = Recovered {
        index: Index::default(),
        active: None,
        void: Vec::new(),
        report: Recovery::default(),
    };
    let report = &mut recovered.report;
    let walk = loop {
        let Some(newest) = found.last() else {
            break None;
        };
        let walk = Walk::through(newest)?;
        if newest.sound || walk.records > 0 {
            break Some(walk);
        }
        if newest.segment.bytes > SEGMENT_HEADER as u64 {
            tracing::error!(
                segment = newest.segment.first,
                bytes = newest.segment.bytes,
                "nothing in the last segment of the log is sound: it is deleted, and records that were acknowledged \
                 may be lost with it"
            );
        }
        // It was being made when the process ended. Its name tells that positions below it may have been used.
        report.next_position = report.next_position.max(newest.segment.first + GAP);
        report.torn_bytes += newest.segment.bytes;
        recovered
            .void
            .extend(found.pop().map(|newest| newest.segment.path));
    };
    let sound = found.last().is_some_and(|newest| newest.sound);
    for found in found {
        recovered.index.push(found.segment);
    }
    let (Some(walk), Some(newest)) = (walk, recovered.index.newest()) else {
        recovered.index.set_durable(report.next_position);
        return Ok(recovered);
    };

    // What is read from now on must be durable, also if the last process died between write and sync.
    let mut file = disk.open(&newest.path)?;
    let torn = newest.bytes - walk.end;
    let next = walk.durable.max(newest.first);
    if torn > 0 {
        report_cut(newest, walk.end)?;
        if recovered.void.is_empty() {
            // Else nothing would tell that positions may have been used, should there be no next segment this time.
            let free = if next > newest.first { next } else { next + 1 };
            let marker = dir.join(file_name(free));
            drop(disk.create(&marker)?);
            disk.sync_dir(dir)?;
            recovered.void.push(marker);
        }
        file.truncate(walk.end)?;
    }
    file.sync_data()?;
    if torn > 0 || !sound {
        report.next_position = report.next_position.max(next + GAP);
    } else if recovered.void.is_empty() {
        report.next_position = next;
        recovered.active = Some(Active {
            file,
            length: walk.end,
            allocated: walk.end,
        });
    }
    for (from, to) in walk.lost {
        recovered.index.lost(from, to);
    }
    recovered.index.cut(walk.end);
    recovered.index.set_durable(walk.durable);
    report.torn_bytes += torn;
    report.lost_corrupt = recovered.index.lost_records;
    Ok(recovered)
}

/// Says what it means that `segment` is cut at `end`.
fn report_cut(segment: &Segment, end: u64) -> io::Result<()> {
    let bytes = segment.bytes - end;
    let head = read_at(&File::open(&segment.path)?, end, RECORD_HEADER)?;
    let longer = match RecordHeader::decode(&head) {
        Some(header) => header.total() as u64 > bytes,
        None => head.len() < RECORD_HEADER,
    };
    if longer {
        tracing::warn!(
            segment = segment.first,
            bytes,
            "cut the torn end of the log: a record that was being written when the process or the machine ended"
        );
    } else {
        tracing::error!(
            segment = segment.first,
            bytes,
            "cut the torn end of the log: it has whole records that are damaged. Unless the machine lost power while \
             they were written, they were acknowledged and are lost"
        );
    }
    Ok(())
}

struct Found {
    segment: Segment,
    /// The header is as it was written.
    sound: bool,
}

/// What is in the newest segment.
struct Walk {
    records: u64,
    /// Bytes up to the end of the last sound record.
    end: u64,
    /// The position after it.
    durable: u64,
    lost: Vec<(u64, u64)>,
}

impl Walk {
    fn through(newest: &Found) -> io::Result<Self> {
        let segment = &newest.segment;
        let mut cursor = Cursor::new(File::open(&segment.path)?, segment.first);
        let mut walk = Self {
            records: 0,
            end: (SEGMENT_HEADER as u64).min(segment.bytes),
            durable: segment.previous_end,
            lost: Vec::new(),
        };
        loop {
            let expected = cursor.expected();
            match cursor.step(segment.bytes, CHUNK)? {
                Step::Record(record) => {
                    walk.records += 1;
                    walk.end = cursor.offset();
                    walk.durable = cursor.expected();
                    if record.position > expected {
                        walk.lost.push((expected, record.position));
                    }
                }
                Step::Damaged if cursor.resync(segment.bytes, u64::MAX)? => {}
                Step::Damaged | Step::End => return Ok(walk),
            }
        }
    }
}

/// The segment files, oldest first.
fn list(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let first = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| Some((name, name.strip_suffix(".seg")?.parse::<u64>().ok()?)))
            .filter(|(name, first)| *name == file_name(*first));
        let Some((_, first)) = first else {
            continue;
        };
        let file = File::open(&path)?;
        let header = SegmentHeader::decode(&read_at(&file, 0, SEGMENT_HEADER)?)
            .filter(|header| header.first == first);
        found.push(Found {
            segment: Segment {
                first,
                // A header says more than the name only after a failure.
                previous_end: header.map_or(first, |header| header.previous_end.min(first)),
                bytes: file.metadata()?.len(),
                path,
            },
            sound: header.is_some(),
        });
    }
    found.sort_unstable_by_key(|found| found.segment.first);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::DirLock;

    #[test]
    fn a_child_that_was_just_forked_does_not_keep_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        assert!(DirLock::take(dir.path()).is_err());
        // What a child has of its parent's files until it executes something else.
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(DirLock::take(dir.path()).is_ok());
        drop(inherited);
    }
}
