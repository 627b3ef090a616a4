//! What a host pulls, and what answers do.

use serde_json::json;
use wakeline_client::Value;
use wakeline_mobile::app::{Task, Upload};
use wakeline_mobile::settings::Target;

use crate::host::{
    Collector, TestClock, accepted, decoded, events, numbered, open, open_with, status,
};

fn send(task: Task) -> Upload {
    match task {
        Task::Send(upload) => upload,
        other => panic!("nothing to send: {other:?}"),
    }
}

fn target(json: &serde_json::Value) -> Target {
    Target::parse(&json.to_string()).unwrap()
}

#[test]
fn a_batch_says_whose_it_is_and_leaves_the_queue_when_it_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let device = json!({"sdk": "kotlin", "os": "Android", "os_version": "16", "app_version": "2.1", "language": "de"});
    let app = open_with(data.path(), &clock, &device);
    assert!(app.identify("customer-17"));
    assert!(app.record(&numbered(1)));
    app.flush();
    assert!(app.sync(10_000));
    let upload = send(app.next_task(1_000));
    assert_eq!(upload.url, "https://collector.example/w/1/batch");
    let batch = decoded(&upload);
    let device = batch.device.clone().unwrap_or_default();
    assert_eq!(
        (batch.key.as_str(), batch.user.as_str()),
        ("wk_1", "customer-17")
    );
    assert_eq!(batch.client.clone().unwrap_or_default().name, "kotlin");
    assert_eq!(
        (device.os.as_str(), device.app_version.as_str()),
        ("Android", "2.1")
    );
    assert_eq!(batch.visitor.len(), 32);
    assert!(matches!(app.next_task(0), Task::Wait), "one at a time");
    assert_eq!(status(&app)["queued"], 2);
    app.task_done(upload.id, 202, "", &accepted(&batch));
    let status = status(&app);
    assert_eq!(
        (&status["queued"], &status["accepted"]),
        (&json!(0), &json!(2))
    );
}

#[test]
fn events_wait_for_company_and_orders_do_not() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.record(&numbered(1));
    assert!(app.sync(10_000));
    assert!(matches!(app.next_task(0), Task::Wait));
    let order = json!({"type": "order", "order": {"id": "A-1", "currency": "EUR", "value": 3600}});
    assert!(app.record(&order.to_string()));
    assert_eq!(events(&decoded(&send(app.next_task(5_000)))).len(), 2);
}

#[test]
fn in_the_background_and_on_metered_networks_the_radio_is_woken_less() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    for (state, network, waits_ms) in [
        ("foreground", "online", 5_000),
        ("foreground", "metered", 30_000),
        ("background", "online", 900_000),
    ] {
        app.lifecycle(state);
        app.network(network);
        let mut collector = Collector::default();
        collector.drain(&app);
        // Something each half second, so that silence ends no wait; few enough not to fill a batch.
        let started = clock_ms(&clock);
        app.record(&numbered(0));
        while matches!(next_after_sync(&app), Task::Wait) {
            clock.advance(500);
            let waited = clock_ms(&clock) - started;
            if waited < 20_000 {
                app.record(&numbered(waited));
            }
            assert!(waited <= 1_000_000, "{state} {network}: never sent");
        }
        let waited = clock_ms(&clock) - started;
        let expected = if waits_ms == 5_000 {
            5_000
        } else {
            20_500.min(waits_ms)
        };
        assert!(
            waited >= expected && waited <= waits_ms,
            "{state} {network}: {waited} ms"
        );
        app.task_done(u64::MAX, 0, "", &[]); // of no task: nothing
        drop(collector);
        finish(&app);
    }
}

fn clock_ms(clock: &TestClock) -> u64 {
    use wakeline_mobile::clock::Clock as _;
    clock.now().mono_ms
}

fn next_after_sync(app: &wakeline_mobile::App) -> Task {
    assert!(app.sync(10_000));
    app.next_task(0)
}

/// Takes back what is under way by naming the collector anew, and sends all.
fn finish(app: &wakeline_mobile::App) {
    app.reconfigure(target(&json!({"key": "wk_1"})));
    Collector::default().drain(app);
}

#[test]
fn a_revoked_key_stops_sending_and_a_new_one_sends_all_that_was_kept() {
    for refusal in [401, 403] {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let app = open(data.path(), &clock);
        app.record(&numbered(1));
        app.flush();
        assert!(app.sync(10_000));
        let upload = send(app.next_task(1_000));
        app.task_done(upload.id, refusal, "", b"{}");
        clock.advance(86_400_000);
        app.record(&numbered(2));
        app.flush();
        assert!(app.sync(10_000));
        assert!(matches!(app.next_task(0), Task::Wait));
        assert_eq!(
            (&status(&app)["stopped"], &status(&app)["queued"]),
            (&json!(refusal), &json!(2))
        );
        app.reconfigure(target(&json!({"key": "wk_2"})));
        let mut collector = Collector::default();
        collector.drain(&app);
        assert_eq!(collector.got.len(), 2);
        assert_eq!(status(&app)["stopped"], 0);
    }
}

#[test]
fn too_large_a_batch_is_split_until_it_fits() {
    let data = tempfile::tempdir().unwrap();
    let app = open(data.path(), &TestClock::new());
    for number in 0..40 {
        app.record(&numbered(number));
    }
    app.flush();
    assert!(app.sync(10_000));
    let mut collector = Collector::default();
    let mut refused = 0;
    while let Task::Send(upload) = app.next_task(0) {
        if events(&decoded(&upload)).len() > 7 {
            refused += 1;
            app.task_done(upload.id, 413, "", &[]);
        } else {
            collector.take(&app, &upload);
        }
        app.flush();
        assert!(app.sync(10_000));
    }
    assert!(refused > 0);
    assert_eq!((collector.got.len(), collector.copies), (40, 0));
}

#[test]
fn an_event_that_spoils_its_batch_is_dropped_alone_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    for number in 0..30 {
        app.record(&numbered(number));
    }
    let mut collector = Collector::default();
    for _ in 0..200 {
        app.flush();
        assert!(app.sync(10_000));
        let Task::Send(upload) = app.next_task(0) else {
            clock.advance(60_000);
            continue;
        };
        let poison = |got: &crate::host::Got| got.property("number") == Some(&Value::Integer(13));
        if events(&decoded(&upload)).iter().any(poison) {
            app.task_done(upload.id, 400, "", &[]);
        } else {
            collector.take(&app, &upload);
        }
    }
    assert_eq!(collector.got.len(), 29);
    let status = status(&app);
    assert_eq!(
        (&status["dropped"]["unreadable"], &status["queued"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn a_wait_that_the_collector_asked_for_outlives_the_process() {
    for (retry_after, waits_ms) in [
        ("120", 120_000),
        ("Mon, 21 Sep 2026 14:15:20 GMT", 120_000), // two minutes after the tests' clock
    ] {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let app = open(data.path(), &clock);
        app.record(&numbered(1));
        app.flush();
        assert!(app.sync(10_000));
        let upload = send(app.next_task(1_000));
        app.task_done(upload.id, 503, retry_after, &[]);
        assert!(app.shutdown(10_000));
        drop(app);
        let app = open(data.path(), &clock);
        app.network("offline");
        app.network("online");
        app.flush();
        assert!(app.sync(10_000));
        assert!(matches!(app.next_task(0), Task::Wait), "{retry_after}");
        clock.advance(waits_ms + 2_000);
        let mut collector = Collector::default();
        collector.drain(&app);
        assert_eq!(collector.got.len(), 1, "{retry_after}");
    }
}

#[test]
fn an_answer_that_is_not_the_collector_s_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.record(&numbered(1));
    for (code, body) in [
        (0, &b""[..]),
        (200, b"<html>Sign in to the hotel's network"),
        (202, b"<html>"),
        (302, b""),
        (404, b"not here"),
        (500, b""),
        (429, b""),
    ] {
        app.flush();
        assert!(app.sync(10_000));
        let upload = send(app.next_task(1_000));
        app.task_done(upload.id, code, "nonsense", body);
        assert!(matches!(app.next_task(0), Task::Wait), "{code}");
        assert_eq!(status(&app)["queued"], 1, "{code}");
        clock.advance(3_600_000);
    }
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 1);
}

#[test]
fn shutting_down_ends_a_host_s_wait_and_keeps_what_was_not_sent() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = std::sync::Arc::new(open(data.path(), &clock));
    let host = std::thread::spawn({
        let app = std::sync::Arc::clone(&app);
        move || app.next_task(60_000)
    });
    app.record(&numbered(1));
    assert!(app.shutdown(10_000));
    assert!(matches!(host.join().unwrap(), Task::Stop));
    assert!(!app.record(&numbered(2)) && !app.shutdown(0) && !app.sync(0));
    drop(app);
    let mut collector = Collector::default();
    collector.drain(&open(data.path(), &clock));
    assert_eq!(collector.got.len(), 1);
}
