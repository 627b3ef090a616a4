//! What still waits in collectors' spools, as far as they said.
//!
//! A collector that is killed has no last word: what it said before stays, with the time since when it is silent, until its
//! spool is opened again and says otherwise (each opening is an edge of its own, and names the ones before it), or for
//! [`SILENT_MS`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Edges that are remembered; of more, those that were quiet longest are forgotten.
const MAX_EDGES: usize = 10_000;
/// How long an edge that is gone is remembered, in ms: seven days.
const SILENT_MS: u64 = 7 * 86_400_000;

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
    /// A stream of the edge began. All that was spooled `before`, under other edges of its spool, is here.
    pub(crate) fn begin(&self, edge: u64, before: &[u64], now_ms: u64) {
        self.change(edge, now_ms, |seen| seen.connected = true);
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for before in before {
            if edges.get(before).is_some_and(|seen| !seen.connected) {
                edges.remove(before);
            }
        }
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

    /// Every edge that is known and was not silent for too long, ascending by id.
    pub(crate) fn all(&self, now_ms: u64) -> Vec<(u64, EdgeBacklog)> {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now_ms.saturating_sub(SILENT_MS);
        edges.retain(|_, seen| seen.connected || seen.at_ms >= oldest);
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
    use super::{Backlog, EdgeBacklog, MAX_EDGES, SILENT_MS};

    #[test]
    fn an_edge_that_left_something_behind_is_remembered_and_another_is_not() {
        let backlog = Backlog::default();
        for edge in [1, 2] {
            backlog.begin(edge, &[], 10);
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
        assert_eq!(backlog.all(0), [(1, left)]);
    }

    #[test]
    fn the_next_opening_of_a_spool_takes_the_place_of_those_before_and_of_no_other() {
        let backlog = Backlog::default();
        for edge in [1, 2, 3] {
            backlog.begin(edge, &[], 10);
            backlog.report(edge, 5, 20);
        }
        backlog.end(1, 30);
        backlog.end(2, 30);
        backlog.begin(4, &[1, 3, 9], 40);
        let left: Vec<_> = backlog.all(0).into_iter().map(|(edge, _)| edge).collect();
        assert_eq!(
            left,
            [2, 3, 4],
            "3 is connected: a copy of the spool is in use"
        );
    }

    #[test]
    fn an_edge_that_never_comes_back_is_forgotten_at_last() {
        let backlog = Backlog::default();
        for edge in [1, 2] {
            backlog.begin(edge, &[], 10);
            backlog.report(edge, 5, 20);
        }
        backlog.end(1, 30);
        assert_eq!(backlog.all(30 + SILENT_MS).len(), 2);
        let left = backlog.all(31 + SILENT_MS);
        assert_eq!((left.len(), left[0].0), (1, 2), "one is connected");
    }

    #[test]
    fn edges_that_come_and_go_take_bounded_memory() {
        let backlog = Backlog::default();
        for edge in 0..MAX_EDGES as u64 + 10 {
            backlog.begin(edge, &[], edge);
            backlog.report(edge, 1, edge);
            backlog.end(edge, edge);
        }
        let all = backlog.all(0);
        assert_eq!((all.len(), all[0].0), (MAX_EDGES, 10));
    }
}
