//! When: the range of a question and its buckets, resolved.

use std::ops::Range;

use jiff::tz::TimeZone;

use crate::{
    QueryError,
    question::Question,
    range::{self, Bucket, Step},
};

/// The range of a question and its buckets.
#[derive(Clone, Debug)]
pub struct Time {
    /// The site's.
    pub zone: TimeZone,
    /// How long buckets are, if there is a time dimension.
    pub step: Option<Step>,
    /// Contiguous; one, without a label, if there is no time dimension.
    pub buckets: Vec<Bucket>,
    /// In Unix milliseconds.
    pub range: Range<i64>,
}

impl Time {
    /// Of a question at `now` (Unix milliseconds). `first_day` is the site's first day with anything, for `all`.
    pub fn of(
        question: &Question,
        zone: &TimeZone,
        now: i64,
        first_day: Option<i64>,
    ) -> Result<Self, QueryError> {
        let range = question.range.resolve(zone, now, first_day);
        Self::over(question, zone, range.clone(), question.step(&range))
    }

    /// Of the range that a question's answer is compared with, if it is.
    pub fn compared(&self, question: &Question, now: i64) -> Result<Option<Self>, QueryError> {
        let Some(comparison) = question.comparison else {
            return Ok(None);
        };
        let range = comparison.resolve(&self.zone, &self.range, now);
        Self::over(question, &self.zone, range, self.step).map(Some)
    }

    fn over(
        question: &Question,
        zone: &TimeZone,
        range: Range<i64>,
        step: Option<Step>,
    ) -> Result<Self, QueryError> {
        let buckets = match step {
            Some(step) => range::buckets(zone, &range, step)?,
            None => vec![Bucket {
                span: range.clone(),
                label: String::new(),
            }],
        };
        if range.is_empty() || buckets.is_empty() {
            return Err(QueryError::new(format!(
                "date_range: {}: there is no such time in the site's zone",
                question.range.to_json()
            )));
        }
        Ok(Self {
            zone: zone.clone(),
            step,
            buckets,
            range,
        })
    }

    /// The bucket of an instant.
    pub(crate) fn bucket(&self, ms: i64) -> Option<usize> {
        if !self.range.contains(&ms) {
            return None;
        }
        if self.buckets.len() == 1 {
            return Some(0);
        }
        let after = self
            .buckets
            .partition_point(|bucket| bucket.span.start <= ms);
        let at = after.checked_sub(1)?;
        self.buckets[at].span.contains(&ms).then_some(at)
    }
}
