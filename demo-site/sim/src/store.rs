//! A state store that loses, delays, repeats and reorders.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use wakeline_aggregator::state::memory::{MemoryState, Partition};
use wakeline_aggregator::state::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    UncountedIn, VisitorKey,
};
use wakeline_engine::{Dimension, Grain, Row};

use crate::{machine, trace};

/// Commits before the newest that a partition may fall back to.
const REMEMBERED: usize = 4;

/// What became of events, by site, hour (the unix minute at which it begins) and fate.
pub(crate) type Fates = BTreeMap<(u64, i64, String), i64>;

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
    /// Earlier contents of each partition.
    earlier: Vec<Vec<Partition>>,
    late: Vec<Late>,
    trouble: Trouble,
    random: fastrand::Rng,
}

/// See the [module](self). It lives on when its aggregator is killed. A clone is the same store.
#[derive(Clone)]
pub(crate) struct ModelState {
    state: MemoryState,
    inner: Arc<Mutex<Inner>>,
}

impl ModelState {
    pub(crate) fn new(partitions: u16, seed: u64) -> Self {
        let count = usize::from(partitions);
        Self {
            state: MemoryState::new(partitions),
            inner: Arc::new(Mutex::new(Inner {
                earlier: vec![Vec::new(); count],
                late: Vec::new(),
                trouble: Trouble::default(),
                random: fastrand::Rng::with_seed(seed),
            })),
        }
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.lock().trouble = trouble;
    }

    /// Some partitions fall back to an earlier commit, or to nothing. What was still on its way to them is lost with the
    /// server that had it.
    pub(crate) fn fall_back(&self) {
        let inner = &mut *self.lock();
        for (number, partition) in self.state.partitions().iter_mut().enumerate() {
            if inner.random.bool() {
                inner
                    .late
                    .retain(|late| usize::from(late.partition) != number);
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
    pub(crate) fn make_late_commits(&self) {
        let inner = &mut *self.lock();
        let now = machine::elapsed_ms();
        let (due, late) = std::mem::take(&mut inner.late)
            .into_iter()
            .partition(|late| late.at_ms <= now);
        inner.late = late;
        for late in due {
            let Late {
                partition,
                expected,
                next,
                ..
            } = late;
            let made = self.make(inner, partition, expected, late.changes, next);
            let made = made.is_ok();
            trace::event(format_args!(
                "store: late commit of {partition} to {next}: {made}"
            ));
        }
    }

    /// All there is but how far it is, and what is to be exported.
    pub(crate) fn contents(&self) -> Vec<Partition> {
        self.state.contents()
    }

    /// The ledger.
    pub(crate) fn fates(&self) -> anyhow::Result<Fates> {
        let mut fates = Fates::new();
        for partition in &*self.state.partitions() {
            for (address, encoded) in &partition.rows {
                let (site, key) = (address.site, &address.key);
                if key.dimension == Dimension::Fate {
                    let name = partition.names.get(&(site, key.value));
                    let name = name.context("a fate has no name")?.clone();
                    let row = Row::decode(encoded).ok().context("a row can't be read")?;
                    *fates.entry((site, key.window, name)).or_default() += row.events;
                }
            }
        }
        Ok(fates)
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

    /// Makes a commit, and remembers what was before it.
    fn make(
        &self,
        inner: &mut Inner,
        number: u16,
        expected: u64,
        changes: Changes,
        next: u64,
    ) -> Result<(), StateError> {
        let partition = &mut self.state.partitions()[usize::from(number)];
        let before = partition.clone();
        partition.commit(number, expected, changes, next)?;
        let earlier = &mut inner.earlier[usize::from(number)];
        if earlier.len() == REMEMBERED {
            earlier.remove(inner.random.usize(..REMEMBERED));
        }
        earlier.push(before);
        trace::event(format_args!("store: {number} from {expected} to {next}"));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure() -> StateError {
    StateError::Store("broken on purpose".into())
}

impl StateStore for ModelState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        self.call().await?;
        self.state.load(partition).await
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        self.call().await?;
        self.state.offsets(partitions).await
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.call().await?;
        self.state.visitors(partition, keys).await
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.call().await?;
        self.state.rows(partition, keys).await
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
        self.make(inner, partition, expected_offset, changes, next_offset)?;
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
        let scan = self.state.scan(partition, site, grain, dimension, windows);
        scan.await
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        self.state.names(partition, site, ids).await
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        self.state.marks(partition, limit).await
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        self.state.mark(partition, windows).await
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        self.state.unmark(partition, marks).await
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        self.state.uncounted(partition, offsets).await
    }

    async fn persist(&self) -> Result<(), StateError> {
        self.call().await
    }
}

#[cfg(test)]
mod tests {
    use wakeline_aggregator::state::suite;

    use super::ModelState;

    #[tokio::test]
    async fn keeps_the_promises_of_a_state_store() {
        let store = ModelState::new(4, 0);
        suite::run(async || store.clone()).await;
    }
}
