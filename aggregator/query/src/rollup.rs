//! Which rollup rows answer a question exactly, and the figures from them. Pure: rows in, figures out.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use jiff::tz::TimeZone;
use wakeline_engine::{
    Dimension as Rollup, Grain, Row,
    window::{day_window, distance, minute_window},
};

use crate::{
    answer::{Cell, Rows},
    filter::{Filter, Operator},
    goal::Definitions,
    matcher::Matcher,
    metric::{Metric, Sums},
    property::{NOT_SET, Property},
    question::{Dimension, Question},
    range::{Bucket, is_day, is_hour},
    time::Time,
};

/// Windows over which a row knows who was there before, by grain.
const MINUTES_KEPT: i64 = 1_440;
const HOURS_KEPT: i64 = 960;
/// Windows that a question may read.
const MAX_WINDOWS: i64 = 50_000;
/// What the values of a day that are too many to be told apart are called.
const OTHER: &str = "(other)";

/// The rows of one grain to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long the windows are.
    pub grain: Grain,
    /// Which.
    pub windows: Range<i64>,
}

/// The rows that answer a question exactly.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Those of the whole site.
    Totals(Windows),
    /// Those by value of a dimension, of these days.
    Values(Values),
}

/// The rows by value that answer a question, and what to do with them.
#[derive(Clone, Debug)]
pub struct Values {
    /// The rows to read.
    pub dimension: Rollup,
    /// Of which days.
    pub days: Range<i64>,
    /// Whether the rows by entry page are needed, too.
    pub with_entry_pages: bool,
    property: Property,
    filters: Filter,
}

/// A day, a value of a dimension, and its row.
pub type ValueRow = (i64, String, Row);

/// The rows from which the question is answered exactly, or why none do.
pub fn plan(
    question: &Question,
    definitions: &Definitions,
    filters: &Filter,
    time: &Time,
) -> Result<Plan, String> {
    for metric in &question.metrics {
        if metric.is_of_engagement() || metric.is_of_conversion() || *metric == Metric::Percentage {
            return Err(format!("no rows are kept for {}", metric.name()));
        }
    }
    let windows = windows(&time.zone, &time.buckets)?;
    let mut properties: Vec<&Property> = question.properties().collect();
    let mut mentioned = Vec::new();
    filters.tests(&mut |test| mentioned.push(test.property.clone()));
    properties.extend(&mentioned);
    properties.sort();
    properties.dedup();
    let history = question
        .metrics
        .iter()
        .find(|metric| metric.is_of_history());
    let property = match properties.as_slice() {
        [] if history.is_some() && windows.grain != Grain::Day => {
            return Err("who is new is known of whole days only".to_owned());
        }
        [] => return Ok(Plan::Totals(windows)),
        [only] => (*only).clone(),
        _ => return Err("rows are broken down by one dimension only".to_owned()),
    };
    if filters.is_of_deeds() {
        return Err("rows don't tell what visits have done".to_owned());
    }
    if windows.grain != Grain::Day {
        return Err(format!("rows by {property} are of whole days"));
    }
    let dimension = property
        .rollup()
        .filter(|_| property != Property::Goal || definitions.goals.is_empty())
        .ok_or_else(|| format!("no rows are kept by {property}"))?;
    if let Some(metric) = history {
        return Err(format!("rows by {property} don't tell {}", metric.name()));
    }
    let of_visits = question.asks(Metric::is_of_visits);
    if of_visits && dimension == Rollup::EventName {
        return Err(format!("rows by {property} are of events, not of visits"));
    }
    let broken_down = question.properties().next().is_some();
    if !broken_down {
        check_sums(question, &property, filters)?;
    }
    Ok(Plan::Values(Values {
        dimension,
        days: windows.windows,
        with_entry_pages: of_visits && property == Property::Page,
        property,
        filters: filters.clone(),
    }))
}

/// Refuses what does not follow from the rows of the values that a filter lets through.
fn check_sums(question: &Question, property: &Property, filters: &Filter) -> Result<(), String> {
    let let_through = Values::compile(filters);
    // Events without a page have no row by page.
    if !property.is_of_visits() && let_through.matches(NOT_SET) {
        return Err(format!("events without {property} have no rows by it"));
    }
    let one = single(filters).is_some_and(|value| value != OTHER);
    match question
        .metrics
        .iter()
        .find(|metric| !metric.adds_up(property))
    {
        Some(metric) if !one => Err(format!(
            "{} of several values of {property} don't add up",
            metric.name()
        )),
        _ => Ok(()),
    }
}

/// The value, if the filter is that it is just this one.
fn single(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::All(filters) | Filter::Any(filters) => match filters.as_slice() {
            [only] => single(only),
            _ => None,
        },
        Filter::Test(test) if test.operator == Operator::Is && test.case_sensitive => {
            match test.values.as_slice() {
                [only] => Some(only),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Conditions on the value of one property.
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Is(Matcher),
}

impl Condition {
    fn matches(&self, label: &str) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.matches(label)),
            Self::Any(any) => any.iter().any(|one| one.matches(label)),
            Self::Not(not) => !not.matches(label),
            Self::Is(matcher) => matcher.matches(label),
        }
    }
}

/// The coarsest rows from which each of the buckets, contiguous and ascending, is answered exactly.
fn windows(zone: &TimeZone, buckets: &[Bucket]) -> Result<Windows, String> {
    let Some(whole) = whole(buckets) else {
        return Err("there is no such time in the site's zone".to_owned());
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
            return Err(
                "rows answer ranges that begin and end at midnight of the site's zone; or on whole hours, with at most \
                 40 days in a row of the answer; or on whole minutes, with at most 24 hours"
                    .to_owned(),
            );
        }
    };
    if read > MAX_WINDOWS {
        return Err(format!(
            "{read} windows would have to be read, the limit is {MAX_WINDOWS}"
        ));
    }
    Ok(Windows { grain, windows })
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
fn sum_totals(zone: &TimeZone, grain: Grain, buckets: &[Bucket], rows: &[(i64, Row)]) -> Vec<Sums> {
    let finder = Buckets::new(zone, grain, buckets);
    let mut sums = vec![Sums::default(); buckets.len()];
    for (window, row) in rows {
        if let Some((bucket, since)) = finder.find(*window) {
            sums[bucket].add_visits(row, since);
        }
    }
    sums
}

/// The answer from rows of the whole site.
pub fn total_rows(question: &Question, time: &Time, grain: Grain, rows: &[(i64, Row)]) -> Rows {
    let sums = sum_totals(&time.zone, grain, &time.buckets, rows);
    let rows = sums.into_iter().enumerate().map(|(bucket, sums)| {
        let cells = question.dimensions.iter().map(|_| Cell::Bucket(bucket));
        (cells.collect(), sums)
    });
    Rows::new(question, rows.collect())
}

impl Values {
    fn compile(filter: &Filter) -> Condition {
        let list = |filters: &[Filter]| filters.iter().map(Self::compile).collect();
        match filter {
            Filter::All(filters) => Condition::All(list(filters)),
            Filter::Any(filters) => Condition::Any(list(filters)),
            Filter::Not(filter) => Condition::Not(Box::new(Self::compile(filter))),
            Filter::Test(test) => Condition::Is(Matcher::new(test)),
            // Neither gets here: plans are made of conditions on one property.
            Filter::Done(_) | Filter::NotDone(_) | Filter::Segment(_) => Condition::Any(Vec::new()),
        }
    }

    /// The answer from rows by value, and by entry page if that was asked for. `None` if the values of a day were too many
    /// to be told apart.
    pub fn rows(
        &self,
        question: &Question,
        time: &Time,
        rows: Vec<ValueRow>,
        entry_pages: Vec<ValueRow>,
    ) -> Option<Rows> {
        let finder = Buckets::new(&time.zone, Grain::Day, &time.buckets);
        let condition = Self::compile(&self.filters);
        let broken_down = question.properties().next().is_some();
        let is_text = !matches!(
            self.dimension,
            Rollup::Browser | Rollup::Os | Rollup::Device | Rollup::Channel | Rollup::Country
        );
        // What each value is called, if it is let through.
        let mut labels: HashMap<String, Option<String>> = HashMap::new();
        let mut sums: BTreeMap<(usize, String), Sums> = BTreeMap::new();
        let of_values = rows.into_iter().map(|row| (true, row));
        let of_entries = entry_pages.into_iter().map(|row| (false, row));
        for (of_values, (day, value, row)) in of_values.chain(of_entries) {
            let Some((bucket, since)) = finder.find(day) else {
                continue;
            };
            if is_text && value == OTHER {
                return None;
            }
            let label = labels.entry(value).or_insert_with_key(|value| {
                let label = self.property.label(value).into_owned();
                condition.matches(&label).then_some(label)
            });
            let Some(label) = label else {
                continue;
            };
            let key = (
                bucket,
                if broken_down {
                    label.clone()
                } else {
                    String::new()
                },
            );
            let sums = sums.entry(key).or_default();
            if !of_values {
                sums.add_entry_page(&row);
            } else if self.property.is_of_visits() {
                sums.add_visits(&row, since);
            } else {
                sums.add_events(&row, since);
            }
        }
        let rows = sums.into_iter().map(|((bucket, label), sums)| {
            let cells = question.dimensions.iter().map(|dimension| match dimension {
                Dimension::Time(_) => Cell::Bucket(bucket),
                Dimension::Of(_) => Cell::Text(label.clone()),
            });
            (cells.collect(), sums)
        });
        Some(Rows::new(question, rows.collect()))
    }
}

/// Distinct visitors from minute rows of the whole site, `first` being the first minute.
pub fn visitors_of_minutes(first: i64, rows: &[(i64, Row)]) -> i64 {
    rows.iter()
        .map(|(minute, row)| row.visitors_since(u32::try_from(minute - first).unwrap_or(0)))
        .sum()
}

#[cfg(test)]
mod tests;
