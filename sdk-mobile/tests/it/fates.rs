//! Every event that was given a number has one fate, and the status says which.

use proptest::prelude::*;
use serde_json::{Value, json};
use wakeline_mobile::App;
use wakeline_mobile::app::Task;

use crate::host::{Collector, TestClock, numbered, open, status};

#[derive(Clone, Debug)]
enum Step {
    Record(u64),
    Order,
    /// What can't be an event.
    Nonsense,
    Identify,
    Forget,
    Consent(&'static str),
    /// So many batches are accepted.
    Send(usize),
    /// The collector can't read a batch.
    Spoilt,
    Restart,
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..30_u64).prop_map(Step::Record),
        1 => Just(Step::Order),
        1 => Just(Step::Nonsense),
        1 => Just(Step::Identify),
        1 => Just(Step::Forget),
        2 => prop::sample::select(vec!["denied", "granted", "granted", "none"]).prop_map(Step::Consent),
        2 => (1..3_usize).prop_map(Step::Send),
        1 => Just(Step::Spoilt),
        1 => Just(Step::Restart),
        1 => Just(Step::Sync),
    ]
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().into_iter().flatten();
    counts.filter_map(|(_, count)| count.as_u64()).sum()
}

/// Numbers that were given, or left by the process before; and fates, waiting counted as one.
fn both_sides(app: &App) -> (u64, u64) {
    let status = status(app);
    let number = |name: &str| status[name].as_u64().unwrap();
    let fates = number("accepted") + sum(&status["rejected"]) + sum(&status["dropped"]);
    (
        number("recorded") + number("restored"),
        fates + number("queued"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_number_has_one_fate(steps in prop::collection::vec(step(), 1..25)) {
        let data = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let mut app = open(data.path(), &clock);
        let mut collector = Collector::default();
        for step in steps {
            match step {
                Step::Record(count) => {
                    for number in 0..count {
                        app.record(&numbered(number));
                    }
                }
                Step::Order => {
                    app.record(&json!({"type": "order", "order": {"id": "A", "currency": "EUR", "value": 1}}).to_string());
                }
                Step::Nonsense => {
                    app.record("nonsense");
                }
                Step::Identify => {
                    app.identify("somebody");
                }
                Step::Forget => app.forget(),
                Step::Consent(word) => app.set_consent(word),
                Step::Send(batches) => {
                    app.flush();
                    prop_assert!(app.sync(10_000));
                    for _ in 0..batches {
                        if let Task::Send(upload) = app.next_task(0) {
                            collector.take(&app, &upload);
                        }
                    }
                }
                Step::Spoilt => {
                    app.flush();
                    prop_assert!(app.sync(10_000));
                    if let Task::Send(upload) = app.next_task(0) {
                        app.task_done(upload.id, 400, "", &[]);
                    }
                    clock.advance(600_000);
                }
                Step::Restart => {
                    drop(app);
                    app = open(data.path(), &clock);
                }
                Step::Sync => prop_assert!(app.sync(10_000)),
            }
            // Not only once all is settled: whoever looks in between sees each event somewhere.
            let (numbers, fates) = both_sides(&app);
            prop_assert_eq!(numbers, fates, "{}", app.status());
        }
    }
}

#[test]
fn what_a_refusal_erases_before_it_is_written_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let app = open(data.path(), &TestClock::new());
    assert!(app.sync(10_000)); // the worker gathers now, and takes nothing for some ms
    for number in 0..100 {
        assert!(app.record(&numbered(number)));
    }
    app.set_consent("denied");
    assert!(app.sync(10_000));
    let status = status(&app);
    assert_eq!(status["dropped"], json!({"forgotten": 100}));
    assert_eq!(
        (&status["recorded"], &status["queued"]),
        (&json!(100), &json!(0))
    );
}
