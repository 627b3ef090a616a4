//! What recording costs its caller, and what waiting costs memory.
//!
//! `cargo bench -p wakeline-mobile --bench record` prints percentiles of single calls, on one thread and on four, and
//! the memory of a process with 10,000 events in its queue.

#![expect(clippy::expect_used, reason = "a bench that can't begin ends")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wakeline_mobile::App;
use wakeline_mobile::clock::DeviceClock;
use wakeline_mobile::settings::Settings;

const EVENT: &str = r#"{"type":"custom","name":"variant_selected","properties":{"position":7,"label":"cast iron","price":24.5,"in_stock":true,"list":"recommendations"}}"#;

fn open(folder: &std::path::Path) -> App {
    let settings = json!({"key": "wk_1", "url": "https://collector.example", "data_dir": folder, "os": "Android", "app_version": "2.1"});
    let settings = Settings::parse(&settings.to_string()).expect("settings");
    App::open(settings, Arc::new(DeviceClock::new())).expect("open")
}

/// One call each 200 µs: an app that records more is not one that people use.
fn timed(app: &App, calls: usize) -> Vec<Duration> {
    (0..calls)
        .map(|_| {
            std::thread::sleep(Duration::from_micros(200));
            let start = Instant::now();
            assert!(app.record(EVENT));
            start.elapsed()
        })
        .collect()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at =
        |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    println!(
        "{what}: median {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, most {:.1} µs, of {} calls",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        times.len()
    );
}

/// Of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let before = resident_kib();
        let app = open(&folder.path().join("memory"));
        let opened = resident_kib();
        app.network("offline");
        for _ in 0..10_000 {
            assert!(app.record(EVENT));
        }
        assert!(app.sync(60_000));
        let queued = resident_kib();
        println!(
            "resident: {before} KiB before, {opened} KiB open, {queued} KiB with 10,000 events queued: {} KiB more",
            queued.saturating_sub(before)
        );
    }
    let app = open(&folder.path().join("calls"));
    timed(&app, 500);
    print(
        "one thread, 5,000 calls a second at most",
        timed(&app, 10_000),
    );
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| timed(&app, 3_000))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    print("four threads", times);
    let start = Instant::now();
    let burst = 10_000;
    for _ in 0..burst {
        app.record(EVENT);
    }
    println!(
        "a burst of {burst}: {:.2} µs a call",
        start.elapsed().as_nanos() as f64 / 1e3 / f64::from(burst)
    );
}
