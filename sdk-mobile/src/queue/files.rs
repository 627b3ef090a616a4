//! The segment files of a queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::slot::Slot;

/// The file that says after which erasure a folder's events came.
const ERASURE: &str = "erasure";

/// Where segments are. Numbers only grow; the one that was made last is appended to.
///
/// After an error of `append` or `sync` the caller does not append to that segment again.
pub(crate) trait Files {
    /// Numbers of the segments that are there, in order.
    fn list(&mut self) -> io::Result<Vec<u64>>;
    /// A whole segment.
    fn read(&self, segment: u64) -> io::Result<Vec<u8>>;
    /// A part of a segment.
    fn read_at(&self, segment: u64, at: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Makes an empty segment; its name is durable.
    fn create(&mut self, segment: u64) -> io::Result<()>;
    /// Appends to the last segment made. What was appended outlives the process, not the device.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was appended.
    fn sync(&mut self) -> io::Result<()>;
    /// Makes durable what another process wrote.
    fn sync_segment(&mut self, segment: u64) -> io::Result<()>;
    /// Deletes a segment.
    fn remove(&mut self, segment: u64) -> io::Result<()>;
    /// Another process may have them now.
    fn close(&mut self);
}

/// A folder of segments, [held](Slot) by this process alone.
#[derive(Debug)]
pub(crate) struct Folder {
    data_dir: PathBuf,
    /// `None` while no folder can be had: it is tried again with the next segment.
    slot: Option<Slot>,
    current: Option<File>,
    /// All that is here came after this [erasure](crate::recorder::Saved::erasure), and the folder says so.
    erasure: u64,
    erasure_is_stored: bool,
}

impl Folder {
    /// A folder in `data_dir`; made if need and may be.
    pub(crate) fn open(data_dir: PathBuf) -> Self {
        let slot = Slot::take(&data_dir).ok();
        Self {
            data_dir,
            ..Self::in_slot(slot)
        }
    }

    /// One that is held already.
    pub(crate) fn of(slot: Slot) -> Self {
        Self::in_slot(Some(slot))
    }

    fn in_slot(slot: Option<Slot>) -> Self {
        let erasure = slot.as_ref().and_then(|slot| {
            let text = std::fs::read_to_string(slot.path().join(ERASURE)).ok()?;
            text.parse().ok()
        });
        Self {
            data_dir: PathBuf::new(),
            slot,
            current: None,
            erasure: erasure.unwrap_or_default(),
            erasure_is_stored: true,
        }
    }

    /// After which erasure all came that is here.
    pub(crate) fn erasure(&self) -> u64 {
        self.erasure
    }

    /// Nothing is here that came before this erasure.
    pub(crate) fn set_erasure(&mut self, erasure: u64) {
        self.erasure_is_stored &= self.erasure == erasure;
        self.erasure = erasure;
    }

    /// Stores, durably, after which erasure all came that is here.
    pub(crate) fn store_erasure(&mut self) -> io::Result<()> {
        if !self.erasure_is_stored {
            let mut file = File::create(self.slot()?.path().join(ERASURE))?;
            file.write_all(self.erasure.to_string().as_bytes())?;
            file.sync_data()?;
            self.erasure_is_stored = true;
        }
        Ok(())
    }

    fn slot(&self) -> io::Result<&Slot> {
        self.slot
            .as_ref()
            .ok_or_else(|| io::Error::other("no folder for the queue could be made"))
    }

    fn path(&self, segment: u64) -> io::Result<PathBuf> {
        Ok(self.slot()?.path().join(format!("{segment:016x}.wkq")))
    }

    fn current(&mut self) -> io::Result<&mut File> {
        self.current
            .as_mut()
            .ok_or_else(|| io::Error::other("there is no segment"))
    }
}

impl Files for Folder {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.slot()?.path())? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".wkq"));
            numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(segment)?)
    }

    fn read_at(&self, segment: u64, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(segment)?)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        self.current = None;
        if self.slot.is_none() {
            self.slot = Some(Slot::take(&self.data_dir)?);
            self.erasure_is_stored = false;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(segment)?)?;
        sync_folder(self.slot()?.path())?;
        self.current = Some(file);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current()?.sync_data()
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        File::open(self.path(segment)?)?.sync_data()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(segment)?)
    }

    fn close(&mut self) {
        self.current = None;
        self.slot = None;
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(path: &std::path::Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
