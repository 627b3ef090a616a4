//! What still waits in collectors' spools, as far as they said.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Edges that are remembered; of more, those that were quiet longest are forgotten.
const MAX_EDGES: usize = 10_000;

/// The last word of each edge.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Mutex<BTreeMap<u64, EdgeBacklog>>);

/// What an edge said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeBacklog {
    /// Whether it pushes now.
    pub(crate) connected: bool,
    /// Positions of its spool that it had not sent yet.
    pub(crate) pending: u64,
    /// When it said so, in ms since 1970-01-01 UTC.
    pub(crate) at_ms: u64,
}

impl Backlog {
    /// A stream of the edge began.
    pub(crate) fn begin(&self, edge: u64, now_ms: u64) {
        self.change(edge, now_ms, |seen| seen.connected = true);
    }

    /// The edge sent a block, and left that many positions for later.
    pub(crate) fn report(&self, edge: u64, pending: u64, now_ms: u64) {
        self.change(edge, now_ms, |seen| seen.pending = pending);
    }

    /// The stream ended. An edge that had sent everything is forgotten: it may never come again.
    pub(crate) fn end(&self, edge: u64, now_ms: u64) {
        self.change(edge, now_ms, |seen| seen.connected = false);
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if edges.get(&edge).is_some_and(|seen| seen.pending == 0) {
            edges.remove(&edge);
        }
    }

    /// Every edge that is known, ascending by id.
    pub(crate) fn all(&self) -> Vec<(u64, EdgeBacklog)> {
        let edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        edges.iter().map(|(edge, seen)| (*edge, *seen)).collect()
    }

    fn change(&self, edge: u64, now_ms: u64, change: impl FnOnce(&mut EdgeBacklog)) {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if edges.len() >= MAX_EDGES && !edges.contains_key(&edge) {
            let oldest = edges
                .iter()
                .min_by_key(|(_, seen)| (seen.connected, seen.at_ms));
            if let Some(oldest) = oldest.map(|(edge, _)| *edge) {
                edges.remove(&oldest);
            }
        }
        let seen = edges.entry(edge).or_default();
        seen.at_ms = now_ms;
        change(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::{Backlog, EdgeBacklog, MAX_EDGES};

    #[test]
    fn an_edge_that_left_something_behind_is_remembered_and_another_is_not() {
        let backlog = Backlog::default();
        for edge in [1, 2] {
            backlog.begin(edge, 10);
        }
        backlog.report(1, 5, 20);
        backlog.report(2, 0, 20);
        backlog.end(1, 30);
        backlog.end(2, 30);
        let left = EdgeBacklog {
            connected: false,
            pending: 5,
            at_ms: 30,
        };
        assert_eq!(backlog.all(), [(1, left)]);
    }

    #[test]
    fn edges_that_come_and_go_take_bounded_memory() {
        let backlog = Backlog::default();
        for edge in 0..MAX_EDGES as u64 + 10 {
            backlog.begin(edge, edge);
            backlog.report(edge, 1, edge);
            backlog.end(edge, edge);
        }
        let all = backlog.all();
        assert_eq!((all.len(), all[0].0), (MAX_EDGES, 10));
    }
}
