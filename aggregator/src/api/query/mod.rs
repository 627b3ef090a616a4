//! `POST /api/v2/query`: a question about one site, answered from its rollups.
//!
//! The shape is that of Plausible's Stats API v2. What cannot be answered exactly is refused with the reason; nothing
//! is estimated. `now` is a parameter: the same question, rows and `now` give the same answer.

mod answer;
mod filter;
mod metric;
mod money;
mod plan;
mod property;
mod range;
mod request;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use wakeline_engine::{
    Dimension, Grain,
    window::{day_window, minute_window},
};

pub(super) use self::{answer::Answer, request::Request};
use self::{
    answer::{DimensionValue, Rows},
    metric::{Metric, Sums},
    property::Property,
    range::{Bucket, Step},
    request::{Column, Query},
};
use crate::{
    control::{ControlSnapshot, Site},
    metrics::{MetricError, MetricStore},
};

/// Minutes that count as "now", this one included.
const NOW_MINUTES: i64 = 5;
/// Before the first day that anything can have happened on.
const FIRST_DAY: i64 = -50_000;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It is wrong, or asks for what is not there.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The site is not known.
    #[error("site_id: there is no site {0}")]
    NoSite(String),
    /// The rows could not be read.
    #[error(transparent)]
    Metrics(#[from] MetricError),
}

/// What is wrong with a question, beginning with the key that is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct QueryError(String);

impl QueryError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Answers the question in `body` (JSON) at `now` (Unix milliseconds).
pub(crate) async fn ask(
    body: &[u8],
    control: &ControlSnapshot,
    metrics: &dyn MetricStore,
    now: i64,
) -> Result<Answer, AskError> {
    let request = request::read(body)?;
    let site = control
        .find_site(&request.site_name())
        .ok_or_else(|| AskError::NoSite(request.site_name()))?;
    let query = Query::new(request, &site.tz)?;
    let freshness = query.include.freshness.then(|| metrics.watermark());
    let time = Time::of(&query, site, metrics, now).await?;
    let rows = match query.property {
        Some(property) => value_rows(&query, property, &time, site, metrics).await?,
        None => total_rows(&query, &time, site, metrics).await?,
    };
    Ok(Answer::new(&query, &time, rows, &site.currency, freshness))
}

/// Visitors of the last five minutes at `now` (Unix milliseconds).
pub(crate) async fn visitors_now(
    site: u64,
    metrics: &dyn MetricStore,
    now: i64,
) -> Result<i64, MetricError> {
    let end = minute_window(now) + 1;
    let first = end - NOW_MINUTES;
    let rows = metrics.totals(site, Grain::Minute, first..end).await?;
    Ok(plan::visitors_of_minutes(first, &rows))
}

/// When: the range of a query and its buckets, resolved.
struct Time {
    zone: TimeZone,
    step: Option<Step>,
    /// Contiguous; one, without a label, if there is no time dimension.
    buckets: Vec<Bucket>,
    range: std::ops::Range<i64>,
}

impl Time {
    async fn of(
        query: &Query,
        site: &Site,
        metrics: &dyn MetricStore,
        now: i64,
    ) -> Result<Self, AskError> {
        let zone = site.tz.clone();
        let first_day = if query.range == range::DateRange::All {
            let days = FIRST_DAY..day_window(&zone, now) + 1;
            let rows = metrics.totals(site.id, Grain::Day, days).await?;
            rows.first().map(|(day, _)| *day)
        } else {
            None
        };
        let range = query.range.resolve(&zone, now, first_day);
        let step = query.step(&range);
        let buckets = match step {
            Some(step) => range::buckets(&zone, &range, step)?,
            None => vec![Bucket {
                span: range.clone(),
                label: String::new(),
            }],
        };
        Ok(Self {
            zone,
            step,
            buckets,
            range,
        })
    }
}

async fn total_rows(
    query: &Query,
    time: &Time,
    site: &Site,
    metrics: &dyn MetricStore,
) -> Result<Rows, AskError> {
    if let Some(what) = query.needs_days() {
        plan::plan_days(&time.zone, &time.buckets, what)?;
    }
    let plan = plan::plan(&time.zone, &time.buckets)?;
    let rows = metrics.totals(site.id, plan.grain, plan.windows).await?;
    let sums = plan::sum_totals(&time.zone, plan.grain, &time.buckets, &rows);
    Ok(by_bucket(query, sums.into_iter().enumerate()))
}

async fn value_rows(
    query: &Query,
    property: Property,
    time: &Time,
    site: &Site,
    metrics: &dyn MetricStore,
) -> Result<Rows, AskError> {
    let days = plan::plan_days(&time.zone, &time.buckets, property.name)?;
    let rows = metrics
        .breakdown(site.id, property.dimension, days.clone())
        .await?;
    let of_visits = query.metrics.iter().any(|metric| metric.is_of_visits());
    let entry_pages = if of_visits && property.dimension == Dimension::Page {
        metrics
            .breakdown(site.id, Dimension::EntryPage, days)
            .await?
    } else {
        Vec::new()
    };
    let (zone, buckets) = (&time.zone, &time.buckets);
    let sums = plan::sum_values(zone, buckets, property, &query.filter, rows, entry_pages);
    if !query.columns.contains(&Column::Property(property)) {
        let mut by: BTreeMap<usize, Sums> = BTreeMap::new();
        for ((bucket, _), sums) in sums {
            by.entry(bucket).or_default().add(&sums);
        }
        return Ok(by_bucket(query, by.into_iter()));
    }
    let rows = sums.into_iter().map(|((bucket, label), sums)| {
        let values = query.columns.iter().map(|column| match column {
            Column::Time => DimensionValue::Bucket(bucket),
            Column::Property(_) => DimensionValue::Text(label.clone()),
        });
        (values.collect(), sums)
    });
    Ok(rows.collect())
}

/// Rows of sums by bucket, without the empty ones; without a time dimension the one row, empty or not.
fn by_bucket(query: &Query, sums: impl Iterator<Item = (usize, Sums)>) -> Rows {
    if query.columns.is_empty() {
        let only = sums.map(|(_, sums)| sums).next().unwrap_or_default();
        return vec![(Vec::new(), only)];
    }
    sums.filter(|(_, sums)| !sums.is_empty())
        .map(|(bucket, sums)| (vec![DimensionValue::Bucket(bucket)], sums))
        .collect()
}

#[cfg(test)]
mod tests;
