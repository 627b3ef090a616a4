//! Disks that are not there, are damaged, or shared.

use std::time::{Duration, Instant};

use serde_json::json;

use wakeline_mobile::app::Task;

use crate::host::{Collector, TestClock, numbered, open, status};

/// Waits for a state that another thread brings about.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn without_a_folder_events_are_in_memory_and_on_disk_once_there_is_one() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let folder = data.path().join("app");
    std::fs::write(&folder, "a file where the folder should be").unwrap();
    let app = open(&folder, &clock);
    assert!(app.record(&numbered(1)));
    assert!(!app.sync(100));
    assert_eq!(status(&app)["storage"], "memory");
    assert_ne!(status(&app)["storage_error"], "");
    // What is in memory is sent all the same.
    app.flush();
    let mut collector = Collector::default();
    eventually("sent from memory", || {
        if let wakeline_mobile::app::Task::Send(upload) = app.next_task(100) {
            collector.take(&app, &upload);
        }
        collector.got.len() == 1
    });
    assert!(app.record(&numbered(2)));
    std::fs::remove_file(&folder).unwrap();
    eventually("on disk again", || app.sync(100));
    assert_eq!(status(&app)["storage"], "disk");
    std::mem::forget(app); // as if it were killed
    let again = open(&folder, &clock);
    assert_eq!(
        status(&again)["restored"],
        0,
        "the first process still holds its queue"
    );
}

#[test]
fn a_denial_that_could_not_be_stored_is_said_and_stored_later() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.set_consent("granted");
    assert!(app.record(&numbered(1)) && app.sync(10_000));
    let state = data.path().join("state.json");
    let stored = || std::fs::read_to_string(&state).unwrap();
    assert!(stored().contains("granted"));
    // As on a full disk: nothing new can be made where the new state is to be written.
    let in_the_way = data
        .path()
        .join(format!("state.{}.new", std::process::id()));
    std::fs::create_dir(&in_the_way).unwrap();
    app.set_consent("denied");
    assert!(!app.sync(100));
    assert_eq!(status(&app)["storage"], "memory");
    assert_ne!(status(&app)["storage_error"], "");
    std::fs::remove_dir(&in_the_way).unwrap();
    eventually("stored by itself", || stored().contains("denied"));
    assert!(app.sync(10_000));
    assert_eq!(status(&app)["storage"], "disk");
    std::fs::create_dir(&in_the_way).unwrap();
    app.set_consent("granted");
    assert!(!app.shutdown(10_000));
    assert!(stored().contains("denied"));
}

#[test]
fn a_damaged_queue_costs_what_was_damaged_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let app = open(data.path(), &clock);
    app.network("offline");
    for number in 0..100 {
        app.record(&numbered(number));
    }
    drop(app);
    for file in std::fs::read_dir(data.path().join("queue-0")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 5_000 {
            bytes[5_000] ^= 0x55;
            bytes.extend(b"garbage at the end");
            std::fs::write(&path, bytes).unwrap();
        }
    }
    std::fs::write(data.path().join("queue-0/ffffffff.wkq"), [0xa7; 4_096]).unwrap();
    std::fs::write(data.path().join("queue-0/notes.txt"), "not ours").unwrap();
    std::fs::write(data.path().join("state.json"), "{").unwrap();
    let app = open(data.path(), &clock);
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 99);
    assert_eq!(status(&app)["corrupt"], 2);
    assert!(app.record(&numbered(100)) && app.sync(10_000));
}

#[test]
fn processes_that_share_a_folder_have_a_queue_each_and_inherit_from_the_dead() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let (first, second) = (open(data.path(), &clock), open(data.path(), &clock));
    for (app, number) in [(&first, 1), (&second, 2)] {
        app.network("offline");
        app.record(&numbered(number));
        assert!(app.sync(10_000));
    }
    assert_eq!(status(&first)["queued"], status(&second)["queued"]);
    drop((first, second));
    let app = open(data.path(), &clock);
    assert_eq!(status(&app)["restored"], 2);
    let mut collector = Collector::default();
    collector.drain(&app);
    assert_eq!(collector.got.len(), 2);
    drop(app);
    assert_eq!(status(&open(data.path(), &clock))["restored"], json!(0));
}

#[test]
fn a_denial_holds_for_every_process_of_the_folder() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let (first, second) = (open(data.path(), &clock), open(data.path(), &clock));
    for app in [&first, &second] {
        app.set_consent("granted");
        assert!(app.record(&numbered(1)));
        app.flush();
        assert!(app.sync(10_000));
    }
    first.set_consent("denied");
    assert!(first.sync(10_000));
    assert!(matches!(second.next_task(0), Task::Wait));
    assert!(!second.record(&numbered(2)) && !second.identify("somebody"));
    assert_eq!(status(&second)["dropped"], json!({"forgotten": 1}));
    assert_eq!(status(&second)["install"], status(&first)["install"]);
    assert!(second.shutdown(10_000));
    let state = std::fs::read_to_string(data.path().join("state.json")).unwrap();
    assert!(state.contains("denied"), "{state}");
    assert!(state.contains(status(&first)["install"].as_str().unwrap()));
    // And so does a later answer.
    first.set_consent("granted");
    assert!(first.sync(10_000));
    assert!(open(data.path(), &clock).record(&numbered(3)));
}

#[test]
fn what_a_dead_process_left_before_a_denial_is_not_sent() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let (first, second) = (open(data.path(), &clock), open(data.path(), &clock));
    second.record(&numbered(1));
    assert!(second.shutdown(10_000));
    first.forget();
    first.record(&numbered(2));
    assert!(first.shutdown(10_000));
    let mut collector = Collector::default();
    let app = open(data.path(), &clock);
    collector.drain(&app);
    assert_eq!(collector.got.len(), 1);
    assert_eq!(status(&app)["dropped"], json!({"forgotten": 1}));
}

#[test]
fn losses_between_processes_can_be_seen() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut streams = Vec::new();
    for number in 0..3 {
        let app = open(data.path(), &clock);
        app.record(&numbered(number));
        app.flush();
        assert!(app.sync(10_000));
        let wakeline_mobile::app::Task::Send(upload) = app.next_task(1_000) else {
            panic!("nothing to send")
        };
        let batch = crate::host::decoded(&upload);
        streams.push((batch.streams[0].id, batch.streams[0].predecessor));
        Collector::default().take(&app, &upload);
        assert!(app.shutdown(10_000));
    }
    assert_eq!(streams[1].1, streams[0].0);
    assert_eq!(streams[2].1, streams[1].0);
}
