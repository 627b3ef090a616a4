//! Goals and segments of a site.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_query::GoalRule;

use super::{
    Shared,
    auth::{Member, Viewer},
    body::Body,
    manage::blocking,
    problem::{Problem, ProblemBody},
};
use crate::control::{SavedGoal, SavedSegment};

/// A goal to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGoal {
    /// What answers are to call it.
    #[schema(example = "Thank-you page")]
    name: String,
    rule: GoalRule,
}

/// A segment to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSegment {
    /// What people call it.
    #[schema(example = "Phones")]
    name: String,
    /// In the form of a question's filters.
    #[schema(value_type = Vec<Vec<Value>>, example = json!([["is", "visit:device", ["Mobile"]]]))]
    filters: Vec<Value>,
}

/// A site's goals beside the names of events, each of which is one by itself.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/goals",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "Oldest first", body = Vec<SavedGoal>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_goals(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<SavedGoal>>, Problem> {
    let site = member.site(&state, &site)?;
    let snapshot = state.control.snapshot();
    let goals = snapshot.goals.iter().filter(|goal| goal.site == site);
    Ok(Json(goals.cloned().collect()))
}

/// Makes a goal. It is found in all events, also in those of the past.
#[utoipa::path(
    post,
    path = "/api/v1/sites/{site}/goals",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = NewGoal,
    responses(
        (status = 201, description = "Made", body = SavedGoal),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_goal(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(new): Body<NewGoal>,
) -> Result<(StatusCode, Json<SavedGoal>), Problem> {
    let site = member.site(&state, &site)?;
    let made = blocking(&state.control, move |control| {
        control.create_goal(site, &new.name, &new.rule)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Deletes a goal.
#[utoipa::path(
    delete,
    path = "/api/v1/sites/{site}/goals/{id}",
    params(
        ("site" = String, Path, description = "Id or domain"),
        ("id" = u64, Path, description = "Id of the goal"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_goal(
    member: Member,
    State(state): State<Shared>,
    Path((site, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let site = member.site(&state, &site)?;
    let id = number(&id);
    blocking(&state.control, move |control| control.delete_goal(site, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A site's segments; by a public link without their filters.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/segments",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "Oldest first", body = Vec<SavedSegment>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_segments(
    viewer: Viewer,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<SavedSegment>>, Problem> {
    let site = viewer.0.site(&state, &site)?;
    let snapshot = state.control.snapshot();
    let segments = snapshot
        .segments
        .iter()
        .filter(|segment| segment.site == site);
    let mut segments: Vec<SavedSegment> = segments.cloned().collect();
    if viewer.is_public() {
        // Whoever has a link sees what a segment is called; what it is made of may be the site's own business.
        for segment in &mut segments {
            segment.filters.clear();
        }
    }
    Ok(Json(segments))
}

/// Makes a segment: filters that questions name by its id, as `["is", "segment", [id]]`.
#[utoipa::path(
    post,
    path = "/api/v1/sites/{site}/segments",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = NewSegment,
    responses(
        (status = 201, description = "Made", body = SavedSegment),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_segment(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(new): Body<NewSegment>,
) -> Result<(StatusCode, Json<SavedSegment>), Problem> {
    let site = member.site(&state, &site)?;
    let made = blocking(&state.control, move |control| {
        control.create_segment(site, &new.name, &new.filters)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Deletes a segment.
#[utoipa::path(
    delete,
    path = "/api/v1/sites/{site}/segments/{id}",
    params(
        ("site" = String, Path, description = "Id or domain"),
        ("id" = u64, Path, description = "Id of the segment"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_segment(
    member: Member,
    State(state): State<Shared>,
    Path((site, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let site = member.site(&state, &site)?;
    let id = number(&id);
    blocking(&state.control, move |control| {
        control.delete_segment(site, id)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id; of what is none there is nothing.
fn number(id: &str) -> u64 {
    id.parse().unwrap_or(0)
}
