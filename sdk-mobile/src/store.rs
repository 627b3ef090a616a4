//! What an install remembers besides its queue: `state.json` in the data folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::queue::{locked, sync_folder};
use crate::recorder::Saved;

/// How often, and how far apart, another process is waited for that replaces the file.
const HOLD_TRIES: u32 = 100;
const HOLD_EVERY: Duration = Duration::from_millis(5);

/// The file, which is replaced as a whole, by whoever [holds](Store::hold) it.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What was stored last. A file that can't be read is none: the install begins anew.
    pub(crate) fn load(&self) -> Option<Saved> {
        let text = std::fs::read_to_string(self.folder.join("state.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps other processes from replacing what is stored, until the file is dropped.
    pub(crate) fn hold(&self) -> io::Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("state.lock"))?;
        for _ in 0..HOLD_TRIES {
            if locked(&lock)? {
                return Ok(lock);
            }
            std::thread::sleep(HOLD_EVERY);
        }
        Err(io::Error::other("another process holds state.lock"))
    }

    /// Replaces what is stored, durably.
    pub(crate) fn save(&self, saved: &Saved) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        // Several processes may share the folder.
        let new = self
            .folder
            .join(format!("state.{}.new", std::process::id()));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.sync_data()?;
        std::fs::rename(new, self.folder.join("state.json"))?;
        sync_folder(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back_and_damage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("new"));
        assert_eq!(store.load(), None);
        let saved = Saved {
            install: "i".to_owned(),
            session: 3,
            ..Saved::default()
        };
        store.save(&saved).unwrap();
        assert_eq!(store.load(), Some(saved));
        std::fs::write(folder.path().join("new/state.json"), "{\"install\":").unwrap();
        assert_eq!(store.load(), None);
    }
}
