//! What is found visitor by visitor is what is there.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use wakeline_lake::{Lake, LakeError, Snapshot, Store, Wanted};

use crate::history::{BUCKETS, Found, LOG, Log, Seen, expected, rows, visitor};

/// The events of a site and some times, as a scan gives them: each visitor at once, each event once.
pub(crate) async fn scanned(
    lake: &Lake,
    snapshot: &Snapshot,
    beyond: &[RecordBatch],
    (site, times): (u64, Range<i64>),
) -> Result<Found, LakeError> {
    let wanted = Wanted {
        site,
        times: times.clone(),
        columns: vec!["site", "path", "log_offset", "log_place"],
    };
    let mut scan = lake.scan(snapshot, beyond, &wanted).await?;
    let (mut found, mut finished) = (Found::new(), HashSet::new());
    loop {
        let parts = scan.next().await?;
        if parts.is_empty() {
            return Ok(found);
        }
        let mut now = HashSet::new();
        for part in parts {
            let rows = &part.rows;
            assert!(part.visitors.is_sorted());
            let sites = rows["site"].as_primitive::<Int64Type>();
            let time = rows["time"].as_primitive::<TimestampMillisecondType>();
            let offset = rows["log_offset"].as_primitive::<Int64Type>();
            let place = rows["log_place"].as_primitive::<Int32Type>();
            let paths = rows["path"].as_dictionary::<Int32Type>();
            assert_eq!(paths.values().as_string::<i32>().value(0), "/");
            for (row, visitor) in part.visitors.iter().enumerate() {
                assert_eq!(sites.value(row) as u64, site);
                assert!(times.contains(&time.value(row)));
                assert!(!finished.contains(visitor), "a visitor comes twice");
                now.insert(*visitor);
                let seen = Seen {
                    site,
                    visitor: u8::try_from(*visitor).unwrap(),
                    time: time.value(row),
                };
                let key = (offset.value(row) as u64, place.value(row));
                assert_eq!(found.insert(key, seen), None, "{key:?} is there twice");
            }
        }
        finished.extend(now);
    }
}

/// Of `BUCKETS`, two sites that share one.
const SITES: (u64, u64) = (1, 5);

async fn lake() -> (Arc<InMemory>, Lake) {
    let objects = Arc::new(InMemory::new());
    let store = Store::of(Arc::clone(&objects) as _);
    let lake = Lake::open(store, LOG, BUCKETS, "w").await.unwrap();
    let manifest = &lake.snapshot().manifest;
    assert_eq!(manifest.bucket(SITES.0), manifest.bucket(SITES.1));
    (objects, lake)
}

#[tokio::test]
async fn a_site_in_a_large_file_of_another_and_a_visitor_of_many_rows_are_found_whole() {
    let (_, lake) = lake().await;
    // More than a row group of site 1, most of them of one visitor, and a few of site 5, on two days.
    let event = |at: u64| Seen {
        site: if at.is_multiple_of(1_000) {
            SITES.1
        } else {
            SITES.0
        },
        visitor: if at.is_multiple_of(50) {
            (at % 7) as u8
        } else {
            9
        },
        time: (at % 2 * 86_400_000 + at) as i64,
    };
    let record = |number: u64| (0..2_000).map(|at| event(number * 2_000 + at)).collect();
    let log: Log = (0..80).map(record).collect();
    for at in [0, 70] {
        let to = if at == 0 { 70 } else { 78 };
        lake.append(at, to, &rows(&log, at, to)).unwrap();
        lake.flush().await.unwrap();
    }
    lake.append(78, 79, &rows(&log, 78, 79)).unwrap();
    let beyond = [rows(&log, 79, 80)];
    let snapshot = lake.snapshot();
    assert_eq!(snapshot.manifest.files.len(), 4);
    for site in [SITES.0, SITES.1, 2] {
        for times in [i64::MIN..i64::MAX, 3_000..86_400_000 + 5_000, 0..0] {
            let other = |seen: &Seen| seen.site != site || !times.contains(&seen.time);
            let found = scanned(&lake, &snapshot, &beyond, (site, times.clone()));
            assert!(
                found.await.unwrap() == expected(&log, 80, other),
                "{site} {times:?}"
            );
        }
    }
}

#[tokio::test]
async fn erased_persons_are_left_out_before_their_files_are_written_anew() {
    let (objects, lake) = lake().await;
    let event = |at: u64, visitor| Seen {
        site: SITES.0,
        visitor,
        time: at as i64,
    };
    let log: Log = (0..20)
        .map(|at| (0..3).map(|visitor| event(at, visitor)).collect())
        .collect();
    lake.append(0, 20, &rows(&log, 0, 20)).unwrap();
    lake.flush().await.unwrap();
    let before = lake.snapshot();
    // Its file can't be read: the tombstone stands, the file stays.
    let path = Path::from(before.manifest.files[0].path.as_str());
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
    objects.delete(&path).await.unwrap();
    lake.erase(SITES.0, &visitor(1), 11).await.unwrap_err();
    objects.put(&path, whole.into()).await.unwrap();
    let snapshot = lake.snapshot();
    assert_eq!(snapshot.manifest.files, before.manifest.files);
    let gone = |seen: &Seen| seen.visitor == 1 && seen.time <= 11;
    let found = scanned(&lake, &snapshot, &[], (SITES.0, 0..100)).await;
    assert_eq!(found.unwrap(), expected(&log, 20, gone));
}

#[tokio::test]
async fn a_file_of_which_a_single_bit_is_another_fails_a_scan_that_names_it() {
    let (objects, lake) = lake().await;
    let event = |at: u64| Seen {
        site: SITES.0,
        visitor: (at % 5) as u8,
        time: at as i64,
    };
    let log: Log = (0..40).map(|at| vec![event(at)]).collect();
    lake.append(0, 40, &rows(&log, 0, 40)).unwrap();
    lake.flush().await.unwrap();
    let snapshot = lake.snapshot();
    let path = Path::from(snapshot.manifest.files[0].path.as_str());
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
    let all = (SITES.0, i64::MIN..i64::MAX);
    for at in (0..whole.len()).step_by(31) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        objects.put(&path, flipped.into()).await.unwrap();
        let store = Store::of(Arc::clone(&objects) as _);
        let lake = Lake::open(store, LOG, BUCKETS, "w").await.unwrap();
        let scanned = scanned(&lake, &snapshot, &[], all.clone()).await;
        let error = scanned.expect_err("other rows").to_string();
        assert!(error.contains(path.as_ref()), "byte {at}: {error}");
    }
}

#[tokio::test]
async fn files_that_are_missing_cut_or_foreign_fail_a_scan_that_needs_them_and_no_other() {
    let (objects, lake) = lake().await;
    let event = |at: u64| Seen {
        site: SITES.0,
        visitor: (at % 5) as u8,
        time: at as i64 * 86_400_000,
    };
    let log: Log = (0..10).map(|at| vec![event(at)]).collect();
    lake.append(0, 10, &rows(&log, 0, 10)).unwrap();
    lake.flush().await.unwrap();
    let snapshot = lake.snapshot();
    let file = snapshot.manifest.files.iter().find(|file| file.day == 0);
    let path = Path::from(file.unwrap().path.as_str());
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
    let all = (SITES.0, i64::MIN..i64::MAX);
    let later = (SITES.0, 5 * 86_400_000..i64::MAX);
    // What is read once is remembered: the file's end is read by another process.
    let open = async || {
        let store = Store::of(Arc::clone(&objects) as _);
        Lake::open(store, LOG, BUCKETS, "w").await.unwrap()
    };
    let damaged: [Option<Vec<u8>>; 4] = [
        None,
        Some(whole[..whole.len() - 9].to_vec()),
        Some(vec![7; whole.len()]),
        Some(Vec::new()),
    ];
    for bytes in damaged {
        match bytes {
            Some(bytes) => drop(objects.put(&path, bytes.into()).await.unwrap()),
            None => objects.delete(&path).await.unwrap(),
        }
        let lake = open().await;
        let error = scanned(&lake, &snapshot, &[], all.clone())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(path.as_ref()), "{error}");
        let found = scanned(&lake, &snapshot, &[], later.clone()).await.unwrap();
        assert_eq!(found.len(), 5);
    }
}
