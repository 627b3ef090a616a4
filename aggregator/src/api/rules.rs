//! What collectors refuse, change and limit of a site's events.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Shared,
    auth::Admin,
    body::Body,
    manage::{OfSite, blocking},
    problem::{Problem, ProblemBody},
};
use crate::control::{SavedRules, SiteRules};

/// The rules of a site, in force.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/rules",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "The rules in force", body = SavedRules),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_rules(
    _: Admin,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<SavedRules>, Problem> {
    let site = OfSite { site }.id(&state)?;
    Ok(Json(state.control.snapshot().rules(site)))
}

/// Rules that are to be in force.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRules {
    /// The version that the change was made from; if another is in force by now, nothing is changed.
    #[serde(default)]
    version: Option<u64>,
    /// All rules: what is left out has its default.
    rules: SiteRules,
}

/// Replaces a site's rules; connected collectors obey within seconds.
#[utoipa::path(
    put,
    path = "/api/v1/sites/{site}/rules",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = NewRules,
    responses(
        (status = 200, description = "The rules as they are now", body = SavedRules),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_rules(
    _: Admin,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(new): Body<NewRules>,
) -> Result<Json<SavedRules>, Problem> {
    let site = OfSite { site }.id(&state)?;
    let saved = blocking(&state.control, move |control| {
        control.set_rules(site, &new.rules, new.version)
    });
    saved.await.map(Json)
}

/// The versions of a site's rules.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/rules/history",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "The newest first", body = Vec<SavedRules>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rules_history(
    _: Admin,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<SavedRules>>, Problem> {
    let site = OfSite { site }.id(&state)?;
    let history = blocking(&state.control, move |control| control.rules_history(site));
    history.await.map(Json)
}
