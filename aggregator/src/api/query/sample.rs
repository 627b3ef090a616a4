//! `POST /api/v1/events/sample`: some of the events that a figure is of.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use wakeline_query::{Question, Sample, SampledEvent, Time};

use super::{AskError, Stores, first_day, read_events, rules_of};
use crate::api::{
    Shared,
    auth::Member,
    body::Body,
    problem::{Problem, ProblemBody},
};

/// Events of an answer where none are said, and the most.
const LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// Which events to show.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleRequest {
    /// Id or domain of the site.
    #[schema(example = "shop.example")]
    site_id: Value,
    /// As in a question.
    #[schema(example = "7d")]
    date_range: Value,
    /// As in a question.
    #[serde(default)]
    filters: Vec<Value>,
    /// From 1 to 100; 20 if it is not said.
    #[serde(default = "usual_limit")]
    limit: usize,
}

const fn usual_limit() -> usize {
    LIMIT
}

/// Some of the events that filters let through.
#[derive(Serialize, ToSchema)]
pub(crate) struct SampleAnswer {
    /// The latest first.
    events: Vec<SampledEvent>,
    /// How many there are in all: what the metric `events` counts.
    matching: u64,
}

/// The latest events that filters let through, and how many there are: what a figure is made of.
#[utoipa::path(
    post,
    path = "/api/v1/events/sample",
    request_body = SampleRequest,
    responses(
        (status = 200, description = "The events", body = SampleAnswer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn sample(
    member: Member,
    State(state): State<Shared>,
    Body(asked): Body<SampleRequest>,
) -> Result<Json<SampleAnswer>, Problem> {
    let control = member.snapshot(&state);
    let pinned = state.metrics.pinned();
    let stores = Stores {
        control: &control,
        metrics: pinned.as_deref().unwrap_or(&*state.metrics),
        events: &state.events,
    };
    Ok(Json(find(asked, stores, (state.clock)()).await?))
}

async fn find(
    asked: SampleRequest,
    stores: Stores<'_>,
    now: i64,
) -> Result<SampleAnswer, AskError> {
    if !(1..=MAX_LIMIT).contains(&asked.limit) {
        return Err(AskError::Query(format!("limit: from 1 to {MAX_LIMIT}")));
    }
    let question = json!({
        "site_id": asked.site_id,
        "metrics": ["events"],
        "date_range": asked.date_range,
        "filters": asked.filters,
    });
    let request: super::Request =
        serde_json::from_value(question).map_err(|error| AskError::Query(error.to_string()))?;
    let name = request.site_name()?;
    let site = stores.control.find_site(&name);
    let site = site.ok_or(AskError::NoSite(name))?;
    let question = Question::new(request, &site.tz)?;
    let definitions = stores.control.definitions(site.id);
    let filters = definitions.filters(&question.filters)?;
    let first_day = first_day(&question, site, stores.metrics, now).await?;
    let time = Time::of(&question, &site.tz, now, first_day)?;
    let sample = Sample::new(
        &question,
        &definitions,
        &filters,
        time,
        rules_of(site),
        asked.limit,
    );
    let needs = (sample.reads(), sample.fields().to_vec());
    let sample = read_events(stores, site.id, needs, sample, |sample, batch, texts| {
        sample.add(batch, texts);
        Ok(())
    })
    .await?;
    let (events, matching) = sample.finish();
    Ok(SampleAnswer { events, matching })
}
