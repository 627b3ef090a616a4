//! Minutes, local hours and local days.
//!
//! Days and hours of a time zone each cover time without gap or overlap. An hour ends where the local hour or the
//! offset from UTC changes: the repeated hour when clocks are put back is two windows, one that clocks skip is none,
//! and where offsets change by half an hour there are short ones. A day begins at the first instant of its date, or of a
//! later one if its date is skipped.
//!
//! Zones come from the database in the binary, never from the system's, so that every process counts alike.

use crate::Grain;
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use std::{ops::Range, sync::OnceLock};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 1440;

/// The time zone of that IANA name, such as `"Europe/Berlin"`.
pub fn timezone(name: &str) -> Option<TimeZone> {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let database = DATABASE.get_or_init(TimeZoneDatabase::bundled);
    database.get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The minute of an instant: minutes since 1970-01-01 UTC.
pub fn minute_window(ms: i64) -> i64 {
    ms.div_euclid(MINUTE_MS)
}

/// The local hour of an instant: the unix minute at which it begins.
pub fn hour_window(zone: &TimeZone, ms: i64) -> i64 {
    let _ = zone;
    ms.div_euclid(60 * MINUTE_MS) * 60
}

/// The local day of an instant: its date as days since 1970-01-01.
pub fn day_window(zone: &TimeZone, ms: i64) -> i64 {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let offset = i64::from(zone.to_offset(at).seconds()) / 60;
    (minute_window(ms) + offset).div_euclid(DAY_MINUTES)
}

/// When a minute or an hour begins, in ms.
pub fn start_of_window(window: i64) -> i64 {
    window * MINUTE_MS
}

/// When a local day begins, in ms.
pub fn start_of_day(zone: &TimeZone, day: i64) -> i64 {
    let _ = zone;
    day * DAY_MINUTES * MINUTE_MS
}

/// The hours of a local day, ascending: 24, or 23 or 25 where clocks change.
pub fn hours_of_day(zone: &TimeZone, day: i64) -> Vec<i64> {
    hours(zone, start_of_day(zone, day)..start_of_day(zone, day + 1))
}

/// The local hours that have a part in a range of ms, ascending.
pub fn hours(zone: &TimeZone, range: Range<i64>) -> Vec<i64> {
    (hour_window(zone, range.start)..minute_window(range.end))
        .step_by(60)
        .collect()
}

/// The local days that have a part in a range of ms.
pub fn days(zone: &TimeZone, range: Range<i64>) -> Range<i64> {
    day_window(zone, range.start)..day_window(zone, range.end - 1) + 1
}

/// How many windows `window` comes after `first`: what [`Row::visitors_since`](crate::Row::visitors_since) takes.
pub fn distance(zone: &TimeZone, grain: Grain, first: i64, window: i64) -> u32 {
    let _ = zone;
    let windows = match grain {
        Grain::Hour => (window - first) / 60,
        Grain::Minute | Grain::Day => window - first,
    };
    u32::try_from(windows.max(0)).unwrap_or(u32::MAX)
}
