use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use wakeline_engine::{
    Grain, Row, timezone,
    window::{day_window, distance, hour_window, minute_window},
};

use super::{Windows, sum_totals, windows as plan};
use crate::{
    metric::{Figure, Metric, Sums},
    range::{Bucket, Step, buckets},
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

fn at(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn whole(range: std::ops::Range<i64>) -> Vec<Bucket> {
    vec![Bucket {
        span: range,
        label: String::new(),
    }]
}

fn visitors(sums: &Sums) -> i64 {
    match sums.figure(Metric::Visitors, *b"EUR") {
        Figure::Whole(visitors) => visitors,
        other => unreachable!("visitors are whole, not {other:?}"),
    }
}

#[test]
fn the_coarsest_rows_that_fit_are_read() {
    let zone = timezone("Europe/Berlin").unwrap();
    let check = |first: &str, end: &str, step: Option<Step>, expected: Grain| {
        let range = at(first)..at(end);
        let buckets = step.map_or_else(
            || whole(range.clone()),
            |step| buckets(&zone, &range, step).unwrap(),
        );
        assert_eq!(
            plan(&zone, &buckets).unwrap().grain,
            expected,
            "{first} {end} {step:?}"
        );
    };
    // Local midnights, across a change of clocks.
    check(
        "2026-10-01T22:00:00Z",
        "2026-10-31T23:00:00Z",
        None,
        Grain::Day,
    );
    check(
        "2026-10-01T22:00:00Z",
        "2026-10-31T23:00:00Z",
        Some(Step::Week),
        Grain::Day,
    );
    check(
        "2026-10-01T22:00:00Z",
        "2026-10-31T23:00:00Z",
        Some(Step::Hour),
        Grain::Hour,
    );
    check(
        "2026-10-01T22:00:00Z",
        "2026-10-02T22:00:00Z",
        Some(Step::Minute),
        Grain::Minute,
    );
    // Midnight of another zone.
    check(
        "2026-10-01T00:00:00Z",
        "2026-10-31T00:00:00Z",
        None,
        Grain::Hour,
    );
    check(
        "2026-01-01T00:00:00Z",
        "2026-10-31T00:00:00Z",
        Some(Step::Month),
        Grain::Hour,
    );
    check(
        "2026-10-01T10:20:00Z",
        "2026-10-02T10:20:00Z",
        None,
        Grain::Minute,
    );
    check(
        "2026-10-01T10:20:00Z",
        "2026-10-04T10:20:00Z",
        Some(Step::Hour),
        Grain::Minute,
    );
}

#[test]
fn ranges_that_no_rows_answer_exactly_are_refused_with_what_is_possible() {
    let refused =
        |first: &str, end: &str| plan(&TimeZone::UTC, &whole(at(first)..at(end))).unwrap_err();
    // 40 days and an hour, on hours; a day and a minute, on minutes.
    for error in [
        refused("2026-01-01T01:00:00Z", "2026-02-10T02:00:00Z"),
        refused("2026-01-01T01:01:00Z", "2026-01-02T01:02:00Z"),
    ] {
        assert!(
            error.contains("40 days") && error.contains("24 hours"),
            "{error}"
        );
    }
    let decades = buckets(&TimeZone::UTC, &(0..7_000 * DAY_MS), Step::Day).unwrap();
    assert!(plan(&TimeZone::UTC, &decades).is_ok());
    let shifted = buckets(&TimeZone::UTC, &(3_600_000..7_000 * DAY_MS), Step::Day).unwrap();
    assert!(
        plan(&TimeZone::UTC, &shifted)
            .unwrap_err()
            .contains("windows")
    );
}

/// Rows as an engine makes them, of visitors that are each active at some minutes.
fn rows(zone: &TimeZone, grain: Grain, visitors: &[Vec<i64>]) -> Vec<(i64, Row)> {
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    for minutes in visitors {
        let windows: BTreeSet<i64> = minutes
            .iter()
            .map(|minute| match grain {
                Grain::Minute => *minute,
                Grain::Hour => hour_window(zone, minute * MINUTE_MS),
                Grain::Day => day_window(zone, minute * MINUTE_MS),
            })
            .collect();
        let kept = match grain {
            Grain::Minute => 1_440,
            Grain::Hour => 960,
            Grain::Day => u32::MAX,
        };
        let mut before = None;
        for window in windows {
            let gap = before.map_or(0, |before| distance(zone, grain, before, window));
            let gap = if gap > kept { 0 } else { gap };
            let row = rows.entry(window).or_default();
            let mut one = Row {
                visitors_by_gap: vec![(gap, 1)],
                ..Row::default()
            };
            std::mem::swap(row, &mut one);
            row.add(&one);
            before = Some(window);
        }
    }
    rows.into_iter().collect()
}

proptest! {
    #[test]
    fn visitors_of_each_bucket_are_counted_as_by_hand(
        name in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"]),
        // Weeks around both changes of clocks.
        spring in any::<bool>(),
        activity in prop::collection::vec(prop::collection::vec(0_i64..20 * 1_440, 1..12), 1..12),
        start in 0_i64..10 * 1_440,
        minutes in 1_i64..1_440,
        step in prop::option::of(prop::sample::select(vec![Step::Minute, Step::Hour, Step::Day, Step::Week, Step::Month])),
        align in 0..3,
    ) {
        let zone = timezone(name).unwrap();
        let origin = minute_window(at(if spring { "2026-03-20T00:00:00Z" } else { "2026-10-16T00:00:00Z" }));
        let activity: Vec<Vec<i64>> = activity.iter().map(|minutes| minutes.iter().map(|minute| minute + origin).collect()).collect();
        let (first, end) = match align {
            0 => (origin + start, origin + start + minutes),
            1 => (
                hour_window(&zone, (origin + start) * MINUTE_MS),
                hour_window(&zone, (origin + start + 10 * minutes) * MINUTE_MS) + 60,
            ),
            _ => {
                let day = day_window(&zone, (origin + start) * MINUTE_MS);
                let start = |day| minute_window(wakeline_engine::start_of_day(&zone, day));
                (start(day), start(day + 1 + minutes % 9))
            }
        };
        let range = first * MINUTE_MS..end * MINUTE_MS;
        let Some(buckets) = step.map_or_else(|| Some(whole(range.clone())), |step| buckets(&zone, &range, step).ok()) else {
            // More buckets than an answer has.
            prop_assert!(step == Some(Step::Minute) && end - first > 9_000);
            return Ok(());
        };
        let Ok(Windows { grain, windows }) = plan(&zone, &buckets) else {
            // Only what is neither on days nor on hours and longer than a day.
            prop_assert!(step.is_some_and(|step| step != Step::Hour) || end - first > 1_440);
            return Ok(());
        };
        let mut rows = rows(&zone, grain, &activity);
        rows.retain(|(window, _)| windows.contains(window));
        let sums = sum_totals(&zone, grain, &buckets, &rows);
        for (bucket, sums) in buckets.iter().zip(&sums) {
            let there = |minutes: &&Vec<i64>| minutes.iter().any(|minute| bucket.span.contains(&(minute * MINUTE_MS)));
            let expected = activity.iter().filter(there).count();
            prop_assert_eq!(visitors(sums), expected as i64, "{:?} {:?}", grain, bucket);
        }
    }
}
