//! A state store in memory: what tests and simulations run on, and the plainest reading of the trait.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wakeline_engine::{Dimension, Grain};

use super::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow, Uncounted,
    UncountedIn, VisitorKey,
};

/// What is in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Where it is.
    pub progress: Progress,
    /// Encoded visitors.
    pub visitors: BTreeMap<VisitorKey, Vec<u8>>,
    /// Encoded rows.
    pub rows: BTreeMap<RowAddress, Vec<u8>>,
    /// Texts by site and id.
    pub names: BTreeMap<(u64, u64), String>,
    /// Offsets of the commits that marked windows.
    pub marks: BTreeMap<SiteWindow, u64>,
    /// Which events of records did not count, by offset.
    pub uncounted: BTreeMap<u64, Uncounted>,
}

impl Partition {
    /// Makes a commit, or refuses it; `number` is the partition's.
    pub fn commit(
        &mut self,
        number: u16,
        expected: u64,
        changes: Changes,
        next: u64,
    ) -> Result<(), StateError> {
        if self.progress.next_offset != expected {
            return Err(StateError::Fenced {
                partition: number,
                expected,
                found: self.progress.next_offset,
            });
        }
        self.visitors.extend(changes.visitors);
        for (address, row) in changes.rows {
            match row {
                Some(row) => self.rows.insert(address, row),
                None => self.rows.remove(&address),
            };
        }
        let names = changes.names.into_iter();
        self.names
            .extend(names.map(|(site, id, name)| ((site, id), name)));
        self.progress.rules.extend(changes.rules);
        self.progress.edges.extend(changes.edges);
        if let Some(stamp_ms) = changes.stamp_ms {
            self.progress.stamp_ms = stamp_ms;
        }
        let marks = changes.marks.into_iter();
        self.marks.extend(marks.map(|window| (window, next)));
        self.uncounted.extend(changes.uncounted);
        self.progress.next_offset = next;
        Ok(())
    }

    /// All there is but how far it is, and what is to be exported: offsets and stamps move also where nothing changes.
    #[must_use]
    pub fn contents(&self) -> Self {
        let mut contents = self.clone();
        contents.progress.next_offset = 0;
        contents.progress.stamp_ms = 0;
        contents.marks.clear();
        contents
    }
}

/// See the [module](self). A clone is the same store.
#[derive(Clone, Debug)]
pub struct MemoryState(Arc<Mutex<Vec<Partition>>>);

impl MemoryState {
    /// An empty one.
    pub fn new(partitions: u16) -> Self {
        let count = usize::from(partitions);
        Self(Arc::new(Mutex::new(vec![Partition::default(); count])))
    }

    /// The partitions, to be looked at or changed behind everybody's back.
    pub fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The [contents](Partition::contents) of all partitions.
    pub fn contents(&self) -> Vec<Partition> {
        self.partitions().iter().map(Partition::contents).collect()
    }

    fn read<T>(&self, partition: u16, read: impl FnOnce(&Partition) -> T) -> T {
        read(&self.partitions()[usize::from(partition)])
    }
}

impl StateStore for MemoryState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        Ok(self.read(partition, |at| at.progress.clone()))
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        let offset = |number: &u16| self.read(*number, |at| at.progress.next_offset);
        Ok(partitions.iter().map(offset).collect())
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let found = |at: &Partition| {
            keys.iter()
                .map(|key| at.visitors.get(key).cloned())
                .collect()
        };
        Ok(self.read(partition, found))
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let found = |at: &Partition| keys.iter().map(|key| at.rows.get(key).cloned()).collect();
        Ok(self.read(partition, found))
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        let mut partitions = self.partitions();
        let at = &mut partitions[usize::from(partition)];
        at.commit(partition, expected_offset, changes, next_offset)
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        let found = |at: &Partition| {
            let wanted = at.rows.iter().filter(|(address, _)| {
                let key = &address.key;
                address.site == site
                    && (key.grain, key.dimension) == (grain, dimension)
                    && windows.contains(&key.window)
            });
            wanted
                .map(|(address, row)| (address.key.window, address.key.value, row.clone()))
                .collect()
        };
        Ok(self.read(partition, found))
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        let found = |at: &Partition| {
            let names = ids.iter().map(|id| at.names.get(&(site, *id)).cloned());
            names.collect()
        };
        Ok(self.read(partition, found))
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        let found = |at: &Partition| {
            let marks = at.marks.iter().take(limit);
            marks.map(|(window, at)| (*window, *at)).collect()
        };
        Ok(self.read(partition, found))
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        let marks = &mut self.partitions()[usize::from(partition)].marks;
        for window in windows {
            marks.entry(*window).or_insert(0);
        }
        Ok(())
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        let kept = &mut self.partitions()[usize::from(partition)].marks;
        for (window, at) in marks {
            if kept.get(window) == Some(at) {
                kept.remove(window);
            }
        }
        Ok(())
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        Ok(self.read(partition, |at| UncountedIn {
            next_offset: at.progress.next_offset,
            records: (at.uncounted.range(offsets))
                .map(|(offset, uncounted)| (*offset, uncounted.clone()))
                .collect(),
        }))
    }

    async fn persist(&self) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryState;
    use crate::state::suite;

    #[tokio::test]
    async fn keeps_the_promises_of_a_state_store() {
        let state = MemoryState::new(4);
        suite::run(async || state.clone()).await;
    }
}
