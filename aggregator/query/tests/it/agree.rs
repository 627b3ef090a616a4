//! The same question gets the same answer from rollups, from events and from the model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use wakeline_query::{
    Answer, Circumstances, Definitions, Goal, GoalRule, Question, Rows, Sample, SampledEvent, Scan,
    SiteRules, Time,
    rollup::{self, Plan},
};

use crate::{
    history::{History, Rollups, batches, histories},
    model::Model,
    questions::question,
};

type Results = BTreeMap<Vec<String>, Vec<Value>>;

fn parse(question: &Value, history: &History) -> Result<Question, String> {
    let request = serde_json::from_value(question.clone()).map_err(|error| error.to_string())?;
    Question::new(request, &history.timezone()).map_err(|error| error.to_string())
}

fn results(question: &Question, time: &Time, rows: Rows) -> Results {
    let circumstances = Circumstances::<()> {
        currency: "EUR".to_owned(),
        ..Circumstances::default()
    };
    let answer = Answer::new(question, time, rows, None, circumstances);
    let rows = answer.results().iter().map(|row| {
        let plain = |metric: &Value| match metric {
            Value::Object(money) => json!({"value": money["value"], "currency": money["currency"]}),
            other => other.clone(),
        };
        (
            row.dimensions.clone(),
            row.metrics.iter().map(plain).collect(),
        )
    });
    rows.collect()
}

fn from_events(
    question: &Question,
    time: &Time,
    history: &History,
    definitions: &Definitions,
) -> Results {
    let rules = SiteRules {
        timezone: history.timezone(),
        gap_ms: history.gap_ms,
    };
    let filters = definitions.filters(&question.filters).unwrap();
    let mut scan = Scan::new(question, definitions, &filters, time.clone(), rules);
    let (batches, texts) = batches(history, scan.fields(), &scan.reads());
    for batch in &batches {
        scan.add(batch, &texts).unwrap();
    }
    results(question, time, scan.finish(question))
}

/// The latest events of a question, at most so many, and how many there are.
fn sampled(
    question: &Question,
    time: &Time,
    history: &History,
    definitions: &Definitions,
    limit: usize,
) -> (Vec<SampledEvent>, u64) {
    let rules = SiteRules {
        timezone: history.timezone(),
        gap_ms: history.gap_ms,
    };
    let filters = definitions.filters(&question.filters).unwrap();
    let time = time.clone();
    let mut sample = Sample::new(question, definitions, &filters, time, rules, limit);
    let (batches, texts) = batches(history, sample.fields(), &sample.reads());
    for batch in &batches {
        sample.add(batch, &texts);
    }
    sample.finish()
}

fn from_rollups(
    question: &Question,
    time: &Time,
    rollups: &Rollups,
    definitions: &Definitions,
) -> Option<Results> {
    let filters = definitions.filters(&question.filters).unwrap();
    let rows = match rollup::plan(question, definitions, &filters, time).ok()? {
        Plan::Totals(read) => {
            let rows = rollups.totals(read.grain, &read.windows);
            rollup::total_rows(question, time, read.grain, &rows)
        }
        Plan::Values(values) => {
            let entries = if values.with_entry_pages {
                rollups.values(wakeline_engine::Dimension::EntryPage, &values.days)
            } else {
                Vec::new()
            };
            values.rows(
                question,
                time,
                rollups.values(values.dimension, &values.days),
                entries,
            )?
        }
    };
    Some(results(question, time, rows))
}

fn goals() -> Vec<(&'static str, Value)> {
    let thanks = json!([
        "and",
        [
            ["is", "event:name", ["pageview"]],
            ["matches", "event:page", ["^/b[^/]*$"]]
        ]
    ]);
    let paid = json!([
        "and",
        [
            ["is", "event:props:plan", ["pro"]],
            ["has_done", ["is", "event:name", ["order"]]]
        ]
    ]);
    vec![
        ("Thanks", thanks),
        ("Paid", paid),
        ("signup", json!(["is", "event:name", ["scroll"]])),
    ]
}

fn definitions() -> Definitions {
    let of = |name: &str, rule: GoalRule| Goal::new(name, &rule).unwrap();
    let [_, (_, paid), _] = <[_; 3]>::try_from(goals()).unwrap();
    Definitions {
        goals: vec![
            of("Thanks", GoalRule::Page("/b*".to_owned())),
            of("Paid", GoalRule::Filter(paid)),
            of("signup", GoalRule::Event("scroll".to_owned())),
        ],
        segments: Vec::new(),
    }
}

#[derive(Default)]
struct Tally {
    asked: u32,
    refused: u32,
    by_rollups: u32,
    rows: usize,
}

fn check(history: &History, questions: &[Value], tally: &mut Tally) -> Result<(), TestCaseError> {
    let rollups = Rollups::of(history);
    let zone = history.timezone();
    for json in questions {
        tally.asked += 1;
        let Ok(question) = parse(json, history) else {
            tally.refused += 1;
            continue;
        };
        let time = Time::of(&question, &zone, 0, None).unwrap();
        for (goals, definitions) in [
            (Vec::new(), Definitions::default()),
            (goals(), definitions()),
        ] {
            let expected = Model::of(history, &goals).results(json);
            tally.rows += expected.len();
            let events = from_events(&question, &time, history, &definitions);
            prop_assert_eq!(&events, &expected, "by events: {}", json);
            if let Some(rows) = from_rollups(&question, &time, &rollups, &definitions) {
                tally.by_rollups += 1;
                prop_assert_eq!(&rows, &expected, "by rollups: {}", json);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_visit_may_be_asked_for_a_goal_that_asks_what_the_visit_has_done(history in histories()) {
        let question = json!({
            "site_id": 1,
            "metrics": ["visits", "events"],
            "date_range": ["2026-11-01", "2026-11-30"],
            "filters": [["has_done", ["is", "event:goal", ["Paid"]]]],
        });
        check(&history, &[question], &mut Tally::default())?;
    }

    #[test]
    fn a_sample_has_the_latest_of_the_events_that_are_counted(history in histories(), asked in question()) {
        let mut events = json!({"site_id": 1, "metrics": ["events"]});
        for key in ["date_range", "filters"] {
            if let Some(value) = asked.get(key) {
                events[key] = value.clone();
            }
        }
        let Ok(question) = parse(&events, &history) else {
            return Ok(());
        };
        let time = Time::of(&question, &history.timezone(), 0, None).unwrap();
        let (goals, definitions) = (goals(), definitions());
        let counted = Model::of(&history, &goals).results(&events);
        let (all, matching) = sampled(&question, &time, &history, &definitions, usize::MAX);
        prop_assert_eq!(&counted[&Vec::new()], &vec![json!(matching)], "{}", events);
        prop_assert_eq!(all.len() as u64, matching);
        let (some, matching_still) = sampled(&question, &time, &history, &definitions, 3);
        prop_assert_eq!(matching_still, matching);
        prop_assert_eq!(&some, &all[..all.len().min(3)]);
        let times = all.iter().map(|event| json!(event)["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
        prop_assert!(times.rev().is_sorted(), "the latest come first");
    }
}

#[test]
fn rollups_events_and_the_model_agree() {
    let mut tally = Tally::default();
    let strategy = (histories(), prop::collection::vec(question(), 6));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    });
    let tallied = std::cell::RefCell::new(&mut tally);
    let ran = runner.run(&strategy, |(history, questions)| {
        check(&history, &questions, &mut tallied.borrow_mut())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
    // The questions are worth asking.
    let Tally {
        asked,
        refused,
        by_rollups,
        rows,
    } = tally;
    assert!(
        refused * 5 < asked,
        "{refused} of {asked} questions make no sense"
    );
    assert!(
        by_rollups * 8 > asked,
        "{by_rollups} of {asked} answered by rollups"
    );
    assert!(rows as u32 > asked, "{rows} rows for {asked} questions");
}
