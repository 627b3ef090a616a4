//! From log to state through a store that fails.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_proto::v1::{Block, BlockPayload, Event, EventType, Group, PositionedGroup};

use crate::config::Config;
use crate::control::Control;
use crate::headless::Headless;
use crate::log::EventLog as _;
use crate::state::memory::{MemoryState, Partition};
use crate::state::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    UncountedIn, VisitorKey,
};

/// While it is in trouble every second commit fails: in turn before and after it was made. So does every fifth read.
struct Flaky {
    store: MemoryState,
    trouble: AtomicBool,
    /// Every third load fails.
    hides: AtomicBool,
    /// The next commit that expects another offset is said to have failed, and made once the partition is there.
    delays: AtomicBool,
    late: Mutex<Option<Late>>,
    commits: AtomicU64,
    reads: AtomicU64,
    loads: AtomicU64,
}

/// A commit that is still on its way.
struct Late {
    partition: u16,
    expected: u64,
    changes: Changes,
    next: u64,
}

fn failure() -> StateError {
    StateError::Store("broken on purpose".into())
}

impl Flaky {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryState::new(PARTITIONS),
            trouble: AtomicBool::new(false),
            hides: AtomicBool::new(false),
            delays: AtomicBool::new(false),
            late: Mutex::new(None),
            commits: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            loads: AtomicU64::new(0),
        })
    }

    /// Which of `every` calls of that kind this is, from 1, if the store is in `trouble`.
    fn turn(trouble: &AtomicBool, calls: &AtomicU64, every: u64) -> Option<u64> {
        let trouble = trouble.load(Ordering::Relaxed);
        trouble.then(|| calls.fetch_add(1, Ordering::Relaxed) % every + 1)
    }

    fn read(&self) -> Result<(), StateError> {
        match Self::turn(&self.trouble, &self.reads, 5) {
            Some(5) => Err(failure()),
            _ => Ok(()),
        }
    }
}

impl StateStore for Flaky {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        if Self::turn(&self.hides, &self.loads, 3) == Some(3) {
            return Err(failure());
        }
        self.store.load(partition).await
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        self.store.offsets(partitions).await
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.read()?;
        self.store.visitors(partition, keys).await
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.read()?;
        self.store.rows(partition, keys).await
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        let turn = Self::turn(&self.trouble, &self.commits, 4);
        if turn == Some(2) {
            return Err(failure());
        }
        let fenced = self.store.offsets(&[partition]).await? != [expected_offset];
        if fenced && self.delays.swap(false, Ordering::Relaxed) {
            *self.late.lock().unwrap() = Some(Late {
                partition,
                expected: expected_offset,
                changes,
                next: next_offset,
            });
            return Err(failure());
        }
        self.store
            .commit(partition, expected_offset, changes, next_offset)
            .await?;
        let now_due = |late: &mut Late| (late.partition, late.expected) == (partition, next_offset);
        let late = self.late.lock().unwrap().take_if(now_due);
        if let Some(late) = late {
            self.store
                .commit(partition, late.expected, late.changes, late.next)
                .await?;
        }
        if turn == Some(4) {
            Err(failure())
        } else {
            Ok(())
        }
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        self.store.marks(partition, limit).await
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        self.store.mark(partition, windows).await
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        self.store.unmark(partition, marks).await
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        self.store
            .scan(partition, site, grain, dimension, windows)
            .await
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        self.store.names(partition, site, ids).await
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        self.store.uncounted(partition, offsets).await
    }

    async fn persist(&self) -> Result<(), StateError> {
        self.store.persist().await
    }
}

const PARTITIONS: u16 = 8;

/// A page view of one of a few visitors, as a block of its own.
fn block(number: u64) -> Block {
    let event = Event {
        stream: 1 + number % 8,
        seq: number,
        time: 1_790_000_000_000 + number * 1000,
        r#type: EventType::PageView.into(),
        path: "/".into(),
        ..Event::default()
    };
    block_of(vec![(number, event)], number % 8)
}

/// Events of a visitor at their positions.
fn block_of(events: Vec<(u64, Event)>, visitor: u64) -> Block {
    let positions = || events.iter().map(|(position, _)| *position);
    let (first_position, last_position) = (positions().min(), positions().max());
    let count = events.len() as u32;
    let groups = events.into_iter().map(|(position, event)| {
        let group = Group {
            site: 1,
            visitor: format!("visitor-{visitor}"),
            events: vec![event],
            ..Group::default()
        };
        PositionedGroup {
            position,
            group: group.encode_to_vec().into(),
        }
    });
    let payload = BlockPayload {
        groups: groups.collect(),
    };
    Block {
        partition: visitor as u32 % u32::from(PARTITIONS),
        partitions: u32::from(PARTITIONS),
        first_position: first_position.unwrap(),
        last_position: last_position.unwrap(),
        events: count,
        payload: zstd::bulk::compress(&payload.encode_to_vec(), 1)
            .unwrap()
            .into(),
        ..Block::default()
    }
}

/// An aggregator on `store`, with one worker for all partitions.
async fn start<S: StateStore>(dir: &tempfile::TempDir, store: &Arc<S>) -> Headless {
    let control = Control::open(&dir.path().join("control.sqlite")).unwrap();
    let mut config = Config {
        data: dir.path().to_owned(),
        workers: 1,
        ..Config::default()
    };
    config.log.partitions = PARTITIONS.try_into().unwrap();
    Headless::start(&config, Arc::new(control), Arc::clone(store))
        .await
        .unwrap()
}

/// Waits until all that is in the log is applied.
async fn settled(headless: &Headless) {
    let begun = Instant::now();
    let watermark = || headless.metrics().watermark();
    while watermark().applied < watermark().log_end {
        assert!(begun.elapsed() < Duration::from_secs(60), "stuck");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a new state makes of the log.
async fn rebuilt(dir: &tempfile::TempDir) -> Vec<Partition> {
    let store = Arc::new(MemoryState::new(PARTITIONS));
    let headless = start(dir, &store).await;
    settled(&headless).await;
    headless.stop().await;
    store.contents()
}

/// Pageviews, visits and visitors of all days.
async fn totals(headless: &Headless) -> (i64, i64, i64) {
    let rows = headless
        .metrics()
        .totals(1, Grain::Day, i64::MIN..i64::MAX)
        .await;
    let mut total = Row::default();
    for (_, row) in rows.unwrap() {
        total.add(&row);
    }
    (total.pageviews, total.visits, total.visitors())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_delays_the_figures_and_changes_nothing_about_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let headless = start(&dir, &store).await;
    store.trouble.store(true, Ordering::Relaxed);
    for number in 0..40 {
        headless.log().append(1, block(number)).await.unwrap();
        // Copies come, too, as after a failed append.
        headless.log().append(1, block(number)).await.unwrap();
    }
    settled(&headless).await;
    assert_eq!(totals(&headless).await, (40, 8, 8));
    assert!(store.commits.load(Ordering::Relaxed) > 10);
}

/// What it lost must be applied again before anything else is, whichever of its partitions can't be loaded at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_back_and_then_fails_to_load_gets_back_all_it_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let headless = start(&dir, &store).await;
    for number in 0..40 {
        headless.log().append(1, block(number)).await.unwrap();
    }
    settled(&headless).await;
    store.hides.store(true, Ordering::Relaxed);
    store.store.partitions().fill(Partition::default());
    for number in 40..80 {
        headless.log().append(1, block(number)).await.unwrap();
    }
    let whole = async {
        while totals(&headless).await != (80, 8, 8) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let whole = tokio::time::timeout(Duration::from_secs(60), whole).await;
    assert!(whole.is_ok(), "{:?}", totals(&headless).await);
    headless.stop().await;
    assert_eq!(store.store.contents(), rebuilt(&dir).await);
}

/// A commit that was made of what the store had after it fell back must not pass once all it lost is back.
#[tokio::test]
async fn a_commit_made_of_what_a_store_fell_back_to_never_happens() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let headless = start(&dir, &store).await;
    for number in 0..16 {
        headless.log().append(1, block(number)).await.unwrap();
    }
    settled(&headless).await;
    headless.stop().await;
    // The next one remembers nothing, so that it reads all from the store.
    let headless = start(&dir, &store).await;
    store.delays.store(true, Ordering::Relaxed);
    store.store.partitions()[0] = Partition::default();
    headless.log().append(1, block(16)).await.unwrap();
    headless.log().append(1, block(24)).await.unwrap();
    settled(&headless).await;
    headless.stop().await;
    assert_eq!(store.store.contents(), rebuilt(&dir).await);
}

/// A record that the log lost leaves a hole in the positions; a later copy may fill it.
#[tokio::test]
async fn events_whose_first_copy_was_lost_are_counted_from_a_later_one_and_booked_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryState::new(PARTITIONS));
    let headless = start(&dir, &store).await;
    let event = |stream, position| {
        let event = Event {
            stream,
            seq: position,
            time: 1_790_000_000_000 + position * 1000,
            r#type: EventType::PageView.into(),
            ..Event::default()
        };
        (position, event)
    };
    let log = headless.log();
    // The block with positions 2 and 3 was lost; that of 3 has no id, so that nobody can tell whether it was applied.
    for block in [
        block_of(vec![event(7, 1)], 1),
        block_of(vec![event(7, 4)], 1),
        block_of(
            (1..6).map(|at| event(7 * u64::from(at != 3), at)).collect(),
            1,
        ),
    ] {
        log.append(1, block).await.unwrap();
    }
    settled(&headless).await;
    assert_eq!(totals(&headless).await, (4, 1, 1));
    let partitions = store.partitions().clone();
    let rows = partitions[1].rows.iter();
    let fates = rows.filter(|(row, _)| row.key.dimension == Dimension::Fate);
    let fates = fates.map(|(row, encoded)| {
        let name = partitions[1].names[&(row.site, row.key.value)].clone();
        (name, Row::decode(encoded).unwrap().events)
    });
    let mut fates: Vec<_> = fates.collect();
    fates.sort_unstable();
    // Of the stream, numbers 0 and 3 never came.
    let expected = [("accepted", 4), ("counted", 4), ("lost_by_client", 2)];
    assert_eq!(fates, expected.map(|(name, count)| (name.into(), count)));
}
