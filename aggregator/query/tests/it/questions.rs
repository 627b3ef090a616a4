//! Questions at random: all that the language has, mostly in combinations that make sense.

use proptest::prelude::*;
use serde_json::{Value, json};

const METRICS: [&str; 17] = [
    "visitors",
    "visits",
    "pageviews",
    "events",
    "views_per_visit",
    "bounce_rate",
    "visit_duration",
    "new_visitors",
    "returning_visitors",
    "orders",
    "total_revenue",
    "average_revenue",
    "percentage",
    "conversion_rate",
    "group_conversion_rate",
    "time_on_page",
    "scroll_depth",
];

const PROPERTIES: [&str; 14] = [
    "event:page",
    "event:page",
    "event:name",
    "event:goal",
    "event:hostname",
    "event:props:plan",
    "visit:source",
    "visit:utm_campaign",
    "visit:browser_version",
    "visit:device",
    "visit:channel",
    "visit:country",
    "visit:entry_page",
    "visit:exit_page",
];

const VALUES: [&str; 17] = [
    "/",
    "/a",
    "/b",
    "pageview",
    "order",
    "signup",
    "Thanks",
    "Paid",
    "x.example",
    "pro",
    "Google",
    "Direct / None",
    "(not set)",
    "(none)",
    "DE",
    "Desktop",
    "spring",
];

/// What rollups often answer: one property at most.
fn simple() -> impl Strategy<Value = Value> {
    let metrics = prop::sample::subsequence(METRICS[..12].to_vec(), 1..6);
    let range = ranges();
    (metrics, range, dimensions(1), prop::sample::select(PROPERTIES.to_vec()), prop::collection::vec(test(), 0..2), any::<bool>()).prop_map(
        |(metrics, date_range, mut dimensions, property, mut filters, both)| {
            for filter in &mut filters {
                filter[1] = json!(property);
            }
            if both && let Some(at) = dimensions.iter().position(|by| !by.starts_with("time")) {
                dimensions[at] = property;
            }
            json!({"site_id": 1, "metrics": metrics, "date_range": date_range, "dimensions": dimensions, "filters": filters})
        },
    )
}

fn dimensions(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    let time = prop::option::of(prop::sample::select(vec![
        "time",
        "time:hour",
        "time:day",
        "time:week",
        "time:month",
    ]));
    let properties = prop::sample::subsequence(PROPERTIES[1..].to_vec(), 0..=most);
    (time, properties).prop_map(|(time, properties)| time.into_iter().chain(properties).collect())
}

fn ranges() -> impl Strategy<Value = Value> {
    let days = (9..17_u8, 0..6_u8).prop_map(|(first, more)| {
        json!([
            format!("2026-11-{first:02}"),
            format!("2026-11-{:02}", first + more)
        ])
    });
    let hours = (10..15_u8, 0..24_u8, 1..30_u8).prop_map(|(day, hour, more)| {
        let end = hour + more;
        let end = format!("2026-11-{:02}T{:02}:00:00Z", day + end / 24, end % 24);
        json!([format!("2026-11-{day:02}T{hour:02}:00:00Z"), end])
    });
    let minutes = (10..15_u8, 0..23_u8, 0..60_u8).prop_map(|(day, hour, minute)| {
        let at = |hour: u8| format!("2026-11-{day:02}T{hour:02}:{minute:02}:00Z");
        json!([at(hour), at(hour + 1)])
    });
    prop_oneof![4 => days, 1 => hours, 1 => minutes]
}

fn test() -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec![
        "is",
        "is",
        "is_not",
        "contains",
        "contains_not",
        "matches",
        "matches_not",
    ]);
    let property = prop::sample::select(PROPERTIES.to_vec());
    let values = prop::sample::subsequence(VALUES.to_vec(), 1..4);
    let patterns = prop::sample::subsequence(vec!["^/", "b2?$", "oo", "(?i)PRO|free", "^$"], 1..3);
    (operator, property, values, patterns, 0..5_u8).prop_map(
        |(operator, property, values, patterns, case)| {
            let values = if operator.starts_with("matches") {
                patterns
            } else {
                values
            };
            if case == 0 {
                json!([operator, property, values, {"case_sensitive": false}])
            } else {
                json!([operator, property, values])
            }
        },
    )
}

/// A filter, with others in it.
pub(crate) fn filter() -> impl Strategy<Value = Value> {
    let inner = test().prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (prop::sample::select(vec!["and", "or"]), list)
                .prop_map(|(operator, list)| json!([operator, list])),
            inner.prop_map(|filter| json!(["not", filter])),
        ]
    });
    (inner, 0..6_u8).prop_map(|(filter, done)| match done {
        0 => json!(["has_done", filter]),
        1 => json!(["has_not_done", filter]),
        _ => filter,
    })
}

/// A question; not every one of them makes sense.
pub(crate) fn question() -> impl Strategy<Value = Value> {
    let metrics = prop::sample::subsequence(METRICS.to_vec(), 1..8);
    let any = (metrics, ranges(), dimensions(3), prop::collection::vec(filter(), 0..3)).prop_map(|(metrics, date_range, dimensions, filters)| {
        json!({"site_id": 1, "metrics": metrics, "date_range": date_range, "dimensions": dimensions, "filters": filters})
    });
    prop_oneof![any, simple()].prop_map(sensible)
}

/// Leaves out metrics that the rest of a question does not allow.
fn sensible(mut question: Value) -> Value {
    let dimensions = question["dimensions"].clone();
    let has = |name: &str| {
        dimensions
            .as_array()
            .unwrap()
            .iter()
            .any(|by| by.as_str().unwrap().starts_with(name))
    };
    let top = question["filters"].as_array().unwrap();
    let filtered = |name: &str| {
        top.iter().any(|filter| {
            !filter[0].as_str().unwrap().starts_with("has_") && filter.to_string().contains(name)
        })
    };
    let by_event = has("event:name")
        || has("event:goal")
        || has("event:props")
        || (has("event:hostname") && !has("event:page"));
    let goals = has("event:goal") || filtered("event:goal");
    let pages = has("event:page") || filtered("event:page");
    let metrics = question["metrics"].as_array().unwrap().iter();
    let mut kept: Vec<Value> = metrics
        .filter(|metric| match metric.as_str().unwrap() {
            "views_per_visit" | "bounce_rate" | "visit_duration" => !by_event,
            "percentage" => dimensions != json!([]),
            "conversion_rate" | "group_conversion_rate" => goals,
            "time_on_page" | "scroll_depth" => pages,
            _ => true,
        })
        .cloned()
        .collect();
    if kept.is_empty() {
        kept.push(json!("visitors"));
    }
    question["metrics"] = json!(kept);
    question
}
