//! Folders that are opened again, restored and copied.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use wakeline_spool::{Options, SegmentLog};

use super::aggregator::{Aggregator, Behaviour};
use super::{PARTITIONS, Running, record, rules};
use crate::edges::Edges;
use crate::snapshot::Rules;

/// A collector in a folder, as far as spool and forwarder go.
struct Life {
    log: SegmentLog,
    edges: Edges,
    running: Running,
}

impl Life {
    fn begin(dir: &Path, url: String, rules: &watch::Sender<Option<Arc<Rules>>>) -> Self {
        let (log, recovery) = SegmentLog::open(&dir.join("spool"), Options::default()).unwrap();
        let edges = Edges::open(dir, log.first(), recovery.next_position).unwrap();
        let running = Running::start_as(edges.clone(), dir, &log, url, rules);
        Self {
            log,
            edges,
            running,
        }
    }

    /// Appends records; what has to arrive for them.
    async fn append(&self, salts: std::ops::Range<usize>) -> BTreeMap<(u64, u64), Bytes> {
        let mut expected = BTreeMap::new();
        for salt in salts {
            let (payload, span, groups) = record(salt, 1 + salt % 4);
            let mut position = self.log.append(payload, span).await.unwrap();
            for (header, bytes) in groups {
                expected.insert((self.edges.newest(), position), bytes);
                position += u64::from(header.events + header.rejected + header.tallies);
            }
        }
        expected
    }

    async fn drained(&self) {
        self.running.drained(&self.log).await;
    }

    async fn end(self) {
        self.running.stop().await;
        self.log.close().await;
    }
}

/// Copies a data folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn events_of_both_lives_arrive_after_a_backup_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, backup) = (dir.path().join("folder"), dir.path().join("backup"));
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let life = Life::begin(&folder, aggregator.url(), &rules);
    let mut expected = life.append(0..20).await;
    life.drained().await;
    life.end().await;
    copy(&folder, &backup);

    let life = Life::begin(&folder, aggregator.url(), &rules);
    expected.extend(life.append(20..80).await);
    life.drained().await;
    life.end().await;

    std::fs::remove_dir_all(&folder).unwrap();
    copy(&backup, &folder);
    let life = Life::begin(&folder, aggregator.url(), &rules);
    expected.extend(life.append(100..130).await);
    life.drained().await;
    life.end().await;
    assert_eq!(aggregator.known(), expected);
    assert_eq!((aggregator.lost(), aggregator.skipped()), (0, 0));
}

#[tokio::test]
async fn copies_of_a_folder_lose_nothing_and_send_what_they_share_under_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    aggregator.stop();
    let life = Life::begin(&one, aggregator.url(), &rules);
    let mut expected = life.append(0..20).await;
    life.end().await;
    copy(&one, &two);
    aggregator.restart().await;
    for (dir, salts) in [(&one, 100..130), (&two, 200..240)] {
        let life = Life::begin(dir, aggregator.url(), &rules);
        expected.extend(life.append(salts).await);
        life.drained().await;
        assert_eq!(life.running.stats.failures(), 0);
        life.end().await;
    }
    assert_eq!(aggregator.known(), expected);
    assert_eq!(aggregator.lost(), 0);
    assert!(aggregator.skipped() > 0, "the second sent it too");
}

#[tokio::test]
async fn what_was_not_acknowledged_keeps_its_identity_over_restarts_and_failures() {
    let dir = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(PARTITIONS, Behaviour::Unreliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    aggregator.stop();
    let mut expected = BTreeMap::new();
    for round in 0..4 {
        let life = Life::begin(dir.path(), aggregator.url(), &rules);
        expected.extend(life.append(round * 50..(round + 1) * 50).await);
        life.end().await;
    }
    aggregator.restart().await;
    let life = Life::begin(dir.path(), aggregator.url(), &rules);
    expected.extend(life.append(200..220).await);
    life.drained().await;
    life.end().await;
    assert_eq!(aggregator.known(), expected);
    assert_eq!(aggregator.lost(), 0);
    // All that is to be known of the earlier openings was acknowledged.
    let life = Life::begin(dir.path(), aggregator.url(), &rules);
    assert_eq!(life.edges.at(0), (life.edges.newest(), None));
    life.end().await;
}
