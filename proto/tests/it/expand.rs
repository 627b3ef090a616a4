use proptest::prelude::*;
use prost::Message as _;
use wakeline_proto::batch::{DecodeError, ValueRef, decode, expand};
use wakeline_proto::limits::{
    MAX_DECODED_BYTES, MAX_EVENT_BYTES, MAX_EVENTS_PER_BATCH, MAX_PROPERTIES, MAX_SEQ,
};
use wakeline_proto::v1::{
    Batch, BatchEvent, Clock, Engagement, EventType, Exposure, Item, Kind, Order, Page, Stream,
};
use wakeline_proto::{EventId, Reason};

const STREAM: u64 = 0x00c0_ffee_00c0_ffee;

/// A batch of one stream with these events; kind 1 is a page view, kind 2 a custom event `add` with `price` and `color`.
fn batch(events: Vec<BatchEvent>) -> Batch {
    Batch {
        strings: ["add", "price", "color", "red", "https://a.example/", "A"]
            .map(str::to_owned)
            .into(),
        numbers: vec![0.5],
        integers: vec![i64::MIN],
        kinds: vec![
            Kind {
                r#type: EventType::PageView.into(),
                ..Kind::default()
            },
            Kind {
                r#type: EventType::Custom.into(),
                name: 1,
                properties: vec![1, 2],
                passive: true,
            },
        ],
        streams: vec![Stream {
            id: STREAM,
            predecessor: 5,
            predecessor_last_seq: 9,
            pages: vec![
                Page {
                    url: 5,
                    referrer: 0,
                    title: 6,
                },
                Page::default(),
            ],
            events,
            ..Stream::default()
        }],
        ..Batch::default()
    }
}

fn view() -> BatchEvent {
    BatchEvent {
        kind: 1,
        ..BatchEvent::default()
    }
}

fn add(values: [u64; 2]) -> BatchEvent {
    BatchEvent {
        kind: 2,
        values: values.into(),
        ..BatchEvent::default()
    }
}

fn reasons(batch: &Batch) -> Vec<Option<Reason>> {
    expand(batch)
        .map(|event| event.err().map(|error| error.reason))
        .collect()
}

#[test]
fn what_a_batch_says_once_comes_with_every_event() {
    let mut batch = batch(vec![
        BatchEvent {
            age_delta: 500,
            page: 1,
            ..view()
        },
        BatchEvent {
            age_delta: -200,
            skip: 3,
            ..add([2, 3 << 3])
        },
        BatchEvent {
            age_delta: -400,
            page: 2,
            order: Some(Order::default()),
            engagement: Some(Engagement::default()),
            exposure: Some(Exposure::default()),
            ..view()
        },
    ]);
    batch.streams[0].set_clock(Clock::Wall);
    let events: Vec<_> = expand(&batch).map_while(Result::ok).collect();
    let [first, second, third] = events.as_slice() else {
        panic!("{events:?}");
    };

    assert_eq!(
        events.iter().map(|event| event.id.seq).collect::<Vec<_>>(),
        [0, 4, 5]
    );
    assert!(events.iter().all(|event| event.id.stream == STREAM
        && event.clock == Clock::Wall
        && event.predecessor == Some(EventId { stream: 5, seq: 9 })));
    assert_eq!(
        events.iter().map(|event| event.age_ms).collect::<Vec<_>>(),
        [500, 300, -100]
    );
    assert_eq!(
        (first.event_type, first.name, first.passive),
        (EventType::PageView, "", false)
    );
    assert_eq!(
        (first.url, first.referrer, first.title),
        ("https://a.example/", "", "A")
    );
    assert_eq!(
        (second.event_type, second.name, second.passive),
        (EventType::Custom, "add", true)
    );
    assert_eq!(second.url, first.url, "the page of the previous event");
    assert_eq!(
        second.properties,
        [
            ("price", ValueRef::Number(0.5)),
            ("color", ValueRef::Text("red"))
        ]
    );
    assert_eq!((third.url, third.title), ("", ""));
    assert!(third.order.is_some() && third.engagement.is_some() && third.exposure.is_some());
}

#[test]
fn values_of_all_kinds_are_read() {
    let codes = [
        (3 << 3, ValueRef::Text("red")),
        (5 << 3 | 1, ValueRef::Integer(-3)),
        (2, ValueRef::Number(0.5)),
        (1 << 3 | 3, ValueRef::Flag(true)),
        (3, ValueRef::Flag(false)),
        (4 << 3 | 4, ValueRef::Timestamp(2)),
        (5, ValueRef::Integer(i64::MIN)),
        (u64::MAX - 6, ValueRef::Integer(-(1 << 60))),
    ];
    for (code, value) in codes {
        let batch = batch(vec![add([code, code])]);
        let read: Vec<_> = expand(&batch)
            .flatten()
            .flat_map(|event| event.properties)
            .collect();
        assert_eq!(read, [("price", value), ("color", value)], "{code}");
    }
}

#[test]
fn one_bad_event_does_not_sink_the_others_and_keeps_its_number() {
    let bad = [
        (BatchEvent { kind: 0, ..view() }, Reason::InvalidType),
        (BatchEvent { kind: 3, ..view() }, Reason::Malformed),
        (add([6 << 3, 2]), Reason::Malformed),
        (add([1 << 3 | 2, 2]), Reason::Malformed),
        (add([1 << 3 | 5, 2]), Reason::Malformed),
        (add([2 << 3 | 3, 2]), Reason::InvalidProperty),
        (add([6, 2]), Reason::InvalidProperty),
        (add([u64::MAX, 2]), Reason::InvalidProperty),
        (
            BatchEvent {
                values: vec![2],
                ..add([0, 0])
            },
            Reason::Malformed,
        ),
    ];
    for (event, reason) in bad {
        let batch = batch(vec![
            view(),
            BatchEvent {
                age_delta: 7,
                ..event
            },
            view(),
        ]);
        let events: Vec<_> = expand(&batch).collect();
        let [Ok(_), Err(unreadable), Ok(after)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(unreadable.reason, reason);
        assert_eq!(unreadable.id.map(|id| id.seq), Some(1));
        assert_eq!((after.id.seq, after.age_ms), (2, 7));
    }
}

#[test]
fn a_page_that_does_not_exist_spoils_the_events_on_it_only() {
    let page = |page| BatchEvent { page, ..view() };
    let batch = batch(vec![page(1), page(3), page(0), page(2)]);
    let malformed = Some(Reason::Malformed);
    assert_eq!(reasons(&batch), [None, malformed, malformed, None]);
}

#[test]
fn an_event_without_a_stream_or_with_an_endless_number_is_malformed() {
    let skip = |skip| BatchEvent { skip, ..view() };
    let mut batch = batch(vec![skip(MAX_SEQ), skip(0), skip(u64::MAX), skip(u64::MAX)]);
    let malformed = Some(Reason::Malformed);
    assert_eq!(reasons(&batch), [None, malformed, malformed, malformed]);
    batch.streams[0].id = 0;
    assert_eq!(reasons(&batch), [malformed; 4]);
}

#[test]
fn a_type_that_is_not_known_yet_is_custom() {
    let mut batch = batch(vec![view()]);
    batch.kinds[0].r#type = 99;
    assert_eq!(
        expand(&batch).flatten().map(|e| e.event_type).next(),
        Some(EventType::Custom)
    );
    batch.kinds[0].r#type = 0;
    assert_eq!(reasons(&batch), [Some(Reason::InvalidType)]);
}

#[test]
fn ages_saturate_far_from_where_times_overflow() {
    let age = |age_delta| BatchEvent {
        age_delta,
        ..view()
    };
    let batch = batch(vec![age(i64::MAX), age(i64::MAX), age(i64::MIN)]);
    let ages: Vec<i64> = expand(&batch).flatten().map(|event| event.age_ms).collect();
    assert_eq!(ages, [1 << 53, 1 << 53, -(1 << 53)]);
}

#[test]
fn a_long_text_said_once_and_meant_often_does_not_explode() {
    let text = "x".repeat(4 << 10);
    let mut bomb = batch(vec![
        BatchEvent {
            kind: 1,
            values: vec![0; MAX_PROPERTIES],
            ..BatchEvent::default()
        };
        MAX_EVENTS_PER_BATCH
    ]);
    bomb.strings[0] = text;
    bomb.kinds[0].properties = vec![1; MAX_PROPERTIES];
    assert_eq!(reasons(&bomb), vec![Some(Reason::TooLarge); 1000]);

    // Each event within its limit; together over the batch's.
    bomb.strings[0] = "x".repeat(MAX_EVENT_BYTES / MAX_PROPERTIES - 32);
    let handed_out: usize = expand(&bomb)
        .flatten()
        .flat_map(|event| event.properties)
        .map(|(name, value)| match value {
            ValueRef::Text(text) => name.len() + text.len(),
            _ => name.len(),
        })
        .sum();
    assert!(handed_out > MAX_DECODED_BYTES / 2 && handed_out <= MAX_DECODED_BYTES);
    assert_eq!(reasons(&bomb).last(), Some(&Some(Reason::TooLarge)));
}

#[test]
fn too_many_properties_are_too_large() {
    let mut batch = batch(vec![BatchEvent {
        kind: 1,
        values: vec![2; MAX_PROPERTIES + 1],
        ..BatchEvent::default()
    }]);
    batch.kinds[0].properties = vec![1; MAX_PROPERTIES + 1];
    assert_eq!(reasons(&batch), [Some(Reason::TooLarge)]);
}

#[test]
fn a_batch_of_too_many_events_or_parts_is_refused_before_it_is_decoded() {
    let events = |count| batch(vec![view(); count]).encode_to_vec();
    assert!(decode(&events(MAX_EVENTS_PER_BATCH)).is_ok());
    assert!(matches!(
        decode(&events(MAX_EVENTS_PER_BATCH + 1)),
        Err(DecodeError::TooManyEvents)
    ));

    let many = 1 << 18;
    let order = Order {
        items: vec![Item::default(); many],
        ..Order::default()
    };
    for bomb in [
        Batch {
            strings: vec![String::new(); many],
            ..Batch::default()
        },
        Batch {
            kinds: vec![Kind::default(); many],
            ..Batch::default()
        },
        Batch {
            streams: vec![Stream::default(); many],
            ..Batch::default()
        },
        batch(vec![BatchEvent {
            order: Some(order),
            ..view()
        }]),
    ] {
        let bytes = bomb.encode_to_vec();
        assert!(bytes.len() < MAX_DECODED_BYTES);
        assert!(matches!(decode(&bytes), Err(DecodeError::TooManyParts)));
    }
}

#[test]
fn a_truncated_batch_and_a_text_that_is_not_utf8_are_malformed() {
    let bytes = batch(vec![view(), add([2, 2])]).encode_to_vec();
    assert!(decode(&bytes).is_ok());
    assert!(matches!(
        decode(&bytes[..bytes.len() - 1]),
        Err(DecodeError::Malformed(_))
    ));
    assert!(matches!(
        decode(&[0x0a, 0x01, 0xff]),
        Err(DecodeError::Malformed(_))
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(batch) = decode(&bytes) {
            expand(&batch).for_each(drop);
        }
    }

    #[test]
    fn no_damage_to_a_batch_makes_reading_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = batch(vec![view(), add([2, 3 << 3]), add([5, 12])]).encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(batch) = decode(&bytes) {
            expand(&batch).for_each(drop);
        }
    }

    #[test]
    fn every_event_of_any_batch_has_its_place(
        events in prop::collection::vec(
            (0_u32..4, prop::collection::vec(any::<u64>(), 0..3), any::<i64>(), 0_u32..4, any::<u64>()),
            0..20,
        ),
    ) {
        let events: Vec<_> = events
            .into_iter()
            .map(|(kind, values, age_delta, page, skip)| BatchEvent {
                kind, values, age_delta, page, skip, ..BatchEvent::default()
            })
            .collect();
        let count = events.len();
        prop_assert_eq!(expand(&batch(events)).count(), count);
    }
}
