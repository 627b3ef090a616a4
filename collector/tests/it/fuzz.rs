//! Arbitrary bytes never make a door panic, and always get one of the documented answers.

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use wakeline_collector::{Collector, Config};
use wakeline_proto::v1;

use crate::harness::{SERVER_KEY, WRITE_KEY, batch, keep_snapshot, snapshot};

const DOCUMENTED: [u16; 9] = [202, 400, 401, 403, 413, 415, 408, 429, 503];

struct Doors {
    runtime: Runtime,
    router: axum::Router,
    _data: tempfile::TempDir,
    _collector: Collector,
}

fn doors() -> &'static Doors {
    static DOORS: OnceLock<Doors> = OnceLock::new();
    DOORS.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let data = tempfile::tempdir().unwrap();
        keep_snapshot(data.path(), &snapshot(1));
        let mut config = Config {
            data: data.path().to_owned(),
            ..Config::default()
        };
        config.upstream.url = "http://127.0.0.1:1".to_owned();
        let collector = runtime.block_on(Collector::start(config)).unwrap();
        Doors {
            runtime,
            router: collector.router(),
            _data: data,
            _collector: collector,
        }
    })
}

/// Posts to a door; the status.
fn post(path: &str, encoding: &str, body: Vec<u8>) -> u16 {
    let doors = doors();
    let request = Request::post(path)
        .header("content-encoding", encoding)
        .header("authorization", format!("Bearer {SERVER_KEY}"))
        .body(Body::from(body))
        .unwrap();
    let response = doors
        .runtime
        .block_on(doors.router.clone().oneshot(request))
        .unwrap();
    response.status().as_u16()
}

fn encodings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["identity", "gzip", "deflate", "zstd", "br"])
}

/// Batches that are well-formed protobuf and nonsense otherwise.
fn batches() -> impl Strategy<Value = v1::Batch> {
    let event = (
        any::<[u32; 2]>(),
        vec(0_u64..200, 0..4),
        any::<i64>(),
        0_u64..3,
        any::<i64>(),
    )
        .prop_map(
            |([kind, page], values, age_delta, skip, value)| v1::BatchEvent {
                kind: kind % 4,
                page: page % 4,
                values,
                age_delta,
                skip,
                order: (value % 3 == 0).then(|| v1::Order {
                    value,
                    currency: "EUR".to_owned(),
                    ..v1::Order::default()
                }),
                ..v1::BatchEvent::default()
            },
        );
    let kind =
        (-1_i32..20, 0_u32..4, vec(0_u32..4, 0..3)).prop_map(|(r#type, name, properties)| {
            v1::Kind {
                r#type,
                name,
                properties,
                ..v1::Kind::default()
            }
        });
    let page = (0_u32..5, 0_u32..5).prop_map(|(url, referrer)| v1::Page {
        url,
        referrer,
        title: 1,
    });
    let stream = (any::<u64>(), 0_i32..3, vec(page, 0..3), vec(event, 0..6)).prop_map(
        |(id, clock, pages, events)| v1::Stream {
            id,
            clock,
            pages,
            events,
            ..v1::Stream::default()
        },
    );
    (
        vec(any::<String>(), 0..4),
        vec(any::<f64>(), 0..3),
        vec(kind, 0..4),
        vec(stream, 0..3),
        any::<u64>(),
        0_i32..5,
    )
        .prop_map(
            |(strings, numbers, kinds, streams, sent_at, consent)| v1::Batch {
                key: WRITE_KEY.to_owned(),
                visitor: "v".to_owned(),
                strings,
                numbers,
                kinds,
                streams,
                sent_at,
                consent,
                ..v1::Batch::default()
            },
        )
}

/// JSON that has the shape of events, with values of any kind.
fn json_events() -> impl Strategy<Value = serde_json::Value> {
    let value = prop_oneof![
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        Just(serde_json::json!({"timestamp": "2026-01-01T00:00:00Z"})),
        Just(serde_json::json!([[{}]])),
        Just(serde_json::json!("custom")),
        Just(serde_json::json!("https://a.b/c?utm_x=1")),
        Just(
            serde_json::json!({"id": "1", "currency": "EUR", "value": 3, "items": [{"sku": "s", "price": 3}]})
        ),
    ];
    let key = prop::sample::select(vec![
        "type",
        "name",
        "id",
        "time",
        "age",
        "visitor",
        "user",
        "url",
        "referrer",
        "title",
        "properties",
        "interactive",
        "consent",
        "engagement",
        "exposure",
        "order",
        "ip",
        "user_agent",
        "other",
    ]);
    let event = prop::collection::hash_map(key, value, 0..8).prop_map(|entries| {
        entries
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect::<serde_json::Map<_, _>>()
    });
    (vec(event, 0..4), any::<bool>()).prop_map(|(events, historical)| {
        if historical {
            serde_json::json!({"historical": true, "events": events})
        } else {
            serde_json::json!(events)
        }
    })
}

proptest! {
    #[test]
    fn any_bytes_get_a_documented_answer(bytes in vec(any::<u8>(), 0..300), encoding in encodings()) {
        for path in ["/w/1/batch", "/w/1/events"] {
            let status = post(path, encoding, bytes.clone());
            prop_assert!(DOCUMENTED.contains(&status), "{status}");
        }
    }

    #[test]
    fn damaged_batches_get_a_documented_answer(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = batch(&[5, 4, 3]).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let cut = cut.index(bytes.len());
        for bytes in [bytes[..cut].to_vec(), bytes] {
            let status = post("/w/1/batch", "identity", bytes);
            prop_assert!(DOCUMENTED.contains(&status), "{status}");
        }
    }

    #[test]
    fn every_event_of_a_nonsensical_batch_gets_its_fate(batch in batches()) {
        prop_assert_eq!(post("/w/1/batch", "identity", batch.encode_to_vec()), 202);
    }

    #[test]
    fn every_event_of_nonsensical_json_gets_its_fate(body in json_events()) {
        prop_assert_eq!(post("/w/1/events", "identity", body.to_string().into_bytes()), 202);
    }
}
