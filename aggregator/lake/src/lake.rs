//! The lake: files, the manifest that names them, and what is not in a file yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;

use crate::LakeError;
use crate::file::Keys;
use crate::manifest::{Manifest, manifest_path, manifest_version};
use crate::scan::Footers;
use crate::store::Store;

/// Rows that came lately are put together up to so many.
const PART_ROWS: usize = 8 << 10;

/// All events up to one offset of the log: what a query reads.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The files.
    pub manifest: Arc<Manifest>,
    /// What came after them.
    pub tail: Vec<Tail>,
    /// Every counted event of the log below this offset is here, and no other.
    pub end: u64,
    /// Rows of records below this offset may be on their way to files.
    flushing: u64,
}

/// Rows that are in no file yet.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Offset of the first record that they may come from.
    from: u64,
    /// Offset after the last one.
    to: u64,
    /// The rows, as they came.
    pub rows: RecordBatch,
}

impl Snapshot {
    fn new(manifest: Manifest) -> Self {
        Self {
            end: manifest.covered_to,
            manifest: Arc::new(manifest),
            tail: Vec::new(),
            flushing: 0,
        }
    }

    /// Adds rows of the records from here up to `to`. Small parts that came one after the other become larger ones, each row
    /// a few times at most.
    fn push(&mut self, to: u64, rows: RecordBatch) -> Result<(), LakeError> {
        let from = std::mem::replace(&mut self.end, to);
        if rows.num_rows() > 0 {
            self.tail.push(Tail { from, to, rows });
        }
        while let [.., before, last] = &self.tail[..] {
            let small = before.rows.num_rows() <= 2 * last.rows.num_rows()
                && before.rows.num_rows() + last.rows.num_rows() <= PART_ROWS;
            // What a flush writes is let go of as a whole.
            if !small || before.from < self.flushing {
                break;
            }
            let both = [&before.rows, &last.rows];
            let joined = Tail {
                from: before.from,
                to: last.to,
                rows: concat_batches(last.rows.schema_ref(), both)?,
            };
            self.tail.truncate(self.tail.len() - 2);
            self.tail.push(joined);
        }
        Ok(())
    }

    /// This one with some rows of its tail only.
    pub(crate) fn with_tail(&self, keep: impl Fn(&RecordBatch) -> RecordBatch) -> Self {
        let kept = self.tail.iter().map(|tail| Tail {
            rows: keep(&tail.rows),
            ..*tail
        });
        Self {
            tail: kept.filter(|tail| tail.rows.num_rows() > 0).collect(),
            ..self.clone()
        }
    }

    /// Rows that are in no file yet.
    pub fn tail_rows(&self) -> usize {
        self.tail.iter().map(|tail| tail.rows.num_rows()).sum()
    }

    /// Memory that they take, in bytes.
    pub fn tail_bytes(&self) -> usize {
        let tail = self.tail.iter();
        tail.map(|tail| tail.rows.get_array_memory_size()).sum()
    }

    /// Puts another manifest in the place of this one's.
    fn with(&self, manifest: Manifest) -> Self {
        let covered = manifest.covered_to;
        Self {
            manifest: Arc::new(manifest),
            tail: (self.tail.iter())
                .filter(|tail| tail.to > covered)
                .cloned()
                .collect(),
            end: self.end.max(covered),
            flushing: self.flushing,
        }
    }
}

/// Every counted event of a log.
///
/// There is one writer. Files are written first, then the manifest that names them, in one step: after a crash at any point
/// the lake is as it was before that step, or as it is after it, and what it lacks is read from the log again.
#[derive(Debug)]
pub struct Lake {
    pub(crate) store: Store,
    /// Random: who we are.
    writer: String,
    /// Held by whoever makes files or changes the manifest.
    pub(crate) work: tokio::sync::Mutex<()>,
    now: RwLock<Arc<Snapshot>>,
    /// Objects that no manifest names, and since when that is known, in ms.
    pub(crate) unnamed: Mutex<HashMap<String, i64>>,
    pub(crate) footers: Footers,
}

impl Lake {
    /// Opens the lake of `log`, or makes one of `buckets` buckets. `writer` is a random name of this process.
    pub async fn open(
        store: Store,
        log: &str,
        buckets: u16,
        writer: &str,
    ) -> Result<Self, LakeError> {
        let manifest = newest(&store).await?;
        let manifest = manifest.unwrap_or_else(|| Manifest::new(log, buckets));
        if manifest.log != log {
            return Err(LakeError::OtherLog {
                found: manifest.log,
                own: log.to_owned(),
            });
        }
        Ok(Self {
            store,
            writer: writer.to_owned(),
            work: tokio::sync::Mutex::default(),
            now: RwLock::new(Arc::new(Snapshot::new(manifest))),
            unnamed: Mutex::default(),
            footers: Footers::default(),
        })
    }

    /// Where it is.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is in it now. Its files stay for some minutes after others took their place.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes sure that all files are there, in the length that they were written with.
    pub async fn verify(&self) -> Result<(), LakeError> {
        let manifest = Arc::clone(&self.snapshot().manifest);
        let listed = self.store.list("events").await?;
        let sizes: HashMap<_, _> = listed
            .iter()
            .map(|object| (object.location.as_ref(), object.size))
            .collect();
        for file in &manifest.files {
            match sizes.get(file.path.as_str()) {
                Some(found) if *found == file.bytes => {}
                Some(found) => {
                    return Err(LakeError::Truncated {
                        path: file.path.clone(),
                        expected: file.bytes,
                        found: *found,
                    });
                }
                None => {
                    return Err(LakeError::Missing {
                        path: file.path.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes the counted events of the records `from..to` of the log, which follow those that came before.
    pub fn append(&self, from: u64, to: u64, rows: &RecordBatch) -> Result<(), LakeError> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if from != now.end {
            return Err(LakeError::Gap { from, end: now.end });
        }
        let rows = without_erased(&now.manifest, rows)?;
        let mut next = Snapshot::clone(&now);
        next.push(to.max(from), rows)?;
        *now = Arc::new(next);
        Ok(())
    }

    /// Changes the manifest, in one step. Whoever calls holds `work`.
    ///
    /// If another writer was faster, or an earlier attempt of this one whose answer was lost, what that wrote is in use
    /// afterwards: the caller tries again.
    pub(crate) async fn commit(
        &self,
        change: impl FnOnce(&mut Manifest) + Send,
    ) -> Result<(), LakeError> {
        let mut next = Manifest::clone(&self.snapshot().manifest);
        next.version += 1;
        next.writer.clone_from(&self.writer);
        change(&mut next);
        next.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let path = manifest_path(next.version);
        let bytes = Bytes::from(next.write());
        let created = self.store.create(&path, bytes.clone()).await;
        if !matches!(created, Ok(true)) {
            // Not made, or made although the answer says otherwise.
            let found = self.store.get(&path).await;
            match (created, found) {
                (_, Ok(Some(found))) if found == bytes => {}
                (_, Ok(Some(found))) => {
                    let found = Manifest::read(&path, &found)?;
                    let version = found.version;
                    if found.writer == self.writer {
                        self.install(|now| now.with(found));
                    } else {
                        self.install(|_| Snapshot::new(found));
                    }
                    return Err(LakeError::Replaced { version });
                }
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
                (Ok(_), Ok(None)) => {
                    return Err(LakeError::Replaced {
                        version: next.version,
                    });
                }
            }
        }
        self.install(|now| now.with(next));
        Ok(())
    }

    /// What is there now, to be written to files: what comes later stays apart from it.
    pub(crate) fn begin_flush(&self) -> Arc<Snapshot> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(Snapshot {
            flushing: now.end,
            ..Snapshot::clone(&now)
        });
        Arc::clone(&now)
    }

    pub(crate) fn install(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(change(&now));
    }

    /// Begins anew: without files, from the beginning of the log. Erased persons stay erased.
    pub async fn reset(&self) -> Result<(), LakeError> {
        let _one = self.work.lock().await;
        self.commit(|manifest| {
            manifest.files.clear();
            manifest.covered_to = 0;
        })
        .await?;
        self.install(|now| Snapshot::new(Manifest::clone(&now.manifest)));
        Ok(())
    }
}

/// Rows without those of erased persons.
pub(crate) fn without_erased(
    manifest: &Manifest,
    rows: &RecordBatch,
) -> Result<RecordBatch, LakeError> {
    if manifest.erased.is_empty() {
        return Ok(rows.clone());
    }
    let Some(keys) = Keys::of(rows) else {
        return Ok(rows.clone()); // rows come of this version's schema
    };
    let erased = Erased::new(manifest);
    let kept = (0..rows.num_rows()).map(|row| Some(!erased.has(&keys, row)));
    Ok(arrow::compute::filter_record_batch(rows, &kept.collect())?)
}

/// Who was erased, for looking up.
pub(crate) struct Erased<'a>(HashMap<(u64, &'a str), i64>);

impl<'a> Erased<'a> {
    pub(crate) fn new(manifest: &'a Manifest) -> Self {
        let erased = manifest.erased.iter();
        Self(
            erased
                .map(|tomb| ((tomb.site, tomb.visitor.as_str()), tomb.until_ms))
                .collect(),
        )
    }

    /// Whether the event of a row is gone.
    pub(crate) fn has(&self, keys: &Keys<'_>, row: usize) -> bool {
        let until = self.0.get(&(keys.site(row), keys.visitor(row)));
        until.is_some_and(|until| keys.time(row) <= *until)
    }
}

/// The newest manifest, if there is any.
async fn newest(store: &Store) -> Result<Option<Manifest>, LakeError> {
    let listed = store.list("manifest").await?;
    let versions = listed.iter();
    let mut versions: Vec<u64> = versions
        .filter_map(|object| manifest_version(object.location.as_ref()))
        .collect();
    versions.sort_unstable();
    while let Some(version) = versions.pop() {
        let path = manifest_path(version);
        let Some(bytes) = store.get(&path).await? else {
            continue; // removed meanwhile
        };
        match Manifest::read(&path, &bytes) {
            Ok(manifest) => return Ok(Some(manifest)),
            // Power was lost while it was written: nothing was done that relied on it.
            Err(error) if store.is_folder() && !is_json(&bytes) => {
                tracing::warn!(%error, "a manifest of the lake was not written to its end: the one before is valid");
                store.delete(&path).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}
