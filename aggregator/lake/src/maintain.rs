//! What is done to files that are there: merging small ones, erasing persons, letting old events go, removing what no
//! manifest names.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::LakeError;
use crate::file::{Keys, Made, Reader, Writer};
use crate::flush::blocking;
use crate::lake::{Erased, Lake, without_erased};
use crate::manifest::{
    DataFile, Manifest, Retention, Tombstone, data_path, is_data, manifest_version,
};
use crate::merge::merge;

/// Files of a day and bucket that are merged once there are so many small ones; of earlier days, once there are two.
const MERGE_FILES: usize = 8;
/// Files that are merged at once.
const MERGE_AT_ONCE: usize = 16;
/// Bytes of files that are merged at once. They are in memory meanwhile.
const MERGE_BYTES: u64 = 64 << 20;
/// A file of so many bytes is not small any more.
const LARGE_BYTES: u64 = 32 << 20;
/// How long files stay that others took the place of, for whoever reads them, in ms.
const GRACE_MS: i64 = 10 * 60_000;
/// Manifests that are kept.
const MANIFESTS: u64 = 16;

/// What an erasure did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ErasedEvents {
    /// Files that were written anew, or removed.
    pub files: u64,
    /// Events that are gone from files.
    pub events: u64,
}

impl Lake {
    /// Merges small files of a day and bucket. False if there was nothing to merge.
    pub async fn compact(&self) -> Result<bool, LakeError> {
        let _one = self.work.lock().await;
        let manifest = Arc::clone(&self.snapshot().manifest);
        let Some(files) = choose(&manifest) else {
            return Ok(false);
        };
        let contents = self.read(&files).await?;
        let (of, inputs) = (Arc::clone(&manifest), files.clone());
        let made = blocking(move || rewrite(&of, &inputs, contents, &HashMap::new())).await?;
        self.replace(&manifest, &files, made).await?;
        Ok(true)
    }

    /// Removes all events of a visitor of a site up to a time, from files, from what is in none yet, and from what is still
    /// to come. `visitor` is as in the column of that name.
    pub async fn erase(
        &self,
        site: u64,
        visitor: &str,
        until_ms: i64,
    ) -> Result<ErasedEvents, LakeError> {
        let _one = self.work.lock().await;
        let tomb = Tombstone {
            site,
            visitor: visitor.to_owned(),
            until_ms,
            pending: true,
        };
        self.commit(move |manifest| {
            let same =
                |known: &&mut Tombstone| known.site == tomb.site && known.visitor == tomb.visitor;
            match manifest.erased.iter_mut().find(same) {
                Some(known) => {
                    known.until_ms = known.until_ms.max(tomb.until_ms);
                    known.pending = true;
                }
                None => manifest.erased.push(tomb),
            }
        })
        .await?;
        self.erase_from_tail();
        self.finish_erasures().await
    }

    /// Goes on with erasures that a crash has interrupted.
    pub async fn resume_erasures(&self) -> Result<ErasedEvents, LakeError> {
        let _one = self.work.lock().await;
        self.finish_erasures().await
    }

    fn erase_from_tail(&self) {
        self.install(|now| {
            // Rows that can't be looked through are looked through again when files are merged.
            let keep = |rows: &_| {
                without_erased(&now.manifest, rows).unwrap_or_else(|_| RecordBatch::clone(rows))
            };
            now.with_tail(keep)
        });
    }

    async fn finish_erasures(&self) -> Result<ErasedEvents, LakeError> {
        let mut done = ErasedEvents::default();
        let now = self.snapshot();
        let pending = now.manifest.erased.iter().filter(|tomb| tomb.pending);
        let sites: HashSet<u64> = pending.map(|tomb| tomb.site).collect();
        if sites.is_empty() {
            return Ok(done);
        }
        let files = now.manifest.files.iter();
        let files: Vec<DataFile> = files
            .filter(|file| {
                sites
                    .iter()
                    .any(|site| may_have(&now.manifest, file, *site))
            })
            .cloned()
            .collect();
        for file in files {
            let (files, events) = self.rewrite_file(&file, HashMap::new()).await?;
            done.files += files;
            done.events += events;
        }
        self.commit(|manifest| {
            for tomb in &mut manifest.erased {
                tomb.pending = false;
            }
        })
        .await?;
        Ok(done)
    }

    /// Keeps events of a site for `days` whole days from now on; `None`: for ever.
    pub async fn retain(&self, site: u64, days: Option<u32>) -> Result<(), LakeError> {
        let _one = self.work.lock().await;
        self.commit(move |manifest| {
            manifest.retention.retain(|known| known.site != site);
            if let Some(days) = days {
                manifest.retention.push(Retention { site, days });
            }
        })
        .await
    }

    /// Removes events that are older than their sites keep them. `today` tells the local day of a site.
    pub async fn expire(&self, today: impl Fn(u64) -> i32 + Send) -> Result<u64, LakeError> {
        let _one = self.work.lock().await;
        let manifest = Arc::clone(&self.snapshot().manifest);
        let mut removed = 0;
        let first = |kept: &Retention| {
            let days = i32::try_from(kept.days).unwrap_or(i32::MAX);
            (kept.site, today(kept.site).saturating_sub(days))
        };
        let first_days: HashMap<u64, i32> = manifest.retention.iter().map(first).collect();
        for file in &manifest.files {
            let too_old =
                |(site, first): (&u64, &i32)| file.day < *first && may_have(&manifest, file, *site);
            if first_days.iter().any(too_old) {
                removed += self.rewrite_file(file, first_days.clone()).await?.1;
            }
        }
        Ok(removed)
    }

    /// Writes a file anew without the rows that have to go: how many files that were, and how many rows.
    async fn rewrite_file(
        &self,
        file: &DataFile,
        first_days: HashMap<u64, i32>,
    ) -> Result<(u64, u64), LakeError> {
        let manifest = Arc::clone(&self.snapshot().manifest);
        let files = vec![file.clone()];
        let contents = self.read(&files).await?;
        let (of, inputs) = (Arc::clone(&manifest), files.clone());
        let made = blocking(move || rewrite(&of, &inputs, contents, &first_days)).await?;
        let rows = made.as_ref().map_or(0, |made| made.rows);
        if rows == file.rows {
            return Ok((0, 0));
        }
        self.replace(&manifest, &files, made).await?;
        Ok((1, file.rows - rows))
    }

    /// The rows of a file that the manifest names, or named until a few minutes ago.
    pub async fn rows_of(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let contents = self.read(std::slice::from_ref(file)).await?;
        let file = file.clone();
        blocking(move || {
            let readers = contents.into_iter();
            let readers = readers.map(|bytes| Reader::new(&file, bytes));
            let mut rows = Vec::new();
            for reader in readers {
                for some in reader? {
                    rows.push(some?);
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn read(&self, files: &[DataFile]) -> Result<Vec<Bytes>, LakeError> {
        let mut contents = Vec::new();
        for file in files {
            let found = self.store.get(&file.path).await?;
            contents.push(found.ok_or_else(|| LakeError::Missing {
                path: file.path.clone(),
            })?);
        }
        Ok(contents)
    }

    /// Commits `made` in the place of `files`, which are of one day and bucket.
    async fn replace(
        &self,
        manifest: &Manifest,
        files: &[DataFile],
        made: Option<Made>,
    ) -> Result<(), LakeError> {
        let (Some(first), from, to) = (
            files.first(),
            files.iter().map(|file| file.from).min().unwrap_or(0),
            files.iter().map(|file| file.to).max().unwrap_or(0),
        ) else {
            return Ok(());
        };
        let mut merged = None;
        if let Some(made) = made {
            let path = data_path(first.day, first.bucket, from, to, manifest.version + 1);
            let put = self.put(path, first.day, first.bucket, from..to, made);
            merged = Some(put.await?);
        }
        let gone: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
        self.commit(move |manifest| {
            manifest.files.retain(|file| !gone.contains(&file.path));
            manifest.files.extend(merged);
        })
        .await
    }

    /// Removes files and manifests that are not named any more, some minutes after that was first noticed. `now_ms` is the
    /// time, in ms since 1970-01-01 UTC. Files that the lake has not written are left alone.
    pub async fn clean(&self, now_ms: i64) -> Result<u64, LakeError> {
        let _one = self.work.lock().await;
        let manifest = Arc::clone(&self.snapshot().manifest);
        let named: HashSet<&str> = (manifest.files.iter())
            .map(|file| file.path.as_str())
            .collect();
        let mut found = Vec::new();
        for object in self.store.list("events").await? {
            let path = object.location.as_ref();
            if is_data(path) && !named.contains(path) {
                found.push(path.to_owned());
            }
        }
        for object in self.store.list("manifest").await? {
            let path = object.location.as_ref();
            if manifest_version(path).is_some_and(|at| at + MANIFESTS <= manifest.version) {
                found.push(path.to_owned());
            }
        }
        let due = {
            let mut unnamed = self.unnamed.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::take(&mut *unnamed);
            for path in found {
                let since = before.get(&path).copied().unwrap_or(now_ms);
                unnamed.insert(path, since);
            }
            let due = unnamed
                .iter()
                .filter(|(_, since)| now_ms - **since >= GRACE_MS);
            due.map(|(path, _)| path.clone()).collect::<Vec<_>>()
        };
        let mut removed = 0;
        for path in due {
            self.store.delete(&path).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn may_have(manifest: &Manifest, file: &DataFile, site: u64) -> bool {
    file.bucket == manifest.bucket(site) && (file.min_site..=file.max_site).contains(&site)
}

/// Files that are worth merging: of one day and bucket, about equally large, and as many as there are. So a row is written
/// anew about as often as the number of its file's rows can be doubled, however the files came.
fn choose(manifest: &Manifest) -> Option<Vec<DataFile>> {
    let newest = manifest.files.iter().map(|file| file.day).max()?;
    let mut parts: BTreeMap<(i32, u16), Vec<&DataFile>> = BTreeMap::new();
    for file in &manifest.files {
        if file.bytes < LARGE_BYTES {
            parts.entry((file.day, file.bucket)).or_default().push(file);
        }
    }
    // Days that have ended hardly grow any more.
    let enough = |day: i32| if day + 1 < newest { 2 } else { MERGE_FILES };
    let (_, files) = parts
        .into_iter()
        .map(|(part, files)| (part, alike(files)))
        .filter(|((day, _), files)| files.len() >= enough(*day))
        .max_by_key(|(_, files)| files.len())?;
    Some(files.into_iter().cloned().collect())
}

/// Of files the most none of which is more than twice as large as all smaller ones together.
fn alike(mut files: Vec<&DataFile>) -> Vec<&DataFile> {
    files.sort_unstable_by_key(|file| (file.bytes, file.from));
    let alike = |first: usize| {
        let mut bytes = 0;
        let some = files[first..].iter().take(MERGE_AT_ONCE);
        let some = some.take_while(|file| {
            let fits = (bytes == 0 || file.bytes <= 2 * bytes) && bytes + file.bytes <= MERGE_BYTES;
            bytes += file.bytes;
            fits
        });
        first..first + some.count()
    };
    let most = (0..files.len())
        .map(alike)
        .max_by_key(|some| (some.len(), Reverse(some.start)));
    most.map_or_else(Vec::new, |some| files[some].to_vec())
}

/// The rows of files as one file, without erased persons, and without events of sites before their first day.
fn rewrite(
    manifest: &Manifest,
    files: &[DataFile],
    contents: Vec<Bytes>,
    first_days: &HashMap<u64, i32>,
) -> Result<Option<Made>, LakeError> {
    let readers = files.iter().zip(contents);
    let readers: Result<Vec<Reader>, LakeError> = readers
        .map(|(file, bytes)| Reader::new(file, bytes))
        .collect();
    let erased = Erased::new(manifest);
    let keep = |keys: &Keys<'_>, row: usize| {
        let first = first_days.get(&keys.site(row));
        !erased.has(keys, row) && first.is_none_or(|first| keys.day(row) >= *first)
    };
    let mut writer = Writer::new()?;
    merge(readers?, keep, |rows| writer.write(rows))?;
    writer.finish()
}
