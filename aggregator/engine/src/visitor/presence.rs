//! When a visitor was there: the rows' `visitors_by_gap`.
//!
//! A window counts a visitor under the distance to the visitor's window before it. A window that comes between two
//! others takes the later one's distance back and gives it a new one.

use super::{
    slice::{LISTED, Slice},
    visits::{PROPERTIES, Values, of_day, values_at},
};
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

/// Counts the visitor on an id's day, after the id was added to a list of one of the day's slices.
pub(super) fn add_listed(slices: &[Slice], day: i64, list: usize, id: u64, changes: &mut Changes) {
    if slices_with(slices, day, list, id) == 1 {
        count_listed(slices, day, list, id, 1, changes);
    }
}

/// Takes an id's day back if no slice of the day has the id any more.
pub(super) fn remove_listed(
    slices: &[Slice],
    day: i64,
    list: usize,
    id: u64,
    changes: &mut Changes,
) {
    if slices_with(slices, day, list, id) == 0 {
        count_listed(slices, day, list, id, -1, changes);
    }
}

fn slices_with(slices: &[Slice], day: i64, list: usize, id: u64) -> usize {
    let first = slices.partition_point(|slice| slice.day < day);
    slices[first..]
        .iter()
        .take_while(|slice| slice.day == day)
        .filter(|slice| slice.has(list, id))
        .count()
}

fn count_listed(
    slices: &[Slice],
    day: i64,
    list: usize,
    id: u64,
    sign: i64,
    changes: &mut Changes,
) {
    let first = slices.partition_point(|slice| slice.day < day);
    let after = slices.partition_point(|slice| slice.day <= day);
    let has = |slice: &&Slice| slice.has(list, id);
    let before = slices[..first].iter().rfind(has).map(|slice| slice.day);
    let after = slices[after..].iter().find(has).map(|slice| slice.day);
    let key = of_day(LISTED[list], day, id);
    count(changes, key, sign, before, after, difference);
}

/// Counts the visitor, on the day of a slice that is not in the rows, for each value of its visit (`sign` 1), or takes
/// that back (-1): wherever no other slice of the day has the value, too.
pub(super) fn count_values(
    slices: &[Slice],
    at: usize,
    values: &Values,
    sign: i64,
    changes: &mut Changes,
) {
    let Slice { day, events, .. } = slices[at];
    if events == 0 {
        return; // attention alone shows no visitor
    }
    let mut before = [None; PROPERTIES.len()];
    find_days(slices, (0..at).rev(), values, &mut before);
    let mut after = [None; PROPERTIES.len()];
    find_days(slices, at + 1..slices.len(), values, &mut after);
    for (number, (dimension, value)) in PROPERTIES.into_iter().zip(*values).enumerate() {
        if before[number] != Some(day) && after[number] != Some(day) {
            let key = of_day(dimension, day, value);
            count(
                changes,
                key,
                sign,
                before[number],
                after[number],
                difference,
            );
        }
    }
}

/// The day of the first of `others` that is in the rows with a value, for each of `values`.
fn find_days(
    slices: &[Slice],
    others: impl Iterator<Item = usize>,
    values: &Values,
    days: &mut [Option<i64>; PROPERTIES.len()],
) {
    let mut missing = days.len();
    for other in others {
        if missing == 0 {
            return;
        }
        let slice = &slices[other];
        if slice.open || slice.events == 0 {
            continue;
        }
        let theirs = values_at(slices, other);
        for (day, (value, theirs)) in days.iter_mut().zip(values.iter().zip(theirs)) {
            if day.is_none() && *value == theirs {
                *day = Some(slice.day);
                missing -= 1;
            }
        }
    }
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
