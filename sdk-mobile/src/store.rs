//! What an install remembers besides its queue: `state.json` in the data folder.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::queue::sync_folder;
use crate::recorder::Saved;

/// The file, which is replaced as a whole.
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
    pub(crate) fn load(&self) -> Saved {
        let text = std::fs::read_to_string(self.folder.join("state.json"));
        text.ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
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
        assert_eq!(store.load(), Saved::default());
        let saved = Saved {
            install: "i".to_owned(),
            session: 3,
            ..Saved::default()
        };
        store.save(&saved).unwrap();
        assert_eq!(store.load(), saved);
        std::fs::write(folder.path().join("new/state.json"), "{\"install\":").unwrap();
        assert_eq!(store.load(), Saved::default());
    }
}
