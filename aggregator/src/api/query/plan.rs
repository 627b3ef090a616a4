//! Which rows answer a query, and the figures from them. Pure: rows in, figures out.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use jiff::tz::TimeZone;
use wakeline_engine::{
    Dimension, Grain, Row,
    window::{day_window, distance, minute_window},
};

use super::{
    QueryError,
    filter::Filter,
    metric::Sums,
    property::Property,
    range::{Bucket, is_day, is_hour},
};
use crate::metrics::ValueRow;

/// Windows over which a row knows who was there before, by grain.
const MINUTES_KEPT: i64 = 1_440;
const HOURS_KEPT: i64 = 960;
/// Windows that a query may read.
const MAX_WINDOWS: i64 = 50_000;

/// The rows to read: those of `windows`, all of one grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) grain: Grain,
    pub(super) windows: Range<i64>,
}

/// The coarsest rows from which each of the buckets, contiguous and ascending, is answered exactly.
pub(super) fn plan(zone: &TimeZone, buckets: &[Bucket]) -> Result<Plan, QueryError> {
    let Some(whole) = whole(buckets) else {
        return Err(QueryError::new(
            "date_range: there is no such time in the site's zone",
        ));
    };
    let longest = buckets
        .iter()
        .map(|bucket| bucket.span.end - bucket.span.start)
        .max()
        .unwrap_or(0);
    let aligned = |starts: fn(&TimeZone, i64) -> bool| {
        starts(zone, whole.end) && buckets.iter().all(|bucket| starts(zone, bucket.span.start))
    };
    let (grain, windows, read) = if aligned(is_day) {
        let days = day_window(zone, whole.start)..day_window(zone, whole.end);
        (Grain::Day, days.clone(), days.end - days.start)
    } else {
        let minutes = minute_window(whole.start)..minute_window(whole.end);
        let count = minutes.end - minutes.start;
        if aligned(is_hour) && longest <= HOURS_KEPT * 3_600_000 {
            (Grain::Hour, minutes, count / 60)
        } else if longest <= MINUTES_KEPT * 60_000 {
            (Grain::Minute, minutes, count)
        } else {
            return Err(QueryError::new(
                "date_range: a range is answered if it begins and ends at midnight of the site's zone; or on whole \
                 hours, with at most 40 days in a row of the answer; or on whole minutes, with at most 24 hours",
            ));
        }
    };
    if read > MAX_WINDOWS {
        return Err(QueryError::new(format!(
            "date_range: {read} windows would have to be read for these dimensions, the limit is {MAX_WINDOWS}: \
             choose a shorter range"
        )));
    }
    Ok(Plan { grain, windows })
}

/// The days to read for `what`, which is kept by the day.
pub(super) fn plan_days(
    zone: &TimeZone,
    buckets: &[Bucket],
    what: &str,
) -> Result<Range<i64>, QueryError> {
    match plan(zone, buckets)? {
        Plan {
            grain: Grain::Day,
            windows,
        } => Ok(windows),
        _ => Err(QueryError::new(format!(
            "date_range: {what} is counted by the day: with it, the range must begin and end at midnight of the \
             site's zone, and a time dimension must be time:day, time:week or time:month",
        ))),
    }
}

fn whole(buckets: &[Bucket]) -> Option<Range<i64>> {
    Some(buckets.first()?.span.start..buckets.last()?.span.end)
}

/// Finds buckets by window.
struct Buckets<'a> {
    zone: &'a TimeZone,
    grain: Grain,
    /// First window of each.
    firsts: Vec<i64>,
    end: i64,
}

impl<'a> Buckets<'a> {
    fn new(zone: &'a TimeZone, grain: Grain, buckets: &[Bucket]) -> Self {
        let window = |ms| match grain {
            Grain::Day => day_window(zone, ms),
            Grain::Minute | Grain::Hour => minute_window(ms),
        };
        Self {
            zone,
            grain,
            firsts: buckets
                .iter()
                .map(|bucket| window(bucket.span.start))
                .collect(),
            end: buckets
                .last()
                .map_or(i64::MIN, |bucket| window(bucket.span.end)),
        }
    }

    /// The bucket of a window and how many windows come before it in there.
    fn find(&self, window: i64) -> Option<(usize, u32)> {
        if window >= self.end {
            return None;
        }
        let bucket = self
            .firsts
            .partition_point(|first| *first <= window)
            .checked_sub(1)?;
        let first = *self.firsts.get(bucket)?;
        Some((bucket, distance(self.zone, self.grain, first, window)))
    }
}

/// The sums of each bucket from rows of the whole site.
pub(super) fn sum_totals(
    zone: &TimeZone,
    grain: Grain,
    buckets: &[Bucket],
    rows: &[(i64, Row)],
) -> Vec<Sums> {
    let finder = Buckets::new(zone, grain, buckets);
    let mut sums = vec![Sums::default(); buckets.len()];
    for (window, row) in rows {
        if let Some((bucket, since)) = finder.find(*window) {
            sums[bucket].add_visits(row, since);
        }
    }
    sums
}

/// The sums by value of `property`, per bucket, of the values that `filter` lets through: from rows by value, and for
/// `event:page` from rows by first page of a visit, which may be left out if no metric is of visits.
pub(super) fn sum_values(
    zone: &TimeZone,
    buckets: &[Bucket],
    property: Property,
    filter: &Filter,
    rows: Vec<ValueRow>,
    entry_pages: Vec<ValueRow>,
) -> BTreeMap<(usize, String), Sums> {
    let finder = Buckets::new(zone, Grain::Day, buckets);
    // What each value is called, if it is let through.
    let mut labels: HashMap<String, Option<String>> = HashMap::new();
    let mut sums: BTreeMap<(usize, String), Sums> = BTreeMap::new();
    let rows = rows.into_iter().map(|row| (property.dimension, row));
    let entries = entry_pages.into_iter();
    let entries = entries.map(|row| (Dimension::EntryPage, row));
    for (dimension, (day, value, row)) in rows.chain(entries) {
        let Some((bucket, since)) = finder.find(day) else {
            continue;
        };
        let label = labels.entry(value).or_insert_with_key(|value| {
            let label = property.label(value.clone());
            filter.matches(&label).then_some(label)
        });
        let Some(label) = label else {
            continue;
        };
        let key = (bucket, label.clone());
        if dimension != property.dimension {
            // Of visits that went on after midnight there may be no more than that here.
            if let Some(sums) = sums.get_mut(&key) {
                sums.add_entry_page(&row);
            }
        } else if property.is_of_visits() {
            sums.entry(key).or_default().add_visits(&row, since);
        } else {
            sums.entry(key).or_default().add_events(&row, since);
        }
    }
    sums.retain(|_, sums| !sums.is_empty());
    sums
}

/// Distinct visitors from minute rows of the whole site, `first` being the first minute.
pub(super) fn visitors_of_minutes(first: i64, rows: &[(i64, Row)]) -> i64 {
    rows.iter()
        .map(|(minute, row)| row.visitors_since(u32::try_from(minute - first).unwrap_or(0)))
        .sum()
}

#[cfg(test)]
mod tests;
