use std::ops::Range;

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use wakeline_engine::{Dimension, Grain, Row};

use super::{ask, visitors_now};
use crate::{
    control::{ControlSnapshot, Site},
    metrics::{MetricError, MetricStore, Watermark},
};

/// 2026-11-20T12:34:56Z, a Friday.
const NOW: i64 = 1_795_178_096_000;
/// That day.
const TODAY: i64 = 20_777;

/// Rows by hand: totals as (grain, window, row), pages as (dimension, day, page, row).
#[derive(Default)]
struct Rows {
    totals: Vec<(Grain, i64, Row)>,
    pages: Vec<(Dimension, i64, &'static str, Row)>,
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
            .pages
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
            tz: jiff::tz::TimeZone::UTC,
        }],
        keys: Vec::new(),
    };
    let body = query.to_string();
    let asked = ask(body.as_bytes(), &control, rows, NOW);
    let answer = asked
        .now_or_never()
        .unwrap()
        .map_err(|error| error.to_string())?;
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
                "include": {"time_labels": false, "total_rows": false, "freshness": true, "approximate": false},
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
        pages: vec![
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
fn pages_over_less_than_a_day_become_days_or_are_refused() {
    let query = |range: &str, dimensions: Value| json!({"site_id": 1, "metrics": ["visitors"], "date_range": range, "dimensions": dimensions});
    let today = answer(&pages(), &query("day", json!(["time", "event:page"]))).unwrap();
    assert_eq!(
        today["query"]["dimensions"],
        json!(["time:day", "event:page"])
    );
    for query in [
        query("24h", json!(["event:page"])),
        query("day", json!(["time:hour", "event:page"])),
    ] {
        let error = answer(&pages(), &query).unwrap_err();
        assert!(error.contains("by the day"), "{error}");
    }
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
    check("metrics", json!(["scroll_depth"]), "\"scroll_depth\"");
    check("metrics", json!(["visits", "visits"]), "twice");
    check("dimensions", json!(["visit:country"]), "\"visit:country\"");
    check("dimensions", json!(["time", "time:day"]), "once");
    check("include", json!({"imports": true}), "`imports`");
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
    check(
        "filters",
        json!([["contains", "event:page", ["/"]]]),
        "filters: ",
    );
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
