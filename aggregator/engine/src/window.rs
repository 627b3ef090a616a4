//! Minutes, local hours and local days.
//!
//! Days and hours of a time zone each cover time without gap or overlap. An hour ends where the local hour or the
//! offset from UTC changes: the repeated hour when clocks are put back is two windows, one that clocks skip is none,
//! and where offsets change by half an hour there are short ones. A day begins at the first instant of its date, or of a
//! later one if its date is skipped; it does not end when clocks go back over its midnight.
//!
//! Zones come from the database in the binary, never from the system's, so that every process counts alike.
//! Offsets are taken in whole minutes, which all have been since 1972.

use crate::Grain;
use jiff::{
    SignedDuration, Timestamp,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};
use std::{ops::Range, sync::OnceLock};

pub(crate) const MINUTE_MS: i64 = 60_000;
const HOUR_MINUTES: i64 = 60;
pub(crate) const DAY_MINUTES: i64 = 1440;
/// 1900-01-01 and 9000-01-01 UTC.
pub(crate) const MINUTES: Range<i64> = -36_816_480..3_697_423_200;

/// The time zone of that IANA name, such as `"Europe/Berlin"`.
pub fn timezone(name: &str) -> Option<TimeZone> {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let database = DATABASE.get_or_init(TimeZoneDatabase::bundled);
    database.get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The minute of an instant: minutes since 1970-01-01 UTC.
pub fn minute_window(ms: i64) -> i64 {
    clamp(ms).div_euclid(MINUTE_MS)
}

/// The local hour of an instant: the unix minute at which it begins.
pub fn hour_window(zone: &TimeZone, ms: i64) -> i64 {
    Calendar::new(zone).hour(minute_window(ms))
}

/// The local day of an instant: its date as days since 1970-01-01.
pub fn day_window(zone: &TimeZone, ms: i64) -> i64 {
    Calendar::new(zone).day(minute_window(ms))
}

/// When a minute or an hour begins, in ms.
pub fn start_of_window(window: i64) -> i64 {
    window.clamp(MINUTES.start, MINUTES.end) * MINUTE_MS
}

/// When a local day begins, in ms.
pub fn start_of_day(zone: &TimeZone, day: i64) -> i64 {
    Calendar::new(zone).start_of_day(day) * MINUTE_MS
}

/// The hours of a local day, ascending: 24, or 23 or 25 where clocks change.
pub fn hours_of_day(zone: &TimeZone, day: i64) -> Vec<i64> {
    let end = start_of_day(zone, day.saturating_add(1));
    hours(zone, start_of_day(zone, day)..end)
}

/// The local hours that have a part in a range of ms, ascending.
pub fn hours(zone: &TimeZone, range: Range<i64>) -> Vec<i64> {
    let mut hours = Vec::new();
    if range.is_empty() {
        return hours;
    }
    let mut calendar = Calendar::new(zone);
    let mut hour = calendar.hour(minute_window(range.start));
    while start_of_window(hour) < clamp(range.end) {
        hours.push(hour);
        hour = calendar.next_hour(hour);
    }
    hours
}

/// The local days that have a part in a range of ms.
pub fn days(zone: &TimeZone, range: Range<i64>) -> Range<i64> {
    let first = day_window(zone, range.start);
    if range.is_empty() {
        return first..first;
    }
    first..day_window(zone, range.end - 1) + 1
}

/// How many windows `window` comes after `first`: what [`Row::visitors_since`](crate::Row::visitors_since) takes.
/// For hours that is elapsed hours, but for those that a change of clocks by less than an hour made shorter.
pub fn distance(zone: &TimeZone, grain: Grain, first: i64, window: i64) -> u32 {
    match grain {
        Grain::Hour => Calendar::new(zone).hours_between(first, window),
        Grain::Minute | Grain::Day => difference(first, window),
    }
}

/// `later - earlier`; 0 if it is not later.
pub(crate) fn difference(earlier: i64, later: i64) -> u32 {
    let difference = later.saturating_sub(earlier).max(0);
    u32::try_from(difference).unwrap_or(u32::MAX)
}

pub(crate) fn clamp(ms: i64) -> i64 {
    ms.clamp(MINUTES.start * MINUTE_MS, MINUTES.end * MINUTE_MS)
}

/// Finds windows of unix minutes, quickly for those near each other.
pub(crate) struct Calendar<'a> {
    zone: &'a TimeZone,
    period: Period,
}

/// A stretch of time in which the offset from UTC stays the same. In minutes.
#[derive(Clone, Copy)]
struct Period {
    start: i64,
    end: i64,
    offset: i64,
    /// The local day before it began: clocks that are put back do not bring back a day.
    least_day: i64,
}

impl Period {
    /// The boundary of local hours at or before `minute`.
    fn full_hour(&self, minute: i64) -> i64 {
        minute - (minute + self.offset).rem_euclid(HOUR_MINUTES)
    }
}

impl<'a> Calendar<'a> {
    pub(crate) fn new(zone: &'a TimeZone) -> Self {
        let nowhen = Period {
            start: 0,
            end: 0,
            offset: 0,
            least_day: 0,
        };
        Self {
            zone,
            period: nowhen,
        }
    }

    pub(crate) fn day(&mut self, minute: i64) -> i64 {
        let period = self.period(minute);
        local_day(minute, period.offset).max(period.least_day)
    }

    pub(crate) fn hour(&mut self, minute: i64) -> i64 {
        let period = self.period(minute);
        period.full_hour(minute).max(period.start)
    }

    fn next_hour(&mut self, hour: i64) -> i64 {
        let period = self.period(hour);
        (period.full_hour(hour) + HOUR_MINUTES).min(period.end)
    }

    fn start_of_day(&mut self, day: i64) -> i64 {
        let day = day.clamp(
            MINUTES.start / DAY_MINUTES + 2,
            MINUTES.end / DAY_MINUTES - 2,
        );
        // No offset reaches a day, so this is before it.
        let mut minute = (day - 1) * DAY_MINUTES;
        loop {
            let period = self.period(minute);
            let start = (day * DAY_MINUTES - period.offset).max(period.start);
            if start < period.end {
                return start;
            }
            minute = period.end;
        }
    }

    /// The number of hours that begin at or after `first`, itself the beginning of one, and before `hour`.
    pub(crate) fn hours_between(&mut self, first: i64, hour: i64) -> u32 {
        let (mut at, hour) = (first.max(MINUTES.start), hour.min(MINUTES.end));
        let mut hours = 0;
        while at < hour {
            let period = self.period(at);
            let end = hour.min(period.end);
            let next = period.full_hour(at) + HOUR_MINUTES;
            hours += 1 + (end - next + HOUR_MINUTES - 1).max(0) / HOUR_MINUTES;
            at = end;
        }
        difference(0, hours)
    }

    fn period(&mut self, minute: i64) -> Period {
        if minute < self.period.start || minute >= self.period.end {
            self.period = find_period(self.zone, minute);
        }
        self.period
    }
}

fn find_period(zone: &TimeZone, minute: i64) -> Period {
    const SECOND: SignedDuration = SignedDuration::from_secs(1);
    let mut period = Period {
        start: i64::MIN,
        end: i64::MAX,
        offset: 0,
        least_day: i64::MIN,
    };
    let minute = minute.clamp(MINUTES.start, MINUTES.end);
    let Ok(at) = Timestamp::from_second(minute * 60) else {
        return period;
    };
    period.offset = minutes(zone.to_offset(at));
    if zone.to_fixed_offset().is_ok() {
        return period;
    }
    // Some transitions only change the zone's abbreviation.
    for transition in zone.preceding(at + SECOND) {
        let Ok(before) = transition.timestamp().checked_sub(SECOND) else {
            break;
        };
        let before = minutes(zone.to_offset(before));
        if before != period.offset {
            period.start = first_minute(transition.timestamp());
            period.least_day = local_day(period.start - 1, before);
            break;
        }
    }
    period.end = zone
        .following(at)
        .find(|transition| minutes(transition.offset()) != period.offset)
        .map_or(i64::MAX, |transition| first_minute(transition.timestamp()));
    period
}

fn local_day(minute: i64, offset: i64) -> i64 {
    (minute + offset).div_euclid(DAY_MINUTES)
}

fn minutes(offset: Offset) -> i64 {
    i64::from(offset.seconds()).div_euclid(60)
}

/// The first minute that begins at or after a transition.
fn first_minute(transition: Timestamp) -> i64 {
    (transition.as_second() + 59).div_euclid(60)
}
