//! The numbers that clients gave to what a group holds, so that those show that never came.

use wakeline_engine::{LOST_BY_CLIENT, Number, text_id};
use wakeline_proto::VISITOR_OF_DAY;
use wakeline_proto::v1::Group;

use crate::stats::Stats;

/// What numbers told that was not known before.
#[derive(Default)]
pub(super) struct News {
    sites: Vec<u64>,
    missing: u64,
    found: u64,
}

impl News {
    /// Of a visitor of that site so many more numbers are missing; `None`: nothing is new.
    pub(super) fn note(&mut self, site: u64, more: Option<i64>) {
        let Some(more) = more else {
            return;
        };
        self.missing += more.max(0).unsigned_abs();
        self.found += more.min(0).unsigned_abs();
        if !self.sites.contains(&site) {
            self.sites.push(site);
        }
    }

    /// What the rows of missing numbers are called, by site and id.
    pub(super) fn texts<'a>(&self) -> impl Iterator<Item = ((u64, u64), &'a str)> {
        let id = text_id(LOST_BY_CLIENT);
        self.sites
            .iter()
            .map(move |site| ((*site, id), LOST_BY_CLIENT))
    }

    pub(super) fn count(&self, stats: &Stats) {
        stats.numbers_missing.add(self.missing);
        stats.numbers_found.add(self.found);
    }
}

/// Of all events, refused ones included. None if the collector named the visitor, since the next event of the same page may
/// come by another address, and then it has another visitor.
pub(super) fn of_group(group: &Group) -> impl Iterator<Item = Number> {
    let received_ms = i64::try_from(group.received_at).unwrap_or(i64::MAX);
    let of = move |stream, seq, before| Number {
        stream,
        seq,
        received_ms,
        before,
    };
    let accepted = group.events.iter().map(move |event| {
        let link = (event.predecessor, event.predecessor_last_seq);
        of(event.stream, event.seq, (link.0 != 0).then_some(link))
    });
    let refused = group.rejected.iter();
    let refused = refused.map(move |rejected| of(rejected.stream, rejected.seq, None));
    let is_named = !group.visitor.is_empty() && !group.visitor.starts_with(VISITOR_OF_DAY);
    let all = accepted.chain(refused);
    all.filter(move |number| is_named && number.stream != 0)
}

#[cfg(test)]
mod tests {
    use wakeline_proto::v1::{Event, Group, Rejected};

    use super::of_group;

    #[test]
    fn numbers_are_those_of_sdks_for_visitors_that_have_a_name_of_their_own() {
        let mut group = Group {
            visitor: "v".into(),
            received_at: 7,
            events: vec![
                Event {
                    stream: 5,
                    seq: 6,
                    predecessor: 4,
                    predecessor_last_seq: 9,
                    ..Event::default()
                },
                Event::default(),
            ],
            rejected: vec![
                Rejected {
                    stream: 5,
                    seq: 7,
                    ..Rejected::default()
                },
                Rejected::default(),
            ],
            ..Group::default()
        };
        let numbers = |group: &Group| -> Vec<_> {
            of_group(group)
                .map(|number| (number.stream, number.seq, number.received_ms, number.before))
                .collect()
        };
        assert_eq!(numbers(&group), [(5, 6, 7, Some((4, 9))), (5, 7, 7, None)]);
        for nobody in ["", "d.0123456789abcdef0123456789abcdef"] {
            group.visitor = nobody.into();
            assert_eq!(numbers(&group), []);
        }
    }
}
