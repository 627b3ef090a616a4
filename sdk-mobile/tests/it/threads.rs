//! 64 threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::json;
use wakeline_mobile::App;
use wakeline_mobile::app::Task;
use wakeline_mobile::clock::DeviceClock;

use crate::host::{Collector, numbered, settings, status};

#[test]
fn what_64_threads_record_while_others_send_arrives_once_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let more = json!({"batch_wait_ms": 10});
    let app =
        Arc::new(App::open(settings(data.path(), &more), Arc::new(DeviceClock::new())).unwrap());
    let collector = Arc::new(Mutex::new(Collector::default()));
    let ended = Arc::new(AtomicBool::new(false));
    let hosts: Vec<_> = (0..4)
        .map(|_| {
            let (app, collector, ended) =
                (Arc::clone(&app), Arc::clone(&collector), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.load(SeqCst) {
                    if let Task::Send(upload) = app.next_task(20) {
                        collector.lock().unwrap().take(&app, &upload);
                    }
                }
            })
        })
        .collect();
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..64_u64 {
            let (app, taken) = (&app, &taken);
            scope.spawn(move || {
                for number in 0..100 {
                    let order = json!({"type": "order", "order": {"id": format!("{thread}-{number}"), "currency": "EUR", "value": 1}});
                    let said = if number % 50 == 7 { order.to_string() } else { numbered(number) };
                    taken.fetch_add(u64::from(app.record(&said)), SeqCst);
                    match number {
                        30 => app.start_timer("t"),
                        60 => app.lifecycle("background"),
                        61 => app.flush(),
                        80 => assert!(!app.status().is_empty()),
                        _ => {}
                    }
                }
            });
        }
    });
    assert_eq!(taken.load(SeqCst), 6_400);
    assert!(app.sync(10_000));
    app.flush();
    let start = std::time::Instant::now();
    while status(&app)["queued"] != 0 {
        assert!(start.elapsed().as_secs() < 30, "{}", app.status());
        app.flush();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    ended.store(true, SeqCst);
    for host in hosts {
        host.join().unwrap();
    }
    let collector = collector.lock().unwrap();
    assert_eq!((collector.got.len(), collector.copies), (6_400, 0));
    assert_eq!(status(&app)["accepted"], 6_400);
}
