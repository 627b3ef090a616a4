use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use wakeline_spool::{Disk, Options, OsDisk, Reader, Record, SegmentFile, SegmentLog};

/// Small segments, so that there are several.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 2_000,
        commit_wait: Duration::from_micros(100),
        ..Options::default()
    }
}

pub(crate) fn open(dir: &Path, options: Options) -> SegmentLog {
    SegmentLog::open(dir, options).unwrap().0
}

/// Appends `count` records, a few at a time; returns what they should be read as.
pub(crate) async fn append_some(log: &SegmentLog, count: usize, salt: u8) -> Vec<Record> {
    let mut records = Vec::new();
    for chunk in (0..count).collect::<Vec<_>>().chunks(3) {
        let appends = chunk.iter().map(|index| {
            let payload = Bytes::from(vec![salt.wrapping_add(*index as u8); 20 + index * 13 % 300]);
            let span = 1 + *index as u32 % 5;
            let append = log.append(payload.clone(), span);
            async move {
                append.await.map(|position| Record {
                    position,
                    span,
                    payload,
                })
            }
        });
        records.extend(try_join_all(appends).await.unwrap());
    }
    records
}

pub(crate) fn read_all(log: &SegmentLog, from: u64) -> Vec<Record> {
    drain(&mut log.reader(from), 1_000)
}

pub(crate) fn drain(reader: &mut Reader, max_bytes: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let records = reader.next(max_bytes).unwrap();
        if records.is_empty() {
            return all;
        }
        all.extend(records);
    }
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

/// Equal; says so briefly if not.
#[track_caller]
pub(crate) fn assert_same(found: &[Record], expected: &[Record]) {
    let positions = |records: &[Record]| {
        records
            .iter()
            .map(|record| record.position)
            .collect::<Vec<_>>()
    };
    assert_eq!(positions(found), positions(expected));
    for (found, expected) in found.iter().zip(expected) {
        assert!(found == expected, "another record at {}", found.position);
    }
}

/// Positions grow, and no record begins inside another.
pub(crate) fn assert_in_order(records: &[Record]) {
    for pair in records.windows(2) {
        let end = pair[0].position + u64::from(pair[0].span);
        assert!(
            end <= pair[1].position,
            "{} then {}",
            pair[0].position,
            pair[1].position
        );
    }
}

/// A disk of which the next so many operations fail.
#[derive(Default)]
pub(crate) struct Flaky {
    pub(crate) creates: AtomicU32,
    /// A failing write writes half.
    pub(crate) writes: AtomicU32,
    /// A failing sync leaves the bytes in the file, as a page cache may.
    pub(crate) syncs: AtomicU32,
}

struct FlakyFile {
    inner: Box<dyn SegmentFile>,
    flaky: Arc<Flaky>,
    failed: bool,
}

fn fails(left: &AtomicU32) -> io::Result<()> {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    })
    .map_or(Ok(()), |_| Err(io::Error::other("made to fail")))
}

pub(crate) struct FlakyDisk(pub(crate) Arc<Flaky>);

impl FlakyDisk {
    fn wrap(&self, inner: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(FlakyFile {
            inner,
            flaky: Arc::clone(&self.0),
            failed: false,
        })
    }
}

impl Disk for FlakyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        fails(&self.0.creates)?;
        Ok(self.wrap(OsDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(self.wrap(OsDisk.open(path)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

impl SegmentFile for FlakyFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.failed, "a file that failed is written again");
        if let Err(error) = fails(&self.flaky.writes) {
            self.failed = true;
            self.inner.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.inner.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        assert!(!self.failed, "a file that failed is synced again");
        if let Err(error) = fails(&self.flaky.syncs) {
            self.failed = true;
            return Err(error);
        }
        self.inner.sync_data()
    }

    fn allocate(&mut self, offset: u64, length: u64) {
        self.inner.allocate(offset, length);
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }
}
