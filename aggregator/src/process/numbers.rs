//! The numbers that clients gave to what a group holds, so that those show that never came.

use wakeline_engine::Number;
use wakeline_proto::VISITOR_OF_DAY;
use wakeline_proto::v1::Group;

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
