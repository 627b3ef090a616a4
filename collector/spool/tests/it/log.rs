use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use wakeline_spool::{AppendError, OpenError, Options, SegmentLog};

use crate::support::{
    append_some, assert_in_order, assert_same, drain, open, read_all, segments, small,
};

#[tokio::test]
async fn records_are_read_as_appended_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    assert!(log.reader(0).next(1_000).unwrap().is_empty());
    let mut expected = append_some(&log, 100, 0).await;
    assert_eq!(expected[0].position, 0);
    assert_same(&read_all(&log, 0), &expected);
    log.close().await;

    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    assert_eq!(recovery.next_position, log.durable());
    assert_eq!((recovery.torn_bytes, recovery.lost_corrupt), (0, 0));
    assert!(recovery.segments > 5);
    expected.extend(append_some(&log, 100, 100).await);
    assert_same(&read_all(&log, 0), &expected);
    assert_eq!(log.stats().lost_corrupt, 0);
    let last = expected.last().unwrap();
    assert_eq!(log.durable(), last.position + u64::from(last.span));
}

#[tokio::test]
async fn reader_starts_at_the_record_that_holds_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let records = append_some(&log, 60, 0).await;
    for from in 0..log.durable() + 3 {
        let expected: Vec<_> = records
            .iter()
            .filter(|record| record.position + u64::from(record.span) > from)
            .cloned()
            .collect();
        assert_same(&read_all(&log, from), &expected);
    }
}

#[tokio::test]
async fn reader_goes_on_as_records_come() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let mut reader = log.reader(0);
    let mut watch = log.watch();
    for round in 0..40 {
        let expected = append_some(&log, 7, round).await;
        assert!(watch.has_changed().unwrap());
        assert_eq!(*watch.borrow_and_update(), log.durable());
        assert_same(&drain(&mut reader, 500), &expected);
        assert_eq!(reader.position(), log.durable());
    }
}

#[tokio::test]
async fn next_returns_about_what_was_asked_for_and_at_least_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default());
    let big = Bytes::from(vec![1; 300_000]);
    for _ in 0..3 {
        log.append(big.clone(), 1).await.unwrap();
    }
    let mut reader = log.reader(0);
    for _ in 0..3 {
        let records = reader.next(10).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].payload, big);
    }
    assert!(reader.next(10).unwrap().is_empty());
}

#[tokio::test]
async fn order_is_that_of_the_calls_whatever_is_polled_first() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let first = log.append(Bytes::from_static(b"first"), 2);
    let second = log.append(Bytes::from_static(b"second"), 1);
    assert_eq!(second.await.unwrap(), 2);
    assert_eq!(first.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_concurrent_appends_share_syncs_and_have_their_own_positions() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default());
    let tasks = (0..4_000_u32).map(|index| {
        let log = log.clone();
        tokio::spawn(async move {
            let payload = Bytes::from(index.to_le_bytes().repeat(20));
            let position = log.append(payload.clone(), 1 + index % 3).await.unwrap();
            (position, payload)
        })
    });
    let mut expected: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    expected.sort();
    let records = read_all(&log, 0);
    assert_in_order(&records);
    let found: Vec<_> = records
        .into_iter()
        .map(|record| (record.position, record.payload))
        .collect();
    assert_eq!(found, expected);
    let stats = log.stats();
    assert!(stats.fsyncs < 1_000, "{stats:?}");
}

#[tokio::test]
async fn lone_append_does_not_wait_for_company_that_does_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default());
    log.append(Bytes::from_static(b"warm"), 1).await.unwrap();
    let mut fastest = Duration::MAX;
    for _ in 0..50 {
        let start = std::time::Instant::now();
        log.append(Bytes::from_static(b"lone"), 1).await.unwrap();
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_millis(10), "{fastest:?}");
}

#[tokio::test]
async fn dropped_append_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        commit_wait: Duration::from_millis(300),
        ..small()
    };
    let log = open(dir.path(), options);
    let kept = log.append(Bytes::from_static(b"kept"), 1);
    drop(log.append(Bytes::from_static(b"dropped"), 1));
    kept.await.unwrap();
    log.append(Bytes::from_static(b"after"), 1).await.unwrap();
    let payloads: Vec<_> = read_all(&log, 0)
        .into_iter()
        .map(|record| record.payload)
        .collect();
    assert_eq!(payloads, ["kept", "after"]);
}

#[tokio::test]
async fn trim_deletes_whole_segments_below_and_readers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let records = append_some(&log, 100, 0).await;
    let mut behind = log.reader(0);
    assert_eq!(behind.next(10).unwrap(), records[..1]);
    let before = segments(dir.path()).len();

    let below = records[50].position;
    log.trim(below).unwrap();
    assert!(segments(dir.path()).len() < before);
    assert_eq!(segments(dir.path()).len(), log.stats().segments);
    assert!(log.first() > 0 && log.first() <= below);
    let kept: Vec<_> = records
        .iter()
        .filter(|record| record.position >= log.first())
        .cloned()
        .collect();
    assert_same(&read_all(&log, 0), &kept);
    assert_same(&drain(&mut behind, 1_000), &kept);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[tokio::test]
async fn positions_are_not_given_again_after_all_was_trimmed_and_the_log_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..5 {
        let log = open(dir.path(), small());
        assert_eq!(log.durable(), next);
        let records = append_some(&log, 30, round).await;
        assert_eq!(records[0].position, next);
        next = log.durable();
        log.trim(u64::MAX).unwrap();
        assert_eq!(segments(dir.path()).len(), 1);
        log.close().await;
    }
}

#[tokio::test]
async fn full_log_refuses_until_it_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 20_000,
        reserve_bytes: 4_000,
        ..Options::default()
    };
    let log = open(dir.path(), options);
    let payload = Bytes::from(vec![5; 1_000]);
    for _ in 0..3 {
        let mut accepted = 0;
        loop {
            match log.append(payload.clone(), 1).await {
                Ok(_) => accepted += 1,
                Err(AppendError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!((10..16).contains(&accepted), "{accepted}");
        assert!(log.stats().full);
        assert!(log.stats().bytes <= 16_000, "{:?}", log.stats());
        assert!(matches!(
            log.append(payload.clone(), 1).await,
            Err(AppendError::Full)
        ));
        log.trim(log.durable()).unwrap();
        assert!(!log.stats().full);
        log.append(payload.clone(), 1).await.unwrap();
        log.trim(log.durable()).unwrap();
    }
    let size: u64 = segments(dir.path())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(size, log.stats().bytes);
}

#[tokio::test]
async fn close_writes_what_is_queued_and_refuses_what_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let clone = log.clone();
    let queued: Vec<_> = (0..100)
        .map(|_| log.append(Bytes::from_static(b"queued"), 1))
        .collect();
    log.close().await;
    for append in queued {
        append.await.unwrap();
    }
    let late = clone.append(Bytes::from_static(b"late"), 1).await;
    assert!(matches!(late, Err(AppendError::Closed)));
    drop(clone);
    assert_eq!(read_all(&open(dir.path(), small()), 0).len(), 100);
}

#[tokio::test]
async fn log_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    assert!(matches!(
        SegmentLog::open(dir.path(), small()),
        Err(OpenError::InUse)
    ));
    log.close().await;
    open(dir.path(), small());
}

#[tokio::test]
async fn what_can_not_be_framed_is_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let too_long = Bytes::from(vec![0; (64 << 20) + 1]);
    assert!(matches!(
        log.append(too_long, 1).await,
        Err(AppendError::Io(_))
    ));
    assert!(matches!(
        log.append(Bytes::new(), 0).await,
        Err(AppendError::Io(_))
    ));
    log.append(Bytes::new(), u32::MAX).await.unwrap();
    assert_eq!(read_all(&log, 0).len(), 1);
}
