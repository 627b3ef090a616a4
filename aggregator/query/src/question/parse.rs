//! What the words of a question mean, or why they mean nothing.

use jiff::tz::TimeZone;

use super::{ComparisonMode, ComparisonRequest, Dimension, Direction, OrderKey};
use crate::{
    QueryError,
    metric::{METRICS, Metric},
    property::{self, Property},
    range::{Comparison, DateRange, Step},
};

/// Dimensions of a question.
const MAX_DIMENSIONS: usize = 8;

const TIME_DIMENSIONS: [(&str, Option<Step>); 6] = [
    ("time", None),
    ("time:minute", Some(Step::Minute)),
    ("time:hour", Some(Step::Hour)),
    ("time:day", Some(Step::Day)),
    ("time:week", Some(Step::Week)),
    ("time:month", Some(Step::Month)),
];

pub(super) fn parse_metrics(names: &[String]) -> Result<Vec<Metric>, QueryError> {
    if names.is_empty() {
        return Err(QueryError::new("metrics: give at least one"));
    }
    let mut metrics = Vec::with_capacity(names.len());
    for name in names {
        let Some(metric) = Metric::find(name) else {
            let known = METRICS.map(|(name, _)| name).join(", ");
            return Err(QueryError::new(format!(
                "metrics: there is no {name:?}; there are {known}"
            )));
        };
        if metrics.contains(&metric) {
            return Err(QueryError::new(format!("metrics: {name:?} is there twice")));
        }
        metrics.push(metric);
    }
    Ok(metrics)
}

pub(super) fn parse_dimensions(names: &[String]) -> Result<Vec<Dimension>, QueryError> {
    if names.len() > MAX_DIMENSIONS {
        return Err(QueryError::new(format!(
            "dimensions: more than {MAX_DIMENSIONS}"
        )));
    }
    let mut dimensions: Vec<Dimension> = Vec::with_capacity(names.len());
    for name in names {
        let time = TIME_DIMENSIONS.iter().find(|(known, _)| known == name);
        let dimension = time
            .map(|(_, step)| Dimension::Time(*step))
            .or_else(|| Property::find(name).map(Dimension::Of));
        let Some(dimension) = dimension else {
            let times = TIME_DIMENSIONS.map(|(name, _)| name).join(", ");
            let properties = property::names();
            return Err(QueryError::new(format!(
                "dimensions: there is no {name:?}; there are {times}, {properties}"
            )));
        };
        let is_time = |dimension: &Dimension| matches!(dimension, Dimension::Time(_));
        if dimensions.contains(&dimension) {
            return Err(QueryError::new(format!(
                "dimensions: {name:?} is there twice"
            )));
        }
        if is_time(&dimension) && dimensions.iter().any(is_time) {
            return Err(QueryError::new(format!(
                "dimensions: {name:?}: give one time dimension at most"
            )));
        }
        dimensions.push(dimension);
    }
    Ok(dimensions)
}

pub(super) fn parse_comparison(
    asked: &ComparisonRequest,
    range: DateRange,
    zone: &TimeZone,
) -> Result<Comparison, QueryError> {
    let refuse = |why: &str| QueryError::new(format!("include: comparisons: {why}"));
    if range == DateRange::All {
        return Err(refuse(
            "there is nothing before \"all\": choose another date_range",
        ));
    }
    let match_day_of_week = asked.match_day_of_week;
    match (asked.mode, &asked.date_range) {
        (ComparisonMode::Custom, Some(_)) if match_day_of_week => Err(refuse(
            "match_day_of_week is for the other modes: give the range that is meant",
        )),
        (ComparisonMode::Custom, Some(given)) => match DateRange::parse(given, zone)? {
            other @ (DateRange::Dates(..) | DateRange::Instants(..)) => {
                Ok(Comparison::Custom(other))
            }
            _ => Err(refuse("date_range is a pair of dates or times")),
        },
        (ComparisonMode::Custom, None) => Err(refuse("the mode custom needs a date_range")),
        (_, Some(_)) => Err(refuse("date_range is for the mode custom")),
        (ComparisonMode::PreviousPeriod, None) => {
            Ok(Comparison::PreviousPeriod { match_day_of_week })
        }
        (ComparisonMode::YearOverYear, None) => Ok(Comparison::YearOverYear { match_day_of_week }),
    }
}

pub(super) fn parse_order(
    order: &[(String, Direction)],
    metrics: &[Metric],
    dimensions: &[Dimension],
) -> Result<Vec<(OrderKey, Direction)>, QueryError> {
    if order.is_empty() {
        let is_time = |dimension: &Dimension| matches!(dimension, Dimension::Time(_));
        let time = dimensions.iter().position(is_time);
        let time = time.map(|at| (OrderKey::Dimension(at), Direction::Asc));
        return Ok(time
            .into_iter()
            .chain([(OrderKey::Metric(0), Direction::Desc)])
            .collect());
    }
    let key = |name: &String| {
        let metric = metrics.iter().position(|metric| metric.name() == name);
        let dimension = || dimensions.iter().position(|by| by.name() == *name);
        metric
            .map(OrderKey::Metric)
            .or_else(|| dimension().map(OrderKey::Dimension))
            .ok_or_else(|| {
                QueryError::new(format!(
                    "order_by: {name:?} is not among the metrics and dimensions of this question"
                ))
            })
    };
    if order.len() > METRICS.len() + MAX_DIMENSIONS {
        return Err(QueryError::new(
            "order_by: more keys than there are metrics and dimensions",
        ));
    }
    order
        .iter()
        .map(|(name, direction)| Ok((key(name)?, *direction)))
        .collect()
}
