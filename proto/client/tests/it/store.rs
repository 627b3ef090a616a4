//! Events of a store, by themselves.

use std::sync::Arc;

use proptest::prelude::*;
use wakeline_client::v1::{self, Consent, EventType};
use wakeline_client::{
    Client, Event, EventId, Page, Person, Reason, RecordedAt, Reply, Step, Stored, Value,
};
use wakeline_proto::batch::{decode, expand};

use crate::drive::{at, config, start};

fn stored(seq: u64) -> Stored {
    Stored {
        id: EventId { stream: 77, seq },
        predecessor: Some(EventId { stream: 5, seq: 9 }),
        event: Event::custom("tap").with("n", seq as i64),
        page: Some(Arc::new(Page {
            url: "Cart".to_owned(),
            ..Page::default()
        })),
        person: Arc::new(Person {
            install: "i".to_owned(),
            first_day: 20_000,
            user: "u".to_owned(),
            consent: Consent::Granted,
        }),
        device: Arc::new(v1::Device {
            app_version: "2.1".to_owned(),
            ..v1::Device::default()
        }),
    }
}

#[test]
fn golden_bytes_of_a_stored_event() {
    let hex: Vec<String> = stored(3)
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex.concat(),
        "12016918a09c0122002a054203322e3130014201754a04436172744a037461704a016e6207080e10021a01026a\
         23094d0000000000000011050000000000000018092a0208013209080112013120012803"
    );
}

#[test]
fn what_stands_in_place_of_a_refused_event_comes_back() {
    let refused = Stored {
        event: Event::refused(Reason::InvalidMoney),
        page: None,
        predecessor: None,
        ..stored(4)
    };
    assert_eq!(Stored::from_bytes(&refused.to_bytes()), Some(refused));
}

#[test]
fn loaded_events_keep_their_ids_and_the_age_of_their_clock() {
    let mut client: Client = start(1, config(), at(100_000));
    client.load(stored(0), RecordedAt::Mono(40_000), at(100_000));
    client.load(stored(7), RecordedAt::Mono(99_000), at(100_000));
    client.flush();
    let Step::Send { bytes, .. } = client.next_step(at(100_000)) else {
        panic!("nothing to send")
    };
    let batch = decode(&bytes).unwrap();
    let sent: Vec<_> = expand(&batch).map(Result::unwrap).collect();
    let found: Vec<_> = sent
        .iter()
        .map(|event| (event.id, event.age_ms, event.clock))
        .collect();
    let id = |seq| EventId { stream: 77, seq };
    assert_eq!(
        found,
        [
            (id(0), 60_000, v1::Clock::Monotonic),
            (id(7), 1_000, v1::Clock::Monotonic)
        ]
    );
    assert_eq!(sent[0].predecessor, Some(EventId { stream: 5, seq: 9 }));
    assert_eq!((batch.visitor.as_str(), batch.user.as_str()), ("i", "u"));
}

#[test]
fn only_what_is_not_in_flight_can_be_withdrawn() {
    let mut client: Client = start(1, config(), at(0));
    client.load(stored(0), RecordedAt::Wall(at(0).wall_ms), at(0));
    client.flush();
    let Step::Send { batch, .. } = client.next_step(at(0)) else {
        panic!("nothing to send")
    };
    assert!(!client.withdraw(stored(0).id));
    client.on_reply(batch, Reply::Unreachable, at(0));
    assert!(client.withdraw(stored(0).id));
    assert!(client.is_empty());
}

#[test]
fn a_network_that_is_back_ends_the_backoff_but_not_a_wait_that_was_asked_for() {
    for (reply, ended) in [
        (Reply::Unreachable, true),
        (Reply::RetryAfter(Some(60_000)), false),
    ] {
        let mut client: Client = start(1, config(), at(0));
        client.load(stored(0), RecordedAt::Mono(0), at(0));
        client.flush();
        for _ in 0..12 {
            let now = at(0);
            if let Step::Send { batch, .. } = client.next_step(now) {
                client.on_reply(batch, reply.clone(), now);
            }
            client.network_is_back(now);
        }
        let sends = matches!(client.next_step(at(0)), Step::Send { .. });
        assert_eq!(sends, ended, "{reply:?}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,12}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("equal to itself", |number| !number.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Flag),
        (-(1_i64 << 53)..1 << 53).prop_map(Value::Timestamp),
    ]
}

proptest! {
    #[test]
    fn stored_events_come_back(
        seq in 0..1_u64 << 32,
        name in ".{1,20}",
        properties in prop::collection::vec((".{1,8}", value()), 0..6),
        kind in 1..=14_i32,
        passive: bool,
    ) {
        let event = Event {
            name,
            properties,
            passive,
            ..Event::new(EventType::try_from(kind).unwrap())
        };
        let before = Stored { event, ..stored(seq) };
        prop_assert_eq!(Stored::from_bytes(&before.to_bytes()), Some(before));
    }

    #[test]
    fn arbitrary_bytes_are_an_event_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Stored::from_bytes(&bytes);
    }

    #[test]
    fn damaged_events_are_read_or_not_but_never_panic(at in 0..120_usize, bit in 0..8_u8) {
        let mut bytes = stored(1).to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = Stored::from_bytes(&bytes);
    }
}
