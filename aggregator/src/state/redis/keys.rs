//! Keys and fields, as the module above lists them.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use wakeline_engine::{Dimension, Grain};

use crate::state::{RowAddress, SiteWindow, StateError, VisitorKey};

/// A partition of a generation: what all of its keys begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) partition: u16,
    pub(super) generation: u32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{wl:{}}}", self.partition)?;
        // The first one's keys are as they were before there were generations.
        if self.generation > 0 {
            write!(f, "{}", self.generation)?;
        }
        Ok(())
    }
}

/// What all keys of a generation look like, to `SCAN`.
pub(super) fn all_of(generation: u32) -> String {
    match generation {
        0 => "{wl:*}:*".to_owned(),
        generation => format!("{{wl:*}}{generation}:*"),
    }
}

pub(super) fn marks(part: Part) -> String {
    format!("{part}:d")
}

/// Offsets whose notes are in one hash.
const UNCOUNTED_BLOCK: u64 = 1024;

/// The blocks that have notes of records at `offsets`.
pub(super) fn uncounted_blocks(offsets: &Range<u64>) -> Range<u64> {
    offsets.start / UNCOUNTED_BLOCK..offsets.end.div_ceil(UNCOUNTED_BLOCK)
}

/// The block that has the note of a record.
pub(super) fn uncounted_block(offset: u64) -> u64 {
    offset / UNCOUNTED_BLOCK
}

pub(super) fn uncounted(part: Part, block: u64) -> String {
    format!("{part}:u:{block}")
}

pub(super) fn progress(part: Part) -> String {
    format!("{part}:p")
}

pub(super) fn visitors(part: Part) -> String {
    format!("{part}:v")
}

pub(super) fn names(part: Part, site: u64) -> String {
    format!("{part}:n:{site}")
}

pub(super) fn index(part: Part, site: u64, grain: Grain, dimension: Dimension) -> String {
    let (grain, dimension) = (grain as u8, dimension as u8);
    format!("{part}:i:{site}:{grain}{dimension}")
}

/// Rows that are in one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    site: u64,
    grain: Grain,
    dimension: Dimension,
    pub(super) number: i64,
}

impl Block {
    pub(super) fn new(site: u64, grain: Grain, dimension: Dimension, number: i64) -> Self {
        Self {
            site,
            grain,
            dimension,
            number,
        }
    }

    pub(super) fn of(row: &RowAddress) -> Self {
        let key = row.key;
        let number = key.window.div_euclid(width(key.grain, key.dimension));
        Self::new(row.site, key.grain, key.dimension, number)
    }

    /// The numbers of all blocks that have some of the windows; `None` if there are no windows.
    pub(super) fn range(
        grain: Grain,
        dimension: Dimension,
        windows: &Range<i64>,
    ) -> Option<RangeInclusive<i64>> {
        let width = width(grain, dimension);
        let number = |window: i64| window.div_euclid(width);
        (!windows.is_empty()).then(|| number(windows.start)..=number(windows.end - 1))
    }

    pub(super) fn rows(&self, part: Part) -> String {
        let (grain, dimension) = (self.grain as u8, self.dimension as u8);
        let (site, number) = (self.site, self.number);
        format!("{part}:r:{site}:{grain}{dimension}:{number}")
    }

    pub(super) fn index(&self, part: Part) -> String {
        index(part, self.site, self.grain, self.dimension)
    }
}

/// By how much windows of a block differ at most. Windows of hours are counted in minutes.
fn width(grain: Grain, dimension: Dimension) -> i64 {
    match (grain, dimension) {
        (Grain::Minute, _) => 1440,
        (Grain::Hour, _) => 32 * 1440,
        (Grain::Day, Dimension::Total) => 64,
        (Grain::Day, _) => 1,
    }
}

/// Most sites fit in a byte: with them a field is 17 bytes.
pub(super) fn visitor(key: &VisitorKey) -> Vec<u8> {
    let mut field = Vec::with_capacity(26);
    let mut site = key.site;
    while site >= 0x80 {
        field.push(site as u8 | 0x80);
        site >>= 7;
    }
    field.push(site as u8);
    field.extend_from_slice(&key.hash.to_be_bytes());
    field
}

pub(super) fn row(row: &RowAddress) -> Vec<u8> {
    let mut field = signed(row.key.window).to_vec();
    field.extend_from_slice(&row.key.value.to_be_bytes());
    field
}

pub(super) fn mark(of: &SiteWindow) -> Vec<u8> {
    let mut field = of.site.to_be_bytes().to_vec();
    field.push(of.grain as u8);
    field.extend_from_slice(&signed(of.window));
    field
}

/// The window of a mark's field.
pub(super) fn read_mark(field: &[u8]) -> Result<SiteWindow, StateError> {
    const CORRUPT: StateError = StateError::Corrupt("mark");
    let (site, rest) = field.split_at_checked(8).ok_or(CORRUPT)?;
    let (grain, window) = rest.split_first().ok_or(CORRUPT)?;
    Ok(SiteWindow {
        site: super::number(site)?,
        grain: [Grain::Minute, Grain::Hour, Grain::Day]
            .into_iter()
            .find(|known| *known as u8 == *grain)
            .ok_or(CORRUPT)?,
        window: read_signed(window)?,
    })
}

/// Window and value of a row's field.
pub(super) fn read_row(field: &[u8]) -> Result<(i64, u64), StateError> {
    let (window, value) = field
        .split_at_checked(8)
        .ok_or(StateError::Corrupt("row"))?;
    Ok((read_signed(window)?, super::number(value)?))
}

/// Bytes that sort as the number does.
pub(super) fn signed(number: i64) -> [u8; 8] {
    (number as u64 ^ (1 << 63)).to_be_bytes()
}

pub(super) fn read_signed(bytes: &[u8]) -> Result<i64, StateError> {
    Ok((super::number(bytes)? ^ (1 << 63)) as i64)
}

pub(super) fn tagged(tag: u8, id: u64) -> Vec<u8> {
    let mut field = vec![tag];
    field.extend_from_slice(&id.to_be_bytes());
    field
}
