//! What a question says, and what it means.

use std::ops::Range;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_engine::Dimension;

use super::{
    super::body::parse,
    Metric, QueryError, Step, Sums,
    filter::Filter,
    metric::{Figure, METRICS},
    money::Currency,
    property::{self, Property},
    range::DateRange,
};

/// A question as it is sent.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Query)]
pub(crate) struct Request {
    /// Id or domain of the site.
    #[schema(example = "shop.example")]
    site_id: Value,
    /// `visitors`, `visits`, `pageviews`, `events`, `views_per_visit`, `bounce_rate` (%), `visit_duration` (s), `orders`,
    /// `total_revenue`, `average_revenue` (per order); `new_visitors` and `returning_visitors` (whether seen on an
    /// earlier day than the first here), of whole days and without a dimension other than time.
    #[schema(example = json!(["visitors", "pageviews"]))]
    metrics: Vec<String>,
    /// `day`, `24h`, `7d`, `28d`, `30d`, `91d`, `month`, `6mo`, `12mo`, `year`, `all`, or a pair of ISO 8601 dates or
    /// times. Exact rows exist for local days at any length, for whole hours up to 40 days, for minutes up to a day.
    #[schema(example = "7d")]
    date_range: Value,
    /// One of `event:page`, `event:name`, `event:goal`, `visit:entry_page`, `visit:exit_page`, `visit:source`,
    /// `visit:channel`, `visit:utm_medium`, `visit:utm_source`, `visit:utm_campaign`, `visit:utm_content`,
    /// `visit:utm_term`, `visit:country` (ISO 3166-1 alpha-2), `visit:device`, `visit:browser`, `visit:os`, all of which
    /// are counted by the day; and one of `time`, `time:minute`, `time:hour`, `time:day`, `time:week`, `time:month`.
    #[serde(default)]
    #[schema(example = json!(["time:day"]))]
    dimensions: Vec<String>,
    /// `[operator, dimension, [values], {"case_sensitive": bool}?]` with `is`, `is_not`, `contains`, `contains_not`, and
    /// `and`, `or`, `not` of them, on the dimension that the answer is broken down by; without one, that it is one value,
    /// or any if the metrics of several values add up.
    #[serde(default)]
    filters: Vec<Value>,
    /// Metrics or dimensions of the query with `asc` or `desc`.
    #[serde(default)]
    #[schema(example = json!([["visitors", "desc"]]))]
    order_by: Vec<(String, Direction)>,
    #[serde(default)]
    include: Include,
    #[serde(default)]
    pagination: Pagination,
}

/// What an answer is to have besides results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a request, each on its own"
)]
pub(super) struct Include {
    /// `meta.time_labels`: all buckets, also empty ones.
    pub(super) time_labels: bool,
    /// `meta.total_rows`: rows before paging.
    pub(super) total_rows: bool,
    /// `meta.freshness`: how far the figures are.
    pub(super) freshness: bool,
    /// A sketch would do. Answers are exact all the same.
    approximate: bool,
}

/// Which rows of the results, after ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Pagination {
    /// From 1 to 10,000.
    pub(super) limit: usize,
    /// Rows to leave out.
    pub(super) offset: usize,
}

const MAX_LIMIT: usize = 10_000;

impl Default for Pagination {
    fn default() -> Self {
        Self {
            limit: MAX_LIMIT,
            offset: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    Asc,
    Desc,
}

/// A dimension of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Time,
    Property(Property),
}

/// What results are ordered by: the position of a metric or a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderKey {
    Metric(usize),
    Column(usize),
}

/// A question that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) site_id: Value,
    pub(super) metrics: Vec<Metric>,
    pub(super) range: DateRange,
    pub(super) columns: Vec<Column>,
    pub(super) filters: Vec<Value>,
    pub(super) filter: Filter,
    /// What the answer is broken down, or filtered, by.
    pub(super) property: Option<Property>,
    pub(super) order_by: Vec<(OrderKey, Direction)>,
    pub(super) include: Include,
    pub(super) pagination: Pagination,
    time: Option<TimeDimension>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeDimension {
    /// `time`: the step follows from the range.
    Auto,
    Step(Step),
}

const TIME_DIMENSIONS: [(&str, TimeDimension); 6] = [
    ("time", TimeDimension::Auto),
    ("time:minute", TimeDimension::Step(Step::Minute)),
    ("time:hour", TimeDimension::Step(Step::Hour)),
    ("time:day", TimeDimension::Step(Step::Day)),
    ("time:week", TimeDimension::Step(Step::Week)),
    ("time:month", TimeDimension::Step(Step::Month)),
];

/// Reads a question; an unknown key is refused with its name.
pub(super) fn read(body: &[u8]) -> Result<Request, QueryError> {
    let request: Request = parse(body).map_err(QueryError::new)?;
    if !request.site_id.is_string() && !request.site_id.is_u64() {
        return Err(QueryError::new(
            "site_id: give the id (a number) or the domain (a string) of a site",
        ));
    }
    Ok(request)
}

impl Request {
    /// The site as text: an id or a domain.
    pub(super) fn site_name(&self) -> String {
        match &self.site_id {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        }
    }
}

impl Query {
    /// Checks what a question says; its times without an offset are those of `zone`.
    pub(super) fn new(request: Request, zone: &TimeZone) -> Result<Self, QueryError> {
        let metrics = parse_metrics(&request.metrics)?;
        let (columns, time) = parse_dimensions(&request.dimensions)?;
        let (filter, filtered) = Filter::parse(&request.filters)?;
        let broken_down = columns.iter().find_map(|column| match column {
            Column::Property(property) => Some(*property),
            Column::Time => None,
        });
        let property = match (broken_down, filtered) {
            (Some(by), Some(filtered)) if by.dimension != filtered.dimension => {
                let why = property::one_only(by, filtered);
                return Err(QueryError::new(format!("filters: {why}")));
            }
            (by, filtered) => by.or(filtered),
        };
        if let Some(property) = property {
            check_metrics(&metrics, property)?;
            if broken_down.is_none() && filter.single().is_none() {
                check_sums(&metrics, property)?;
            }
        }
        if request.include.time_labels && time.is_none() {
            return Err(QueryError::new(
                "include: time_labels needs a time dimension",
            ));
        }
        if request.pagination.limit == 0 || request.pagination.limit > MAX_LIMIT {
            return Err(QueryError::new(format!(
                "pagination: limit is from 1 to {MAX_LIMIT}"
            )));
        }
        let order_by = parse_order(
            &request.order_by,
            &request.metrics,
            &request.dimensions,
            &columns,
        )?;
        Ok(Self {
            range: DateRange::parse(&request.date_range, zone)?,
            site_id: request.site_id,
            metrics,
            columns,
            filters: request.filters,
            filter,
            property,
            order_by,
            include: request.include,
            pagination: request.pagination,
            time,
        })
    }

    /// How long the buckets are, if there is a time dimension.
    pub(super) fn step(&self, range: &Range<i64>) -> Option<Step> {
        match self.time? {
            TimeDimension::Step(step) => Some(step),
            TimeDimension::Auto => match Step::by_span(range) {
                Step::Hour if self.needs_days().is_some() => Some(Step::Day),
                step => Some(step),
            },
        }
    }

    /// What of it is counted by the day only, if there is such a thing.
    pub(super) fn needs_days(&self) -> Option<&'static str> {
        let history = self.metrics.iter().find(|metric| metric.is_of_history());
        let property = self.property.map(|property| property.name);
        property.or(history.map(|metric| metric.name()))
    }

    /// The metrics of one row; money is of `currency`.
    pub(super) fn figures(&self, sums: &Sums, currency: Currency) -> Vec<Figure> {
        self.metrics
            .iter()
            .map(|metric| sums.figure(*metric, currency))
            .collect()
    }

    /// The dimensions under their names, `time` as what it became.
    pub(super) fn dimensions(&self, step: Option<Step>) -> Vec<&'static str> {
        let name = |column: &Column| match column {
            Column::Time => step.map_or("time", Step::dimension),
            Column::Property(property) => property.name,
        };
        self.columns.iter().map(name).collect()
    }
}

fn parse_metrics(names: &[String]) -> Result<Vec<Metric>, QueryError> {
    if names.is_empty() {
        return Err(QueryError::new("metrics: give at least one"));
    }
    let mut metrics = Vec::with_capacity(names.len());
    for name in names {
        let Some((_, metric)) = METRICS.iter().find(|(known, _)| known == name) else {
            let known = METRICS.map(|(name, _)| name).join(", ");
            return Err(QueryError::new(format!(
                "metrics: {name:?} is not supported; supported are {known}"
            )));
        };
        if metrics.contains(metric) {
            return Err(QueryError::new(format!("metrics: {name:?} is there twice")));
        }
        metrics.push(*metric);
    }
    Ok(metrics)
}

/// Refuses metrics that rows by that property don't tell.
fn check_metrics(metrics: &[Metric], property: Property) -> Result<(), QueryError> {
    let refuse = |metric: &Metric, why: &str| {
        Err(QueryError::new(format!(
            "metrics: {} can't be told by {}: {why}",
            metric.name(),
            property.name
        )))
    };
    for metric in metrics {
        if metric.is_of_history() {
            return refuse(metric, "who is new to a value need not be new to the site");
        }
        if metric.is_of_visits() && property.dimension == Dimension::EventName {
            return refuse(metric, "it is a figure of visits, not of events");
        }
    }
    Ok(())
}

/// Refuses metrics that can't be told of several values together.
fn check_sums(metrics: &[Metric], property: Property) -> Result<(), QueryError> {
    match metrics.iter().find(|metric| !metric.adds_up(property)) {
        Some(metric) => Err(QueryError::new(format!(
            "filters: {} of several values don't add up: without the dimension {} only [\"is\", \"{}\", [one value]] \
             is supported",
            metric.name(),
            property.name,
            property.name
        ))),
        None => Ok(()),
    }
}

fn parse_dimensions(names: &[String]) -> Result<(Vec<Column>, Option<TimeDimension>), QueryError> {
    let mut columns = Vec::with_capacity(names.len());
    let mut time = None;
    for name in names {
        let column = if let Some((_, found)) =
            TIME_DIMENSIONS.iter().find(|(known, _)| known == name)
        {
            time = Some(*found);
            Column::Time
        } else if let Some(property) = Property::find(name) {
            Column::Property(property)
        } else {
            let times = TIME_DIMENSIONS.map(|(name, _)| name).join(", ");
            let properties = property::names();
            return Err(QueryError::new(format!(
                "dimensions: {name:?} is not supported; supported are one of {times} and one of {properties}"
            )));
        };
        let other = columns
            .iter()
            .find(|other| std::mem::discriminant(*other) == std::mem::discriminant(&column));
        match (other, column) {
            (Some(Column::Property(other)), Column::Property(this)) if *other != this => {
                let why = property::one_only(*other, this);
                return Err(QueryError::new(format!("dimensions: {why}")));
            }
            (Some(_), _) => {
                return Err(QueryError::new(format!(
                    "dimensions: {name:?}: give a time dimension and another once each at most"
                )));
            }
            (None, _) => {}
        }
        columns.push(column);
    }
    Ok((columns, time))
}

fn parse_order(
    order: &[(String, Direction)],
    metrics: &[String],
    dimensions: &[String],
    columns: &[Column],
) -> Result<Vec<(OrderKey, Direction)>, QueryError> {
    if order.is_empty() {
        let time = columns.iter().position(|column| *column == Column::Time);
        let time = time.map(|at| (OrderKey::Column(at), Direction::Asc));
        return Ok(time
            .into_iter()
            .chain([(OrderKey::Metric(0), Direction::Desc)])
            .collect());
    }
    let key = |name: &String| {
        let metric = metrics
            .iter()
            .position(|metric| metric == name)
            .map(OrderKey::Metric);
        let column = || {
            dimensions
                .iter()
                .position(|dimension| dimension == name)
                .map(OrderKey::Column)
        };
        metric.or_else(column).ok_or_else(|| {
            QueryError::new(format!(
                "order_by: {name:?} is not among the metrics and dimensions of this query"
            ))
        })
    };
    order
        .iter()
        .map(|(name, direction)| Ok((key(name)?, *direction)))
        .collect()
}
