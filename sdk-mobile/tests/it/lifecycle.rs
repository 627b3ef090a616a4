//! Sessions, openings, screens, persons: what calls come to.

use serde_json::{Value as Json, json};
use wakeline_client::Value;
use wakeline_client::v1::EventType;

use crate::host::{Collector, TestClock, numbered, open, open_with, status};

#[test]
fn the_first_time_that_an_app_is_seen_tells_of_open_and_install() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.lifecycle("foreground");
    clock.advance(600);
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.names(), ["app_open", "app_install"]);
    let open = collector.named("app_open")[0];
    assert_eq!(open.property("session"), Some(&Value::Integer(1)));
    assert_eq!(open.property("crash_free"), Some(&Value::Flag(true)));
    assert!(!open.event.passive && collector.named("app_install")[0].event.passive);
}

#[test]
fn a_session_ends_after_half_an_hour_without_an_event() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    let mut collector = Collector::default();
    for (minutes, session) in [(0, 1), (29, 1), (31, 2), (29, 2)] {
        clock.advance(minutes * 60_000);
        app.lifecycle("foreground");
        app.lifecycle("background");
        assert_eq!(status(&app)["session"], session, "after {minutes} minutes");
    }
    collector.drain(&app);
    assert_eq!(collector.named("app_open").len(), 2);
    assert_eq!(
        collector.named("app_open")[1].property("cold"),
        Some(&Value::Flag(false))
    );
}

#[test]
fn an_app_that_died_before_the_eyes_of_its_user_says_so_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut collector = Collector::default();
    let crashed = open(data.path(), &clock);
    crashed.lifecycle("foreground");
    assert!(crashed.sync(10_000));
    std::mem::forget(crashed); // no shutdown: as if it were killed
    for (crash_free, version) in [(false, "1"), (true, "2"), (true, "2")] {
        clock.advance(3_600_000);
        let app = open_with(data.path(), &clock, &json!({"app_version": version}));
        app.lifecycle("foreground");
        collector.drain(&app);
        let opened = collector
            .named("app_open")
            .into_iter()
            .max_by_key(|got| {
                got.property("session")
                    .map(|session| format!("{session:?}"))
            })
            .cloned();
        assert_eq!(
            opened.unwrap().property("crash_free"),
            Some(&Value::Flag(crash_free)),
            "{version}"
        );
        assert!(app.shutdown(10_000));
    }
    let upgrades: Vec<_> = collector
        .named("app_upgrade")
        .iter()
        .map(|got| got.property("from").cloned())
        .collect();
    assert_eq!(upgrades, [Some(Value::from("1"))]);
}

#[test]
fn a_link_or_a_push_that_opens_the_app_is_what_its_visit_came_by() {
    for before in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let app = open(data.path(), &clock);
        let link = "shop://product/7?utm_source=newsletter&utm_campaign=spring";
        if before {
            app.open_link(link);
            app.lifecycle("foreground");
        } else {
            app.lifecycle("foreground");
            clock.advance(100);
            app.open_link(link);
        }
        clock.advance(10_000);
        app.open_push("summer sale/ü");
        let mut collector = Collector::default();
        collector.drain(&app);
        let open = collector.named("app_open")[0];
        assert_eq!((open.url.as_str(), open.id.seq), (link, 0));
        assert_eq!(open.property("opened_by"), Some(&Value::from("link")));
        assert_eq!(
            collector.named("push_open")[0].url,
            "app://push/?utm_source=push&utm_medium=push&utm_campaign=summer%20sale%2F%C3%BC"
        );
    }
}

#[test]
fn attention_is_counted_on_a_screen_while_the_app_is_seen() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    let screen = |name: &str| app.record(&json!({"type": "screen_view", "url": name}).to_string());
    app.lifecycle("foreground");
    clock.advance(5); // of the first screen: there was none before
    screen("Home");
    clock.advance(4_000);
    app.record(&json!({"type": "scroll", "properties": {"percent": 70}}).to_string());
    app.lifecycle("background");
    clock.advance(60_000);
    app.lifecycle("foreground");
    clock.advance(1_000);
    screen("Cart");
    clock.advance(2_000);
    assert!(app.shutdown(10_000));
    drop(app);
    let mut collector = Collector::default();
    collector.drain(&open(data.path(), &clock));
    let engaged: Vec<_> = collector
        .got
        .values()
        .filter_map(|got| Some((got.url.as_str(), got.event.engagement?)))
        .map(|(screen, engagement)| (screen, engagement.time_ms, engagement.scroll_percent))
        .collect();
    assert_eq!(
        engaged,
        [("Home", 4_005, 70), ("Home", 1_000, 0), ("Cart", 2_000, 0)]
    );
}

#[test]
fn events_have_the_screen_the_person_and_the_defaults_of_their_time() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.set_defaults(r#"{"plan":"free","beta":true}"#);
    app.record(r#"{"type":"screen_view","name":"Home"}"#);
    app.record(r#"{"name":"a","properties":{"plan":"pro"}}"#);
    app.identify("me");
    app.set_defaults("{}");
    app.record(r#"{"name":"b"}"#);
    app.reset();
    app.record(r#"{"name":"c"}"#);
    let mut collector = Collector::default();
    collector.drain(&app);
    let got = |name| collector.named(name)[0].clone();
    assert_eq!(got("a").property("plan"), Some(&Value::from("pro")));
    assert_eq!(got("a").property("beta"), Some(&Value::Flag(true)));
    assert_eq!(got("b").event.properties, []);
    assert_eq!(
        (got("a").url, got("b").user, got("c").user),
        ("Home".into(), "me".into(), String::new())
    );
    assert!(got("a").visitor == got("b").visitor && got("b").visitor != got("c").visitor);
}

#[test]
fn who_is_signed_in_and_the_install_outlive_the_process() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.identify("me");
    let install = status(&app)["install"].clone();
    drop(app);
    let app = open(data.path(), &clock);
    app.record(&numbered(1));
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(
        (
            &status(&app)["install"],
            collector.named("tap")[0].user.as_str()
        ),
        (&install, "me")
    );
}

#[test]
fn a_timed_event_says_how_long_it_took() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.start_timer("checkout");
    clock.advance(2_500);
    app.record(r#"{"name":"checkout"}"#);
    app.record(r#"{"name":"checkout"}"#);
    let mut collector = Collector::default();
    collector.drain(&app);
    let durations: Vec<_> = collector
        .named("checkout")
        .iter()
        .map(|got| got.property("duration_ms").cloned())
        .collect();
    assert_eq!(durations, [Some(Value::Integer(2_500)), None]);
}

#[test]
fn without_consent_nothing_is_recorded_and_a_refusal_erases_what_waits() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open_with(data.path(), &clock, &json!({"consent": "pending"}));
    app.lifecycle("foreground");
    assert!(!app.record(&numbered(1)));
    app.set_consent("granted");
    assert!(app.record(&numbered(2)));
    let install = status(&app)["install"].clone();
    app.set_consent("denied");
    assert!(!app.record(&numbered(3)));
    app.set_consent("granted");
    assert!(app.record(&numbered(4)));
    let mut collector = Collector::default();
    collector.drain(&app);
    let numbers: Vec<_> = collector
        .got
        .values()
        .map(|got| got.property("number").cloned())
        .collect();
    assert_eq!(numbers, [Some(Value::Integer(4))]);
    let status = status(&app);
    assert_ne!(status["install"], install);
    assert_eq!(status["refused"], json!({"no_consent": 2}));
}

#[test]
fn what_is_forgotten_is_gone_from_the_device() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.identify("a-secret-name");
    app.record(r#"{"name":"a-secret-event"}"#);
    assert!(app.sync(10_000));
    app.forget();
    assert!(app.shutdown(10_000));
    drop(app);
    for file in walk(data.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("a-secret"), "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn every_kind_of_event_arrives_as_it_was_said() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    let order: Json = json!({"id": "A-1", "currency": "EUR", "value": 3600, "items": [{"sku": "AL-101", "name": "Mug", "price": 1800, "quantity": 2}]});
    for kind in [
        "page_view",
        "screen_view",
        "click",
        "scroll",
        "swipe",
        "form",
        "product_view",
        "cart",
        "checkout",
        "order",
        "exposure",
    ] {
        let mut said = json!({"type": kind});
        if ["product_view", "cart", "checkout", "order"].contains(&kind) {
            said["order"] = order.clone();
        }
        match kind {
            "page_view" => said["url"] = json!("https://shop.example/"),
            "screen_view" => said["url"] = json!("Home"),
            _ => {}
        }
        if kind == "exposure" {
            said["exposure"] = json!({"experiment": "e", "variant": "b"});
        }
        assert!(app.record(&said.to_string()), "{kind}");
    }
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 11);
    let orders = collector
        .got
        .values()
        .filter(|got| got.event.order.is_some());
    assert!(
        orders.clone().count() == 4
            && orders
                .clone()
                .all(|got| got.event.order.as_ref().unwrap().items[0].quantity == 2)
    );
    assert!(
        collector
            .got
            .values()
            .any(|got| got.event.event_type == EventType::Exposure && got.event.exposure.is_some())
    );
}
