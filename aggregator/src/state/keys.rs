//! Keys of the embedded store: `partition u16 | table u8 | …`, all numbers big-endian so that keys sort like them.
//!
//! | table | rest of the key | value |
//! | --- | --- | --- |
//! | 0 progress | – | next offset u64, stamp u64 |
//! | 1 edge | edge u64 | position u64 |
//! | 2 rules | site u64 | gap in ms i64, time zone |
//! | 3 visitor | site u64, XXH3-128 of the visitor's id | encoded visitor |
//! | 4 row | site u64, grain u8, dimension u8, window i64 (sign bit flipped), value u64 | encoded row |
//! | 5 name | site u64, id u64 | the text that the id stands for |
//! | 6 mark | site u64, grain u8, window i64 (sign bit flipped) | offset u64 |
//! | 7 uncounted | offset u64 | which events of that record did not count |

use std::ops::Range;

use wakeline_engine::{Dimension, Grain};

use super::{RowAddress, SiteWindow, VisitorKey};

const PROGRESS: u8 = 0;
const EDGE: u8 = 1;
const RULES: u8 = 2;
const VISITOR: u8 = 3;
const ROW: u8 = 4;
const NAME: u8 = 5;
const MARK: u8 = 6;
const UNCOUNTED: u8 = 7;

/// Writes fixed-size keys part by part.
struct Writer<const N: usize> {
    key: [u8; N],
    used: usize,
}

impl<const N: usize> Writer<N> {
    fn new(partition: u16, table: u8) -> Self {
        let new = Self {
            key: [0; N],
            used: 0,
        };
        new.put(&partition.to_be_bytes()).put(&[table])
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.key[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        self
    }
}

pub(super) fn progress(partition: u16) -> [u8; 3] {
    Writer::new(partition, PROGRESS).key
}

pub(super) fn edges(partition: u16) -> [u8; 3] {
    Writer::new(partition, EDGE).key
}

pub(super) fn edge(partition: u16, edge: u64) -> [u8; 11] {
    Writer::new(partition, EDGE).put(&edge.to_be_bytes()).key
}

pub(super) fn all_rules(partition: u16) -> [u8; 3] {
    Writer::new(partition, RULES).key
}

pub(super) fn rules(partition: u16, site: u64) -> [u8; 11] {
    Writer::new(partition, RULES).put(&site.to_be_bytes()).key
}

pub(super) fn visitor(partition: u16, key: &VisitorKey) -> [u8; 27] {
    Writer::new(partition, VISITOR)
        .put(&key.site.to_be_bytes())
        .put(&key.hash.to_be_bytes())
        .key
}

pub(super) fn row(partition: u16, row: &RowAddress) -> [u8; 29] {
    Writer::new(partition, ROW)
        .put(&row.site.to_be_bytes())
        .put(&[grain(row.key.grain), row.key.dimension as u8])
        .put(&window(row.key.window))
        .put(&row.key.value.to_be_bytes())
        .key
}

/// First and one past the last key of a site's rows in `windows`.
pub(super) fn rows(
    partition: u16,
    site: u64,
    of: Grain,
    by: Dimension,
    windows: &Range<i64>,
) -> Range<[u8; 21]> {
    let key = |at: i64| {
        Writer::new(partition, ROW)
            .put(&site.to_be_bytes())
            .put(&[grain(of), by as u8])
            .put(&window(at))
            .key
    };
    key(windows.start)..key(windows.end)
}

pub(super) fn name(partition: u16, site: u64, id: u64) -> [u8; 19] {
    Writer::new(partition, NAME)
        .put(&site.to_be_bytes())
        .put(&id.to_be_bytes())
        .key
}

pub(super) fn marks(partition: u16) -> [u8; 3] {
    Writer::new(partition, MARK).key
}

pub(super) fn mark(partition: u16, of: &SiteWindow) -> [u8; 20] {
    Writer::new(partition, MARK)
        .put(&of.site.to_be_bytes())
        .put(&[grain(of.grain)])
        .put(&window(of.window))
        .key
}

pub(super) fn uncounted(partition: u16, offset: u64) -> [u8; 11] {
    Writer::new(partition, UNCOUNTED)
        .put(&offset.to_be_bytes())
        .key
}

/// The window of a mark's key.
pub(super) fn read_mark(key: &[u8]) -> Option<SiteWindow> {
    let window = key.get(12..20)?.try_into().ok()?;
    Some(SiteWindow {
        site: read_id(key)?,
        grain: [Grain::Minute, Grain::Hour, Grain::Day]
            .into_iter()
            .find(|known| key.get(11) == Some(&grain(*known)))?,
        window: (u64::from_be_bytes(window) ^ SIGN) as i64,
    })
}

/// Window and value of a row's key.
pub(super) fn read_row(key: &[u8]) -> Option<(i64, u64)> {
    let window = key.get(13..21)?.try_into().ok()?;
    let value = key.get(21..29)?.try_into().ok()?;
    Some((
        (u64::from_be_bytes(window) ^ SIGN) as i64,
        u64::from_be_bytes(value),
    ))
}

/// The number after partition and table.
pub(super) fn read_id(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(3..11)?.try_into().ok()?))
}

const SIGN: u64 = 1 << 63;

fn window(window: i64) -> [u8; 8] {
    (window as u64 ^ SIGN).to_be_bytes()
}

const fn grain(grain: Grain) -> u8 {
    match grain {
        Grain::Minute => 0,
        Grain::Hour => 1,
        Grain::Day => 2,
    }
}
