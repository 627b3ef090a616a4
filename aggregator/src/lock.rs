//! One process at a time uses a data folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses it.
    #[error("{} is in use by another aggregator", .0.display())]
    InUse(PathBuf),
    /// It can't be made or written.
    #[error("use the folder {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// The right to use a data folder, until dropped or the process ends, however it does.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the folder, which is made if it is not there (for its owner only: it holds keys).
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io(folder.to_owned(), error);
        if !folder.exists() {
            use std::os::unix::fs::DirBuilderExt as _;
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::InUse(folder.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile has the file open until it executes its program.
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "unlock the data folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FolderLock, LockError};

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("made/for/it");
        let lock = FolderLock::take(&folder).unwrap();
        assert!(matches!(
            FolderLock::take(&folder),
            Err(LockError::InUse(_))
        ));
        drop(lock);
        assert!(FolderLock::take(&folder).is_ok());
    }

    #[test]
    fn a_child_that_was_just_forked_does_not_keep_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        // What a child has of its parent's files until it executes something else.
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(FolderLock::take(dir.path()).is_ok());
        drop(inherited);
    }
}
