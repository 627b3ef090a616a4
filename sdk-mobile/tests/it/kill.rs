//! `kill -9` of a real process under load. The process is this test's executable, told by its environment to be one.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wakeline_client::Value;
use wakeline_mobile::App;
use wakeline_mobile::clock::DeviceClock;

use crate::host::{Collector, TestClock, numbered, open, settings};

const FOLDER: &str = "WAKELINE_TEST_KILLED_IN";
const FLUSH_MS: u64 = 200;

/// What the killed process does: it records, and says what was taken, and when.
#[test]
fn a_process_that_records_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return; // here it is only looked for by the tests below
    };
    let more = json!({"flush_interval_ms": FLUSH_MS});
    let app = App::open(
        settings(folder.as_ref(), &more),
        Arc::new(DeviceClock::new()),
    )
    .unwrap();
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        let order = json!({"type": "order", "properties": {"number": number}, "order": {"id": number.to_string(), "currency": "EUR", "value": 1}});
        let is_order = number % 20 == 0;
        assert!(app.record(&if is_order {
            order.to_string()
        } else {
            numbered(number)
        }));
        writeln!(out, "taken {number} {}", u8::from(is_order)).unwrap();
        out.flush().unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn kill_9_loses_no_order_whose_call_returned_and_nothing_older_than_the_flush_interval() {
    let clock = TestClock::new();
    for round in 0..4 {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::a_process_that_records_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = std::thread::spawn(move || {
            let taken = lines.map_while(Result::ok).filter_map(|line| {
                let (_, said) = line.split_once("taken ")?;
                let (number, order) = said.split_once(' ')?;
                Some((number.parse::<i64>().ok()?, order == "1", Instant::now()))
            });
            taken.collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(600 + 170 * round));
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        let taken = lines.join().unwrap();
        assert!(taken.len() > 20, "{} events in time", taken.len());
        let mut collector = Collector::default();
        collector.drain(&open(data.path(), &clock));
        let found: BTreeSet<i64> = collector
            .got
            .values()
            .filter_map(|got| match got.property("number") {
                Some(Value::Integer(number)) => Some(*number),
                _ => None,
            })
            .collect();
        assert_eq!(collector.got.len(), found.len(), "something came twice");
        for (number, order, at) in taken {
            let promised =
                order || killed.saturating_duration_since(at) > Duration::from_millis(FLUSH_MS);
            assert!(
                !promised || found.contains(&number),
                "{number} is lost (order: {order})"
            );
        }
    }
}
