//! The answer: ordered, paged, and as JSON.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Time,
    metric::Figure,
    range,
    request::{Direction, Include, OrderKey, Pagination, Query},
};
use crate::metrics::Watermark;

/// Results before they are ordered and paged.
pub(super) type Rows = Vec<(Vec<DimensionValue>, Vec<Figure>)>;

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
    #[schema(value_type = Vec<f64>)]
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
        mut rows: Rows,
        freshness: Option<Watermark>,
    ) -> Self {
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
