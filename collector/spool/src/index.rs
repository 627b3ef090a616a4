//! Which segments there are and what in them is durable: shared by writer, readers and whoever trims.

use crate::recovery::GAP;
use std::{
    collections::{BTreeSet, VecDeque},
    fs, io,
    path::PathBuf,
};

/// Names of damaged places kept so that each is counted once; more are counted each time they are read.
const MAX_KNOWN_DAMAGE: usize = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// The first position that a record in it may have, also its name.
    pub(crate) first: u64,
    /// Records of older segments count below this only.
    pub(crate) previous_end: u64,
    /// Bytes that readers may read.
    pub(crate) bytes: u64,
    pub(crate) path: PathBuf,
}

/// What a reader has to know of the segment it is in.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) segment: Segment,
    /// Positions from here on are elsewhere, or not durable yet.
    pub(crate) limit: u64,
    /// Where the next segment begins.
    pub(crate) next_first: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Oldest first; never empty once something was written.
    segments: VecDeque<Segment>,
    /// The position after the last durable record.
    durable: u64,
    /// Everything below may be deleted.
    trimmed: u64,
    bytes: u64,
    /// Where damage begins, by position.
    damage: BTreeSet<u64>,
    pub(crate) lost_records: u64,
    pub(crate) lost_positions: u64,
}

impl Index {
    pub(crate) fn push(&mut self, segment: Segment) {
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
    }

    /// The newest segment has grown by `bytes`, up to the position `durable`.
    pub(crate) fn grown(&mut self, bytes: u64, durable: u64) {
        self.bytes += bytes;
        if let Some(last) = self.segments.back_mut() {
            last.bytes += bytes;
        }
        self.durable = durable;
    }

    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.segments.back()
    }

    /// The newest segment was cut to `bytes`.
    pub(crate) fn cut(&mut self, bytes: u64) {
        if let Some(last) = self.segments.back_mut() {
            self.bytes -= last.bytes - bytes;
            last.bytes = bytes;
        }
    }

    pub(crate) fn set_durable(&mut self, durable: u64) {
        self.durable = durable;
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The oldest position that may still be read.
    pub(crate) fn first(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.durable, |segment| segment.first.min(self.durable))
    }

    /// The segment that begins at `first`.
    pub(crate) fn view(&self, first: u64) -> Option<View> {
        self.segments
            .binary_search_by_key(&first, |segment| segment.first)
            .ok()
            .and_then(|at| self.view_at(at))
    }

    /// The segment in which to look for `position`.
    pub(crate) fn segment_for(&self, position: u64) -> Option<View> {
        let after = self
            .segments
            .partition_point(|segment| segment.previous_end <= position);
        self.view_at(after.saturating_sub(1))
    }

    fn view_at(&self, at: usize) -> Option<View> {
        let next = self.segments.get(at + 1);
        Some(View {
            segment: self.segments.get(at)?.clone(),
            limit: next.map_or(self.durable, |next| next.previous_end),
            next_first: next.map(|next| next.first),
        })
    }

    /// Whether all that was written may be deleted.
    pub(crate) fn all_trimmed(&self) -> bool {
        self.trimmed >= self.durable
    }

    /// Takes out the segments whose records are all below `below`, never the newest: it carries the next position.
    pub(crate) fn trim(&mut self, below: u64) -> Vec<Segment> {
        self.trimmed = self.trimmed.max(below);
        let mut gone = Vec::new();
        while let [_, next, ..] = self.segments.make_contiguous()
            && next.previous_end <= self.trimmed
            && let Some(segment) = self.segments.pop_front()
        {
            self.bytes -= segment.bytes;
            gone.push(segment);
        }
        if let Some(front) = self.segments.front() {
            self.damage = self.damage.split_off(&front.first);
        }
        gone
    }

    /// Counts the records between two positions as lost, once.
    pub(crate) fn lost(&mut self, from: u64, to: u64) {
        if !self.damage.insert(from) {
            return;
        }
        if self.damage.len() > MAX_KNOWN_DAMAGE {
            self.damage.pop_first();
        }
        self.lost_records += 1;
        self.lost_positions += (to - from) % GAP;
        tracing::error!(
            from,
            to,
            "lost_corrupt: the log is damaged, records at these positions are lost"
        );
    }
}

/// Deletes files of segments that are no longer in the index.
pub(crate) fn delete(segments: &[Segment]) -> io::Result<()> {
    let mut result = Ok(());
    for segment in segments {
        match fs::remove_file(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
            _ => {}
        }
    }
    result
}
