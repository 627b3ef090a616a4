//! Offline for a week, clocks that are set, devices that are started again.

use serde_json::json;
use wakeline_client::v1::Clock as By;

use crate::host::{Collector, START_MS, TestClock, numbered, open, open_with, status};

const DAY_MS: u64 = 86_400_000;

#[test]
fn a_week_offline_arrives_whole_and_at_its_times() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut app = open(data.path(), &clock);
    app.network("offline");
    for minute in 0..7 * 24 * 60_u64 {
        assert!(app.record(&numbered(minute)));
        clock.advance(60_000);
        if minute % 1_500 == 1_499 {
            assert!(app.shutdown(10_000));
            app = open(data.path(), &clock);
            app.network("offline");
        }
    }
    app.network("online");
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!((collector.got.len(), collector.copies), (10_080, 0));
    for got in collector.got.values() {
        let Some(wakeline_client::Value::Integer(minute)) = got.property("number") else {
            panic!("no number")
        };
        assert_eq!(
            (got.age_ms, got.clock),
            ((10_080 - minute) * 60_000, By::Monotonic)
        );
    }
}

#[test]
fn a_clock_that_is_set_changes_no_age_even_over_a_restart_of_the_app() {
    for wall in [START_MS - 365 * DAY_MS, START_MS + 365 * DAY_MS, 0] {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let app = open(data.path(), &clock);
        app.record(&numbered(1));
        clock.advance(1_000);
        clock.set_wall(wall);
        app.record(&numbered(2));
        drop(app);
        clock.advance(1_000);
        let app = open(data.path(), &clock);
        let mut collector = Collector::default();
        collector.drain(&app);
        let ages: Vec<i64> = collector.got.values().map(|got| got.age_ms).collect();
        assert_eq!(ages, [2_000, 1_000], "{wall}");
        assert_eq!(status(&app)["dropped"], json!({}));
    }
}

#[test]
fn over_a_restart_of_the_device_the_wall_clock_counts() {
    for (wall_before, wall_after, age) in [
        (START_MS, START_MS + 3_000, 3_000),
        (START_MS, START_MS - 365 * DAY_MS, -((365 * DAY_MS) as i64)),
        // A clock that was never set when the event happened.
        (86_400_000, START_MS, 0),
    ] {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        clock.set_wall(wall_before);
        let app = open(data.path(), &clock);
        app.record(&numbered(1));
        drop(app);
        clock.reboot();
        clock.set_wall(wall_after);
        let mut collector = Collector::default();
        collector.drain(&open(data.path(), &clock));
        let got: Vec<_> = collector
            .got
            .values()
            .map(|got| (got.age_ms, got.clock))
            .collect();
        assert_eq!(got, [(age, By::Wall)]);
    }
}

#[test]
fn what_no_server_takes_any_more_is_given_up_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open_with(data.path(), &clock, &json!({"queue_max_age_days": 7}));
    app.network("offline");
    app.record(&numbered(1));
    clock.advance(7 * DAY_MS + 1);
    app.record(&numbered(2));
    app.network("online");
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 1);
    assert_eq!(status(&app)["dropped"], json!({"queue_age": 1}));
}

#[test]
fn events_of_an_older_version_of_the_app_stay_of_that_version() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    for version in ["1.0", "2.0"] {
        let app = open_with(data.path(), &clock, &json!({"app_version": version}));
        app.record(&json!({"name": version}).to_string());
        app.network("offline");
    }
    let app = open_with(data.path(), &clock, &json!({"app_version": "3.0"}));
    app.record(r#"{"name":"3.0"}"#);
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 3);
    assert!(
        collector
            .got
            .values()
            .all(|got| got.app_version == got.event.name)
    );
}
