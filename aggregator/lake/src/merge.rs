//! Rows of several sources, each in order, as one in order.
//!
//! Memory is bounded: of each source one batch is held, and of the result one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use crate::LakeError;
use crate::file::{BATCH_ROWS, Keys, Order};

/// A source of rows in order.
pub(crate) trait Source: Iterator<Item = Result<RecordBatch, LakeError>> {}

impl<S: Iterator<Item = Result<RecordBatch, LakeError>>> Source for S {}

/// The order of a row that is next, apart from the rows it is in.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    site: i64,
    visitor: String,
    time: i64,
    offset: i64,
    place: i32,
    /// Which source it is of.
    source: usize,
}

impl Next {
    fn new((site, visitor, time, offset, place): Order<'_>, source: usize) -> Self {
        Self {
            site,
            visitor: visitor.to_owned(),
            time,
            offset,
            place,
            source,
        }
    }
}

/// What of a source is being taken.
struct Current {
    /// Place of its batch among those held.
    batch: usize,
    row: usize,
}

/// Merges `sources`, and calls `take` with the rows in order. Rows for which `keep` is false are left out.
pub(crate) fn merge<S: Source>(
    mut sources: Vec<S>,
    keep: impl Fn(&Keys<'_>, usize) -> bool,
    mut take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    let mut held: Vec<RecordBatch> = Vec::new();
    let mut current: Vec<Option<Current>> = Vec::new();
    let mut queue = BinaryHeap::new();
    for (number, source) in sources.iter_mut().enumerate() {
        current.push(open(source, &mut held)?);
        enqueue(&mut queue, &held, current[number].as_ref(), number)?;
    }
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    while let Some(Reverse(next)) = queue.pop() {
        let number = next.source;
        let Some(at) = current[number].as_mut() else {
            continue; // what is queued has a row
        };
        let keys = keys(&held[at.batch])?;
        if keep(&keys, at.row) {
            chosen.push((at.batch, at.row));
        }
        at.row += 1;
        let ended = at.row == held[at.batch].num_rows();
        if ended {
            current[number] = open(&mut sources[number], &mut held)?;
        }
        enqueue(&mut queue, &held, current[number].as_ref(), number)?;
        // Batches that are used up are let go of with the rows that were chosen of them.
        if chosen.len() >= BATCH_ROWS || held.len() > 4 * sources.len() {
            give(&held, &mut chosen, &mut take)?;
            let mut kept = Vec::new();
            for at in current.iter_mut().flatten() {
                kept.push(held[at.batch].clone());
                at.batch = kept.len() - 1;
            }
            held = kept;
        }
    }
    give(&held, &mut chosen, &mut take)
}

fn give(
    held: &[RecordBatch],
    chosen: &mut Vec<(usize, usize)>,
    take: &mut impl FnMut(&RecordBatch) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    if !chosen.is_empty() {
        let batches: Vec<&RecordBatch> = held.iter().collect();
        take(&interleave_record_batch(&batches, chosen)?)?;
        chosen.clear();
    }
    Ok(())
}

/// Holds the next batch of a source that has rows.
fn open<S: Source>(
    source: &mut S,
    held: &mut Vec<RecordBatch>,
) -> Result<Option<Current>, LakeError> {
    for rows in source {
        let rows = rows?;
        if rows.num_rows() > 0 {
            held.push(rows);
            let batch = held.len() - 1;
            return Ok(Some(Current { batch, row: 0 }));
        }
    }
    Ok(None)
}

fn enqueue(
    queue: &mut BinaryHeap<Reverse<Next>>,
    held: &[RecordBatch],
    at: Option<&Current>,
    source: usize,
) -> Result<(), LakeError> {
    if let Some(at) = at {
        let order = keys(&held[at.batch])?.order(at.row);
        queue.push(Reverse(Next::new(order, source)));
    }
    Ok(())
}

fn keys(rows: &RecordBatch) -> Result<Keys<'_>, LakeError> {
    Keys::of(rows).ok_or_else(|| LakeError::Foreign {
        path: "a part of the lake".to_owned(),
        why: "its columns are not those of events".to_owned(),
    })
}
