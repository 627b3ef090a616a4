//! The query language: questions about a site, and their answers.
//!
//! A [`Request`] becomes a [`Question`] that makes sense, or an error that says which key is wrong, why, and what to do
//! instead. With the [`Time`] it is about, [`rollup::plan`] says which rollup rows answer it exactly; every question is
//! answered by a [`Scan`] over events, some of which a [`Sample`] shows. Both give [`Rows`], of which an [`Answer`] is made; the same question gets the same
//! answer either way.
//!
//! No I/O, no clock, no async: rows and events in, figures out. The shape is that of Plausible's Stats API v2, and more;
//! `aggregator/docs/query.md` describes it.

mod answer;
mod batch;
mod countries;
mod filter;
mod goal;
mod matcher;
mod metric;
mod money;
mod property;
mod question;
mod range;
pub mod rollup;
mod scan;
mod time;

pub use answer::{Answer, Circumstances, ComparedRow, ResultRow, Rows, Source};
pub use batch::{Batch, BatchEvent, NO_SCROLL, Texts};
pub use filter::{Filter, Operator, Test};
pub use goal::{Definitions, Goal, GoalRule, MAX_DEFINED, Segment, describe};
pub use metric::Metric;
pub use property::{Field, Property, VisitProperty};
pub use question::{
    ComparisonMode, ComparisonRequest, Dimension, Direction, IncludeRequest, MAX_LIMIT, OrderKey,
    Pagination, Question, Request,
};
pub use range::{Bucket, Comparison, DateRange, Step};
pub use scan::{Sample, SampledEvent, Scan, SiteRules};
pub use time::Time;

/// What is wrong with a question, beginning with the key that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

impl QueryError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
