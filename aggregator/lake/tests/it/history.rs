//! A log in short, and what of it has to be in the lake.

use std::collections::BTreeMap;

use arrow::array::{Array, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use wakeline_lake::{Event, Lake, LakeError, Rows, Snapshot};

pub(crate) const LOG: &str = "log";
pub(crate) const BUCKETS: u16 = 3;
const DAY_MS: i64 = 86_400_000;

/// An event: site, visitor, time in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) site: u64,
    pub(crate) visitor: u8,
    pub(crate) time: i64,
}

/// Of each record of the log its events.
pub(crate) type Log = Vec<Vec<Seen>>;

/// Record and place of an event, and what it is.
pub(crate) type Found = BTreeMap<(u64, i32), Seen>;

pub(crate) fn visitor(number: u8) -> String {
    format!("{number:032x}")
}

pub(crate) fn day(time: i64) -> i32 {
    (time / DAY_MS) as i32
}

/// The rows of some records.
pub(crate) fn rows(log: &Log, from: u64, to: u64) -> RecordBatch {
    let mut rows = Rows::default();
    for offset in from..to {
        for (place, seen) in (0..).zip(&log[offset as usize]) {
            rows.push(&Event {
                site: seen.site as i64,
                visitor: &visitor(seen.visitor),
                time: seen.time,
                day: day(seen.time),
                event_type: "page_view",
                path: "/",
                properties: &[("color", "red".to_owned())],
                log_offset: offset as i64,
                log_place: Some(place),
                ..Event::default()
            });
        }
    }
    rows.finish().unwrap()
}

/// What should be there of the records below `end`, if `gone` is not.
pub(crate) fn expected(log: &Log, end: u64, gone: impl Fn(&Seen) -> bool) -> Found {
    let mut expected = Found::new();
    for (offset, events) in (0..end).zip(log) {
        for (place, seen) in (0..).zip(events) {
            if !gone(seen) {
                expected.insert((offset, place), *seen);
            }
        }
    }
    expected
}

/// What is there. An event that is there twice, or whose day is not its file's, is an error of the lake.
pub(crate) async fn found(lake: &Lake, snapshot: &Snapshot) -> Result<Found, LakeError> {
    let mut found = Found::new();
    for file in &snapshot.manifest.files {
        let rows = lake.rows_of(file).await?;
        let number: usize = rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(number as u64, file.rows, "{}", file.path);
        let mut before = None;
        for rows in rows {
            for (key, seen) in read(&rows) {
                assert_eq!(day(seen.time), file.day, "{}", file.path);
                assert_eq!(snapshot.manifest.bucket(seen.site), file.bucket);
                assert!((file.from..file.to).contains(&key.0), "{}", file.path);
                let order = (seen.site, seen.visitor, seen.time, key);
                assert!(before < Some(order), "rows are in order");
                before = Some(order);
                assert_eq!(found.insert(key, seen), None, "{key:?} is there twice");
            }
        }
    }
    for tail in &snapshot.tail {
        for (key, seen) in read(&tail.rows) {
            assert_eq!(found.insert(key, seen), None, "{key:?} is there twice");
        }
    }
    Ok(found)
}

fn read(rows: &RecordBatch) -> Vec<((u64, i32), Seen)> {
    fn column<'a, A: Array + 'static>(rows: &'a RecordBatch, name: &str) -> &'a A {
        let column = rows.column_by_name(name).unwrap();
        column.as_any().downcast_ref().unwrap()
    }
    let site: &Int64Array = column(rows, "site");
    let visitor: &StringArray = column(rows, "visitor");
    let time: &arrow::array::TimestampMillisecondArray = column(rows, "time");
    let offset: &Int64Array = column(rows, "log_offset");
    let place: &Int32Array = column(rows, "log_place");
    let days: &Date32Array = column(rows, "day");
    let row = |row| {
        assert_eq!(days.value(row), day(time.value(row)));
        let seen = Seen {
            site: site.value(row) as u64,
            visitor: u8::from_str_radix(visitor.value(row), 16).unwrap(),
            time: time.value(row),
        };
        ((offset.value(row) as u64, place.value(row)), seen)
    };
    (0..rows.num_rows()).map(row).collect()
}
