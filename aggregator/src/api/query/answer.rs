//! The answer: ordered, paged, and as JSON.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Time,
    metric::{Figure, Sums},
    money::{self, Currency},
    range,
    request::{Direction, Include, OrderKey, Pagination, Query},
};
use crate::metrics::Watermark;

/// Results before they are computed, ordered and paged.
pub(super) type Rows = Vec<(Vec<DimensionValue>, Sums)>;

/// The value of a dimension; two of one dimension compare by time or by text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DimensionValue {
    /// Position of a bucket.
    Bucket(usize),
    Text(String),
}

/// An answer in the shape of Plausible's Stats API v2.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    results: Vec<ResultRow>,
    meta: Meta,
    query: Echo,
}

/// A row: the values of the dimensions and of the metrics, in the order they were asked for.
#[derive(Debug, Serialize, ToSchema)]
struct ResultRow {
    dimensions: Vec<String>,
    /// Numbers; money as `{"value", "currency", "short", "long"}` or null.
    metrics: Vec<Value>,
}

/// What was asked for with `include`.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_labels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_rows: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<Watermark>,
    /// What to know about a metric, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metric_warnings: BTreeMap<&'static str, Warning>,
}

/// Something to know about the values of a metric.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Warning {
    #[schema(value_type = String)]
    code: &'static str,
    warning: String,
}

/// The question as it was understood.
#[derive(Debug, Serialize, ToSchema)]
struct Echo {
    site_id: Value,
    metrics: Vec<&'static str>,
    date_range: [String; 2],
    dimensions: Vec<&'static str>,
    filters: Vec<Value>,
    order_by: Vec<(&'static str, Direction)>,
    include: Include,
    pagination: Pagination,
}

impl Answer {
    pub(super) fn new(
        query: &Query,
        time: &Time,
        rows: Rows,
        site_currency: &str,
        freshness: Option<Watermark>,
    ) -> Self {
        let (currency, others) = currency(site_currency, &rows);
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(values, sums)| (values, query.figures(&sums, currency)))
            .collect();
        rows.sort_by(|a, b| compare(&query.order_by, a, b));
        let total_rows = query.include.total_rows.then_some(rows.len());
        let page = query.pagination;
        let results = rows.into_iter().skip(page.offset).take(page.limit);
        let labels = || time.buckets.iter().map(|bucket| bucket.label.clone());
        let dimensions = query.dimensions(time.step);
        let metrics: Vec<_> = query.metrics.iter().map(|metric| metric.name()).collect();
        let order_by = query.order_by.iter().map(|(key, direction)| {
            let name = match *key {
                OrderKey::Metric(at) => metrics[at],
                OrderKey::Column(at) => dimensions[at],
            };
            (name, *direction)
        });
        Self {
            results: results
                .map(|(values, figures)| ResultRow {
                    dimensions: values.into_iter().map(|value| value.text(time)).collect(),
                    metrics: figures.into_iter().map(Value::from).collect(),
                })
                .collect(),
            meta: Meta {
                time_labels: query.include.time_labels.then(|| labels().collect()),
                total_rows,
                freshness,
                metric_warnings: warnings(query, currency, &others),
            },
            query: Echo {
                site_id: query.site_id.clone(),
                date_range: range::iso(&time.zone, &time.range),
                order_by: order_by.collect(),
                filters: query.filters.clone(),
                include: query.include,
                pagination: query.pagination,
                metrics,
                dimensions,
            },
        }
    }
}

impl DimensionValue {
    fn text(self, time: &Time) -> String {
        match self {
            Self::Bucket(at) => time.buckets[at].label.clone(),
            Self::Text(text) => text,
        }
    }
}

/// The currency of an answer: that of all its orders, else the site's; and the others that orders are of.
fn currency(site: &str, rows: &Rows) -> (Currency, BTreeSet<Currency>) {
    let mut all: BTreeSet<Currency> = rows
        .iter()
        .flat_map(|(_, sums)| sums.currencies())
        .collect();
    let chosen = match all.first() {
        Some(only) if all.len() == 1 => *only,
        // XXX is ISO 4217's code where no currency is involved.
        _ => money::currency(site).unwrap_or(*b"XXX"),
    };
    all.remove(&chosen);
    (chosen, all)
}

fn warnings(
    query: &Query,
    currency: Currency,
    others: &BTreeSet<Currency>,
) -> BTreeMap<&'static str, Warning> {
    if others.is_empty() {
        return BTreeMap::new();
    }
    let names: Vec<String> = others.iter().map(|other| money::code(*other)).collect();
    let warning = Warning {
        code: "several_currencies",
        warning: format!(
            "only orders in {}; there are others in {}",
            money::code(currency),
            names.join(", ")
        ),
    };
    let about = query.metrics.iter().filter(|metric| metric.is_money());
    about
        .map(|metric| (metric.name(), warning.clone()))
        .collect()
}

/// By the keys in turn; what is equal in all of them by its dimensions.
fn compare(
    order_by: &[(OrderKey, Direction)],
    a: &(Vec<DimensionValue>, Vec<Figure>),
    b: &(Vec<DimensionValue>, Vec<Figure>),
) -> Ordering {
    for (key, direction) in order_by {
        let order = match *key {
            OrderKey::Metric(at) => a.1[at].cmp(&b.1[at]),
            OrderKey::Column(at) => a.0[at].cmp(&b.0[at]),
        };
        let order = match direction {
            Direction::Asc => order,
            Direction::Desc => order.reverse(),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.0.cmp(&b.0)
}
