//! Records as bytes: small, and nothing to trip over.

use crate::{
    history::{any_rules, history},
    ms, rules, run,
};
use proptest::prelude::*;
use wakeline_engine::{
    Changes, Context, DecodeError, Dimension, Event, Grain, Id, Kind, Row, RowKey, Visitor, apply,
    country_code, text_id,
};

#[test]
fn a_visit_of_five_pages_takes_little_room() {
    let events: Vec<Event> = (0..5)
        .flat_map(|page| {
            let time_ms = ms("2026-11-20T18:30:12.345Z") + page * 61_000;
            let stream = text_id(&page.to_string());
            let event = Event {
                id: Id::Stream { stream, seq: 0 },
                time_ms,
                kind: Kind::Pageview,
                page: Some(text_id(&format!("/products/{page}"))),
                engagement_ms: 0,
                order: None,
                stamp_ms: 0,
                name: Some(text_id("pageview")),
                context: Context {
                    source: text_id("Google"),
                    channel: 1,
                    country: country_code("DE"),
                    device: 1,
                    browser: 2,
                    os: 2,
                    ..Context::default()
                },
            };
            let engagement = Event {
                id: Id::Stream { stream, seq: 1 },
                time_ms: time_ms + 55_000,
                kind: Kind::Engagement,
                engagement_ms: 43_210,
                name: None,
                ..event
            };
            [event, engagement]
        })
        .collect();
    let (bytes, _) = run(&rules("Europe/Berlin", 30), &events, &[2]);
    assert!(bytes.len() <= 175, "{} bytes", bytes.len());
}

#[test]
fn bytes_of_another_format_are_refused() {
    assert_eq!(Visitor::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(Visitor::decode(&[9]), Err(DecodeError::UnknownFormat(9)));
    assert_eq!(Row::decode(&[9]), Err(DecodeError::UnknownFormat(9)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Visitor::decode(&bytes), Row::decode(&bytes));
        bytes.insert(0, 3);
        let _ = (Visitor::decode(&bytes), Row::decode(&bytes));
    }

    #[test]
    fn a_damaged_record_is_refused_or_does_no_harm(
        (rules, events) in any_rules().prop_flat_map(|rules| {
            let events = history(rules.gap_ms);
            (Just(rules), events)
        }),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        later in any::<i64>(),
    ) {
        let (first, rest) = events.split_at(events.len() / 2);
        let (mut bytes, _) = run(&rules, first, &[]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(mut visitor) = Visitor::decode(&bytes) else {
            return Ok(());
        };
        let mut rest = rest.to_vec();
        rest.extend(events.last().map(|event| Event { id: Id::Client(7), time_ms: later, ..*event }));
        let mut changes = Changes::default();
        apply(&mut visitor, &rules, &rest, &mut changes);
        visitor.encode(&mut Vec::new());
        for (_, row) in changes {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            prop_assert_eq!(Row::decode(&bytes), Ok(row));
        }
    }

    #[test]
    fn keys_sort_as_their_bytes(a in any_key(), b in any_key()) {
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        prop_assert_eq!(RowKey::from_bytes(&a.to_bytes()), Some(a));
    }
}

fn any_key() -> impl Strategy<Value = RowKey> {
    let grain = prop::sample::select(&[Grain::Minute, Grain::Hour, Grain::Day][..]);
    let dimension = prop::sample::select(&Dimension::ALL[..]);
    (grain, -2..2_i64, dimension, any::<u64>()).prop_map(|(grain, window, dimension, value)| {
        RowKey {
            grain,
            window,
            dimension,
            value,
        }
    })
}
