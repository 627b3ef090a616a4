//! What files are, and what is said of those that are not what they were.

use std::sync::Arc;

use arrow::array::{MapArray, StringArray};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use wakeline_lake::{Event, Item, Lake, LakeError, Rows, Store};

use crate::history::{BUCKETS, LOG, Log, Seen, expected, found, rows, visitor};

async fn lake() -> (Arc<InMemory>, Lake) {
    let objects = Arc::new(InMemory::new());
    let store = Store::of(Arc::clone(&objects) as _);
    let lake = Lake::open(store, LOG, BUCKETS, "w").await.unwrap();
    (objects, lake)
}

fn log(records: u64) -> Log {
    let event = |at: u64, visitor| Seen {
        site: 7,
        visitor,
        time: at as i64,
    };
    (0..records)
        .map(|at| (0..3).map(|visitor| event(at, visitor)).collect())
        .collect()
}

#[tokio::test]
async fn many_small_files_become_one() {
    let (_, lake) = lake().await;
    let log = log(20);
    for at in 0..20 {
        lake.append(at, at + 1, &rows(&log, at, at + 1)).unwrap();
        assert!(lake.flush().await.unwrap());
    }
    assert_eq!(lake.snapshot().manifest.files.len(), 20);
    while lake.compact().await.unwrap() {}
    let snapshot = lake.snapshot();
    assert!(snapshot.manifest.files.len() < 8);
    assert_eq!(
        found(&lake, &snapshot).await.unwrap(),
        expected(&log, 20, |_| false)
    );
    lake.verify().await.unwrap();
}

#[tokio::test]
async fn what_was_replaced_stays_for_those_who_read_it_and_goes_later() {
    let (_, lake) = lake().await;
    let log = log(16);
    for at in 0..16 {
        lake.append(at, at + 1, &rows(&log, at, at + 1)).unwrap();
        lake.flush().await.unwrap();
    }
    let before = lake.snapshot();
    assert!(lake.compact().await.unwrap());
    assert_eq!(lake.clean(0).await.unwrap(), 0);
    assert_eq!(lake.clean(599_999).await.unwrap(), 0);
    assert_eq!(found(&lake, &before).await.unwrap().len(), 48);
    assert!(lake.clean(600_000).await.unwrap() >= 16);
    let gone = found(&lake, &before).await.unwrap_err();
    assert!(matches!(gone, LakeError::Missing { .. }), "{gone}");
    assert_eq!(found(&lake, &lake.snapshot()).await.unwrap().len(), 48);
}

#[tokio::test]
async fn an_erased_person_is_gone_from_files_tail_and_what_comes_later() {
    let (_, lake) = lake().await;
    let log = log(30);
    lake.append(0, 10, &rows(&log, 0, 10)).unwrap();
    lake.flush().await.unwrap();
    lake.append(10, 20, &rows(&log, 10, 20)).unwrap();
    let done = lake.erase(7, &visitor(1), 24).await.unwrap();
    assert_eq!((done.files, done.events), (1, 10));
    lake.append(20, 30, &rows(&log, 20, 30)).unwrap();
    let gone = |seen: &Seen| seen.visitor == 1 && seen.time <= 24;
    let snapshot = lake.snapshot();
    assert_eq!(
        found(&lake, &snapshot).await.unwrap(),
        expected(&log, 30, gone)
    );
    lake.flush().await.unwrap();
    // Another site's visitor of that id is somebody else.
    let done = lake.erase(8, &visitor(2), 1_000).await.unwrap();
    assert_eq!((done.files, done.events), (0, 0));
    let snapshot = lake.snapshot();
    assert_eq!(
        found(&lake, &snapshot).await.unwrap(),
        expected(&log, 30, gone)
    );
}

#[tokio::test]
async fn files_that_are_missing_cut_or_foreign_are_named() {
    let (objects, lake) = lake().await;
    let log = log(5);
    lake.append(0, 5, &rows(&log, 0, 5)).unwrap();
    lake.flush().await.unwrap();
    let file = lake.snapshot().manifest.files[0].clone();
    let path = Path::from(file.path.as_str());
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();

    objects
        .put(&path, whole.slice(..whole.len() - 9).into())
        .await
        .unwrap();
    for error in [
        lake.verify().await.unwrap_err(),
        lake.rows_of(&file).await.unwrap_err(),
    ] {
        assert!(matches!(error, LakeError::Truncated { .. }), "{error}");
        assert!(error.to_string().contains(&file.path), "{error}");
    }
    let mut foreign = whole.to_vec();
    foreign.fill(7);
    objects.put(&path, foreign.into()).await.unwrap();
    let error = lake.rows_of(&file).await.unwrap_err();
    assert!(matches!(error, LakeError::Foreign { .. }), "{error}");
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x55;
        objects.put(&path, flipped.into()).await.unwrap();
        let error = lake.rows_of(&file).await.unwrap_err();
        assert!(matches!(error, LakeError::Foreign { .. }), "{error}");
    }
    objects.delete(&path).await.unwrap();
    let error = lake.verify().await.unwrap_err();
    assert!(matches!(error, LakeError::Missing { .. }), "{error}");

    // To begin anew is the way out.
    lake.reset().await.unwrap();
    lake.verify().await.unwrap();
    assert_eq!(lake.snapshot().end, 0);
    lake.append(0, 5, &rows(&log, 0, 5)).unwrap();
    assert_eq!(found(&lake, &lake.snapshot()).await.unwrap().len(), 15);
}

#[tokio::test]
async fn what_others_put_into_the_lake_is_neither_read_nor_removed() {
    let (objects, lake) = lake().await;
    let log = log(5);
    let theirs = Path::from("events/day=1970-01-01/bucket=1/theirs.parquet");
    objects.put(&theirs, "no parquet".into()).await.unwrap();
    lake.append(0, 5, &rows(&log, 0, 5)).unwrap();
    lake.flush().await.unwrap();
    assert_eq!(found(&lake, &lake.snapshot()).await.unwrap().len(), 15);
    lake.clean(0).await.unwrap();
    lake.clean(10_000_000).await.unwrap();
    assert!(objects.head(&theirs).await.is_ok());
}

#[tokio::test]
async fn of_two_writers_one_is_told_and_goes_on_with_what_the_other_wrote() {
    let (objects, first) = lake().await;
    let store = Store::of(objects as _);
    let second = Lake::open(store, LOG, BUCKETS, "x").await.unwrap();
    let log = log(9);
    first.append(0, 5, &rows(&log, 0, 5)).unwrap();
    second.append(0, 7, &rows(&log, 0, 7)).unwrap();
    first.flush().await.unwrap();
    let told = second.flush().await.unwrap_err();
    assert!(matches!(told, LakeError::Replaced { version: 1 }), "{told}");
    assert_eq!(second.snapshot().end, 5);
    assert!(matches!(
        second.append(7, 9, &rows(&log, 7, 9)),
        Err(LakeError::Gap { from: 7, end: 5 })
    ));
    second.append(5, 9, &rows(&log, 5, 9)).unwrap();
    second.flush().await.unwrap();
    assert_eq!(found(&second, &second.snapshot()).await.unwrap().len(), 27);
}

#[tokio::test]
async fn a_lake_of_another_log_or_of_a_later_version_is_refused() {
    let (objects, lake) = lake().await;
    lake.append(0, 5, &rows(&log(5), 0, 5)).unwrap();
    lake.flush().await.unwrap();
    let open =
        async |log| Lake::open(Store::of(Arc::clone(&objects) as _), log, BUCKETS, "w").await;
    let error = open("other").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give each aggregator a lake of its own"),
        "{error}"
    );
    let newer = r#"{"format": 9, "version": 2, "log": "log", "buckets": 1, "covered_to": 0, "writer": "", "files": []}"#;
    let path = Path::from("manifest/00000000000000000002.json");
    objects.put(&path, newer.into()).await.unwrap();
    let error = open(LOG).await.unwrap_err();
    assert!(error.to_string().contains("its format is 9"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_was_cut_off_by_a_power_loss_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let store = Store::folder(dir.path()).unwrap();
        Lake::open(store, LOG, BUCKETS, "w").await
    };
    let lake = open().await.unwrap();
    let log = log(8);
    lake.append(0, 5, &rows(&log, 0, 5)).unwrap();
    lake.flush().await.unwrap();
    lake.append(5, 8, &rows(&log, 5, 8)).unwrap();
    lake.flush().await.unwrap();
    let newest = dir.path().join("manifest/00000000000000000002.json");
    let whole = std::fs::read(&newest).unwrap();
    for length in [0, whole.len() / 2] {
        std::fs::write(&newest, &whole[..length]).unwrap();
        let lake = open().await.unwrap();
        assert_eq!(lake.snapshot().end, 5);
        lake.append(5, 8, &rows(&log, 5, 8)).unwrap();
        lake.flush().await.unwrap();
        assert_eq!(found(&lake, &lake.snapshot()).await.unwrap().len(), 24);
    }
}

#[tokio::test]
async fn every_kind_of_column_is_kept() {
    let (_, lake) = lake().await;
    let mut rows = Rows::default();
    let items = [Item {
        sku: "a1",
        name: "",
        price: -5,
        quantity: 2,
    }];
    rows.push(&Event {
        site: -1, // an id above the half of all 64 bits
        visitor: "v",
        time: 1,
        items: &items,
        revenue: Some(-10),
        screen_width: Some(100),
        time_clamped: true,
        first_day: Some(-3),
        properties: &[("size", "L".to_owned()), ("empty", String::new())],
        ..Event::default()
    });
    rows.push(&Event::default());
    assert_eq!(rows.len(), 2);
    lake.append(0, 1, &rows.finish().unwrap()).unwrap();
    lake.flush().await.unwrap();
    let manifest = Arc::clone(&lake.snapshot().manifest);
    let file = manifest.files_of(u64::MAX).next().unwrap();
    assert_eq!(file.max_site, u64::MAX);
    let rows = lake.rows_of(file).await.unwrap();
    let properties = rows[0].column_by_name("properties").unwrap();
    let properties: &MapArray = properties.as_any().downcast_ref().unwrap();
    let keys: &StringArray = properties.keys().as_any().downcast_ref().unwrap();
    assert_eq!((keys.value(0), keys.value(1)), ("size", "empty"));
    for field in wakeline_lake::schema::schema().fields() {
        assert!(
            field.metadata().contains_key("description"),
            "{}",
            field.name()
        );
    }
}
