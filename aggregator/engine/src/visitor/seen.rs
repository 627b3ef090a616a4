//! The ids of a visitor's events, so that each counts once.

use crate::Id;

/// Exact, and small where ids come in sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Ascending; those of one stream neither touch nor overlap.
    pub(super) runs: Vec<Run>,
    /// Fingerprints of other clients' ids, ascending.
    pub(super) clients: Vec<u64>,
}

/// Sequence numbers of a stream, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) stream: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Seen {
    /// False if it was there.
    pub(super) fn insert(&mut self, id: Id) -> bool {
        match id {
            Id::Stream { stream, seq } => self.insert_seq(stream, seq),
            Id::Client(fingerprint) => match self.clients.binary_search(&fingerprint) {
                Ok(_) => false,
                Err(at) => {
                    self.clients.insert(at, fingerprint);
                    true
                }
            },
            Id::Position { .. } => true,
        }
    }

    fn insert_seq(&mut self, stream: u64, seq: u64) -> bool {
        let at = self
            .runs
            .partition_point(|run| (run.stream, run.first) <= (stream, seq));
        let (before, after) = self.runs.split_at_mut(at);
        let before = before.last_mut().filter(|run| run.stream == stream);
        let after = after.first().filter(|run| run.stream == stream);
        let extends_after = after.is_some_and(|run| seq + 1 == run.first); // `first` is greater: no overflow
        let after_last = after.map(|run| run.last);
        match before {
            Some(run) if seq <= run.last => return false,
            Some(run) if seq - 1 == run.last => {
                run.last = seq;
                if let (true, Some(last)) = (extends_after, after_last) {
                    run.last = last;
                    self.runs.remove(at);
                }
            }
            _ if extends_after => self.runs[at].first = seq,
            _ => {
                let run = Run {
                    stream,
                    first: seq,
                    last: seq,
                };
                self.runs.insert(at, run);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, Run, Seen};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_in_sequence_are_one_run_whatever_their_order() {
        let mut seen = Seen::default();
        for seq in [3, 0, 2, 1, u64::MAX, u64::MAX - 1] {
            assert!(seen.insert(Id::Stream { stream: 9, seq }));
        }
        let run = |first, last| Run {
            stream: 9,
            first,
            last,
        };
        assert_eq!(seen.runs, [run(0, 3), run(u64::MAX - 1, u64::MAX)]);
    }

    proptest! {
        #[test]
        fn an_id_is_new_once(ids in prop::collection::vec((0..3_u64, 0..30_u64), 0..200)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for (stream, seq) in ids {
                prop_assert_eq!(seen.insert(Id::Stream { stream, seq }), model.insert((stream, seq)));
            }
            let numbers: Vec<_> = seen.runs.iter().flat_map(|run| (run.first..=run.last).map(|seq| (run.stream, seq))).collect();
            prop_assert_eq!(numbers, model.into_iter().collect::<Vec<_>>());
            for pair in seen.runs.windows(2) {
                prop_assert!(pair[0].stream < pair[1].stream || pair[0].last + 1 < pair[1].first);
            }
        }
    }
}
