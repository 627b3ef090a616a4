//! Whatever comes, a dialect neither panics nor loses an event between reading and judging.

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::entry::{Reading, What, payload};
use super::request::Request;
use super::{Dialect, ga4, matomo, plausible, posthog, segment, shopify, snowplow, umami};
use crate::http::Head;
use crate::http::problem::Refusal;

const RECEIVED_AT: u64 = 1_790_000_000_000;

/// Each dialect, with a path of its own.
const ALL: [(&Dialect, &str); 11] = [
    (&plausible::DIALECT, "/api/event"),
    (&umami::DIALECT, "/api/send"),
    (&matomo::DIALECT, "/matomo.php"),
    (&ga4::GTAG, "/g/collect"),
    (&ga4::MEASUREMENT, "/mp/collect"),
    (&posthog::DIALECT, "/e/"),
    (&segment::DIALECT, "/v1/batch"),
    (&segment::DIALECT, "/v1/t"),
    (&snowplow::DIALECT, "/com.snowplowanalytics.snowplow/tp2"),
    (&snowplow::DIALECT, "/i"),
    (&shopify::DIALECT, "/shopify"),
];

fn read(dialect: &Dialect, path: &str, query: &str, body: &[u8]) -> Result<Reading, Refusal> {
    let head = Head {
        headers: HeaderMap::new(),
        peer: None,
    };
    let uri = format!("{path}?{query}").parse().unwrap();
    let body = Bytes::copy_from_slice(body);
    let request = Request::new(&Method::POST, &uri, &head, body, RECEIVED_AT);
    (dialect.read)(&request)
}

/// Every event that was read has a payload that is a JSON object, or is kept as it came.
fn check(reading: Result<Reading, Refusal>) {
    for entry in reading.into_iter().flat_map(|reading| reading.entries) {
        if let What::Event(draft) = entry.what {
            let payload: Value = serde_json::from_slice(&payload(&draft, RECEIVED_AT)).unwrap();
            assert!(payload["type"].is_string(), "{payload}");
        }
    }
}

/// Names that some dialect looks for.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "n",
        "name",
        "d",
        "domain",
        "u",
        "url",
        "p",
        "props",
        "$",
        "revenue",
        "h",
        "e",
        "sd",
        "type",
        "payload",
        "data",
        "website",
        "requests",
        "idsite",
        "rec",
        "idgoal",
        "ec_items",
        "cvar",
        "events",
        "params",
        "items",
        "value",
        "currency",
        "batch",
        "event",
        "properties",
        "distinct_id",
        "$set",
        "timestamp",
        "sent_at",
        "offset",
        "context",
        "traits",
        "userId",
        "anonymousId",
        "messageId",
        "sentAt",
        "products",
        "price",
        "quantity",
        "schema",
        "ue_pr",
        "co",
        "aid",
        "dtm",
        "stm",
        "ttm",
        "tr_tt",
        "pp_may",
        "ds",
        "vp",
        "user_properties",
        "timestamp_micros",
        "checkout",
        "lineItems",
        "cart",
        "lines",
        "totalPrice",
        "amount",
        "screen",
        "$feature_flag_response",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(ToOwned::to_owned),
        "\\PC{0,6}"
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let words = [
        "pageview",
        "engagement",
        "event",
        "identify",
        "track",
        "page",
        "purchase",
        "order completed",
        "$pageview",
        "$identify",
        "checkout_completed",
        "1",
        "1e400",
        "-9e18",
        "2026-01-31T12:00:00Z",
        "https://a.example/x?y#z",
        "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2",
        "pv",
        "ue",
        "tr",
        "ti",
        "se",
        "pp",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((name(), inner), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Bodies that dialects expect, around whatever.
fn wrapped(inner: &Value) -> Vec<Value> {
    let data = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
    vec![
        json!({"batch": [inner]}),
        json!({"requests": [inner]}),
        json!({"events": [inner]}),
        json!({"payload": inner, "type": "event"}),
        json!({"schema": data, "data": [inner]}),
        json!({"event": "purchase", "properties": inner}),
        json!({"name": "checkout_completed", "data": {"checkout": inner}}),
        json!([inner]),
    ]
}

/// What a request says once may be part of each of its events: small requests must not become large ones.
#[test]
fn what_events_share_counts_for_each_of_them() {
    let long = "x".repeat(50_000);
    let many = |one: &str, count: usize| vec![one; count].join(",");
    let sites: Vec<String> = (0..900).map(|at| format!("site-{at}")).collect();
    let requests = [
        (
            0,
            String::new(),
            json!({"n": "e", "u": long, "d": sites.join(",")}).to_string(),
        ),
        (3, format!("ep.a={long}"), "en=a\n".repeat(900)),
        (3, String::new(), "en=a\n".repeat(1_001)),
        (
            4,
            String::new(),
            format!(
                r#"{{"client_id":"{long}","events":[{}]}}"#,
                many(r#"{"name":"e"}"#, 900)
            ),
        ),
        (
            5,
            String::new(),
            format!(
                r#"{{"api_key":"{long}","batch":[{}]}}"#,
                many(r#"{"event":"e"}"#, 900)
            ),
        ),
        (
            6,
            String::new(),
            format!(
                r#"{{"context":{{"page":{{"url":"{long}"}}}},"batch":[{}]}}"#,
                many(r#"{"type":"page"}"#, 900)
            ),
        ),
        (
            8,
            format!("url={long}"),
            format!(
                r#"{{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{}]}}"#,
                many("{}", 900)
            ),
        ),
    ];
    for (index, query, body) in requests {
        let (dialect, path) = ALL[index];
        let answer = read(dialect, path, &query, body.as_bytes());
        assert!(
            matches!(answer, Err(Refusal::TooLarge(_))),
            "{path}: {answer:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_make_a_dialect_panic(body in vec(any::<u8>(), 0..200), query in "[a-z0-9_.=&%+~-]{0,80}") {
        for (dialect, path) in ALL {
            check(read(dialect, path, &query, &body));
        }
    }

    #[test]
    fn json_of_any_shape_never_makes_a_dialect_panic(inner in value()) {
        for body in wrapped(&inner).into_iter().chain([inner]) {
            let body = body.to_string();
            for (dialect, path) in ALL {
                check(read(dialect, path, "", body.as_bytes()));
            }
        }
    }

    #[test]
    fn queries_of_any_values_never_make_a_dialect_panic(pairs in vec((prop::sample::select(vec!["e", "rec", "idgoal", "revenue", "ec_items", "cvar", "cdt", "en", "cid", "epn.value", "pr1", "_et", "gcs", "ue_px", "cx", "ue_pr", "dtm", "se_va", "tr_tt", "res", "data", "compression"]), "[a-zA-Z0-9{}\\[\\]\":,._=~-]{0,30}"), 0..12)) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        for (dialect, path) in ALL {
            check(read(dialect, path, &query, b""));
            check(read(dialect, path, "", query.as_bytes()));
        }
    }
}

#[test]
fn every_event_of_a_mixed_batch_is_an_entry() {
    let body = br#"{"batch":[{"type":"track","event":"x","userId":"u"},7,null,{"type":"unheard"},[]],"writeKey":"k"}"#;
    let reading = read(&segment::DIALECT, "/v1/batch", "", body).unwrap();
    let readable = |entry: &&super::Entry| matches!(entry.what, What::Event(_));
    assert_eq!(reading.entries.len(), 5);
    assert_eq!(reading.entries.iter().filter(readable).count(), 1);
    assert!(reading.entries.iter().all(|entry| entry.site == "k"));
}

#[test]
fn nesting_is_refused_before_it_costs_stack() {
    let bomb = "[".repeat(100_000);
    let inner = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    for (dialect, path) in ALL {
        check(read(dialect, path, "", bomb.as_bytes()));
        let body = format!(
            "{{\"n\":\"x\",\"d\":\"k\",\"p\":{inner},\"event\":\"x\",\"properties\":{inner}}}"
        );
        check(read(dialect, path, "", body.as_bytes()));
    }
}

#[test]
fn of_a_parameter_that_is_given_twice_the_first_counts() {
    let reading = read(&ga4::GTAG, "/g/collect", "tid=a&tid=b&en=page_view", b"").unwrap();
    assert_eq!(reading.entries[0].site, "a");
}

#[test]
fn a_charset_that_is_none_is_refused_as_a_whole() {
    for (dialect, path) in ALL {
        let reading = read(dialect, path, "", b"{\"n\":\"\xff\xfe\"}");
        assert!(reading.is_err() || path == "/i", "{path}");
    }
}
