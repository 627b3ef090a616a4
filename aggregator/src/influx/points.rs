//! Rows as points.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_proto::lists::OTHER;
use wakeline_proto::partition_hash;

use super::line::{Value, series};
use crate::metrics::ValueRow;

/// Values that have a rank of their own, by kind and day.
const RANKS: usize = 20;
/// Currencies that have a field of their own in a window; `row` has all of them.
const CURRENCIES: usize = 20;
/// What InfluxDB can date: 1677-09-21 to 2262-04-11, in s.
const TIMES: std::ops::Range<i64> = -9_223_372_036..9_223_372_036;

/// Whose points they are: tags that all of them have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tags {
    /// Of the figures.
    pub(super) generation: u32,
    /// Its id.
    pub(super) site: u64,
}

/// Fields by the beginning of their line.
pub(super) type Points = BTreeMap<String, BTreeMap<String, Value>>;

/// The partition whose owner writes the series of a site.
pub(super) fn owner(site: u64, partitions: u16) -> u16 {
    (partition_hash(site, "") % u64::from(partitions.max(1))) as u16
}

/// How the rows of a dimension are written.
pub(super) enum Kind {
    /// All of its few values, as fields of one point.
    List,
    /// The first of many.
    Top,
}

/// How a dimension is written, and as what; `None` for totals, and for the ledger, which is the state's.
pub(super) const fn kind(dimension: Dimension) -> Option<(Kind, &'static str)> {
    Some(match dimension {
        Dimension::Total | Dimension::Fate => return None,
        Dimension::Page => (Kind::Top, "page"),
        Dimension::EntryPage => (Kind::Top, "entry_page"),
        Dimension::ExitPage => (Kind::Top, "exit_page"),
        Dimension::Source => (Kind::Top, "source"),
        Dimension::UtmMedium => (Kind::Top, "utm_medium"),
        Dimension::UtmSource => (Kind::Top, "utm_source"),
        Dimension::UtmCampaign => (Kind::Top, "utm_campaign"),
        Dimension::UtmContent => (Kind::Top, "utm_content"),
        Dimension::UtmTerm => (Kind::Top, "utm_term"),
        Dimension::EventName => (Kind::Top, "event"),
        Dimension::Channel => (Kind::List, "channel"),
        Dimension::Country => (Kind::List, "country"),
        Dimension::Device => (Kind::List, "device"),
        Dimension::Browser => (Kind::List, "browser"),
        Dimension::Os => (Kind::List, "os"),
    })
}

/// The measurement of totals.
pub(super) const fn measurement(grain: Grain) -> &'static str {
    match grain {
        Grain::Minute => "minute",
        Grain::Hour => "hour",
        Grain::Day => "day",
    }
}

const fn seconds_per(grain: Grain) -> i64 {
    match grain {
        Grain::Minute | Grain::Hour => 60, // hours are counted in minutes, too
        Grain::Day => 86_400,
    }
}

/// The time of a window's points, in s since 1970-01-01 UTC; `None` beyond what InfluxDB can date.
pub(super) fn time(grain: Grain, window: i64) -> Option<i64> {
    let time = window.checked_mul(seconds_per(grain))?;
    TIMES.contains(&time).then_some(time)
}

/// The nearest that InfluxDB can date.
pub(super) fn nearest_time(grain: Grain, window: i64) -> i64 {
    let time = window.saturating_mul(seconds_per(grain));
    time.clamp(TIMES.start, TIMES.end - 1)
}

/// The window whose points have that time.
pub(super) fn window(grain: Grain, seconds: i64) -> i64 {
    seconds.div_euclid(seconds_per(grain))
}

/// Name and tags of a point.
pub(super) fn series_of(measurement: &str, of: Tags, more: &[(&str, &str)]) -> String {
    let (generation, site) = (of.generation.to_string(), of.site.to_string());
    let mut tags = vec![("generation", generation.as_str())];
    tags.extend_from_slice(more);
    tags.push(("site", &site));
    tags.sort_unstable();
    series(measurement, &tags)
}

/// Adds the totals of a window.
pub(super) fn add_totals(points: &mut Points, of: Tags, grain: Grain, row: &Row) {
    let fields = points
        .entry(series_of(measurement(grain), of, &[]))
        .or_default();
    let mut put = |name: &str, value| {
        fields.insert(name.to_owned(), Value::Int(value));
    };
    put("visitors", row.visitors());
    put("visits", row.visits);
    put("pageviews", row.pageviews);
    put("events", row.events);
    put("bounces", row.bounces);
    put("duration_ms", row.duration_ms);
    put("engagement_ms", row.engagement_ms);
    put("orders", row.orders);
    for (currency, minor) in row.revenue.iter().take(CURRENCIES) {
        let currency = String::from_utf8_lossy(currency);
        put(&format!("revenue_{currency}"), *minor);
    }
    fields.insert("row".to_owned(), Value::Text(write_row(row)));
}

/// Adds the values of a dimension on a day.
pub(super) fn add_values(points: &mut Points, of: Tags, dimension: Dimension, rows: &[ValueRow]) {
    match kind(dimension) {
        None => {}
        Some((Kind::List, name)) => add_list(points, of, name, rows),
        Some((Kind::Top, name)) => add_top(points, of, name, rows),
    }
}

fn add_list(points: &mut Points, of: Tags, name: &str, rows: &[ValueRow]) {
    if rows.is_empty() {
        return;
    }
    let fields = points.entry(series_of("lists", of, &[])).or_default();
    for (_, value, row) in rows {
        let value = if value.is_empty() { "(none)" } else { value };
        let mut put = |figure: &str, number: i64| {
            fields.insert(format!("{name}_{value}_{figure}"), Value::Int(number));
        };
        put("visitors", row.visitors());
        put("visits", row.visits);
        put("pageviews", row.pageviews);
    }
}

fn add_top(points: &mut Points, of: Tags, kind: &str, rows: &[ValueRow]) {
    let mut ranked: Vec<_> = rows.iter().filter(|(_, value, _)| value != OTHER).collect();
    ranked.sort_by(|(_, a, x), (_, b, y)| {
        let by_figures = (y.visitors(), y.events).cmp(&(x.visitors(), x.events));
        by_figures.then_with(|| a.cmp(b))
    });
    let mut rest = Row::default();
    let unranked = rows.iter().filter(|(_, value, _)| value == OTHER);
    for (_, _, row) in ranked.iter().skip(RANKS).copied().chain(unranked) {
        rest.add(row);
    }
    let mut put = |rank: usize, value: &str, row: &Row| {
        let rank = rank.to_string();
        let series = series_of("top", of, &[("kind", kind), ("rank", &rank)]);
        let fields = [
            ("value", Value::Text(value.to_owned())),
            ("visitors", Value::Int(row.visitors())),
            ("visits", Value::Int(row.visits)),
            ("pageviews", Value::Int(row.pageviews)),
            ("events", Value::Int(row.events)),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        points.insert(series, fields.into());
    };
    for (at, (_, value, row)) in ranked.iter().take(RANKS).enumerate() {
        let value = if value.is_empty() { "(none)" } else { value };
        put(at + 1, value, row);
    }
    if !rest.is_zero() {
        put(0, OTHER, &rest);
    }
}

fn write_row(row: &Row) -> String {
    let mut bytes = Vec::new();
    row.encode(&mut bytes);
    STANDARD_NO_PAD.encode(bytes)
}

/// Reads the field `row`.
pub(super) fn read_row(text: &str) -> Option<Row> {
    Row::decode(&STANDARD_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use wakeline_engine::{Dimension, Grain, Row};

    use super::{Points, Tags, Value, add_totals, add_values, read_row, time, window};

    const TAGS: Tags = Tags {
        generation: 3,
        site: 7,
    };

    fn row(visitors: i64) -> Row {
        Row {
            pageviews: 3,
            revenue: vec![(*b"EUR", 1250)],
            visitors_by_gap: vec![(0, visitors)],
            ..Row::default()
        }
    }

    #[test]
    fn a_row_comes_back_exactly_and_a_window_from_its_time() {
        let mut points = Points::new();
        add_totals(&mut points, TAGS, Grain::Hour, &row(2));
        let fields = &points["hour,generation=3,site=7"];
        assert_eq!(fields["visitors"], Value::Int(2));
        assert_eq!(fields["revenue_EUR"], Value::Int(1250));
        let Value::Text(text) = &fields["row"] else {
            panic!("no text");
        };
        assert_eq!(read_row(text), Some(row(2)));
        assert_eq!(read_row("%"), None);
        for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
            for of in [-7, 0, 20_000] {
                assert_eq!(window(grain, time(grain, of).unwrap()), of);
            }
        }
        assert_eq!(time(Grain::Day, 200_000), None);
        assert_eq!(time(Grain::Day, i64::MAX), None);
    }

    #[test]
    fn the_first_twenty_have_ranks_and_ties_break_by_value() {
        let mut points = Points::new();
        let rows: Vec<_> = (0..25)
            .map(|at| (9, format!("/{at:02}"), row(if at == 24 { 5 } else { 1 })))
            .collect();
        add_values(&mut points, TAGS, Dimension::Page, &rows);
        let value = |rank: u32| {
            let fields = &points[&format!("top,generation=3,kind=page,rank={rank},site=7")];
            (fields["value"].clone(), fields["visitors"].clone())
        };
        assert_eq!(value(1), (Value::Text("/24".into()), Value::Int(5)));
        assert_eq!(value(2), (Value::Text("/00".into()), Value::Int(1)));
        assert_eq!(value(0), (Value::Text("(other)".into()), Value::Int(5)));
        assert_eq!(points.len(), 21);
    }
}
