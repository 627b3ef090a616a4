//! Disks that forget what was not synced, tear writes, fill up, fail and flip bits.
//!
//! Files are real ones, on a file system in memory; what of them is durable is known here: the bytes of a file as of its
//! last fsync, the names in a folder as of the folder's. A power loss brings back that, mixed at random with what was
//! written since. Each simulated host has its files in a folder of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsString, c_int};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes that reach a disk together.
const SECTOR: usize = 512;

/// What a disk does wrong, by probability of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// fsync and fdatasync fail.
    pub(crate) sync: f32,
    /// Writes fail for want of room, some after a part was written.
    pub(crate) full: f32,
}

/// A file or folder, whatever its name: its inode, and when it was made, as numbers are used again.
type File = (u64, u128);

pub(crate) struct Disk {
    root: PathBuf,
    random: fastrand::Rng,
    durable: HashMap<File, Vec<u8>>,
    names: HashMap<PathBuf, BTreeMap<OsString, File>>,
    /// A sync of them failed: the sectors that were not durable then, as they were. Whatever later syncs say, they never
    /// will be, unless they are written again.
    spoilt: HashMap<File, BTreeMap<usize, Vec<u8>>>,
    /// By host.
    troubles: BTreeMap<PathBuf, Trouble>,
}

impl Disk {
    /// The disks of the hosts whose folders are in `root`.
    pub(crate) fn new(root: PathBuf, seed: u64) -> Self {
        Self {
            root,
            random: fastrand::Rng::with_seed(seed),
            durable: HashMap::new(),
            names: HashMap::new(),
            spoilt: HashMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// The folder of a host.
    pub(crate) fn folder(&self, host: &str) -> PathBuf {
        self.root.join(host)
    }

    pub(crate) fn set_trouble(&mut self, host: &str, trouble: Option<Trouble>) {
        let folder = self.folder(host);
        match trouble {
            Some(trouble) => self.troubles.insert(folder, trouble),
            None => self.troubles.remove(&folder),
        };
    }

    /// fsync of an open file or folder: an errno if it fails. `None` if the file is not on these disks.
    pub(crate) fn sync(&mut self, file: c_int) -> Option<Result<(), c_int>> {
        let path = self.path(file)?;
        let Ok(metadata) = fs::metadata(&path) else {
            return Some(Ok(())); // deleted meanwhile
        };
        let key = key(&metadata);
        let trouble = self.trouble(&path);
        if self.random.f32() < trouble.sync {
            if let (true, Ok(bytes)) = (metadata.is_file(), fs::read(&path)) {
                self.spoil(key, &bytes);
            }
            return Some(Err(libc::EIO));
        }
        if metadata.is_dir() {
            let names = names(&path);
            self.names.insert(path, names);
        } else if let Ok(bytes) = fs::read(&path) {
            self.keep(key, bytes);
        }
        Some(Ok(()))
    }

    fn spoil(&mut self, key: File, bytes: &[u8]) {
        let durable = self.durable.get(&key).map_or(&[][..], Vec::as_slice);
        let spoilt = self.spoilt.entry(key).or_default();
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            if sector_of(durable, number) != sector {
                spoilt.insert(number, sector.to_vec());
            }
        }
    }

    /// A sync succeeded.
    fn keep(&mut self, key: File, mut bytes: Vec<u8>) {
        if let Some(spoilt) = self.spoilt.get_mut(&key) {
            let durable = self.durable.get(&key).map_or(&[][..], Vec::as_slice);
            spoilt.retain(|number, lost| sector_of(&bytes, *number) == lost.as_slice());
            for number in spoilt.keys() {
                let old = sector_of(durable, *number);
                let start = number * SECTOR;
                let end = bytes.len().min(start + SECTOR);
                for (at, byte) in bytes[start..end].iter_mut().enumerate() {
                    *byte = old.get(at).copied().unwrap_or_default();
                }
            }
        }
        self.durable.insert(key, bytes);
    }

    /// How much of a write of `length` bytes to an open file is done.
    pub(crate) fn write(&mut self, file: c_int, length: usize) -> Result<usize, c_int> {
        if self.troubles.is_empty() {
            return Ok(length);
        }
        let Some(path) = self.path(file) else {
            return Ok(length);
        };
        let full = self.trouble(&path).full;
        if self.random.f32() >= full {
            Ok(length)
        } else if length > 1 && self.random.bool() {
            Ok(self.random.usize(1..length))
        } else {
            Err(libc::ENOSPC)
        }
    }

    /// The power of a host was cut.
    pub(crate) fn lose_power(&mut self, host: &str) {
        let folder = self.folder(host);
        // The host's own folder is there since before it was started.
        self.settle(&folder);
    }

    /// Flips a bit in one of the host's segment files; false if there is none.
    pub(crate) fn flip_bit(&mut self, host: &str) -> bool {
        let mut files = Vec::new();
        segments(&self.folder(host), &mut files);
        files.sort();
        let Some(path) = self.random.choice(files) else {
            return false;
        };
        let Ok(mut bytes) = fs::read(&path) else {
            return false;
        };
        if bytes.is_empty() {
            return false;
        }
        let at = self.random.usize(..bytes.len());
        bytes[at] ^= 1 << self.random.u32(..8);
        self.put(&path, bytes);
        true
    }

    /// Makes what a power loss leaves of a folder: names and, below them, contents.
    fn settle(&mut self, folder: &Path) {
        let now = names(folder);
        let before = self.names.get(folder).cloned().unwrap_or_default();
        let all: BTreeSet<&OsString> = now.keys().chain(before.keys()).collect();
        for name in all {
            let path = folder.join(name);
            let (was, is) = (before.get(name), now.get(name));
            // A name that changed since the folder was synced may have reached the disk or not.
            if was != is && self.random.bool() {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
                if let Some(was) = was {
                    // What was deleted is back as it was, and not like something new.
                    let bytes = self.durable.get(was).cloned().unwrap_or_default();
                    self.put(&path, bytes);
                }
            }
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if metadata.is_dir() {
                self.settle(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                let durable = self.durable.get(&key(&metadata)).cloned();
                let kept = self.mix(&durable.unwrap_or_default(), &bytes);
                self.put(&path, kept);
            }
        }
        self.names.insert(folder.to_owned(), names(folder));
    }

    /// What is left of a file that had the bytes `durable` when it was synced and `written` when the power went.
    fn mix(&mut self, durable: &[u8], written: &[u8]) -> Vec<u8> {
        if durable == written {
            return durable.to_vec();
        }
        let (short, long) = (
            durable.len().min(written.len()),
            durable.len().max(written.len()),
        );
        let length = self.random.usize(short..=long);
        let mut kept = vec![0; length];
        for (at, sector) in kept.chunks_mut(SECTOR).enumerate() {
            let arrived = self.random.f32() < 0.7;
            for (offset, byte) in sector.iter_mut().enumerate() {
                let at = at * SECTOR + offset;
                let (old, new) = (durable.get(at).copied(), written.get(at).copied());
                // What did not change is as it was, whether its sector was written again or not.
                *byte = match (arrived, new, old) {
                    (true, Some(new), _) => new,
                    (_, _, old) => old.unwrap_or_default(),
                };
            }
        }
        kept
    }

    fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        let written = fs::write(path, &bytes);
        if let (Ok(()), Ok(metadata)) = (written, fs::metadata(path)) {
            self.spoilt.remove(&key(&metadata));
            self.durable.insert(key(&metadata), bytes);
        }
    }

    fn path(&self, file: c_int) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{file}")).ok()?;
        path.starts_with(&self.root).then_some(path)
    }

    fn trouble(&self, path: &Path) -> Trouble {
        let mut troubles = self.troubles.iter();
        let found = troubles.find(|(folder, _)| path.starts_with(folder));
        found.map(|(_, trouble)| *trouble).unwrap_or_default()
    }
}

fn key(metadata: &Metadata) -> File {
    let made = metadata.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    (metadata.ino(), made.unwrap_or_default().as_nanos())
}

fn sector_of(bytes: &[u8], number: usize) -> &[u8] {
    let end = bytes.len().min((number + 1) * SECTOR);
    bytes.get(number * SECTOR..end).unwrap_or_default()
}

fn names(folder: &Path) -> BTreeMap<OsString, File> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries =
        entries.filter_map(|entry| Some((entry.file_name(), key(&entry.metadata().ok()?))));
    entries.collect()
}

fn segments(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            segments(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "seg") {
            found.push(path);
        }
    }
}
