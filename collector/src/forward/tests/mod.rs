mod aggregator;
mod openings;
mod rounds;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wakeline_proto::v1;
use wakeline_spool::{Options, SegmentLog};

use self::aggregator::{Aggregator, Behaviour, Logged};
use super::{ForwardStats, Forwarder};
use crate::config::{Secret, UpstreamConfig};
use crate::edges::Edges;
use crate::snapshot::Rules;
use crate::upstream::Upstream;

const EDGE: u64 = 0x00ab_cdef_0123_4567;
const PARTITIONS: u32 = 4;
const DEADLINE: Duration = Duration::from_secs(60);

fn rules(version: u64, partitions: u32) -> Arc<Rules> {
    Arc::new(Rules::from(&v1::Snapshot {
        version,
        partitions,
        ..v1::Snapshot::default()
    }))
}

fn open(dir: &Path) -> SegmentLog {
    let options = Options {
        segment_bytes: 20_000,
        ..Options::default()
    };
    SegmentLog::open(&dir.join("spool"), options).unwrap().0
}

/// A record of `groups` groups, and what each takes: its header and its bytes.
fn record(salt: usize, groups: usize) -> (Bytes, u32, Vec<(v1::GroupHeader, Bytes)>) {
    let parts: Vec<_> = (0..groups)
        .map(|index| {
            let header = v1::GroupHeader {
                partition_hash: (salt * 7 + index * 13) as u64,
                events: 1 + (salt + index) as u32 % 3,
                rejected: (salt / 3) as u32 % 2,
                tallies: (salt / 5) as u32 % 2,
                tallied: (salt / 5) as u64 % 2 * 7,
            };
            let group = v1::Group {
                site: 1,
                visitor: format!("visitor {salt} {index}"),
                events: vec![v1::Event::default(); header.events as usize],
                rejected: vec![v1::Rejected::default(); header.rejected as usize],
                tallies: vec![
                    v1::Tally {
                        count: 7,
                        ..v1::Tally::default()
                    };
                    header.tallies as usize
                ],
                ..v1::Group::default()
            };
            (header, Bytes::from(group.encode_to_vec()))
        })
        .collect();
    let record = v1::SpoolRecord {
        groups: parts.iter().map(|(_, group)| group.clone()).collect(),
        headers: parts.iter().map(|(header, _)| *header).collect(),
    };
    let span = parts
        .iter()
        .map(|(header, _)| header.events + header.rejected + header.tallies)
        .sum();
    (Bytes::from(record.encode_to_vec()), span, parts)
}

/// What has to arrive, by partition.
#[derive(Default)]
struct Expected {
    partitions: u32,
    logged: Logged,
}

impl Expected {
    fn new(partitions: u32) -> Self {
        Self {
            partitions,
            ..Self::default()
        }
    }

    async fn append(&mut self, log: &SegmentLog, salts: std::ops::Range<usize>) {
        for salt in salts {
            let (payload, span, groups) = record(salt, 1 + salt % 4);
            let mut position = log.append(payload, span).await.unwrap();
            for (header, bytes) in groups {
                let partition = (header.partition_hash % u64::from(self.partitions)) as u32;
                self.logged
                    .entry(partition)
                    .or_default()
                    .push((position, bytes));
                position += u64::from(header.events + header.rejected + header.tallies);
            }
        }
    }
}

/// Longer than any test waits for an acknowledgement.
const LONG: Duration = Duration::from_secs(600);

struct Running {
    stats: Arc<ForwardStats>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(
        dir: &Path,
        log: &SegmentLog,
        url: String,
        rules: &watch::Sender<Option<Arc<Rules>>>,
    ) -> Self {
        Self::start_as(Edges::only(EDGE), dir, log, url, rules)
    }

    fn start_as(
        edges: Edges,
        dir: &Path,
        log: &SegmentLog,
        url: String,
        rules: &watch::Sender<Option<Arc<Rules>>>,
    ) -> Self {
        Self::start_waiting(edges, dir, log, url, rules, LONG)
    }

    fn start_waiting(
        edges: Edges,
        dir: &Path,
        log: &SegmentLog,
        url: String,
        rules: &watch::Sender<Option<Arc<Rules>>>,
        ack_timeout: Duration,
    ) -> Self {
        let upstream = Upstream::new(&UpstreamConfig {
            url,
            token: Secret::new("s3cret"),
            ..UpstreamConfig::default()
        })
        .unwrap();
        let forwarder = Forwarder::new(
            log.clone(),
            edges,
            upstream,
            rules.subscribe(),
            dir.to_owned(),
            ack_timeout,
        );
        let stats = forwarder.stats();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(forwarder.run(shutdown.clone()));
        Self {
            stats,
            shutdown,
            task,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    /// Until all in the log is acknowledged.
    async fn drained(&self, log: &SegmentLog) {
        until("all is acknowledged", || {
            self.stats.acked() == log.durable()
        })
        .await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not so after {DEADLINE:?}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn every_group_arrives_once_and_in_order_over_connections_that_break() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Unreliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    let mut expected = Expected::new(PARTITIONS);
    for chunk in 0..40 {
        expected.append(&log, chunk * 20..(chunk + 1) * 20).await;
    }
    running.drained(&log).await;
    assert_eq!(aggregator.logged(), expected.logged);
    assert!(aggregator.streams() > 3, "the connection did break");
    assert!(running.stats.events() >= log.durable());
    assert!(running.stats.failures() >= aggregator.streams() - 1);
    assert_eq!(running.stats.malformed(), 0);
    assert_eq!(
        log.stats().segments,
        1,
        "all but the segment being written is deleted"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_single_event_leaves_without_company() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    let mut expected = Expected::new(PARTITIONS);
    for salt in 0..10 {
        expected.append(&log, salt..salt + 1).await;
        running.drained(&log).await;
    }
    assert_eq!(aggregator.logged(), expected.logged);
    assert_eq!(aggregator.edges(), ["00abcdef01234567"]);
    assert_eq!(aggregator.authorizations(), ["Bearer s3cret"]);
    assert_eq!(running.stats.events(), log.durable());
    assert!(running.stats.connected());
    assert!(running.stats.blocks() > 0 && running.stats.bytes() > 0);
    assert_eq!(running.stats.last_error(), None);
    running.stop().await;
}

#[tokio::test]
async fn waits_for_an_aggregator_that_is_not_there_and_for_one_that_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    aggregator.stop();
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    let mut expected = Expected::new(PARTITIONS);
    for round in 0..3 {
        expected.append(&log, round * 50..(round + 1) * 50).await;
        let failures = running.stats.failures();
        until("it was tried", || running.stats.failures() > failures).await;
        assert!(!running.stats.connected());
        assert!(running.stats.last_error().is_some());
        aggregator.restart().await;
        running.drained(&log).await;
        aggregator.stop();
    }
    assert_eq!(aggregator.logged(), expected.logged);
    running.stop().await;
}

#[tokio::test]
async fn goes_on_where_it_was_after_a_restart_and_sends_again_what_it_does_not_know_about() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let mut expected = Expected::new(PARTITIONS);
    for round in 0..3 {
        expected.append(&log, round * 5..(round + 1) * 5).await;
        let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
        running.drained(&log).await;
        running.stop().await;
        assert_eq!(aggregator.skipped(), 0, "the position file was used");
    }
    std::fs::remove_file(dir.path().join("acked")).unwrap();
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    running.drained(&log).await;
    assert!(aggregator.skipped() > 0);
    assert_eq!(aggregator.logged(), expected.logged);
    running.stop().await;
}

#[tokio::test]
async fn sends_nothing_before_it_knows_the_partitions_and_anew_when_they_were_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules_sender = watch::Sender::new(None);
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules_sender);
    let mut expected = Expected::new(PARTITIONS);
    expected.append(&log, 0..50).await;
    assert_eq!(running.stats.blocks(), 0);

    rules_sender.send_replace(Some(rules(1, PARTITIONS + 1)));
    until("it was refused", || running.stats.failures() == 1).await;
    assert!(
        running
            .stats
            .last_error()
            .unwrap()
            .contains("FailedPrecondition")
    );
    assert_eq!(aggregator.logged(), Logged::new());

    rules_sender.send_replace(Some(rules(2, PARTITIONS)));
    running.drained(&log).await;
    assert_eq!(aggregator.logged(), expected.logged);
    running.stop().await;
}

#[tokio::test]
async fn rounds_on_their_way_are_bounded_while_acks_do_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::HoldsAcks).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    let mut next = 0;
    while aggregator.unacknowledged() < super::MAX_ROUNDS as u64 {
        let (payload, span, _) = record(next, 600);
        log.append(payload, span).await.unwrap();
        next += 1;
        assert!(next < 2_000, "the window never fills");
    }
    for _ in 0..20 {
        let (payload, span, _) = record(next, 600);
        log.append(payload, span).await.unwrap();
    }
    assert_eq!(running.stats.acked(), 0);
    aggregator.release_acks();
    running.drained(&log).await;
    assert_eq!(aggregator.most_unacknowledged(), super::MAX_ROUNDS as u64);
    running.stop().await;
}

#[tokio::test]
async fn an_aggregator_that_takes_blocks_and_acknowledges_none_is_given_up_and_sent_all_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::HoldsAcks).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let mut expected = Expected::new(PARTITIONS);
    expected.append(&log, 0..20).await;
    let running = Running::start_waiting(
        Edges::only(EDGE),
        dir.path(),
        &log,
        aggregator.url(),
        &rules,
        Duration::from_millis(100),
    );
    until("another stream begins", || aggregator.streams() > 1).await;
    until("it is said why", || {
        let error = running.stats.last_error();
        error.is_none_or(|error| error.contains("acknowledged nothing"))
    })
    .await;
    assert_eq!(running.stats.acked(), 0);
    aggregator.release_acks();
    running.drained(&log).await;
    assert_eq!(aggregator.logged(), expected.logged);
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_spool_record_is_counted_and_passed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let mut expected = Expected::new(PARTITIONS);
    expected.append(&log, 0..3).await;
    log.append(Bytes::from_static(b"\xff\xff\xff"), 2)
        .await
        .unwrap();
    let (payload, span, _) = record(1, 2);
    log.append(payload, span - 1).await.unwrap();
    expected.append(&log, 3..6).await;
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    running.drained(&log).await;
    assert_eq!(running.stats.malformed(), 2);
    let (logged, lost) = without_lost(aggregator.logged());
    assert_eq!(logged, expected.logged);
    assert_eq!(lost, [2, u64::from(span) - 1]);
    running.stop().await;
}

/// What was logged but for counts of lost events, and these in order.
fn without_lost(mut logged: Logged) -> (Logged, Vec<u64>) {
    let mut lost = Vec::new();
    for groups in logged.values_mut() {
        groups.retain(|(position, bytes)| {
            let group = v1::Group::decode(bytes.clone()).unwrap();
            let mut tallies = group.tallies.iter();
            let tally = tallies.find(|tally| tally.reason == "lost_corrupt");
            lost.extend(tally.map(|tally| (*position, tally.count)));
            tally.is_none()
        });
    }
    logged.retain(|_, groups| !groups.is_empty());
    lost.sort_unstable();
    (logged, lost.into_iter().map(|(_, count)| count).collect())
}

#[tokio::test]
async fn what_the_disk_has_damaged_is_counted_and_the_rest_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(PARTITIONS, Behaviour::Reliable).await;
    let rules = watch::Sender::new(Some(rules(1, PARTITIONS)));
    let log = open(dir.path());
    let mut expected = Expected::new(PARTITIONS);
    expected.append(&log, 0..3).await;
    // It is not expected, since its bytes flip.
    let (payload, span, _) = record(70, 3);
    log.append(payload.clone(), span).await.unwrap();
    expected.append(&log, 3..6).await;
    let end = log.durable();
    log.close().await;
    let mut flipped = 0;
    for entry in std::fs::read_dir(dir.path().join("spool")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let mut places = bytes.windows(payload.len());
        if let Some(at) = places.position(|window| window == payload) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);

    let log = open(dir.path());
    assert_eq!(log.durable(), end);
    let running = Running::start(dir.path(), &log, aggregator.url(), &rules);
    running.drained(&log).await;
    let (logged, lost) = without_lost(aggregator.logged());
    assert_eq!(logged, expected.logged);
    assert_eq!(lost, [u64::from(span)]);
    running.stop().await;
}
