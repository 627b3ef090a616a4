//! State in an embedded LSM tree.
//!
//! Everything is in *one* keyspace. fjall writes the memtable of a keyspace to disk without syncing the journal first; with
//! a keyspace per table a crash could keep a commit's visitors and lose its rows and offset. A memtable holds whole
//! commits in order, so with one keyspace whatever survives is a prefix of the commits.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};
use wakeline_engine::{Dimension, Grain};

use super::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    StoredRules, Uncounted, UncountedIn, VisitorKey, keys,
};

/// A memtable is written to disk once it has this many bytes.
const MEMTABLE_BYTES: u64 = 32 << 20;

/// State in a folder; one process at a time.
pub struct FjallState {
    database: Database,
    state: Keyspace,
    /// Next offset of each partition: the fence.
    offsets: Vec<Mutex<u64>>,
    /// Something was committed since the last time that everything was made durable.
    dirty: AtomicBool,
}

impl FjallState {
    /// Opens or makes the state of `partitions` partitions in `dir`, with `cache_bytes` of memory for blocks read.
    pub fn open(dir: &Path, partitions: u16, cache_bytes: u64) -> Result<Self, StateError> {
        let database = Database::builder(dir)
            .cache_size(cache_bytes)
            .open()
            .map_err(store)?;
        let state = database
            .keyspace("state", || {
                KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
            })
            .map_err(store)?;
        let offsets = (0..partitions)
            .map(|partition| {
                let progress = state.get(keys::progress(partition)).map_err(store)?;
                Ok(Mutex::new(progress.map_or(Ok(0), |value| {
                    read_progress(&value).map(|(next_offset, _)| next_offset)
                })?))
            })
            .collect::<Result<_, StateError>>()?;
        Ok(Self {
            database,
            state,
            offsets,
            dirty: AtomicBool::new(false),
        })
    }

    fn get_all<const N: usize>(
        &self,
        keys: impl Iterator<Item = [u8; N]>,
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        keys.map(|key| Ok(self.state.get(key).map_err(store)?.map(|v| v.to_vec())))
            .collect()
    }

    fn read_progress(&self, partition: u16) -> Result<Progress, StateError> {
        let snapshot = self.database.snapshot();
        let mut progress = Progress::default();
        if let Some(value) = snapshot
            .get(&self.state, keys::progress(partition))
            .map_err(store)?
        {
            (progress.next_offset, progress.stamp_ms) = read_progress(&value)?;
        }
        for entry in snapshot.prefix(&self.state, keys::edges(partition)) {
            let (key, value) = entry.into_inner().map_err(store)?;
            let edge = keys::read_id(&key).ok_or(StateError::Corrupt("edge"))?;
            progress.edges.insert(edge, number(&value, 0)?);
        }
        for entry in snapshot.prefix(&self.state, keys::all_rules(partition)) {
            let (key, value) = entry.into_inner().map_err(store)?;
            let site = keys::read_id(&key).ok_or(StateError::Corrupt("rules"))?;
            progress.rules.insert(site, read_rules(&value)?);
        }
        Ok(progress)
    }

    /// The next offset of a partition: who holds it is the only one who writes there.
    fn fence(&self, partition: u16) -> Result<MutexGuard<'_, u64>, StateError> {
        let fence = self.offsets.get(usize::from(partition));
        let fence = fence.ok_or(StateError::Corrupt("no such partition"))?;
        Ok(fence.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        let mut offset = self.fence(partition)?;
        if *offset != expected_offset {
            return Err(StateError::Fenced {
                partition,
                expected: expected_offset,
                found: *offset,
            });
        }
        let mut batch = ::fjall::OwnedWriteBatch::with_capacity(
            self.database.clone(),
            changes.visitors.len() + changes.rows.len() + changes.names.len() + 8,
        );
        let to = &self.state;
        for (key, value) in changes.visitors {
            batch.insert(to, keys::visitor(partition, &key), value);
        }
        for (key, value) in changes.rows {
            match value {
                Some(value) => batch.insert(to, keys::row(partition, &key), value),
                None => batch.remove(to, keys::row(partition, &key)),
            }
        }
        for (site, id, path) in changes.names {
            batch.insert(to, keys::name(partition, site, id), path.as_str());
        }
        for (site, rules) in changes.rules {
            batch.insert(to, keys::rules(partition, site), write_rules(&rules));
        }
        for (edge, position) in changes.edges {
            batch.insert(to, keys::edge(partition, edge), position.to_be_bytes());
        }
        for window in changes.marks {
            let key = keys::mark(partition, &window);
            batch.insert(to, key, next_offset.to_be_bytes());
        }
        for (offset, uncounted) in changes.uncounted {
            let key = keys::uncounted(partition, offset);
            batch.insert(to, key, uncounted.as_bytes());
        }
        let stamp_ms = match changes.stamp_ms {
            Some(stamp_ms) => stamp_ms,
            None => self
                .state
                .get(keys::progress(partition))
                .map_err(store)?
                .map_or(Ok(0), |value| number(&value, 8))?,
        };
        let mut progress = [0; 16];
        progress[..8].copy_from_slice(&next_offset.to_be_bytes());
        progress[8..].copy_from_slice(&stamp_ms.to_be_bytes());
        batch.insert(to, keys::progress(partition), progress);
        batch.commit().map_err(store)?;
        self.dirty.store(true, Ordering::Release);
        *offset = next_offset;
        Ok(())
    }

    fn scan_rows(&self, range: Range<[u8; 21]>) -> Result<Vec<StoredRow>, StateError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        self.state
            .range(range)
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(store)?;
                let (window, of) = keys::read_row(&key).ok_or(StateError::Corrupt("row"))?;
                Ok((window, of, value.to_vec()))
            })
            .collect()
    }
}

impl StateStore for FjallState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        self.read_progress(partition)
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        partitions
            .iter()
            .map(|partition| Ok(*self.fence(*partition)?))
            .collect()
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.get_all(keys.iter().map(|key| keys::visitor(partition, key)))
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.get_all(keys.iter().map(|key| keys::row(partition, key)))
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        self.write(partition, expected_offset, changes, next_offset)
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        let marks = self.state.prefix(keys::marks(partition)).take(limit);
        marks
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(store)?;
                let window = keys::read_mark(&key).ok_or(StateError::Corrupt("mark"))?;
                Ok((window, number(&value, 0)?))
            })
            .collect()
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        let _no_commit = self.fence(partition)?;
        let mut batch = self.database.batch();
        for window in windows {
            let key = keys::mark(partition, window);
            if self.state.get(key).map_err(store)?.is_none() {
                batch.insert(&self.state, key, 0_u64.to_be_bytes());
            }
        }
        self.dirty.store(true, Ordering::Release);
        batch.commit().map_err(store)
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        let _no_commit = self.fence(partition)?;
        let mut batch = self.database.batch();
        for (window, offset) in marks {
            let key = keys::mark(partition, window);
            let found = self.state.get(key).map_err(store)?;
            if found.is_some_and(|found| *found == offset.to_be_bytes()) {
                batch.remove(&self.state, key);
            }
        }
        batch.commit().map_err(store)
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        self.scan_rows(keys::rows(partition, site, grain, dimension, &windows))
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        let found = self.get_all(ids.iter().map(|id| keys::name(partition, site, *id)))?;
        found
            .into_iter()
            .map(|name| {
                name.map(|name| String::from_utf8(name).map_err(|_| StateError::Corrupt("name")))
                    .transpose()
            })
            .collect()
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        let snapshot = self.database.snapshot();
        let progress = snapshot.get(&self.state, keys::progress(partition));
        let next_offset = progress
            .map_err(store)?
            .map_or(Ok(0), |value| number(&value, 0))?;
        let mut found = UncountedIn {
            next_offset,
            ..UncountedIn::default()
        };
        if offsets.is_empty() {
            return Ok(found);
        }
        let range =
            keys::uncounted(partition, offsets.start)..keys::uncounted(partition, offsets.end);
        for entry in snapshot.range(&self.state, range) {
            let (key, value) = entry.into_inner().map_err(store)?;
            let offset = keys::read_id(&key).ok_or(StateError::Corrupt("uncounted"))?;
            let uncounted = Uncounted::from_bytes(value.to_vec());
            found.records.insert(offset, uncounted);
        }
        Ok(found)
    }

    async fn persist(&self) -> Result<(), StateError> {
        if self.dirty.swap(false, Ordering::AcqRel) {
            let done = self.database.persist(PersistMode::SyncData);
            return done.map_err(|error| {
                self.dirty.store(true, Ordering::Release);
                store(error)
            });
        }
        Ok(())
    }
}

fn store(error: ::fjall::Error) -> StateError {
    StateError::Store(Box::new(error))
}

fn number(value: &[u8], at: usize) -> Result<u64, StateError> {
    value
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or(StateError::Corrupt("number"))
}

fn read_progress(value: &[u8]) -> Result<(u64, u64), StateError> {
    Ok((number(value, 0)?, number(value, 8)?))
}

fn write_rules(rules: &StoredRules) -> Vec<u8> {
    let mut value = rules.gap_ms.to_be_bytes().to_vec();
    value.extend_from_slice(rules.timezone.as_bytes());
    value
}

fn read_rules(value: &[u8]) -> Result<StoredRules, StateError> {
    let gap_ms = number(value, 0)? as i64;
    let timezone = value
        .get(8..)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or(StateError::Corrupt("rules"))?;
    Ok(StoredRules {
        timezone: timezone.to_owned(),
        gap_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::{Changes, FjallState, StateStore as _};
    use crate::state::suite;

    #[tokio::test]
    async fn ten_thousand_edges_are_loaded_and_a_commit_writes_only_the_one_it_touches() {
        const EDGES: u64 = 10_000;
        let dir = tempfile::tempdir().unwrap();
        {
            let state = FjallState::open(dir.path(), 1, 1 << 20).unwrap();
            let first = Changes {
                edges: (0..EDGES).map(|edge| (edge, edge + 1)).collect(),
                ..Changes::default()
            };
            state.commit(0, 0, first, 1).await.unwrap();
            let before = state.database.journal_disk_space().unwrap();
            let touched = Changes {
                edges: vec![(7, 700)],
                ..Changes::default()
            };
            state.commit(0, 1, touched, 2).await.unwrap();
            state.persist().await.unwrap();
            let written = state.database.journal_disk_space().unwrap() - before;
            assert!(written < 1_000, "{written} bytes");
        }
        let state = FjallState::open(dir.path(), 1, 1 << 20).unwrap();
        let progress = state.load(0).await.unwrap();
        assert_eq!(progress.edges.len() as u64, EDGES);
        assert_eq!((progress.edges[&7], progress.edges[&8]), (700, 9));
    }

    #[tokio::test]
    async fn keeps_the_promises_of_a_state_store() {
        let dir = tempfile::tempdir().unwrap();
        suite::run(|| async { FjallState::open(dir.path(), 4, 1 << 20).unwrap() }).await;
    }
}
