//! A state store that loses, delays, repeats and reorders.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wakeline_aggregator::state::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow, VisitorKey,
};
use wakeline_engine::{Dimension, Grain};

use crate::{machine, trace};

/// Commits before the newest that a partition may fall back to.
const REMEMBERED: usize = 4;

/// What is in a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Partition {
    progress: Progress,
    visitors: BTreeMap<VisitorKey, Vec<u8>>,
    rows: BTreeMap<RowAddress, Vec<u8>>,
    names: BTreeMap<(u64, u64), String>,
    marks: BTreeMap<SiteWindow, u64>,
}

/// What the store does wrong, by probability of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Nothing is done, and said so.
    pub(crate) refuse: f32,
    /// A commit is made, and said to have failed.
    pub(crate) deny: f32,
    /// A commit is said to have failed, and made a while later, if it still may.
    pub(crate) late: f32,
    /// Longest time of a call, in ms.
    pub(crate) slow_ms: u64,
}

/// A commit that is still on its way.
struct Late {
    at_ms: u64,
    partition: u16,
    expected: u64,
    changes: Changes,
    next: u64,
}

struct Inner {
    partitions: Vec<Partition>,
    earlier: Vec<Vec<Partition>>,
    late: Vec<Late>,
    trouble: Trouble,
    random: fastrand::Rng,
}

/// See the [module](self). It lives on when its aggregator is killed.
pub(crate) struct ModelState(Mutex<Inner>);

impl ModelState {
    pub(crate) fn new(partitions: u16, seed: u64) -> Self {
        let count = usize::from(partitions);
        Self(Mutex::new(Inner {
            partitions: vec![Partition::default(); count],
            earlier: vec![Vec::new(); count],
            late: Vec::new(),
            trouble: Trouble::default(),
            random: fastrand::Rng::with_seed(seed),
        }))
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.lock().trouble = trouble;
    }

    /// Some partitions fall back to an earlier commit, or to nothing.
    pub(crate) fn fall_back(&self) {
        let inner = &mut *self.lock();
        for (number, partition) in inner.partitions.iter_mut().enumerate() {
            if inner.random.bool() {
                let earlier = &mut inner.earlier[number];
                let keep = inner.random.usize(..=earlier.len());
                earlier.truncate(keep);
                *partition = earlier.pop().unwrap_or_default();
                trace::event(format_args!(
                    "store: partition {number} falls back to {}",
                    partition.progress.next_offset
                ));
            }
        }
    }

    /// Makes commits whose time has come, long after their makers were told that they failed.
    pub(crate) fn make_late_commits(&self, all: bool) {
        let inner = &mut *self.lock();
        let now = machine::elapsed_ms();
        let (due, late) = std::mem::take(&mut inner.late)
            .into_iter()
            .partition(|late| all || late.at_ms <= now);
        inner.late = late;
        for late in due {
            let made = inner.commit(late.partition, late.expected, late.changes, late.next);
            trace::event(format_args!(
                "store: late commit of {} to {}: {}",
                late.partition,
                late.next,
                made.is_ok()
            ));
        }
    }

    /// All there is but how far it is, and what is to be exported: offsets and stamps move also where nothing changes.
    pub(crate) fn contents(&self) -> Vec<Partition> {
        let mut partitions = self.lock().partitions.clone();
        for partition in &mut partitions {
            partition.progress.next_offset = 0;
            partition.progress.stamp_ms = 0;
            partition.marks.clear();
        }
        partitions
    }

    async fn call(&self) -> Result<(), StateError> {
        let (slow, refused) = {
            let inner = &mut *self.lock();
            let slow = inner.random.u64(..=inner.trouble.slow_ms);
            (slow, inner.random.f32() < inner.trouble.refuse)
        };
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        if refused { Err(failure()) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure() -> StateError {
    StateError::Store("broken on purpose".into())
}

impl Inner {
    fn commit(
        &mut self,
        number: u16,
        expected: u64,
        changes: Changes,
        next: u64,
    ) -> Result<(), StateError> {
        let partition = &mut self.partitions[usize::from(number)];
        if partition.progress.next_offset != expected {
            return Err(StateError::Fenced {
                partition: number,
                expected,
                found: partition.progress.next_offset,
            });
        }
        let earlier = &mut self.earlier[usize::from(number)];
        if earlier.len() == REMEMBERED {
            earlier.remove(self.random.usize(..REMEMBERED));
        }
        earlier.push(partition.clone());
        partition.visitors.extend(changes.visitors);
        for (address, row) in changes.rows {
            match row {
                Some(row) => partition.rows.insert(address, row),
                None => partition.rows.remove(&address),
            };
        }
        for (site, id, name) in changes.names {
            partition.names.insert((site, id), name);
        }
        partition.progress.rules.extend(changes.rules);
        partition.progress.edges.extend(changes.edges);
        if let Some(stamp_ms) = changes.stamp_ms {
            partition.progress.stamp_ms = stamp_ms;
        }
        let marks = changes.marks.into_iter().map(|window| (window, next));
        partition.marks.extend(marks);
        partition.progress.next_offset = next;
        trace::event(format_args!("store: {number} from {expected} to {next}"));
        Ok(())
    }
}

impl StateStore for ModelState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        self.call().await?;
        let inner = self.lock();
        Ok(inner.partitions[usize::from(partition)].progress.clone())
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        self.call().await?;
        let inner = self.lock();
        let offset = |number: &u16| inner.partitions[usize::from(*number)].progress.next_offset;
        Ok(partitions.iter().map(offset).collect())
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.call().await?;
        let inner = self.lock();
        let visitors = &inner.partitions[usize::from(partition)].visitors;
        Ok(keys.iter().map(|key| visitors.get(key).cloned()).collect())
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.call().await?;
        let inner = self.lock();
        let rows = &inner.partitions[usize::from(partition)].rows;
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        self.call().await?;
        let inner = &mut *self.lock();
        let luck = inner.random.f32();
        if luck < inner.trouble.late {
            let at_ms = machine::elapsed_ms() + inner.random.u64(..3_000);
            inner.late.push(Late {
                at_ms,
                partition,
                expected: expected_offset,
                changes,
                next: next_offset,
            });
            return Err(failure());
        }
        let denies = luck < inner.trouble.late + inner.trouble.deny;
        inner.commit(partition, expected_offset, changes, next_offset)?;
        if denies { Err(failure()) } else { Ok(()) }
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        let inner = self.lock();
        let rows = &inner.partitions[usize::from(partition)].rows;
        let wanted = rows.iter().filter(|(address, _)| {
            let key = &address.key;
            address.site == site
                && (key.grain, key.dimension) == (grain, dimension)
                && windows.contains(&key.window)
        });
        Ok(wanted
            .map(|(address, row)| (address.key.window, address.key.value, row.clone()))
            .collect())
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        let inner = self.lock();
        let names = &inner.partitions[usize::from(partition)].names;
        Ok(ids
            .iter()
            .map(|id| names.get(&(site, *id)).cloned())
            .collect())
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        let inner = self.lock();
        let marks = inner.partitions[usize::from(partition)].marks.iter();
        Ok(marks
            .take(limit)
            .map(|(window, at)| (*window, *at))
            .collect())
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        let marks = &mut self.lock().partitions[usize::from(partition)].marks;
        for window in windows {
            marks.entry(*window).or_insert(0);
        }
        Ok(())
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        let kept = &mut self.lock().partitions[usize::from(partition)].marks;
        for (window, at) in marks {
            if kept.get(window) == Some(at) {
                kept.remove(window);
            }
        }
        Ok(())
    }

    async fn persist(&self) -> Result<(), StateError> {
        self.call().await
    }
}
