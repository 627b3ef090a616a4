//! What apps do wrong, and what is too much.

use serde_json::{Map, json};
use wakeline_client::Value;

use crate::host::{Collector, TestClock, numbered, open, open_with, status};

#[test]
fn misuse_is_counted_and_told_as_events_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    let many: Map<_, _> = (0..10_000).map(|n| (format!("p{n}"), json!(n))).collect();
    assert!(app.record(
        &json!({"name": "n", "properties": {"nan": null, "text": "ä".repeat(1 << 18)}}).to_string()
    ));
    assert!(app.record(&json!({"name": "emoji 🫖 \u{0}", "properties": many}).to_string()));
    assert!(!app.record("{"));
    assert!(!app.record(r#"{"type":"order","order":{"currency":"eur"}}"#));
    assert!(!app.identify(""));
    app.lifecycle("sideways");
    app.network("pigeons");
    app.set_consent("maybe");
    app.set_defaults("[]");
    clock.advance(10_001);
    let mut collector = Collector::default();
    collector.drain(&app);
    let told: Vec<_> = collector
        .named("sdk_misuse")
        .iter()
        .map(|got| {
            (
                got.property("problem").cloned().unwrap(),
                got.property("count").cloned().unwrap(),
                got.event.passive,
            )
        })
        .collect();
    let expected = [
        ("text_cut", 1),
        ("value_left_out", 1),
        ("too_many_properties", 1),
        ("name_mended", 1),
        ("event_refused", 3),
        ("wrong_call", 4),
    ];
    let expected: Vec<_> = expected
        .map(|(problem, count)| (Value::from(problem), Value::Integer(count), true))
        .into();
    assert_eq!(told, expected);
    let status = status(&app);
    assert_eq!(
        status["refused"],
        json!({"malformed": 1, "invalid_money": 1, "invalid_visitor": 1})
    );
    assert_eq!(status["misuse"]["event_refused"], 3);
    assert_eq!(
        collector.named("n").len() + collector.named("emoji 🫖  ").len(),
        2
    );
}

#[test]
fn what_the_collector_would_refuse_is_refused_at_the_call() {
    let data = tempfile::tempdir().unwrap();
    let app = open(data.path(), &TestClock::new());
    assert!(app.record(r#"{"type": "screen_view", "url": "Home"}"#));
    for (event, reason) in [
        (r#"{"type": "order"}"#, "malformed"),
        (r#"{"type": "exposure"}"#, "malformed"),
        (r#"{"type": "screen_view"}"#, "invalid_name"),
        (r#"{"type": "page_view"}"#, "invalid_url"),
        (r#"{"type": "page_view", "url": "Home"}"#, "invalid_url"),
        (r#"{"name": "   "}"#, "invalid_name"),
    ] {
        let before = status(&app)["refused"][reason].as_u64().unwrap_or(0);
        assert!(!app.record(event), "{event}");
        assert_eq!(status(&app)["refused"][reason], before + 1, "{event}");
    }
    assert_eq!(status(&app)["misuse"]["event_refused"], 6);
}

#[test]
fn misuse_that_never_ends_does_not_fill_the_queue() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open_with(data.path(), &clock, &json!({"queue_max_bytes": 65_536}));
    for _ in 0..5_000 {
        app.record("nonsense");
    }
    assert!(app.sync(10_000));
    let bytes: u64 = std::fs::read_dir(data.path().join("queue-0"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 2 << 20, "{bytes}");
    assert!(status(&app)["queued"].as_u64().unwrap() < 700);
}

#[test]
fn over_the_limit_of_bytes_the_oldest_go_and_orders_stay() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open_with(data.path(), &clock, &json!({"queue_max_bytes": 65_536}));
    app.network("offline");
    let order = json!({"type": "order", "order": {"id": "A-1", "currency": "EUR", "value": 1}});
    app.record(&order.to_string());
    for number in 0..2_000 {
        app.record(&numbered(number));
    }
    assert!(app.sync(10_000));
    let dropped = status(&app)["dropped"]["queue_bytes"].as_u64().unwrap();
    app.network("online");
    let mut collector = Collector::default();
    collector.drain(&app);
    let taps: Vec<i64> = collector
        .named("tap")
        .iter()
        .filter_map(|got| match got.property("number") {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        })
        .collect();
    assert_eq!(taps, (dropped as i64..2_000).collect::<Vec<_>>());
    assert!(dropped > 0 && collector.got.values().any(|got| got.event.order.is_some()));
}

#[test]
fn many_that_wait_are_few_in_memory_and_all_arrive() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.network("offline");
    for number in 0..10_000 {
        assert!(app.record(&numbered(number)));
    }
    drop(app);
    let app = open(data.path(), &clock);
    assert_eq!(status(&app)["restored"], 10_000);
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!((collector.got.len(), collector.copies), (10_000, 0));
    assert!(collector.batches <= 40, "{} batches", collector.batches);
}
