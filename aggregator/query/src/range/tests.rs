use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{DateRange, Step, buckets, is_day, iso};

fn zone(name: &str) -> TimeZone {
    wakeline_engine::timezone(name).unwrap()
}

fn at(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// What `date_range` means at `now` in a zone.
fn resolve(date_range: &Value, name: &str, now: &str) -> [String; 2] {
    let zone = zone(name);
    let range = DateRange::parse(date_range, &zone).unwrap();
    iso(&zone, &range.resolve(&zone, at(now), None))
}

fn labels(date_range: &Value, name: &str, step: Step) -> Vec<String> {
    let zone = zone(name);
    let range = DateRange::parse(date_range, &zone)
        .unwrap()
        .resolve(&zone, 0, None);
    let buckets = buckets(&zone, &range, step).unwrap();
    buckets.into_iter().map(|bucket| bucket.label).collect()
}

#[test]
fn every_name_of_a_range_means_what_the_documentation_says() {
    // 01:30 on Friday the 20th in Berlin.
    let now = "2026-11-20T00:30:10Z";
    for (name, first, last) in [
        (
            "day",
            "2026-11-20T00:00:00+01:00",
            "2026-11-20T23:59:59+01:00",
        ),
        (
            "24h",
            "2026-11-19T01:31:00+01:00",
            "2026-11-20T01:30:59+01:00",
        ),
        (
            "7d",
            "2026-11-13T00:00:00+01:00",
            "2026-11-19T23:59:59+01:00",
        ),
        (
            "28d",
            "2026-10-23T00:00:00+02:00",
            "2026-11-19T23:59:59+01:00",
        ),
        (
            "30d",
            "2026-10-21T00:00:00+02:00",
            "2026-11-19T23:59:59+01:00",
        ),
        (
            "91d",
            "2026-08-21T00:00:00+02:00",
            "2026-11-19T23:59:59+01:00",
        ),
        (
            "month",
            "2026-11-01T00:00:00+01:00",
            "2026-11-30T23:59:59+01:00",
        ),
        (
            "6mo",
            "2026-05-01T00:00:00+02:00",
            "2026-10-31T23:59:59+01:00",
        ),
        (
            "12mo",
            "2025-11-01T00:00:00+01:00",
            "2026-10-31T23:59:59+01:00",
        ),
        (
            "year",
            "2026-01-01T00:00:00+01:00",
            "2026-12-31T23:59:59+01:00",
        ),
        (
            "all",
            "2026-11-20T00:00:00+01:00",
            "2026-11-20T23:59:59+01:00",
        ),
    ] {
        assert_eq!(
            resolve(&json!(name), "Europe/Berlin", now),
            [first, last],
            "{name}"
        );
    }
}

#[test]
fn all_time_begins_with_the_first_day_that_has_anything() {
    let zone = zone("America/New_York");
    let first = super::day_number(super::date(2026, 3, 2));
    let range = DateRange::All.resolve(&zone, at("2026-03-10T12:00:00Z"), Some(first));
    assert_eq!(
        iso(&zone, &range),
        ["2026-03-02T00:00:00-05:00", "2026-03-10T23:59:59-04:00"]
    );
}

#[test]
fn pairs_are_dates_of_the_site_or_whole_minutes() {
    let check = |pair: Value, first: &str, last: &str| {
        assert_eq!(
            resolve(&pair, "Asia/Kolkata", "2026-11-20T00:00:00Z"),
            [first, last]
        );
    };
    check(
        json!(["2026-01-01", "2026-01-02"]),
        "2026-01-01T00:00:00+05:30",
        "2026-01-02T23:59:59+05:30",
    );
    check(
        json!(["2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z"]),
        "2026-01-01T15:30:00+05:30",
        "2026-01-01T15:34:59+05:30",
    );
    // The last second of a minute means the whole of it, and without an offset the site's clock is meant.
    check(
        json!(["2026-01-01T15:30:00", "2026-01-01T15:34:59"]),
        "2026-01-01T15:30:00+05:30",
        "2026-01-01T15:34:59+05:30",
    );
}

#[test]
fn ranges_that_mean_nothing_are_refused_with_the_reason() {
    for (range, named) in [
        (json!("yesterday"), "7d"),
        (json!(7), "text"),
        (json!(["2026-01-01"]), "pair"),
        (json!(["2026-01-02", "2026-01-01"]), "before"),
        (json!(["1950-01-01", "2026-01-01"]), "1970"),
        (json!(["2026-01-01", "2026-01-01T00:00:00Z"]), "both"),
        (json!(["2026-13-01", "2026-13-02"]), "both"),
        (
            json!(["2026-01-01T00:00:30Z", "2026-01-01T01:00:00Z"]),
            "whole minutes",
        ),
        (
            json!(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
            "after the first",
        ),
        (
            json!(["9999-01-01T00:00:00Z", "9999-01-02T00:00:00Z"]),
            "2199",
        ),
    ] {
        let error = DateRange::parse(&range, &TimeZone::UTC)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("date_range: ") && error.contains(named),
            "{error}"
        );
    }
}

#[test]
fn a_time_dimension_without_a_step_fits_the_span() {
    let check = |date_range: Value, expected: Step| {
        let zone = zone("Europe/Berlin");
        let range = DateRange::parse(&date_range, &zone).unwrap().resolve(
            &zone,
            at("2026-11-20T12:00:00Z"),
            None,
        );
        assert_eq!(Step::by_span(&range), expected, "{date_range}");
    };
    check(json!("day"), Step::Hour);
    // Two days, one of 25 hours.
    check(json!(["2026-10-24", "2026-10-25"]), Step::Hour);
    check(json!(["2026-10-23", "2026-10-25"]), Step::Day);
    check(json!("month"), Step::Day);
    check(json!("91d"), Step::Week);
    check(json!("year"), Step::Month);
}

#[test]
fn weeks_begin_with_the_range_and_then_on_mondays() {
    assert_eq!(
        labels(&json!(["2026-11-18", "2026-12-01"]), "UTC", Step::Week),
        ["2026-11-18", "2026-11-23", "2026-11-30"]
    );
    assert_eq!(
        labels(&json!(["2026-11-18", "2027-01-02"]), "UTC", Step::Month),
        ["2026-11-01", "2026-12-01", "2027-01-01"]
    );
}

#[test]
fn an_hour_that_comes_twice_says_which_it_is() {
    let labels = labels(
        &json!(["2026-10-25", "2026-10-25"]),
        "Europe/Berlin",
        Step::Hour,
    );
    assert_eq!(labels.len(), 25);
    assert_eq!(
        labels[1..5],
        [
            "2026-10-25 01:00:00",
            "2026-10-25 02:00:00+02:00",
            "2026-10-25 02:00:00+01:00",
            "2026-10-25 03:00:00"
        ]
    );
}

#[test]
fn an_hour_that_clocks_skip_is_no_bucket() {
    let labels = labels(
        &json!(["2026-03-29", "2026-03-29"]),
        "Europe/Berlin",
        Step::Hour,
    );
    assert_eq!(labels.len(), 23);
    assert_eq!(labels[1..3], ["2026-03-29 01:00:00", "2026-03-29 03:00:00"]);
}

#[test]
fn a_date_that_a_zone_skipped_is_no_bucket() {
    assert_eq!(
        labels(
            &json!(["2011-12-29", "2011-12-31"]),
            "Pacific/Apia",
            Step::Day
        ),
        ["2011-12-29", "2011-12-31"]
    );
}

#[test]
fn hours_of_a_range_that_begins_within_one_are_cut_off() {
    let pair = json!(["2026-01-01T10:20:00Z", "2026-01-01T12:10:00Z"]);
    assert_eq!(
        labels(&pair, "UTC", Step::Hour),
        [
            "2026-01-01 10:00:00",
            "2026-01-01 11:00:00",
            "2026-01-01 12:00:00"
        ]
    );
    let range = DateRange::parse(&pair, &TimeZone::UTC)
        .unwrap()
        .resolve(&TimeZone::UTC, 0, None);
    let cut = buckets(&TimeZone::UTC, &range, Step::Hour).unwrap();
    assert_eq!(
        (cut[0].span.start, cut[2].span.end),
        (range.start, range.end)
    );
}

#[test]
fn too_many_buckets_are_refused() {
    let range = at("2000-01-01T00:00:00Z")..at("2026-01-01T00:00:00Z");
    let error = buckets(&TimeZone::UTC, &range, Step::Hour).unwrap_err();
    assert!(error.to_string().contains("time:hour"), "{error}");
    assert!(buckets(&TimeZone::UTC, &range, Step::Day).is_ok());
}

proptest! {
    #[test]
    fn buckets_cover_the_range_without_gap_or_overlap(
        name in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]),
        // Minutes from 2005 on.
        first in 18_408_960_i64..29_000_000,
        minutes in 1_i64..20_000,
        step in prop::sample::select(vec![Step::Hour, Step::Day, Step::Week, Step::Month]),
    ) {
        let zone = zone(name);
        let range = first * 60_000..(first + minutes) * 60_000;
        let buckets = buckets(&zone, &range, step).unwrap();
        let mut at = range.start;
        for bucket in &buckets {
            prop_assert_eq!(bucket.span.start, at);
            prop_assert!(bucket.span.end > at);
            at = bucket.span.end;
            if step != Step::Hour && at != range.end {
                prop_assert!(is_day(&zone, at));
            }
        }
        prop_assert_eq!(at, range.end);
        let mut labels: Vec<_> = buckets.iter().map(|bucket| &bucket.label).collect();
        labels.dedup();
        prop_assert_eq!(labels.len(), buckets.len());
    }

    #[test]
    fn no_text_makes_the_parser_panic(first in "\\PC{0,30}", last in "[0-9TZ:+ .-]{0,30}") {
        let zone = zone("Europe/Berlin");
        for pair in [json!(first), json!([first, last]), json!([last, last])] {
            if let Ok(range) = DateRange::parse(&pair, &zone) {
                let range = range.resolve(&zone, at("2026-11-20T12:00:00Z"), None);
                prop_assert!(range.start < range.end);
            }
        }
    }
}
