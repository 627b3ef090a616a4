//! One bad event never sinks others, and what is wrong with it is said.

use serde_json::json;
use wakeline_proto::{EventId, v1};

use crate::bad_input::assert_alive;
use crate::harness::{Edge, SERVER_KEY, WRITE_KEY, batch};

const MIB: usize = 1 << 20;

/// The reasons of an answer by index, `"ok"` for events that were accepted.
fn fates(reply: &serde_json::Value, sent: usize) -> Vec<String> {
    let mut fates = vec!["ok".to_owned(); sent];
    for rejected in reply["rejected"].as_array().unwrap() {
        assert!(
            rejected["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty() && detail.len() < 1000)
        );
        let index = rejected["index"].as_u64().unwrap() as usize;
        fates[index] = rejected["reason"].as_str().unwrap().into();
    }
    assert_eq!(
        reply["accepted"].as_u64().unwrap() as usize,
        fates.iter().filter(|fate| *fate == "ok").count()
    );
    fates
}

/// Sends the events in one request and compares their fates; what was refused is kept, as JSON.
async fn check_fates(cases: &[(String, &str)]) {
    let edge = Edge::start().await;
    let events: Vec<_> = cases.iter().map(|(event, _)| event.as_str()).collect();
    let response = edge
        .post(
            &format!("/w/1/events?k={WRITE_KEY}"),
            format!("[{}]", events.join(",")),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let reply = response.json().await.unwrap();
    let expected: Vec<_> = cases.iter().map(|(_, fate)| *fate).collect();
    assert_eq!(fates(&reply, cases.len()), expected);
    assert_alive(&edge).await;

    let groups = edge.groups().await;
    let rejected: Vec<_> = groups.iter().flat_map(|group| &group.rejected).collect();
    assert_eq!(
        rejected.len(),
        expected.iter().filter(|fate| **fate != "ok").count()
    );
    for one in rejected {
        serde_json::from_slice::<Box<serde_json::value::RawValue>>(&one.payload).unwrap();
        let address = one
            .payload
            .windows(10)
            .any(|window| window == b"192.0.2.77");
        assert!(!address, "no address is stored");
    }
}

fn good() -> String {
    with("name", &json!("fine"))
}

fn with(key: &str, value: &serde_json::Value) -> String {
    json!({"type": "click", "visitor": "v", key: value}).to_string()
}

#[tokio::test]
async fn one_json_event_of_a_bad_shape_does_not_sink_the_others() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check_fates(&[
        (good(), "ok"),
        ("5".to_owned(), "malformed"),
        (with("surprise", &json!(1)), "malformed"),
        (with("title", &json!(5)), "malformed"),
        (
            r#"{"type":"click","visitor":"v","visitor":"w"}"#.to_owned(),
            "malformed",
        ),
        (with("ip", &json!("192.0.2.77")), "malformed"),
        (
            r#"{"type":"click","visitor":"v","i\u0070":"192.0.2.77"}"#.to_owned(),
            "malformed",
        ),
        (with("id", &json!("")), "malformed"),
        (deep(100_000), "too_large"),
        (deep(5_000), "malformed"),
        (
            format!(
                r#"{{"type":"click","visitor":"v","properties":{{"p":{}}}}}"#,
                deep(5_000)
            ),
            "invalid_property",
        ),
        (
            format!(r#"{{"type":"click","visitor":"v","zzz":{}}}"#, deep(5_000)),
            "malformed",
        ),
        (json!({"visitor": "v"}).to_string(), "invalid_type"),
        (
            json!({"type": "clack", "visitor": "v"}).to_string(),
            "invalid_type",
        ),
        (
            json!({"type": "order", "visitor": "v"}).to_string(),
            "malformed",
        ),
        (
            json!({"type": "exposure", "visitor": "v"}).to_string(),
            "malformed",
        ),
        (good(), "ok"),
    ])
    .await;
}

#[tokio::test]
async fn one_json_event_with_bad_values_does_not_sink_the_others() {
    let page = |url: &str| json!({"type": "page_view", "visitor": "v", "url": url}).to_string();
    let order = |value: i64, currency: &str| {
        json!({"type": "order", "visitor": "v", "order": {"currency": currency, "value": value}})
            .to_string()
    };
    let month = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(31 * 24);
    check_fates(&[
        (good(), "ok"),
        (with("properties", &json!({"p": null})), "invalid_property"),
        (
            with("properties", &json!({"p": {"timestamp": "yesterday"}})),
            "invalid_property",
        ),
        (
            r#"{"type":"click","visitor":"v","properties":{"p":1e999}}"#.to_owned(),
            "invalid_property",
        ),
        (
            with("properties", &json!({"p": "x".repeat(4097)})),
            "too_large",
        ),
        (with("properties", &json!({"p": "x".repeat(4096)})), "ok"),
        (with("title", &json!("x".repeat(MIB / 2))), "too_large"),
        (with("title", &json!("x".repeat(2049))), "too_large"),
        (json!({"type": "click"}).to_string(), "invalid_visitor"),
        (
            json!({"type": "click", "visitor": "x".repeat(129)}).to_string(),
            "invalid_visitor",
        ),
        (
            json!({"type": "custom", "visitor": "v"}).to_string(),
            "invalid_name",
        ),
        (
            json!({"type": "screen_view", "visitor": "v"}).to_string(),
            "invalid_name",
        ),
        (with("name", &json!("a\u{0}b")), "invalid_name"),
        (
            json!({"type": "page_view", "visitor": "v"}).to_string(),
            "invalid_url",
        ),
        (page("/relative"), "invalid_url"),
        (page("https://"), "invalid_url"),
        (page("file:///etc/passwd"), "invalid_url"),
        (with("time", &json!("yesterday")), "invalid_time"),
        (with("time", &json!("1970-01-01T00:00:00Z")), "too_old"),
        (with("time", &json!(month.to_string())), "too_old"),
        (with("time", &json!("9999-01-01T00:00:00Z")), "ok"),
        (with("age", &json!(0)), "ok"),
        (with("age", &json!(-1)), "ok"),
        (with("age", &json!(i64::MIN)), "ok"),
        (with("age", &json!(1.5)), "malformed"),
        (with("age", &json!("1")), "malformed"),
        (with("age", &json!(i64::MAX)), "too_old"),
        (
            json!({"type": "click", "visitor": "v", "age": 1, "time": "9999-01-01T00:00:00Z"})
                .to_string(),
            "malformed",
        ),
        (order(1, "eur"), "invalid_money"),
        (order(i64::MAX, "EUR"), "invalid_money"),
        (order(-5, "EUR"), "ok"),
        (good(), "ok"),
    ])
    .await;
}

#[tokio::test]
async fn an_age_counts_back_from_when_it_was_received() {
    let edge = Edge::start().await;
    edge.events(&json!([
        {"type": "click", "visitor": "v", "age": 5_000},
        {"type": "click", "visitor": "v", "age": -5_000},
    ]))
    .await;
    let [group] = edge.groups().await.try_into().unwrap();
    let [earlier, ahead] = group.events.as_slice() else {
        panic!("two events in {group:?}");
    };
    assert_eq!(earlier.time, group.received_at - 5_000);
    assert!(!earlier.time_clamped);
    assert_eq!(ahead.time, group.received_at);
    assert!(ahead.time_clamped);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_flagged() {
    let edge = Edge::start().await;
    edge.events(&json!({"type": "click", "visitor": "v", "time": "9999-01-01T00:00:00Z"}))
        .await;
    let [group] = edge.groups().await.try_into().unwrap();
    assert!(group.events[0].time_clamped);
    assert_eq!(group.events[0].time, group.received_at);
}

#[tokio::test]
async fn one_bad_event_of_a_batch_does_not_sink_the_others() {
    let edge = Edge::start().await;
    let mut sent = batch(&[0; 8]);
    sent.strings.extend([
        "p".to_owned(),
        "x".repeat(MIB - 8192),
        "javascript:alert(1)".to_owned(),
    ]);
    sent.numbers = vec![f64::NAN];
    let plain = sent.kinds[0].clone();
    sent.kinds.push(v1::Kind {
        properties: vec![1],
        ..plain
    });
    sent.kinds.push(v1::Kind {
        r#type: v1::EventType::Custom.into(),
        ..v1::Kind::default()
    });
    let stream = &mut sent.streams[0];
    stream.pages.push(v1::Page {
        url: 4,
        ..v1::Page::default()
    });
    let events = &mut stream.events;
    let money = v1::Order {
        currency: "EUR".to_owned(),
        value: i64::MIN,
        ..v1::Order::default()
    };
    (events[1].kind, events[1].values) = (2, vec![2]); // NaN
    (events[2].kind, events[2].values) = (2, vec![2 << 3]); // a text of nearly 1 MiB
    events[3].kind = 99;
    events[4].kind = 3;
    events[5].order = Some(money);
    events[6].page = 2;
    events[7].page = 1;
    events[7].age_delta = 31 * 86_400_000;
    let reply = edge.batch(&sent).await;
    let found: Vec<_> = reply
        .rejected
        .iter()
        .map(|one| (one.index, one.reason.as_str()))
        .collect();
    let expected = [
        (1, "invalid_property"),
        (2, "too_large"),
        (3, "malformed"),
        (4, "invalid_name"),
        (5, "invalid_money"),
        (6, "invalid_url"),
        (7, "too_old"),
    ];
    assert_eq!(found, expected);
    assert_eq!(reply.accepted, 1);

    let mut sent = batch(&[0]);
    sent.visitor = "x".repeat(200);
    assert_eq!(
        edge.batch(&sent).await.rejected[0].reason,
        "invalid_visitor"
    );
    sent.visitor = String::new();
    let cookieless = edge.batch(&sent).await;
    assert_eq!(cookieless.accepted, 1, "{cookieless:?}");
    assert_alive(&edge).await;
    let groups = edge.groups().await;
    let kept: Vec<_> = groups.iter().flat_map(|group| &group.rejected).collect();
    assert_eq!(kept.len(), 8);
    for one in kept {
        let payload: serde_json::Value = serde_json::from_slice(&one.payload).unwrap();
        let id = EventId {
            stream: one.stream,
            seq: one.seq,
        };
        assert_eq!(payload["id"], id.to_string(), "{payload}");
    }
}

#[tokio::test]
async fn the_number_of_a_refused_event_is_kept_also_if_nothing_else_of_it_can_be_read() {
    let edge = Edge::start().await;
    let (stream, seq) = (0x00c0_ffee_00c0_ffee, 17);
    let id = EventId { stream, seq }.to_string();
    let events = [
        json!({"type": "custom", "name": "", "visitor": "v", "id": id}),
        json!({"type": "click", "visitor": "v", "id": id, "colour": 1}),
        json!({"type": "click", "visitor": "v", "id": "another's", "colour": 1}),
    ];
    let response = edge
        .post(
            &format!("/w/1/events?k={WRITE_KEY}"),
            json!(events).to_string(),
        )
        .send();
    assert_eq!(response.await.unwrap().status(), 202);
    let groups = edge.groups().await;
    let refused = groups.iter().flat_map(|group| &group.rejected);
    let numbers: Vec<_> = refused.map(|one| (one.stream, one.seq)).collect();
    assert_eq!(numbers, [(stream, seq), (stream, seq), (0, 0)]);
}

#[tokio::test]
async fn clocks_that_are_wrong_by_years_are_corrected() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    let edge = Edge::start().await;
    let now = jiff::Timestamp::now().as_millisecond() as u64;
    for sent_at in [now + 10 * YEAR_MS, now - 20 * YEAR_MS, 1, u64::MAX] {
        let mut sent = batch(&[60_000]);
        sent.sent_at = sent_at;
        sent.streams[0].clock = v1::Clock::Wall.into();
        assert_eq!(edge.batch(&sent).await.accepted, 1, "{sent_at}");
    }
    for group in edge.groups().await {
        assert_eq!(group.received_at - group.events[0].time, 60_000);
    }
}

#[tokio::test]
async fn a_server_may_send_history_of_any_age() {
    let edge = Edge::start().await;
    let body = json!({"historical": true, "events": [
        {"type": "click", "visitor": "v", "time": "2001-01-01T00:00:00Z"},
        {"type": "click", "visitor": "v", "time": "1999-01-01T00:00:00Z"},
        {"type": "click", "visitor": "v", "time": "2999-01-01T00:00:00Z"},
    ]});
    let response = edge
        .post("/w/1/events", body.to_string())
        .bearer_auth(SERVER_KEY)
        .send()
        .await
        .unwrap();
    let reply = response.json().await.unwrap();
    assert_eq!(fates(&reply, 3), ["ok", "invalid_time", "ok"]);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_of_the_format() {
    let edge = Edge::start().await;
    let events = json!([
        5,
        ["page_view"],
        {"type": "identify", "visitor": "v"},
        {"type": "identify", "visitor": "v", "user": ""},
        {"type": "engagement", "visitor": "v"},
        {"type": "engagement", "visitor": "v", "engagement": 5},
        {"type": "engagement", "visitor": "v", "engagement": {"time_ms": -1}},
        {"type": "order", "visitor": "v", "order": {"currency": "EUR", "value": 1.5}},
        {"type": "identify", "visitor": "v", "user": "u"},
        {"type": "engagement", "visitor": "v", "engagement": {"time_ms": 1}},
    ]);
    let reply = edge.events(&events).await;
    assert_eq!(reply["accepted"], 2, "{reply}");
    let rejected = reply["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 8, "{reply}");
    for one in rejected {
        assert_eq!(one["reason"], "malformed", "{one}");
        let detail = one["detail"].as_str().unwrap();
        for word in ["struct", "Json", "u32", "i64"] {
            assert!(!detail.contains(word), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_property_that_is_given_twice_refuses_its_event() {
    let edge = Edge::start().await;
    let body = r#"{"type": "click", "visitor": "v", "properties": {"a": 1, "b": 2, "a": 3}}"#;
    let response = edge
        .post(&format!("/w/1/events?k={WRITE_KEY}"), body)
        .send()
        .await
        .unwrap();
    let reply: serde_json::Value = response.json().await.unwrap();
    assert_eq!(
        reply["rejected"][0]["reason"], "invalid_property",
        "{reply}"
    );
}
