use std::{ops::Range, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_query::Field;

use super::{Stores, ask, visitors_now};
use crate::{
    control::{ControlSnapshot, Site},
    events::{EachBatch, EventError, EventSource},
    metrics::{MetricError, MetricStore, Watermark},
};

/// 2026-11-20T12:34:56Z, a Friday.
const NOW: i64 = 1_795_178_096_000;
/// That day.
const TODAY: i64 = 20_777;

/// Rows by hand: totals as (grain, window, row), values as (dimension, day, value, row).
#[derive(Default)]
struct Rows {
    totals: Vec<(Grain, i64, Row)>,
    values: Vec<(Dimension, i64, &'static str, Row)>,
}

impl MetricStore for Rows {
    fn totals(
        &self,
        _: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>> {
        let rows = self
            .totals
            .iter()
            .filter(|(of, window, _)| *of == grain && windows.contains(window));
        let rows = rows
            .map(|(_, window, row)| (*window, row.clone()))
            .collect();
        async move { Ok(rows) }.boxed()
    }

    fn breakdown(
        &self,
        _: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, String, Row)>, MetricError>> {
        let rows = self
            .values
            .iter()
            .filter(|(of, day, ..)| *of == dimension && days.contains(day));
        let rows = rows
            .map(|(_, day, page, row)| (*day, (*page).to_owned(), row.clone()))
            .collect();
        async move { Ok(rows) }.boxed()
    }

    fn watermark(&self) -> Watermark {
        Watermark {
            log_end: 9,
            applied: 8,
            at_ms: 7,
        }
    }
}

/// No question of these tests is to read events.
struct NoEvents;

impl EventSource for NoEvents {
    fn read(
        &self,
        _: u64,
        _: &Range<i64>,
        _: &[Field],
        _: &mut EachBatch<'_>,
    ) -> Result<(), EventError> {
        Err(EventError::Limit("events are read".to_owned()))
    }
}

fn row(visitors: i64, pageviews: i64) -> Row {
    Row {
        pageviews,
        events: pageviews + 1,
        visits: visitors,
        bounces: visitors / 2,
        duration_ms: visitors * 10_000,
        visitors_by_gap: vec![(0, visitors)],
        ..Row::default()
    }
}

fn answer(rows: &Rows, query: &Value) -> Result<Value, String> {
    let control = ControlSnapshot {
        version: 1,
        sites: vec![Site {
            id: 1,
            domain: "a.example".to_owned(),
            timezone: "UTC".to_owned(),
            currency: "EUR".to_owned(),
            session_gap_minutes: 30,
            created_at: 0,
            aliases: Vec::new(),
            salts: Vec::new(),
            redaction_salt: crate::control::RedactionSalt::default(),
            tz: jiff::tz::TimeZone::UTC,
        }],
        keys: Vec::new(),
        ..ControlSnapshot::default()
    };
    let events: Arc<dyn EventSource> = Arc::new(NoEvents);
    let stores = Stores {
        control: &control,
        metrics: rows,
        events: &events,
    };
    let body = query.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let asked = runtime.block_on(ask(body.as_bytes(), stores, NOW));
    let answer = asked.map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(answer).unwrap())
}

fn results(rows: &Rows, query: &Value) -> Value {
    answer(rows, query).unwrap()["results"].clone()
}

#[test]
fn an_answer_has_results_and_says_how_the_question_was_understood() {
    let rows = Rows {
        totals: vec![(Grain::Day, TODAY, row(4, 10))],
        ..Rows::default()
    };
    let query = json!({
        "site_id": "a.example",
        "metrics": ["visitors", "visits", "pageviews", "events", "views_per_visit", "bounce_rate", "visit_duration"],
        "date_range": "day",
        "include": {"freshness": true},
    });
    assert_eq!(
        answer(&rows, &query).unwrap(),
        json!({
            "results": [{"dimensions": [], "metrics": [4, 4, 10, 11, 2.5, 50, 10]}],
            "meta": {"freshness": {"log_end": 9, "applied": 8, "at_ms": 7}},
            "query": {
                "site_id": "a.example",
                "metrics": ["visitors", "visits", "pageviews", "events", "views_per_visit", "bounce_rate", "visit_duration"],
                "date_range": ["2026-11-20T00:00:00+00:00", "2026-11-20T23:59:59+00:00"],
                "dimensions": [],
                "filters": [],
                "order_by": [["visitors", "desc"]],
                "include": {
                    "time_labels": false, "total_rows": false, "freshness": true, "generation": false, "source": false,
                    "approximate": false, "imports": false,
                },
                "pagination": {"limit": 10000, "offset": 0},
            },
        })
    );
}

#[test]
fn a_site_without_anything_has_one_row_of_zeros_and_no_buckets() {
    let rows = Rows::default();
    for range in [
        "day", "24h", "7d", "28d", "30d", "91d", "month", "6mo", "12mo", "year", "all",
    ] {
        let query =
            json!({"site_id": 1, "metrics": ["visitors", "bounce_rate"], "date_range": range});
        assert_eq!(
            results(&rows, &query),
            json!([{"dimensions": [], "metrics": [0, 0]}]),
            "{range}"
        );
        let query = json!({"site_id": "1", "metrics": ["visitors"], "date_range": range, "dimensions": ["time"]});
        assert_eq!(results(&rows, &query), json!([]), "{range}");
    }
}

#[test]
fn buckets_come_in_order_of_time_without_the_empty_ones_and_labels_with_all() {
    let rows = Rows {
        totals: vec![
            (Grain::Day, TODAY - 7, row(3, 3)),
            (Grain::Day, TODAY - 2, row(1, 9)),
            (Grain::Day, TODAY, row(100, 100)),
        ],
        ..Rows::default()
    };
    let query = json!({
        "site_id": 1, "metrics": ["pageviews"], "date_range": "7d", "dimensions": ["time"],
        "include": {"time_labels": true, "total_rows": true},
    });
    let answer = answer(&rows, &query).unwrap();
    assert_eq!(
        answer["results"],
        json!([
            {"dimensions": ["2026-11-13"], "metrics": [3]},
            {"dimensions": ["2026-11-18"], "metrics": [9]},
        ])
    );
    assert_eq!(answer["meta"]["time_labels"].as_array().unwrap().len(), 7);
    assert_eq!(answer["meta"]["total_rows"], 2);
    assert_eq!(answer["query"]["dimensions"], json!(["time:day"]));
    assert_eq!(
        answer["query"]["order_by"],
        json!([["time:day", "asc"], ["pageviews", "desc"]])
    );
}

fn pages() -> Rows {
    Rows {
        totals: Vec::new(),
        values: vec![
            (Dimension::Page, TODAY - 1, "/a", row(2, 5)),
            (Dimension::Page, TODAY - 1, "/b", row(2, 6)),
            (Dimension::Page, TODAY - 2, "/b", row(1, 1)),
            (Dimension::Page, TODAY - 1, "/c", row(9, 9)),
            (Dimension::EntryPage, TODAY - 1, "/c", row(4, 12)),
        ],
    }
}

#[test]
fn pages_are_ordered_and_paged_and_ties_break_by_name() {
    let query = |order: Value, limit: u64, offset: u64| {
        json!({
            "site_id": 1, "metrics": ["visitors", "pageviews"], "date_range": "7d", "dimensions": ["event:page"],
            "order_by": order, "pagination": {"limit": limit, "offset": offset}, "include": {"total_rows": true},
        })
    };
    let names = |query: Value| -> Vec<String> {
        let answer = answer(&pages(), &query).unwrap();
        assert_eq!(answer["meta"]["total_rows"], 3);
        let rows = answer["results"].as_array().unwrap();
        rows.iter()
            .map(|row| row["dimensions"][0].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(query(json!([]), 10, 0)), ["/c", "/b", "/a"]);
    assert_eq!(names(query(json!([]), 1, 1)), ["/b"]);
    assert_eq!(
        names(query(json!([["visitors", "asc"]]), 10, 0)),
        ["/a", "/b", "/c"]
    );
    assert_eq!(
        names(query(json!([["event:page", "desc"]]), 10, 0)),
        ["/c", "/b", "/a"]
    );
    assert_eq!(
        names(query(
            json!([["pageviews", "asc"], ["visitors", "desc"]]),
            2,
            0
        )),
        ["/a", "/b"]
    );
}

#[test]
fn figures_of_visits_by_page_are_of_visits_that_began_there() {
    let query = json!({
        "site_id": 1, "metrics": ["visits", "bounce_rate", "views_per_visit"], "date_range": "7d",
        "dimensions": ["event:page"], "filters": [["is", "event:page", ["/c"]]],
    });
    assert_eq!(
        results(&pages(), &query),
        json!([{"dimensions": ["/c"], "metrics": [9, 50, 3.0]}])
    );
}

#[test]
fn one_page_can_be_asked_for_without_its_name_in_the_rows() {
    let query = |dimensions: Value| {
        json!({
            "site_id": 1, "metrics": ["visitors", "pageviews"], "date_range": "7d", "dimensions": dimensions,
            "filters": [["is", "event:page", ["/b"]]],
        })
    };
    assert_eq!(
        results(&pages(), &query(json!([]))),
        json!([{"dimensions": [], "metrics": [3, 7]}])
    );
    assert_eq!(
        results(&pages(), &query(json!(["time"]))),
        json!([
            {"dimensions": ["2026-11-18"], "metrics": [1, 1]},
            {"dimensions": ["2026-11-19"], "metrics": [2, 6]},
        ])
    );
    assert_eq!(
        results(&pages(), &query(json!(["event:page", "time:month"]))),
        json!([{"dimensions": ["/b", "2026-11-01"], "metrics": [3, 7]}])
    );
    let nowhere = json!({
        "site_id": 1, "metrics": ["visitors"], "date_range": "7d", "filters": [["is", "event:page", ["/none"]]],
    });
    assert_eq!(
        results(&pages(), &nowhere),
        json!([{"dimensions": [], "metrics": [0]}])
    );
}

#[test]
fn pages_over_less_than_a_day_are_read_from_events() {
    let query = |range: &str, dimensions: Value| json!({"site_id": 1, "metrics": ["visitors"], "date_range": range, "dimensions": dimensions});
    for query in [
        query("day", json!(["time", "event:page"])),
        query("24h", json!(["event:page"])),
        query("day", json!(["time:hour", "event:page"])),
    ] {
        assert_eq!(answer(&pages(), &query).unwrap_err(), "events are read");
    }
}

/// A day of two sources, one of which is none, and the day before.
fn sources() -> Rows {
    let row = |visitors, pageviews, revenue: &[([u8; 3], i64)]| Row {
        orders: 2 * revenue.len() as i64,
        revenue: revenue.to_vec(),
        ..row(visitors, pageviews)
    };
    Rows {
        totals: vec![
            (
                Grain::Day,
                TODAY - 1,
                row(4, 9, &[(*b"EUR", 30), (*b"USD", 7)]),
            ),
            (
                Grain::Day,
                TODAY,
                Row {
                    visitors_by_gap: vec![(0, 1), (1, 2), (9, 4)],
                    ..row(7, 9, &[])
                },
            ),
        ],
        values: vec![
            (
                Dimension::Source,
                TODAY - 1,
                "",
                row(4, 8, &[(*b"EUR", 30)]),
            ),
            (Dimension::Source, TODAY - 1, "Google", row(2, 4, &[])),
            (
                Dimension::Source,
                TODAY - 2,
                "Google",
                row(2, 1, &[(*b"EUR", 31)]),
            ),
            (Dimension::Country, TODAY - 1, "", row(1, 1, &[])),
            (
                Dimension::EventName,
                TODAY - 1,
                "order",
                row(3, 0, &[(*b"USD", 100), (*b"EUR", 999)]),
            ),
            (Dimension::EventName, TODAY - 1, "signup", row(2, 0, &[])),
        ],
    }
}

#[test]
fn visits_are_broken_down_by_what_they_have_in_common() {
    let query = |metrics: Value, dimensions: Value| json!({"site_id": 1, "metrics": metrics, "date_range": "7d", "dimensions": dimensions});
    let all = json!([
        "visitors",
        "visits",
        "views_per_visit",
        "bounce_rate",
        "orders"
    ]);
    assert_eq!(
        results(&sources(), &query(all, json!(["visit:source"]))),
        json!([
            {"dimensions": ["Direct / None"], "metrics": [4, 4, 2.0, 50, 2]},
            {"dimensions": ["Google"], "metrics": [4, 4, 1.25, 50, 2]},
        ])
    );
    let by_day = query(json!(["visitors"]), json!(["time:day", "visit:source"]));
    assert_eq!(
        results(&sources(), &by_day),
        json!([
            {"dimensions": ["2026-11-18", "Google"], "metrics": [2]},
            {"dimensions": ["2026-11-19", "Direct / None"], "metrics": [4]},
            {"dimensions": ["2026-11-19", "Google"], "metrics": [2]},
        ])
    );
    let countries = query(json!(["visitors"]), json!(["visit:country"]));
    assert_eq!(
        results(&sources(), &countries),
        json!([{"dimensions": ["(not set)"], "metrics": [1]}])
    );
    for name in ["event:goal", "event:name"] {
        let names = query(json!(["events", "visits"]), json!([name]));
        assert_eq!(
            results(&sources(), &names),
            json!([
                {"dimensions": ["order"], "metrics": [1, 3]},
                {"dimensions": ["signup"], "metrics": [1, 2]},
            ])
        );
    }
}

#[test]
fn an_answer_may_be_filtered_by_the_dimension_it_is_about() {
    let query = |metrics: &[&str], filters: Value| json!({"site_id": 1, "metrics": metrics, "date_range": "7d", "filters": filters});
    let direct = json!([["is", "visit:source", ["Direct / None"]]]);
    assert_eq!(
        results(&sources(), &query(&["visitors", "pageviews"], direct)),
        json!([{"dimensions": [], "metrics": [4, 8]}])
    );
    // Visits and views of several sources add up, visitors don't.
    let both = json!([["is", "visit:source", ["Direct / None", "Google"]]]);
    assert_eq!(
        results(&sources(), &query(&["visits", "pageviews"], both.clone())),
        json!([{"dimensions": [], "metrics": [8, 13]}])
    );
    let order = json!([["is", "event:goal", ["order"]]]);
    assert_eq!(
        results(&sources(), &query(&["visitors", "visits"], order)),
        json!([{"dimensions": [], "metrics": [3, 3]}])
    );
    let events = json!([["contains", "event:name", ["r", "s"]]]);
    for (metric, filters) in [("visitors", both), ("visits", events)] {
        let error = answer(&sources(), &query(&[metric], filters)).unwrap_err();
        assert_eq!(error, "events are read");
    }
    let other = json!({
        "site_id": 1, "metrics": ["visitors"], "date_range": "7d", "dimensions": ["visit:os"],
        "filters": [["is", "visit:country", ["DE"]]],
    });
    assert_eq!(answer(&sources(), &other).unwrap_err(), "events are read");
}

#[test]
fn revenue_is_of_the_orders_one_currency_else_of_the_sites_with_a_warning() {
    let query = |dimension: &str| {
        let metrics = ["total_revenue", "average_revenue"];
        json!({"site_id": 1, "metrics": metrics, "date_range": "7d", "dimensions": [dimension]})
    };
    let euros = |value: f64, text: &str| json!({"value": value, "currency": "EUR", "short": text, "long": text});
    let by_source = answer(&sources(), &query("visit:source")).unwrap();
    assert_eq!(
        by_source["results"],
        json!([
            {"dimensions": ["Google"], "metrics": [euros(0.31, "€0.31"), euros(0.16, "€0.16")]},
            {"dimensions": ["Direct / None"], "metrics": [euros(0.3, "€0.30"), euros(0.15, "€0.15")]},
        ])
    );
    assert_eq!(by_source["meta"].get("metric_warnings"), None);
    let by_name = answer(&sources(), &query("event:name")).unwrap();
    assert_eq!(
        by_name["results"],
        json!([
            {"dimensions": ["order"], "metrics": [euros(9.99, "€9.99"), null]},
            {"dimensions": ["signup"], "metrics": [euros(0.0, "€0.00"), null]},
        ])
    );
    let warning = &by_name["meta"]["metric_warnings"]["total_revenue"];
    assert_eq!(warning["code"], "several_currencies");
    assert!(warning["warning"].as_str().unwrap().contains("USD"));
}

#[test]
fn new_visitors_are_told_for_whole_days() {
    let query = |range: Value, dimensions: Value| {
        let metrics = ["visitors", "new_visitors", "returning_visitors"];
        json!({"site_id": 1, "metrics": metrics, "date_range": range, "dimensions": dimensions})
    };
    // Of the second day's seven, one is new and two were there the day before.
    let both = json!(["2026-11-19", "2026-11-20"]);
    assert_eq!(
        results(&sources(), &query(both.clone(), json!([]))),
        json!([{"dimensions": [], "metrics": [9, 5, 4]}])
    );
    assert_eq!(
        results(&sources(), &query(both, json!(["time:day"]))),
        json!([
            {"dimensions": ["2026-11-19"], "metrics": [4, 4, 0]},
            {"dimensions": ["2026-11-20"], "metrics": [7, 1, 6]},
        ])
    );
    for (range, dimensions) in [("24h", json!([])), ("7d", json!(["visit:source"]))] {
        let error = answer(&sources(), &query(json!(range), dimensions)).unwrap_err();
        assert_eq!(error, "events are read");
    }
    let of_events = json!({
        "site_id": 1, "metrics": ["bounce_rate"], "date_range": "7d", "dimensions": ["event:goal"],
    });
    let error = answer(&sources(), &of_events).unwrap_err();
    assert!(
        error.contains("bounce_rate can't be told by event:goal"),
        "{error}"
    );
}

#[test]
fn questions_that_make_no_sense_are_refused_with_the_key_that_is_wrong() {
    let base = json!({"site_id": 1, "metrics": ["visitors"], "date_range": "day"});
    let check = |key: &str, value: Value, named: &str| {
        let mut query = base.clone();
        query[key] = value;
        let error = answer(&Rows::default(), &query).unwrap_err();
        assert!(error.contains(named), "{key}: {error}");
    };
    check("metric", json!(["visitors"]), "`metric`");
    check("metrics", json!([]), "metrics: ");
    check("metrics", json!(["scroll_depth"]), "scroll_depth needs");
    check("metrics", json!(["visits", "visits"]), "twice");
    check("dimensions", json!(["visit:planet"]), "\"visit:planet\"");
    check(
        "dimensions",
        json!(["time", "time:day"]),
        "one time dimension",
    );
    check("include", json!({"colour": true}), "`colour`");
    check("include", json!({"time_labels": true}), "time_labels");
    check(
        "order_by",
        json!([["pageviews", "desc"]]),
        "order_by: \"pageviews\"",
    );
    check("order_by", json!([["visitors", "down"]]), "`down`");
    check("pagination", json!({"limit": 0}), "limit");
    check("pagination", json!({"limit": 10_001}), "limit");
    check("pagination", json!({"page": 1}), "`page`");
    check("filters", json!([["contains", "event:page"]]), "filters: ");
    check("site_id", json!("b.example"), "b.example");
    check("site_id", json!(null), "site_id");
    assert!(
        answer(&Rows::default(), &json!({"site_id": 1}))
            .unwrap_err()
            .contains("`metrics`")
    );
    assert!(answer(&Rows::default(), &json!([])).is_err());
}

#[test]
fn visitors_now_are_those_of_five_minutes_each_counted_once() {
    let minute = NOW / 60_000;
    let active = |minute: i64, gaps: &[(u32, i64)]| {
        let row = Row {
            visitors_by_gap: gaps.to_vec(),
            ..Row::default()
        };
        (Grain::Minute, minute, row)
    };
    let rows = Rows {
        // Six minutes ago, four minutes ago (one of them again), and in this minute (three again, one after an hour).
        totals: vec![
            active(minute - 6, &[(0, 5)]),
            active(minute - 4, &[(0, 2), (2, 1)]),
            active(minute, &[(4, 3), (60, 1)]),
        ],
        ..Rows::default()
    };
    let visitors = visitors_now(1, &rows, NOW).now_or_never().unwrap().unwrap();
    assert_eq!(visitors, 4);
}
