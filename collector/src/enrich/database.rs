//! A file in the MaxMind format (<https://maxmind.github.io/MaxMind-DB/>) that may come, change and go.
//!
//! It is looked at every few seconds: one that appears, or is replaced by a rename, is in use without a restart. One that
//! can't be read, or is gone, leaves what is in use.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use maxminddb::Reader;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A file, and what was last read of it.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    reader: RwLock<Option<Arc<Reader<Vec<u8>>>>>,
    /// When what was looked at last was written.
    seen: Mutex<Option<SystemTime>>,
}

impl Database {
    /// Reads the file at `path`, if there is one.
    pub(crate) fn open(path: PathBuf) -> Self {
        let database = Self {
            path,
            reader: RwLock::default(),
            seen: Mutex::default(),
        };
        database.look();
        database
    }

    /// Looks for another file until `stop` fires.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let this = Arc::clone(&self);
            // It is asked for again if this one is lost.
            let _ = wakeline_spool::work::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes the file if it is another than before.
    fn look(&self) {
        let metadata = std::fs::metadata(&self.path);
        let stamp = metadata.and_then(|file| file.modified()).ok();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp == *seen {
            return;
        }
        *seen = stamp;
        if stamp.is_none() {
            return;
        }
        match Reader::open_readfile(&self.path) {
            Ok(reader) => {
                tracing::info!(path = %self.path.display(), kind = reader.metadata().database_type, "database of addresses");
                let mut slot = self.reader.write().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(Arc::new(reader));
            }
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "database of addresses can't be used");
            }
        }
    }

    /// Whether there is something to look up in.
    pub(crate) fn is_loaded(&self) -> bool {
        self.reader().is_some()
    }

    /// The entry of `ip`, if there is one that can be read as `T`.
    pub(crate) fn find<T: DeserializeOwned>(&self, ip: IpAddr) -> Option<T> {
        self.reader()?.lookup(ip).ok()?.decode().ok()?
    }

    fn reader(&self) -> Option<Arc<Reader<Vec<u8>>>> {
        self.reader
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
