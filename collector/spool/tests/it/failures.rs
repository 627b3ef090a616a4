//! What happens when the disk fails.
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;
use wakeline_spool::{AppendError, Options, Record, SegmentLog};

use crate::support::{
    Flaky, FlakyDisk, append_some, assert_in_order, assert_same, open, read_all, segments, small,
};

fn flaky_log(dir: &Path, options: Options) -> (SegmentLog, Arc<Flaky>) {
    let flaky = Arc::new(Flaky::default());
    let disk = Arc::new(FlakyDisk(Arc::clone(&flaky)));
    let (log, _) = SegmentLog::open_on(disk, dir, options).unwrap();
    (log, flaky)
}

#[tokio::test]
async fn after_a_failed_sync_the_records_are_written_again_elsewhere_and_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let (log, flaky) = flaky_log(dir.path(), Options::default());
    let mut expected = append_some(&log, 10, 0).await;
    let before = log.durable();
    flaky.syncs.store(1, Ordering::SeqCst);
    expected.extend(append_some(&log, 1, 50).await);
    expected.extend(append_some(&log, 10, 100).await);
    assert!(
        expected[10].position > before,
        "its first copy may be on disk under the old position"
    );
    assert_eq!(log.stats().failed_fsyncs, 1);
    assert_eq!(log.stats().segments, 2);
    assert_same(&read_all(&log, 0), &expected);
    log.close().await;

    // The first copy is in the old file; the new one makes it void.
    let first_copy = std::fs::read(&segments(dir.path())[0]).unwrap();
    assert!(first_copy.ends_with(&expected[10].payload));
    let log = open(dir.path(), Options::default());
    assert_same(&read_all(&log, 0), &expected);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[tokio::test]
async fn after_a_torn_write_the_records_are_written_again_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (log, flaky) = flaky_log(dir.path(), Options::default());
    let mut expected = append_some(&log, 10, 0).await;
    flaky.writes.store(1, Ordering::SeqCst);
    expected.extend(append_some(&log, 10, 50).await);
    assert_same(&read_all(&log, 0), &expected);
    log.close().await;
    let log = open(dir.path(), Options::default());
    assert_same(&read_all(&log, 0), &expected);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[tokio::test]
async fn appends_fail_while_no_file_can_be_written_and_work_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (log, flaky) = flaky_log(dir.path(), small());
    let mut expected = append_some(&log, 10, 0).await;
    flaky.syncs.store(1, Ordering::SeqCst);
    flaky.creates.store(u32::MAX, Ordering::SeqCst);
    for _ in 0..3 {
        let failed = log.append(Bytes::from_static(b"failed"), 3).await;
        assert!(matches!(failed, Err(AppendError::Io(_))), "{failed:?}");
        assert!(log.stats().failing);
    }
    assert_same(&read_all(&log, 0), &expected);
    flaky.creates.store(0, Ordering::SeqCst);
    expected.extend(append_some(&log, 10, 50).await);
    assert!(!log.stats().failing);
    assert_same(&read_all(&log, 0), &expected);
    log.close().await;
    let log = open(dir.path(), small());
    assert_same(&read_all(&log, 0), &expected);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[tokio::test]
async fn a_log_that_failed_notices_without_an_append_that_the_disk_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, flaky) = flaky_log(dir.path(), small());
    let mut expected = append_some(&log, 3, 0).await;
    flaky.writes.store(u32::MAX, Ordering::SeqCst);
    assert!(log.append(Bytes::from_static(b"failed"), 1).await.is_err());
    assert!(log.stats().failing);
    flaky.writes.store(0, Ordering::SeqCst);
    let start = Instant::now();
    while log.stats().failing {
        assert!(start.elapsed() < Duration::from_secs(60), "still failing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    expected.extend(append_some(&log, 3, 50).await);
    assert_same(&read_all(&log, 0), &expected);
    log.close().await;
    let log = open(dir.path(), small());
    assert_same(&read_all(&log, 0), &expected);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    FailSyncs(u32),
    FailWrites(u32),
    FailCreates(u32),
    Reopen,
    Trim,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1_usize..20).prop_map(Act::Append),
        1 => (1_u32..4).prop_map(Act::FailSyncs),
        1 => (1_u32..4).prop_map(Act::FailWrites),
        1 => (1_u32..4).prop_map(Act::FailCreates),
        1 => Just(Act::Reopen),
        1 => Just(Act::Trim),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails when: what was acknowledged is read, in order, once, and each position is one record's.
    #[test]
    fn acknowledged_records_survive_any_failures(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut log, mut flaky) = flaky_log(dir.path(), small());
            let mut acknowledged: Vec<Record> = Vec::new();
            let mut salt = 0_u64;
            for act in acts {
                match act {
                    Act::Append(count) => {
                        let appends = (0..count).map(|_| {
                            salt += 1;
                            let payload = Bytes::from(salt.to_le_bytes().repeat(1 + salt as usize % 40));
                            let append = log.append(payload.clone(), 2);
                            async move { append.await.map(|position| Record { position, span: 2, payload }) }
                        }).collect::<Vec<_>>();
                        acknowledged.extend(join_all(appends).await.into_iter().flatten());
                    }
                    Act::FailSyncs(times) => flaky.syncs.store(times, Ordering::SeqCst),
                    Act::FailWrites(times) => flaky.writes.store(times, Ordering::SeqCst),
                    Act::FailCreates(times) => flaky.creates.store(times, Ordering::SeqCst),
                    Act::Reopen => {
                        log.close().await;
                        (log, flaky) = flaky_log(dir.path(), small());
                    }
                    Act::Trim => {
                        let below = acknowledged.get(acknowledged.len() / 2).map_or(0, |record| record.position);
                        log.trim(below).unwrap();
                    }
                }
                let all = read_all(&log, 0);
                assert_in_order(&all);
                let kept: Vec<_> = acknowledged.iter().filter(|record| record.position >= log.first()).collect();
                // A record whose append failed may be there after reopening, as its error said.
                let found: Vec<_> = all.iter().filter(|record| kept.contains(record)).collect();
                assert_eq!(found, kept);
                assert_eq!(log.stats().lost_corrupt, 0);
            }
        });
    }
}

#[tokio::test]
async fn positions_are_left_out_for_a_damaged_end_also_if_the_disk_fails_while_it_is_cut() {
    for (creates, writes, syncs) in [(1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), Options::default());
        let mut expected = append_some(&log, 6, 0).await;
        log.close().await;
        let path = &segments(dir.path())[0];
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        drop(file);

        let flaky = Arc::new(Flaky::default());
        flaky.creates.store(creates, Ordering::SeqCst);
        flaky.writes.store(writes, Ordering::SeqCst);
        flaky.syncs.store(syncs, Ordering::SeqCst);
        let mut opened = false;
        for _ in 0..3 {
            let disk = Arc::new(FlakyDisk(Arc::clone(&flaky)));
            opened = SegmentLog::open_on(disk, dir.path(), Options::default()).is_ok();
        }
        assert!(opened, "what failed once works again");
        let torn = expected.pop().unwrap();
        let log = open(dir.path(), Options::default());
        let new = append_some(&log, 3, 9).await;
        assert!(
            new[0].position >= torn.position + u64::from(torn.span),
            "{creates} {writes} {syncs}: {} was given before",
            new[0].position
        );
        expected.extend(new);
        assert_same(&read_all(&log, 0), &expected);
        assert_eq!(log.stats().lost_corrupt, 0);
    }
}
