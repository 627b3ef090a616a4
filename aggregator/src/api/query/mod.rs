//! `POST /api/v2/query`: a question about one site.
//!
//! What rollups answer exactly is answered from them, all else from the events themselves; [`wakeline_query`] knows which
//! is which, and how. `now` is a parameter: the same question, rows, events and `now` give the same answer.

pub(super) mod older;
pub(super) mod sample;

use std::{ops::Range, sync::Arc};

use tokio::sync::Semaphore;
use wakeline_engine::{
    Dimension, Grain,
    window::{day_window, minute_window},
};
use wakeline_query::{
    Batch, Circumstances, Definitions, Field, Filter, QueryError, Question, Rows, Scan, SiteRules,
    Source, Texts, Time,
    rollup::{self, Plan},
};

use super::body::parse;
use crate::{
    control::{ControlSnapshot, Site},
    events::{EventError, EventSource},
    metrics::{MetricError, MetricStore, Watermark},
};

/// A question as it is sent.
pub(super) type Request = wakeline_query::Request;
/// An answer as it is sent.
pub(super) type Answer = wakeline_query::Answer<Watermark>;

/// Minutes that count as "now", this one included.
const NOW_MINUTES: i64 = 5;
/// Questions that read events at a time. The others wait where whoever goes away also leaves the queue: a dashboard that is
/// asked for another view gives up what it asked for the last one.
static READERS: Semaphore = Semaphore::const_new(2);
/// Before the first day that anything can have happened on.
const FIRST_DAY: i64 = -50_000;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It is wrong, or asks for what is not there.
    #[error("{0}")]
    Query(String),
    /// The site is not known.
    #[error("site_id: there is no site {0}")]
    NoSite(String),
    /// The rows could not be read.
    #[error(transparent)]
    Metrics(#[from] MetricError),
    /// The events could not be read.
    #[error(transparent)]
    Events(#[from] EventError),
}

impl From<QueryError> for AskError {
    fn from(error: QueryError) -> Self {
        Self::Query(error.to_string())
    }
}

/// What questions are answered from.
#[derive(Clone, Copy)]
pub(crate) struct Stores<'a> {
    /// Sites, and what they gave names to.
    pub(crate) control: &'a ControlSnapshot,
    /// Rollup rows, of one generation.
    pub(crate) metrics: &'a dyn MetricStore,
    /// Every event.
    pub(crate) events: &'a Arc<dyn EventSource>,
}

/// Answers the question in `body` (JSON) at `now` (Unix milliseconds).
pub(crate) async fn ask(body: &[u8], stores: Stores<'_>, now: i64) -> Result<Answer, AskError> {
    let request: Request = parse(body).map_err(AskError::Query)?;
    ask_parsed(request, stores, now).await
}

/// Answers a question at `now` (Unix milliseconds).
pub(crate) async fn ask_parsed(
    request: Request,
    stores: Stores<'_>,
    now: i64,
) -> Result<Answer, AskError> {
    let name = request.site_name()?;
    let site = stores.control.find_site(&name);
    let site = site.ok_or(AskError::NoSite(name))?;
    let question = Question::new(request, &site.tz)?;
    let definitions = stores.control.definitions(site.id);
    let filters = definitions.filters(&question.filters)?;
    let freshness = question
        .include
        .freshness
        .then(|| stores.metrics.watermark());
    let first_day = first_day(&question, site, stores.metrics, now).await?;
    let time = Time::of(&question, &site.tz, now, first_day)?;
    let asked = Asked {
        question: &question,
        definitions: &definitions,
        filters: &filters,
        site,
        stores,
    };
    let (rows, source) = asked.rows(&time).await?;
    let compared = match time.compared(&question, now)? {
        Some(then) => {
            let (rows, _) = asked.rows(&then).await?;
            Some((then, rows))
        }
        None => None,
    };
    let circumstances = Circumstances {
        currency: site.currency.clone(),
        freshness,
        generation: question
            .include
            .generation
            .then(|| stores.metrics.generation()),
        source: question.include.source.then_some(source),
    };
    Ok(Answer::new(&question, &time, rows, compared, circumstances))
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
    Ok(rollup::visitors_of_minutes(first, &rows))
}

/// The first day with anything, if the question is about all time.
async fn first_day(
    question: &Question,
    site: &Site,
    metrics: &dyn MetricStore,
    now: i64,
) -> Result<Option<i64>, MetricError> {
    if question.range != wakeline_query::DateRange::All {
        return Ok(None);
    }
    let days = FIRST_DAY..day_window(&site.tz, now) + 1;
    let rows = metrics.totals(site.id, Grain::Day, days).await?;
    Ok(rows.first().map(|(day, _)| *day))
}

/// A question and what it is answered from.
struct Asked<'a> {
    question: &'a Question,
    definitions: &'a Definitions,
    filters: &'a Filter,
    site: &'a Site,
    stores: Stores<'a>,
}

impl Asked<'_> {
    /// The rows of the answer over a time, and what they were read from.
    async fn rows(&self, time: &Time) -> Result<(Rows, Source), AskError> {
        let why = match rollup::plan(self.question, self.definitions, self.filters, time) {
            Ok(plan) => {
                if let Some(rows) = self.of_rollups(plan, time).await? {
                    let source = Source {
                        read: "rollups",
                        exact: true,
                        why: None,
                    };
                    return Ok((rows, source));
                }
                "a day has more values than rows tell apart".to_owned()
            }
            Err(why) => why,
        };
        let source = Source {
            read: "events",
            exact: true,
            why: Some(why),
        };
        Ok((self.of_events(time).await?, source))
    }

    async fn of_rollups(&self, plan: Plan, time: &Time) -> Result<Option<Rows>, MetricError> {
        let (site, metrics) = (self.site.id, self.stores.metrics);
        match plan {
            Plan::Totals(read) => {
                let rows = metrics.totals(site, read.grain, read.windows).await?;
                let rows = rollup::total_rows(self.question, time, read.grain, &rows);
                Ok(Some(rows))
            }
            Plan::Values(values) => {
                let days = || values.days.clone();
                let rows = metrics.breakdown(site, values.dimension, days()).await?;
                let entries = if values.with_entry_pages {
                    metrics
                        .breakdown(site, Dimension::EntryPage, days())
                        .await?
                } else {
                    Vec::new()
                };
                Ok(values.rows(self.question, time, rows, entries))
            }
        }
    }

    async fn of_events(&self, time: &Time) -> Result<Rows, AskError> {
        let scan = Scan::new(
            self.question,
            self.definitions,
            self.filters,
            time.clone(),
            rules_of(self.site),
        );
        let (reads, fields) = (scan.reads(), scan.fields().to_vec());
        let scan = read_events(self.stores, self.site.id, (reads, fields), scan, Scan::add).await?;
        Ok(scan.finish(self.question))
    }
}

/// How a site cuts visits.
fn rules_of(site: &Site) -> SiteRules {
    SiteRules {
        timezone: site.tz.clone(),
        gap_ms: i64::from(site.session_gap_minutes) * 60_000,
    }
}

/// Has `add` take the events of a time and fields into `reader`, and gives it back.
async fn read_events<R: Send + 'static>(
    stores: Stores<'_>,
    site: u64,
    (reads, fields): (Range<i64>, Vec<Field>),
    mut reader: R,
    add: fn(&mut R, &Batch, &Texts) -> Result<(), QueryError>,
) -> Result<R, AskError> {
    // Where there is no state, there is no telling how far events count.
    stores.metrics.totals(site, Grain::Minute, 0..0).await?;
    let turn = READERS.acquire().await.map_err(|_| EventError::Stopped)?;
    let events = Arc::clone(stores.events);
    // Reading blocks, and counting takes a while.
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        events.read(site, &reads, &fields, &mut |batch, texts| {
            add(&mut reader, batch, texts).map_err(|error| EventError::Limit(error.to_string()))
        })?;
        Ok::<_, EventError>(reader)
    });
    Ok(done.await.map_err(|_| EventError::Stopped)??)
}

#[cfg(test)]
mod tests;
