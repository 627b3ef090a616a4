//! When a visitor was there: the rows' `visitors_by_gap`.
//!
//! A window counts a visitor under the distance to the visitor's window before it. A window that comes between two
//! others takes the later one's distance back and gives it a new one.

use super::visits::Slice;
use crate::{
    Changes, Dimension, Grain, RowKey,
    window::{Calendar, difference},
};

/// Greatest distances that are told apart from "never before".
const MAX_MINUTES: u32 = 1440;
const MAX_HOURS: u32 = 960;

/// Counts a minute, and its hour and day, where the visitor was not yet seen in them.
pub(super) fn add_minute(
    minutes: &mut Vec<i64>,
    minute: i64,
    calendar: &mut Calendar<'_>,
    changes: &mut Changes,
) {
    // Most events are newer than all others.
    let at = match minutes.last() {
        Some(last) if *last == minute => return,
        Some(last) if *last > minute => match minutes.binary_search(&minute) {
            Ok(_) => return,
            Err(at) => at,
        },
        _ => minutes.len(),
    };
    let before = at.checked_sub(1).map(|before| minutes[before]);
    let after = minutes.get(at).copied();
    minutes.insert(at, minute);
    let key = |grain, window| RowKey {
        grain,
        window,
        dimension: Dimension::Total,
        value: 0,
    };

    let gap = |from, to| capped(difference(from, to), MAX_MINUTES);
    count(changes, key(Grain::Minute, minute), 1, before, after, gap);

    let hour = calendar.hour(minute);
    let before_hour = before.map(|minute| calendar.hour(minute));
    let after_hour = after.map(|minute| calendar.hour(minute));
    if before_hour == Some(hour) || after_hour == Some(hour) {
        return; // and so it is the same day
    }
    let gap = |from, to| capped(calendar.hours_between(from, to), MAX_HOURS);
    let key_of_hour = key(Grain::Hour, hour);
    count(changes, key_of_hour, 1, before_hour, after_hour, gap);

    let day = calendar.day(minute);
    let before_day = before.map(|minute| calendar.day(minute));
    let after_day = after.map(|minute| calendar.day(minute));
    if before_day == Some(day) || after_day == Some(day) {
        return;
    }
    let key_of_day = key(Grain::Day, day);
    count(changes, key_of_day, 1, before_day, after_day, difference);
}

/// Counts the visitor on a page's day, after the page was added to the set of one of the day's slices.
pub(super) fn add_page(slices: &[Slice], day: i64, page: u64, changes: &mut Changes) {
    if slices_with(slices, day, page) == 1 {
        count_page(slices, day, page, 1, changes);
    }
}

/// Takes a page's day back if no slice of the day has the page any more.
pub(super) fn remove_page(slices: &[Slice], day: i64, page: u64, changes: &mut Changes) {
    if slices_with(slices, day, page) == 0 {
        count_page(slices, day, page, -1, changes);
    }
}

fn slices_with(slices: &[Slice], day: i64, page: u64) -> usize {
    let first = slices.partition_point(|slice| slice.day < day);
    slices[first..]
        .iter()
        .take_while(|slice| slice.day == day)
        .filter(|slice| slice.has(page))
        .count()
}

fn count_page(slices: &[Slice], day: i64, page: u64, sign: i64, changes: &mut Changes) {
    let key = RowKey {
        grain: Grain::Day,
        window: day,
        dimension: Dimension::Page,
        value: page,
    };
    let first = slices.partition_point(|slice| slice.day < day);
    let after = slices.partition_point(|slice| slice.day <= day);
    let has = |slice: &&Slice| slice.has(page);
    let before = slices[..first].iter().rfind(has).map(|slice| slice.day);
    let after = slices[after..].iter().find(has).map(|slice| slice.day);
    count(changes, key, sign, before, after, difference);
}

/// Counts the visitor in the window of `key` (`sign` 1), or takes that back (-1), given the visitor's windows next to it.
fn count(
    changes: &mut Changes,
    key: RowKey,
    sign: i64,
    before: Option<i64>,
    after: Option<i64>,
    mut gap: impl FnMut(i64, i64) -> u32,
) {
    let mut since = |before: Option<i64>, window| before.map_or(0, |before| gap(before, window));
    changes
        .row(key)
        .add_visitors(since(before, key.window), sign);
    if let Some(after) = after {
        let row = changes.row(RowKey {
            window: after,
            ..key
        });
        row.add_visitors(since(before, after), -sign);
        row.add_visitors(since(Some(key.window), after), sign);
    }
}

fn capped(gap: u32, most: u32) -> u32 {
    if gap > most { 0 } else { gap }
}
