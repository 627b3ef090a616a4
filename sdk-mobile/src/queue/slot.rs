//! Which folder of the data folder a queue has to itself.
//!
//! Processes that share a data folder (a server's workers, an app and its extension) have a queue each: `queue-0`, `queue-1`, …
//! whoever comes takes the first that nobody holds. A lock that the system drops with its process says who does.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// More processes than share a data folder.
const MAX_SLOTS: usize = 256;

/// A folder, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    path: PathBuf,
    _lock: File,
}

impl Slot {
    /// Takes the first folder that is free; makes it if need be.
    pub(crate) fn take(data_dir: &Path) -> io::Result<Self> {
        for number in 0..MAX_SLOTS {
            let path = data_dir.join(format!("queue-{number}"));
            std::fs::create_dir_all(&path)?;
            if let Some(slot) = Self::hold(path)? {
                return Ok(slot);
            }
        }
        Err(io::Error::other("too many processes share the data folder"))
    }

    /// Takes what dead processes left.
    pub(crate) fn left_behind(data_dir: &Path) -> Vec<Self> {
        let Ok(folders) = std::fs::read_dir(data_dir) else {
            return Vec::new();
        };
        folders
            .filter_map(|folder| {
                let folder = folder.ok()?;
                let name = folder.file_name();
                name.to_str()?
                    .strip_prefix("queue-")?
                    .parse::<usize>()
                    .ok()?;
                Self::hold(folder.path()).ok()?
            })
            .collect()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None`: another process holds it.
    fn hold(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))?;
        Ok(locked(&lock)?.then_some(Self { path, _lock: lock }))
    }
}

/// Locks a file until it is dropped. False: another process has it.
#[cfg(unix)]
pub(crate) fn locked(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere a data folder is of one process.
#[cfg(not(unix))]
pub(crate) fn locked(_file: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_takes_the_first_folder_that_is_free() {
        let data = tempfile::tempdir().unwrap();
        let first = Slot::take(data.path()).unwrap();
        let second = Slot::take(data.path()).unwrap();
        assert_ne!(first.path(), second.path());
        let freed = first.path().to_owned();
        drop(first);
        assert_eq!(Slot::take(data.path()).unwrap().path(), freed);
    }

    #[test]
    fn only_what_nobody_holds_is_left_behind() {
        let data = tempfile::tempdir().unwrap();
        let (first, second) = (
            Slot::take(data.path()).unwrap(),
            Slot::take(data.path()).unwrap(),
        );
        assert!(Slot::left_behind(data.path()).is_empty());
        drop(second);
        assert_eq!(Slot::left_behind(data.path()).len(), 1);
        drop(first);
    }
}
