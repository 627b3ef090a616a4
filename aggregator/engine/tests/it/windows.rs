//! Hours and days of time zones.

use crate::{model, ms, rules};
use jiff::Timestamp;
use proptest::prelude::*;
use wakeline_engine::{
    Grain, day_window, hour_window, start_of_day,
    window::{days, distance, hours, hours_of_day, start_of_window},
};

/// Days since 1970-01-01 of a date.
fn date(text: &str) -> i64 {
    ms(&format!("{text}T00:00:00Z")) / 86_400_000
}

#[test]
fn a_day_has_23_to_25_hours() {
    for (zone, day, expected) in [
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-11-01", 24),
        // Clocks go back half an hour: one more, short hour.
        ("Australia/Lord_Howe", "2026-04-05", 25),
        // Clocks skip midnight.
        ("America/Santiago", "2026-09-06", 23),
        // The date was skipped.
        ("Pacific/Apia", "2011-12-30", 0),
    ] {
        let zone = rules(zone, 30).timezone;
        let hours = hours_of_day(&zone, date(day));
        assert_eq!(hours.len(), expected, "{zone:?} {day}");
        for hour in hours {
            assert_eq!(day_window(&zone, start_of_window(hour)), date(day));
        }
    }
}

#[test]
fn a_day_begins_at_its_first_instant() {
    for (zone, day, expected) in [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z"),
        ("Asia/Kathmandu", "2026-05-01", "2026-04-30T18:15:00Z"),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        // A minute after midnight clocks went back an hour, over midnight.
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z"),
    ] {
        let zone = rules(zone, 30).timezone;
        assert_eq!(start_of_day(&zone, date(day)), ms(expected), "{zone:?}");
    }
}

#[test]
fn a_day_does_not_come_back_when_clocks_go_back_over_midnight() {
    let zone = rules("America/St_Johns", 30).timezone;
    let local_2330_again = ms("2010-11-07T03:00:00Z");
    assert_eq!(day_window(&zone, local_2330_again), date("2010-11-07"));
}

#[test]
fn ranges_take_in_the_windows_they_cut() {
    let zone = rules("Europe/Berlin", 30).timezone;
    let range = ms("2026-03-28T22:59:59.999Z")..ms("2026-03-29T01:00:00.001Z");
    assert_eq!(
        days(&zone, range.clone()),
        date("2026-03-28")..date("2026-03-30")
    );
    let starts: Vec<i64> = hours(&zone, range)
        .into_iter()
        .map(start_of_window)
        .collect();
    assert_eq!(
        starts,
        ["22", "23"]
            .map(|hour| ms(&format!("2026-03-28T{hour}:00:00Z")))
            .into_iter()
            .chain([ms("2026-03-29T00:00:00Z"), ms("2026-03-29T01:00:00Z")])
            .collect::<Vec<_>>()
    );
    let now = ms("2026-03-29T01:00:00Z");
    assert!(hours(&zone, now..now).is_empty());
    assert!(days(&zone, now..now).is_empty());
}

#[test]
fn no_instant_is_too_strange() {
    let zone = rules("America/St_Johns", 30).timezone;
    for time in [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX] {
        let day = day_window(&zone, time);
        assert_eq!(day_window(&zone, time), day);
        let hour = hour_window(&zone, time);
        assert_eq!(distance(&zone, Grain::Hour, hour, hour), 0);
        start_of_day(&zone, time);
        start_of_window(time);
        for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
            distance(&zone, grain, i64::MIN, time);
            distance(&zone, grain, time, i64::MAX);
        }
    }
}

proptest! {
    #[test]
    fn windows_are_those_of_the_calendar(
        zone in prop::sample::select(&[
            "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
            "America/Caracas", "Asia/Pyongyang", "Pacific/Chatham", "Africa/Casablanca",
        ][..]),
        time in ms("2000-01-01T00:00:00Z")..ms("2040-01-01T00:00:00Z"),
        minutes_from_change in prop::option::of(-120..120_i64),
    ) {
        let rules = rules(zone, 30);
        let zone = &rules.timezone;
        let change = Timestamp::from_millisecond(time).ok().and_then(|time| zone.following(time).next());
        let time = match (change, minutes_from_change) {
            (Some(change), Some(minutes)) => change.timestamp().as_millisecond() + minutes * 60_000,
            _ => time,
        };
        let (hour, day) = (hour_window(zone, time), day_window(zone, time));
        prop_assert_eq!(hour, model::window(&rules, Grain::Hour, time));
        prop_assert_eq!(day, model::window(&rules, Grain::Day, time));
        prop_assert!((start_of_day(zone, day)..start_of_day(zone, day + 1)).contains(&time));
        prop_assert!(hours_of_day(zone, day).contains(&hour));
        let listed = hours(zone, time..time + 200 * 86_400_000);
        for (index, later) in listed.iter().enumerate() {
            prop_assert_eq!(distance(zone, Grain::Hour, hour, *later) as usize, index);
        }
    }
}
