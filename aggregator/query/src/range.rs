//! Which stretch of time a query is about, and the buckets it falls into.

use std::ops::Range;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime, Weekday, date},
    tz::{AmbiguousOffset, TimeZone},
};
use serde_json::{Value, json};
use wakeline_engine::window::{self, day_window, hour_window, start_of_day, start_of_window};

use crate::QueryError;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Most buckets of an answer.
const MAX_BUCKETS: usize = 10_000;
/// Dates that can be asked for.
const FIRST_DATE: Date = date(1970, 1, 1);
const LAST_DATE: Date = date(2199, 12, 31);

/// `date_range` of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateRange {
    /// All of the present day.
    Today,
    /// The 1,440 minutes up to this one.
    Last24Hours,
    /// So many days before today.
    Days(i64),
    /// All of the present month.
    ThisMonth,
    /// So many months before this one.
    Months(i32),
    /// All of the present year.
    ThisYear,
    /// From the first day with anything to today.
    All,
    /// Both included.
    Dates(Date, Date),
    /// Unix milliseconds.
    Instants(i64, i64),
}

impl DateRange {
    /// Parses what a question says; times without an offset are the site's.
    pub fn parse(value: &Value, zone: &TimeZone) -> Result<Self, QueryError> {
        let refuse = |why: &str| QueryError::new(format!("date_range: {value}: {why}"));
        match value {
            Value::String(name) => Ok(match name.as_str() {
                "day" => Self::Today,
                "24h" => Self::Last24Hours,
                "7d" => Self::Days(7),
                "28d" => Self::Days(28),
                "30d" => Self::Days(30),
                "91d" => Self::Days(91),
                "month" => Self::ThisMonth,
                "6mo" => Self::Months(6),
                "12mo" => Self::Months(12),
                "year" => Self::ThisYear,
                "all" => Self::All,
                _ => {
                    return Err(refuse(
                        "must be day, 24h, 7d, 28d, 30d, 91d, month, 6mo, 12mo, year, all or a pair of dates or times",
                    ));
                }
            }),
            Value::Array(pair) => {
                let [Value::String(first), Value::String(last)] = pair.as_slice() else {
                    return Err(refuse("must be a pair of ISO 8601 dates or times"));
                };
                if let (Some(first), Some(last)) = (parse_date(first), parse_date(last)) {
                    if first > last {
                        return Err(refuse("ends before it begins"));
                    }
                    if first < FIRST_DATE || last > LAST_DATE {
                        return Err(refuse("dates go from 1970-01-01 to 2199-12-31"));
                    }
                    return Ok(Self::Dates(first, last));
                }
                let (Some(first), Some(last)) =
                    (parse_instant(first, zone), parse_instant(last, zone))
                else {
                    return Err(refuse(
                        "both must be dates such as 2026-11-21, or both times such as 2026-11-21T14:00:00+01:00",
                    ));
                };
                Self::instants(first, last).ok_or_else(|| {
                    refuse(
                        "times are whole minutes from 1970 to 2199, the last one after the first; \
                         the last may also be the last second of its minute",
                    )
                })
            }
            _ => Err(refuse("must be a text or a pair of texts")),
        }
    }

    /// The range as questions say it.
    pub fn to_json(self) -> Value {
        match self {
            Self::Today => "day".into(),
            Self::Last24Hours => "24h".into(),
            Self::Days(count) => format!("{count}d").into(),
            Self::ThisMonth => "month".into(),
            Self::Months(count) => format!("{count}mo").into(),
            Self::ThisYear => "year".into(),
            Self::All => "all".into(),
            Self::Dates(first, last) => json!([first.to_string(), last.to_string()]),
            Self::Instants(first, end) => {
                json!([instant(first).to_string(), instant(end).to_string()])
            }
        }
    }

    fn instants(first: i64, last: i64) -> Option<Self> {
        // 14:59:59 means all of that minute, as does 15:00:00: an end is not part of the range.
        let last = match last.rem_euclid(MINUTE_MS) {
            0 => last,
            59_000.. => last.div_euclid(MINUTE_MS) * MINUTE_MS + MINUTE_MS,
            _ => return None,
        };
        let in_bounds = first >= 0 && last <= (day_number(LAST_DATE) + 2) * DAY_MS;
        (first.rem_euclid(MINUTE_MS) == 0 && first < last && in_bounds)
            .then_some(Self::Instants(first, last))
    }

    /// The range in Unix milliseconds at `now`. `first_day` is the site's first day with anything.
    pub fn resolve(self, zone: &TimeZone, now: i64, first_day: Option<i64>) -> Range<i64> {
        let today = day_window(zone, now);
        let days = |first, last| start_of_day(zone, first)..start_of_day(zone, last + 1);
        let months = |first: Date, last: Date| {
            days(
                day_number(first.first_of_month()),
                day_number(last.last_of_month()),
            )
        };
        let date = date_of(today);
        match self {
            Self::Today => days(today, today),
            Self::Last24Hours => {
                let end = (now.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
                end - DAY_MS..end
            }
            Self::Days(count) => days(today - count, today - 1),
            Self::ThisMonth => months(date, date),
            Self::Months(count) => months(
                date.first_of_month().saturating_sub(count.months()),
                date.first_of_month().saturating_sub(1.month()),
            ),
            Self::ThisYear => days(
                day_number(date.first_of_year()),
                day_number(date.last_of_year()),
            ),
            Self::All => days(first_day.unwrap_or(today).min(today), today),
            Self::Dates(first, last) => days(day_number(first), day_number(last)),
            Self::Instants(first, end) => first..end,
        }
    }
}

/// Which other range an answer is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// As many days, or as much time, right before; from the same weekday on, if that is said.
    PreviousPeriod {
        /// Moved further back to the same weekday.
        match_day_of_week: bool,
    },
    /// A year earlier; with weekdays matched, 52 weeks earlier.
    YearOverYear {
        /// Of 52 weeks.
        match_day_of_week: bool,
    },
    /// Another range.
    Custom(DateRange),
}

impl Comparison {
    /// The other range, in Unix milliseconds at `now`.
    pub(crate) fn resolve(self, zone: &TimeZone, range: &Range<i64>, now: i64) -> Range<i64> {
        let on_days = is_day(zone, range.start) && is_day(zone, range.end);
        let (first, end) = (day_window(zone, range.start), day_window(zone, range.end));
        let days_back = |days: i64| {
            if on_days {
                start_of_day(zone, first - days)..start_of_day(zone, end - days)
            } else {
                range.start - days * DAY_MS..range.end - days * DAY_MS
            }
        };
        let span = range.end - range.start;
        match self {
            Self::Custom(other) => other.resolve(zone, now, None),
            Self::PreviousPeriod { match_day_of_week } => {
                let days = if on_days {
                    end - first
                } else {
                    (span + DAY_MS - 1).div_euclid(DAY_MS)
                };
                match (match_day_of_week, on_days) {
                    (true, _) => days_back((days + 6).div_euclid(7) * 7),
                    (false, true) => days_back(days),
                    (false, false) => range.start - span..range.start,
                }
            }
            Self::YearOverYear {
                match_day_of_week: true,
            } => days_back(364),
            Self::YearOverYear { .. } => {
                let year_before = date_of(first).saturating_sub(1.year());
                days_back(first - day_number(year_before))
            }
        }
    }
}

/// How long the buckets of a time dimension are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A minute.
    Minute,
    /// A local hour.
    Hour,
    /// A local day.
    Day,
    /// From Monday; the first one from the first day of the range.
    Week,
    /// A calendar month.
    Month,
}

impl Step {
    /// The step of the dimension `time`: what makes a readable chart of the range.
    pub(crate) fn by_span(range: &Range<i64>) -> Self {
        // Where clocks are put back, so many local days are an hour longer than as many times 24 hours.
        let span = range.end - range.start - HOUR_MS;
        if span <= 48 * HOUR_MS {
            Self::Hour
        } else if span <= 40 * DAY_MS {
            Self::Day
        } else if span <= 52 * 7 * DAY_MS {
            Self::Week
        } else {
            Self::Month
        }
    }

    pub(crate) const fn dimension(self) -> &'static str {
        match self {
            Self::Minute => "time:minute",
            Self::Hour => "time:hour",
            Self::Day => "time:day",
            Self::Week => "time:week",
            Self::Month => "time:month",
        }
    }
}

/// A stretch of the range that has one row of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Unix milliseconds.
    pub span: Range<i64>,
    /// As in `results` and `meta.time_labels`.
    pub label: String,
}

/// Cuts a range into the buckets of a step: ascending, without gap or overlap, cut off at the range's ends.
pub(crate) fn buckets(
    zone: &TimeZone,
    range: &Range<i64>,
    step: Step,
) -> Result<Vec<Bucket>, QueryError> {
    let shortest = match step {
        Step::Minute => MINUTE_MS,
        Step::Hour => HOUR_MS,
        Step::Day => DAY_MS,
        Step::Week => 7 * DAY_MS,
        Step::Month => 28 * DAY_MS,
    };
    if (range.end - range.start) / shortest > MAX_BUCKETS as i64 {
        return Err(QueryError::new(format!(
            "dimensions: {} gives more than {MAX_BUCKETS} buckets over this date_range: \
             choose a longer step or a shorter range",
            step.dimension()
        )));
    }
    let starts: Vec<(i64, String)> = match step {
        Step::Minute => (range.start.div_euclid(MINUTE_MS)..range.end.div_euclid(MINUTE_MS))
            .map(|minute| {
                (
                    start_of_window(minute),
                    time_label(zone, start_of_window(minute)),
                )
            })
            .collect(),
        Step::Hour => window::hours(zone, range.clone())
            .into_iter()
            .map(|hour| {
                (
                    start_of_window(hour),
                    time_label(zone, start_of_window(hour)),
                )
            })
            .collect(),
        Step::Day | Step::Week | Step::Month => {
            let days = window::days(zone, range.clone());
            let first = days.start;
            days.filter(|day| *day == first || begins(*day, step))
                .map(|day| {
                    let date = date_of(day);
                    let date = if step == Step::Month {
                        date.first_of_month()
                    } else {
                        date
                    };
                    (start_of_day(zone, day), date.to_string())
                })
                .collect()
        }
    };
    let ends = starts
        .iter()
        .skip(1)
        .map(|(start, _)| *start)
        .chain([range.end]);
    let buckets = starts.iter().zip(ends).map(|((start, label), end)| Bucket {
        span: (*start).max(range.start)..end,
        label: label.clone(),
    });
    // A date that a zone skipped has no time in it.
    Ok(buckets.filter(|bucket| !bucket.span.is_empty()).collect())
}

/// Whether a week or month begins with this day; a day does always.
fn begins(day: i64, step: Step) -> bool {
    match step {
        Step::Week => date_of(day).weekday() == Weekday::Monday,
        Step::Month => date_of(day).day() == 1,
        _ => true,
    }
}

/// The local time; with the offset where clocks were put back and it comes twice.
fn time_label(zone: &TimeZone, ms: i64) -> String {
    let timestamp = instant(ms);
    let offset = zone.to_offset(timestamp);
    let local = offset.to_datetime(timestamp);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { .. } => format(zone, ms, "%Y-%m-%d %H:%M:%S%:z"),
        _ => format(zone, ms, "%Y-%m-%d %H:%M:%S"),
    }
}

/// A range as two ISO 8601 times with the offsets that held: its first and its last second.
pub(crate) fn iso(zone: &TimeZone, range: &Range<i64>) -> [String; 2] {
    [range.start, range.end - 1000].map(|ms| iso_instant(zone, ms))
}

/// An instant as ISO 8601, to the second.
pub(crate) fn iso_instant(zone: &TimeZone, ms: i64) -> String {
    format(zone, ms, "%Y-%m-%dT%H:%M:%S%:z")
}

fn format(zone: &TimeZone, ms: i64, format: &str) -> String {
    instant(ms)
        .to_zoned(zone.clone())
        .strftime(format)
        .to_string()
}

/// Whether a local hour begins at this instant.
pub(crate) fn is_hour(zone: &TimeZone, ms: i64) -> bool {
    ms.rem_euclid(MINUTE_MS) == 0 && start_of_window(hour_window(zone, ms)) == ms
}

/// Whether a local day begins at this instant.
pub(crate) fn is_day(zone: &TimeZone, ms: i64) -> bool {
    start_of_day(zone, day_window(zone, ms)) == ms
}

fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Days since 1970-01-01.
fn day_number(date: Date) -> i64 {
    date.duration_since(FIRST_DATE).as_hours() / 24
}

fn date_of(day: i64) -> Date {
    FIRST_DATE.saturating_add(i32::try_from(day).unwrap_or(0).days())
}

fn parse_date(text: &str) -> Option<Date> {
    // The parser takes the date of a time, too.
    text.parse().ok().filter(|_| text.len() == 10)
}

fn parse_instant(text: &str, zone: &TimeZone) -> Option<i64> {
    if text.len() <= 10 {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    let instant = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(instant.as_millisecond())
}

#[cfg(test)]
mod tests;
