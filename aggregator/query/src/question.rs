//! What a question says, and what it means.

mod parse;

use std::ops::Range;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use self::parse::{parse_comparison, parse_dimensions, parse_metrics, parse_order};
use crate::{
    QueryError,
    filter::Filter,
    metric::Metric,
    property::Property,
    range::{Comparison, DateRange, Step},
};

/// A question as it is sent.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Query)]
pub struct Request {
    /// Id or domain of the site.
    #[schema(example = "shop.example")]
    pub site_id: Value,
    /// `visitors`, `visits`, `pageviews`, `events`, `views_per_visit`, `bounce_rate` (%), `visit_duration` (s), `orders`,
    /// `total_revenue`, `average_revenue` (per order), `new_visitors` and `returning_visitors` (whether seen before the
    /// first day); with an `event:page` filter or dimension `time_on_page` (s) and `scroll_depth` (%); with an
    /// `event:goal` filter or dimension `conversion_rate` and `group_conversion_rate` (%); with a dimension `percentage`.
    #[schema(example = json!(["visitors", "pageviews"]))]
    pub metrics: Vec<String>,
    /// `day`, `24h`, `7d`, `28d`, `30d`, `91d`, `month`, `6mo`, `12mo`, `year`, `all`, or a pair of ISO 8601 dates or
    /// times.
    #[schema(example = "7d")]
    pub date_range: Value,
    /// One of `time`, `time:minute`, `time:hour`, `time:day`, `time:week`, `time:month`; and any of `event:page`,
    /// `event:name`, `event:goal`, `event:hostname`, `event:props:NAME`, and `visit:` with `source`, `referrer`, `channel`,
    /// `utm_medium`, `utm_source`, `utm_campaign`, `utm_content`, `utm_term`, `device`, `browser`, `browser_version`, `os`,
    /// `os_version`, `country`, `region`, `city` (and `_name` of these three), `entry_page`, `exit_page` (and
    /// `_hostname` of these two).
    #[serde(default)]
    #[schema(example = json!(["time:day"]))]
    pub dimensions: Vec<String>,
    /// `[operator, dimension, [values], {"case_sensitive": bool}?]` with `is`, `is_not`, `contains`, `contains_not`,
    /// `matches`, `matches_not` (RE2); `["and" | "or", [filters]]`, `["not", filter]`; `["has_done" | "has_not_done", filter]`
    /// of the visit; `["is", "segment", [ids]]`.
    #[serde(default)]
    pub filters: Vec<Value>,
    /// Metrics or dimensions of the question with `asc` or `desc`.
    #[serde(default)]
    #[schema(example = json!([["visitors", "desc"]]))]
    pub order_by: Vec<(String, Direction)>,
    /// What the answer is to have besides results.
    #[serde(default)]
    pub include: IncludeRequest,
    /// Which rows.
    #[serde(default)]
    pub pagination: Pagination,
}

/// What an answer is to have besides results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Include)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a request, each on its own"
)]
pub struct IncludeRequest {
    /// `meta.time_labels`: all buckets, also empty ones.
    pub time_labels: bool,
    /// `meta.total_rows`: rows before paging.
    pub total_rows: bool,
    /// `meta.freshness`: how far the figures are.
    pub freshness: bool,
    /// `meta.generation`: of which state they are.
    pub generation: bool,
    /// `meta.source`: whether rollups or events were read, and why.
    pub source: bool,
    /// A sketch would do. Answers are exact all the same.
    pub approximate: bool,
    /// `meta.imports_included`: false, there is no imported data.
    pub imports: bool,
    /// `comparison` of each result: the same of another range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparisons: Option<ComparisonRequest>,
}

/// With which other range results are compared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRequest {
    /// Which range.
    pub mode: ComparisonMode,
    /// The range of the mode `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_range: Option<Value>,
    /// Moved so that weekdays match.
    #[serde(default)]
    pub match_day_of_week: bool,
}

/// Which other range results are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonMode {
    /// As long, right before.
    PreviousPeriod,
    /// A year earlier.
    YearOverYear,
    /// `date_range` of it.
    Custom,
}

/// Which rows of the results, after ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pagination {
    /// From 1 to 10,000.
    pub limit: usize,
    /// Rows to leave out.
    pub offset: usize,
}

/// Rows of an answer.
pub const MAX_LIMIT: usize = 10_000;

impl Default for Pagination {
    fn default() -> Self {
        Self {
            limit: MAX_LIMIT,
            offset: 0,
        }
    }
}

/// Which comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The least.
    Asc,
    /// The greatest.
    Desc,
}

/// A dimension of the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Buckets of time; `None`: as long as makes a readable chart of the range.
    Time(Option<Step>),
    /// Values of a property.
    Of(Property),
}

/// What results are ordered by: the position of a metric or a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKey {
    /// A metric of the question.
    Metric(usize),
    /// A dimension of the question.
    Dimension(usize),
}

/// A question that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The site, as the question calls it.
    pub site_id: Value,
    /// At least one, none twice.
    pub metrics: Vec<Metric>,
    /// When.
    pub range: DateRange,
    /// None twice, one of time at most.
    pub dimensions: Vec<Dimension>,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// At least one key.
    pub order_by: Vec<(OrderKey, Direction)>,
    /// What the answer is to have besides results.
    pub include: IncludeRequest,
    /// The range to compare with.
    pub comparison: Option<Comparison>,
    /// Which rows.
    pub pagination: Pagination,
}

impl Request {
    /// The site as text: an id or a domain.
    pub fn site_name(&self) -> Result<String, QueryError> {
        match &self.site_id {
            Value::String(name) => Ok(name.clone()),
            Value::Number(id) if id.is_u64() => Ok(id.to_string()),
            _ => Err(QueryError::new(
                "site_id: give the id (a number) or the domain (a string) of a site",
            )),
        }
    }
}

impl Dimension {
    /// Its name in questions.
    pub fn name(&self) -> String {
        match self {
            Self::Time(None) => "time".to_owned(),
            Self::Time(Some(step)) => step.dimension().to_owned(),
            Self::Of(property) => property.to_string(),
        }
    }
}

impl Question {
    /// Checks what a question says; its times without an offset are those of `zone`.
    pub fn new(request: Request, zone: &TimeZone) -> Result<Self, QueryError> {
        request.site_name()?;
        let metrics = parse_metrics(&request.metrics)?;
        let dimensions = parse_dimensions(&request.dimensions)?;
        let range = DateRange::parse(&request.date_range, zone)?;
        let comparison = request.include.comparisons.as_ref();
        let comparison = comparison
            .map(|asked| parse_comparison(asked, range, zone))
            .transpose()?;
        let order_by = parse_order(&request.order_by, &metrics, &dimensions)?;
        let question = Self {
            site_id: request.site_id,
            metrics,
            range,
            filters: Filter::parse_all(&request.filters)?,
            dimensions,
            order_by,
            include: request.include,
            comparison,
            pagination: request.pagination,
        };
        question.check()?;
        Ok(question)
    }

    /// The question as it can be sent.
    pub fn to_json(&self) -> Value {
        let mut question = Map::new();
        let mut put = |key: &str, value: Value| question.insert(key.to_owned(), value);
        put("site_id", self.site_id.clone());
        put(
            "metrics",
            self.metrics.iter().map(|metric| metric.name()).collect(),
        );
        put("date_range", self.range.to_json());
        put(
            "dimensions",
            self.dimensions.iter().map(Dimension::name).collect(),
        );
        put(
            "filters",
            self.filters.iter().map(Filter::to_json).collect(),
        );
        put(
            "order_by",
            self.order_names(None)
                .into_iter()
                .map(|key| json!(key))
                .collect(),
        );
        put("include", json!(self.include));
        put("pagination", json!(self.pagination));
        Value::Object(question)
    }

    /// Position of the time dimension.
    pub fn time(&self) -> Option<usize> {
        let mut dimensions = self.dimensions.iter();
        dimensions.position(|dimension| matches!(dimension, Dimension::Time(_)))
    }

    /// How long the buckets are, if there is a time dimension.
    pub fn step(&self, range: &Range<i64>) -> Option<Step> {
        self.dimensions
            .iter()
            .find_map(|dimension| match dimension {
                Dimension::Time(step) => Some(step.unwrap_or_else(|| Step::by_span(range))),
                Dimension::Of(_) => None,
            })
    }

    /// The dimensions that are no time.
    pub fn properties(&self) -> impl Iterator<Item = &Property> {
        self.dimensions
            .iter()
            .filter_map(|dimension| match dimension {
                Dimension::Of(property) => Some(property),
                Dimension::Time(_) => None,
            })
    }

    /// The dimensions under their names, `time` as what it became.
    pub(crate) fn dimension_names(&self, step: Option<Step>) -> Vec<String> {
        let name = |dimension: &Dimension| match dimension {
            Dimension::Time(None) => Dimension::Time(step).name(),
            other => other.name(),
        };
        self.dimensions.iter().map(name).collect()
    }

    pub(crate) fn order_names(&self, step: Option<Step>) -> Vec<(String, Direction)> {
        let dimensions = self.dimension_names(step);
        let name = |key: &OrderKey| match *key {
            OrderKey::Metric(at) => self.metrics[at].name().to_owned(),
            OrderKey::Dimension(at) => dimensions[at].clone(),
        };
        let order = self.order_by.iter();
        order
            .map(|(key, direction)| (name(key), *direction))
            .collect()
    }

    /// Whether a metric for which `wanted` is true is asked for.
    pub(crate) fn asks(&self, wanted: impl Fn(Metric) -> bool) -> bool {
        self.metrics.iter().any(|metric| wanted(*metric))
    }

    /// Refuses what can't be combined.
    fn check(&self) -> Result<(), QueryError> {
        let broken_down_by = |wanted: Property| self.properties().any(|by| *by == wanted);
        // What visits have done says nothing about the events that are counted.
        let filtered_by = |wanted: Property| {
            let mut filters = self
                .filters
                .iter()
                .filter(|filter| !matches!(filter, Filter::Done(_) | Filter::NotDone(_)));
            filters.any(|filter| filter.speaks_of(|by| *by == wanted))
        };
        let needs = |metric: Metric, what: &str| {
            QueryError::new(format!("metrics: {} needs {what}", metric.name()))
        };
        for metric in &self.metrics {
            if metric.is_of_engagement()
                && !broken_down_by(Property::Page)
                && !filtered_by(Property::Page)
            {
                return Err(needs(
                    *metric,
                    "an event:page filter or dimension: it is a figure of pages",
                ));
            }
            if metric.is_of_conversion()
                && !broken_down_by(Property::Goal)
                && !filtered_by(Property::Goal)
            {
                return Err(needs(
                    *metric,
                    "an event:goal filter or dimension: it says how many reach a goal",
                ));
            }
            if *metric == Metric::Percentage && self.dimensions.is_empty() {
                return Err(needs(
                    *metric,
                    "a dimension: it says how many of all visitors are in a row",
                ));
            }
            if metric.is_of_visits() {
                self.check_visits(*metric)?;
            }
        }
        if self.include.time_labels && self.time().is_none() {
            return Err(QueryError::new(
                "include: time_labels needs a time dimension",
            ));
        }
        if self.pagination.limit == 0 || self.pagination.limit > MAX_LIMIT {
            return Err(QueryError::new(format!(
                "pagination: limit is from 1 to {MAX_LIMIT}"
            )));
        }
        Ok(())
    }

    /// Refuses figures of visits by what visits have several of.
    fn check_visits(&self, metric: Metric) -> Result<(), QueryError> {
        let refuse = |by: &Property, instead: &str| {
            Err(QueryError::new(format!(
                "metrics: {} can't be told by {by}: it is a figure of visits, not of events: {instead}",
                metric.name()
            )))
        };
        for by in self.properties() {
            match by {
                Property::Name | Property::Goal | Property::Custom(_) => {
                    return refuse(
                        by,
                        "leave it out, or filter by that instead of breaking down by it",
                    );
                }
                Property::Hostname if !self.properties().any(|other| *other == Property::Page) => {
                    return refuse(
                        by,
                        "add the dimension event:page, or take visit:entry_page_hostname",
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}
