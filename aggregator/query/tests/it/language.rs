//! Questions as JSON: what is printed can be parsed, what makes no sense is refused with its key, and nothing panics.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};
use wakeline_query::{Question, Request};

use crate::questions::question;

fn parse(question: &Value) -> Result<Question, String> {
    let request: Request =
        serde_json::from_value(question.clone()).map_err(|error| error.to_string())?;
    Question::new(request, &TimeZone::UTC).map_err(|error| error.to_string())
}

fn check(changes: &Value, why: &str) {
    let mut question = json!({"site_id": 1, "metrics": ["visitors"], "date_range": "day"});
    for (key, value) in changes.as_object().unwrap() {
        question[key] = value.clone();
    }
    let said = parse(&question).unwrap_err();
    assert!(said.contains(why), "{changes}: {said}");
}

#[test]
fn what_can_not_be_combined_is_refused_with_the_key_the_reason_and_what_instead() {
    check(&json!({"metric": []}), "unknown field `metric`");
    check(&json!({"metrics": []}), "metrics: give at least one");
    check(
        &json!({"metrics": ["users"]}),
        "metrics: there is no \"users\"; there are visitors",
    );
    check(
        &json!({"metrics": ["visits", "visits"]}),
        "metrics: \"visits\" is there twice",
    );
    check(
        &json!({"metrics": ["scroll_depth"]}),
        "scroll_depth needs an event:page filter or dimension",
    );
    check(
        &json!({"metrics": ["time_on_page"], "filters": [["has_done", ["is", "event:page", ["/"]]]]}),
        "time_on_page needs an event:page",
    );
    check(
        &json!({"metrics": ["conversion_rate"]}),
        "conversion_rate needs an event:goal",
    );
    check(
        &json!({"metrics": ["percentage"]}),
        "percentage needs a dimension",
    );
    check(
        &json!({"metrics": ["bounce_rate"], "dimensions": ["event:goal"]}),
        "bounce_rate can't be told by event:goal",
    );
    check(
        &json!({"metrics": ["bounce_rate"], "dimensions": ["event:props:plan"]}),
        "can't be told by event:props:plan",
    );
    check(
        &json!({"metrics": ["visit_duration"], "dimensions": ["event:hostname"]}),
        "add the dimension event:page",
    );
    check(
        &json!({"dimensions": ["visit:weather"]}),
        "dimensions: there is no \"visit:weather\"; there are time",
    );
    check(
        &json!({"dimensions": ["time", "time:day"]}),
        "one time dimension at most",
    );
    check(
        &json!({"dimensions": ["visit:os", "visit:os"]}),
        "dimensions: \"visit:os\" is there twice",
    );
    check(&json!({"date_range": "8d"}), "date_range: \"8d\"");
    check(
        &json!({"date_range": ["2026-01-02", "2026-01-01"]}),
        "ends before it begins",
    );
    check(
        &json!({"filters": [["is", "time", ["2026-01-01"]]]}),
        "choose another date_range",
    );
    check(
        &json!({"order_by": [["visits", "asc"]]}),
        "order_by: \"visits\" is not among",
    );
    check(
        &json!({"include": {"time_labels": true}}),
        "include: time_labels needs a time dimension",
    );
    check(
        &json!({"include": {"comparisons": {"mode": "custom"}}}),
        "needs a date_range",
    );
    check(
        &json!({"include": {"comparisons": {"mode": "previous_period"}}, "date_range": "all"}),
        "nothing before \"all\"",
    );
    check(
        &json!({"pagination": {"limit": 10_001}}),
        "pagination: limit is from 1 to 10000",
    );
    check(&json!({"site_id": null}), "site_id: give the id");
}

#[test]
fn every_key_is_printed_as_it_can_be_sent() {
    let all = json!({
        "site_id": "shop.example", "metrics": ["visitors", "total_revenue"], "date_range": ["2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"],
        "dimensions": ["time:minute", "event:props:plan"], "filters": [["is", "segment", [1]]],
        "order_by": [["event:props:plan", "desc"], ["visitors", "asc"]],
        "include": {"time_labels": true, "total_rows": true, "freshness": true, "generation": true, "source": true, "approximate": true, "imports": true,
            "comparisons": {"mode": "custom", "date_range": ["2025-01-01", "2025-01-02"], "match_day_of_week": false}},
        "pagination": {"limit": 5, "offset": 10},
    });
    assert_eq!(parse(&all).unwrap().to_json(), all);
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "visitors",
            "event:page",
            "time",
            "is",
            "and",
            "has_done",
            "segment",
            "all",
            "day",
            "matches",
            "previous_period"
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(word.clone(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_refused_or_understood_but_never_panics(
        key in prop::sample::select(vec!["site_id", "metrics", "date_range", "dimensions", "filters", "order_by", "include", "pagination"]),
        value in any_json(),
        base in question(),
    ) {
        let mut question = base;
        question[key] = value.clone();
        let _ = parse(&question);
        let _ = parse(&value);
    }

    #[test]
    fn what_is_printed_is_parsed_as_it_was(question in question()) {
        if let Ok(parsed) = parse(&question) {
            prop_assert_eq!(parse(&parsed.to_json()), Ok(parsed));
        }
    }
}
