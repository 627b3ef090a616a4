//! What queries read: rollup rows by site and window.

use std::ops::Range;

use futures_util::future::BoxFuture;
use wakeline_engine::{Dimension, Grain, Row};

/// A store of metrics could not answer.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// The store below could not be read.
    #[error("read rollups")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How far figures are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Watermark {
    /// Offset after the newest durable record of the log.
    pub log_end: u64,
    /// Every record of the log below this offset is in the figures.
    pub applied: u64,
    /// Append stamp of the newest applied record, in ms since 1970-01-01 UTC; 0 if there is none.
    pub at_ms: u64,
}

/// The series that queries are answered from.
///
/// - A figure is as fresh as the last commit of its partition; [`watermark`](Self::watermark) says how fresh.
/// - Reading twice without a write in between gives the same rows.
pub trait MetricStore: Send + Sync {
    /// Rows of the whole site in `windows`, ascending; windows without anything are absent.
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>>;

    /// Rows of each value of a dimension and day in `days`, as (day, value, row), ascending by day and value.
    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, String, Row)>, MetricError>>;

    /// How far the figures are.
    fn watermark(&self) -> Watermark;
}
