//! The answer: ordered, paged, and as JSON.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    filter::Filter,
    metric::{Figure, Metric, Sums, quotient},
    money::{self, Currency},
    question::{Direction, IncludeRequest, OrderKey, Pagination, Question},
    range,
    time::Time,
};

/// Results before they are computed, ordered and paged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(pub(crate) Vec<(Vec<Cell>, Sums)>);

/// The value of a dimension; two of one dimension compare by time or by text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// Position of a bucket.
    Bucket(usize),
    Text(String),
}

impl Rows {
    /// Without the empty ones; without dimensions the one row, empty or not.
    pub(crate) fn new(question: &Question, mut rows: Vec<(Vec<Cell>, Sums)>) -> Self {
        if question.dimensions.is_empty() {
            rows.truncate(1);
            if rows.is_empty() {
                rows.push((Vec::new(), Sums::default()));
            }
        } else {
            rows.retain(|(_, sums)| !sums.is_empty());
        }
        Self(rows)
    }
}

/// What an answer is made of beside its rows.
#[derive(Clone, Debug, Default)]
pub struct Circumstances<F> {
    /// ISO 4217.
    pub currency: String,
    /// How far the figures are.
    pub freshness: Option<F>,
    /// Of which state they are.
    pub generation: Option<u64>,
    /// What was read.
    pub source: Option<Source>,
}

/// What an answer was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Source {
    /// `rollups` or `events`.
    pub read: &'static str,
    /// Nothing is estimated.
    pub exact: bool,
    /// Why rollups did not do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An answer in the shape of Plausible's Stats API v2.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer<F> {
    results: Vec<ResultRow>,
    meta: Meta<F>,
    query: Echo,
}

/// A row: the values of the dimensions and of the metrics, in the order they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ResultRow {
    /// Times as local dates or times.
    pub dimensions: Vec<String>,
    /// Numbers; money as `{"value", "currency", "short", "long"}` or null.
    pub metrics: Vec<Value>,
    /// The same of the range that was to be compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparedRow>,
}

/// A row of the range that was to be compared with.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ComparedRow {
    /// Its own times.
    pub dimensions: Vec<String>,
    /// As in the results.
    pub metrics: Vec<Value>,
    /// How each metric changed: in %, rates in points; null if there is nothing to compare.
    pub change: Vec<Value>,
}

/// What was asked for with `include`.
#[derive(Debug, Serialize, ToSchema)]
struct Meta<F> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_labels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_rows: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<F>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    imports_included: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    imports_skip_reason: Option<&'static str>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison_date_range: Option<[String; 2]>,
    dimensions: Vec<String>,
    filters: Vec<Value>,
    order_by: Vec<(String, Direction)>,
    include: IncludeRequest,
    pagination: Pagination,
}

impl<F> Answer<F> {
    /// Of rows, and the rows of the range that they are compared with.
    pub fn new(
        question: &Question,
        time: &Time,
        rows: Rows,
        compared: Option<(Time, Rows)>,
        circumstances: Circumstances<F>,
    ) -> Self {
        let (currency, others) = currency(&circumstances.currency, &rows);
        let figures = |sums: &Sums| -> Vec<Figure> {
            let metrics = question.metrics.iter();
            metrics
                .map(|metric| sums.figure(*metric, currency))
                .collect()
        };
        let comparison_date_range = compared
            .as_ref()
            .map(|(time, _)| range::iso(&time.zone, &time.range));
        let compared: Option<(Time, HashMap<Vec<Cell>, Sums>)> =
            compared.map(|(time, rows)| (time, rows.0.into_iter().collect()));
        let mut rows: Vec<_> = rows
            .0
            .into_iter()
            .map(|(cells, sums)| (cells, figures(&sums)))
            .collect();
        rows.sort_by(|a, b| compare(&question.order_by, a, b));
        let total_rows = question.include.total_rows.then_some(rows.len());
        let page = question.pagination;
        let results = rows.into_iter().skip(page.offset).take(page.limit);
        let results = results.map(|(cells, figures_now)| {
            let comparison = compared.as_ref().map(|(then, sums)| {
                let before = figures(sums.get(&cells).unwrap_or(&Sums::default()));
                let pairs = question.metrics.iter().zip(before.iter().zip(&figures_now));
                ComparedRow {
                    dimensions: cells.iter().map(|cell| cell.text(then)).collect(),
                    change: pairs
                        .map(|(metric, (a, b))| change(*metric, *a, *b))
                        .collect(),
                    metrics: before.iter().copied().map(Value::from).collect(),
                }
            });
            ResultRow {
                dimensions: cells.iter().map(|cell| cell.text(time)).collect(),
                metrics: figures_now.into_iter().map(Value::from).collect(),
                comparison,
            }
        });
        let labels = || time.buckets.iter().map(|bucket| bucket.label.clone());
        let include = &question.include;
        Self {
            results: results.collect(),
            meta: Meta {
                time_labels: include.time_labels.then(|| labels().collect()),
                total_rows,
                freshness: circumstances.freshness,
                generation: circumstances.generation,
                source: circumstances.source,
                imports_included: include.imports.then_some(false),
                imports_skip_reason: include.imports.then_some("no_imported_data"),
                metric_warnings: warnings(question, currency, &others),
            },
            query: Echo {
                site_id: question.site_id.clone(),
                metrics: question
                    .metrics
                    .iter()
                    .map(|metric| metric.name())
                    .collect(),
                date_range: range::iso(&time.zone, &time.range),
                comparison_date_range,
                dimensions: question.dimension_names(time.step),
                filters: question.filters.iter().map(Filter::to_json).collect(),
                order_by: question.order_names(time.step),
                include: include.clone(),
                pagination: page,
            },
        }
    }

    /// The rows.
    pub fn results(&self) -> &[ResultRow] {
        &self.results
    }
}

impl Cell {
    fn text(&self, time: &Time) -> String {
        match self {
            // The range that is compared with may have fewer buckets.
            Self::Bucket(at) => {
                let bucket = time.buckets.get(*at);
                bucket
                    .map(|bucket| bucket.label.clone())
                    .unwrap_or_default()
            }
            Self::Text(text) => text.clone(),
        }
    }
}

/// How a figure changed: rates by how many points, the others by how many %.
fn change(metric: Metric, before: Figure, after: Figure) -> Value {
    let percent = |before: i64, after: i64| -> Value {
        match (before, after) {
            (0, 0) => 0.into(),
            (0, _) => 100.into(),
            _ => quotient((after - before) * before.signum(), 100, before.abs()).into(),
        }
    };
    match (before, after) {
        (Figure::Whole(before), Figure::Whole(after)) if metric == Metric::BounceRate => {
            (after - before).into()
        }
        (Figure::Tenths(before), Figure::Tenths(after)) => Figure::Tenths(after - before).into(),
        (Figure::Whole(before), Figure::Whole(after))
        | (Figure::Hundredths(before), Figure::Hundredths(after)) => percent(before, after),
        (Figure::Money(Some(before)), Figure::Money(Some(after))) => {
            percent(before.minor, after.minor)
        }
        _ => Value::Null,
    }
}

/// The currency of an answer: that of all its orders, else the site's; and the others that orders are of.
fn currency(site: &str, rows: &Rows) -> (Currency, BTreeSet<Currency>) {
    let rows = rows.0.iter();
    let mut all: BTreeSet<Currency> = rows.flat_map(|(_, sums)| sums.currencies()).collect();
    let chosen = match all.first() {
        Some(only) if all.len() == 1 => *only,
        // XXX is ISO 4217's code where no currency is involved.
        _ => money::currency(site).unwrap_or(*b"XXX"),
    };
    all.remove(&chosen);
    (chosen, all)
}

fn warnings(
    question: &Question,
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
    let about = question.metrics.iter().filter(|metric| metric.is_money());
    about
        .map(|metric| (metric.name(), warning.clone()))
        .collect()
}

/// By the keys in turn; what is equal in all of them by its dimensions.
fn compare(
    order_by: &[(OrderKey, Direction)],
    a: &(Vec<Cell>, Vec<Figure>),
    b: &(Vec<Cell>, Vec<Figure>),
) -> Ordering {
    for (key, direction) in order_by {
        let order = match *key {
            OrderKey::Metric(at) => a.1[at].cmp(&b.1[at]),
            OrderKey::Dimension(at) => a.0[at].cmp(&b.0[at]),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Figure, Metric, change};

    #[test]
    fn counts_change_by_percent_and_rates_by_points() {
        let whole = |before, after| {
            change(
                Metric::Visitors,
                Figure::Whole(before),
                Figure::Whole(after),
            )
        };
        assert_eq!(whole(0, 0), json!(0));
        assert_eq!(whole(0, 7), json!(100));
        assert_eq!(whole(8, 7), json!(-12));
        assert_eq!(whole(8, 9), json!(13));
        assert_eq!(
            change(Metric::BounceRate, Figure::Whole(40), Figure::Whole(35)),
            json!(-5)
        );
        assert_eq!(
            change(
                Metric::ConversionRate,
                Figure::Tenths(40),
                Figure::Tenths(55)
            ),
            json!(1.5)
        );
        assert_eq!(
            change(Metric::ScrollDepth, Figure::Nothing, Figure::Whole(1)),
            Value::Null
        );
    }
}
