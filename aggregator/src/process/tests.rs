//! From log to state through a store that fails.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_proto::v1::{Block, BlockPayload, Event, EventType, Group, PositionedGroup};

use super::{Board, Processing, Recovered, Shared, recover};
use crate::config::Config;
use crate::control::Control;
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::{EventLog as _, SegmentEventLog};
use crate::state::{
    Changes, FjallState, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    VisitorKey,
};
use crate::stats::Stats;

/// Every second commit fails: in turn before and after it was made. So does every fifth read.
struct Flaky {
    store: FjallState,
    commits: AtomicU64,
    reads: AtomicU64,
}

fn failure() -> StateError {
    StateError::Store("broken on purpose".into())
}

impl Flaky {
    fn read(&self) -> Result<(), StateError> {
        match self.reads.fetch_add(1, Ordering::Relaxed) % 5 {
            4 => Err(failure()),
            _ => Ok(()),
        }
    }
}

impl StateStore for Flaky {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
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
        let turn = self.commits.fetch_add(1, Ordering::Relaxed) % 4;
        if turn == 1 {
            return Err(failure());
        }
        self.store
            .commit(partition, expected_offset, changes, next_offset)
            .await?;
        if turn == 3 { Err(failure()) } else { Ok(()) }
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

    async fn persist(&self) -> Result<(), StateError> {
        self.store.persist().await
    }
}

const PARTITIONS: u16 = 2;

/// A page view of one of a few visitors, as a block of its own.
fn block(number: u64) -> Block {
    let group = Group {
        site: 1,
        visitor: format!("visitor-{}", number % 6),
        events: vec![Event {
            stream: 1 + number % 6,
            seq: number,
            time: 1_790_000_000_000 + number * 1000,
            r#type: EventType::PageView.into(),
            path: "/".into(),
            ..Event::default()
        }],
        ..Group::default()
    };
    let payload = BlockPayload {
        groups: vec![PositionedGroup {
            position: number,
            group: group.encode_to_vec().into(),
        }],
    };
    Block {
        partition: (number % 2) as u32,
        partitions: u32::from(PARTITIONS),
        first_position: number,
        last_position: number,
        events: 1,
        payload: zstd::bulk::compress(&payload.encode_to_vec(), 1)
            .unwrap()
            .into(),
        ..Block::default()
    }
}

fn flaky(dir: &Path) -> Arc<Flaky> {
    Arc::new(Flaky {
        store: FjallState::open(dir, PARTITIONS, 1 << 20).unwrap(),
        commits: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_delays_the_figures_and_changes_nothing_about_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = SegmentEventLog::open(&dir.path().join("log"), 1 << 20).unwrap();
    let store = flaky(&dir.path().join("state"));
    let recovered = recover(&*store, &log, PARTITIONS).await.unwrap();
    let Recovered { progress, .. } = recovered;
    let offsets = progress.iter().map(|at| at.next_offset);
    let shared = Arc::new(Shared {
        store: Arc::clone(&store),
        control: Arc::new(Control::open(&dir.path().join("control.sqlite")).unwrap()),
        live: Arc::new(Live::default()),
        stats: Arc::new(Stats::default()),
        board: Arc::new(Board::new(log.end(), 0, offsets, 0)),
        letters: None,
        pending: None,
        _lock: Arc::new(FolderLock::take(dir.path()).unwrap()),
    });
    let config = Config {
        workers: 2,
        ..Config::default()
    };
    let processing = Processing::start(&shared, &config, &log, progress).unwrap();
    for number in 0..40 {
        log.append(1, block(number)).await.unwrap();
        // Copies come, too, as after a failed append.
        log.append(1, block(number)).await.unwrap();
    }
    let begun = Instant::now();
    while shared.board.watermark().applied < 80 {
        assert!(begun.elapsed() < Duration::from_secs(30), "stuck");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    processing.stop(std::future::pending()).await;

    let mut total = Row::default();
    for partition in 0..PARTITIONS {
        let days = i64::MIN..i64::MAX;
        let rows = store.scan(partition, 1, Grain::Day, Dimension::Total, days);
        for (_, _, encoded) in rows.await.unwrap() {
            total.add(&Row::decode(&encoded).unwrap());
        }
    }
    assert_eq!(
        (total.pageviews, total.visits, total.visitors()),
        (40, 6, 6)
    );
    assert!(shared.stats.state_failures.get() > 0);
}
