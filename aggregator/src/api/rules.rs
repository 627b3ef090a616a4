//! What collectors refuse, change and limit of a site's events.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    Shared,
    auth::Member,
    body::Body,
    manage::blocking,
    problem::{Problem, ProblemBody},
};
use crate::{
    control::{SavedRules, SchemaVersion, SiteRules},
    preview::{Preview, PreviewRequest},
};

/// Rules, and which collectors obey them.
#[derive(Serialize, ToSchema)]
pub(super) struct RulesInForce {
    #[serde(flatten)]
    saved: SavedRules,
    collectors: Obedience,
}

/// How many collectors obey.
#[derive(Serialize, ToSchema)]
struct Obedience {
    /// Collectors that are connected.
    connected: usize,
    /// Those of them that said that they have these rules, or later ones.
    in_force: usize,
}

impl RulesInForce {
    fn of(saved: SavedRules, state: &Shared) -> Self {
        let (connected, in_force) = state.followers.at(saved.snapshot);
        let collectors = Obedience {
            connected,
            in_force,
        };
        Self { saved, collectors }
    }
}

/// The newest rules of a site, and how many collectors obey them.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/rules",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "The rules", body = RulesInForce),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_rules(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<RulesInForce>, Problem> {
    let site = member.site(&state, &site)?;
    let saved = state.control.snapshot().rules(site);
    Ok(Json(RulesInForce::of(saved, &state)))
}

/// Rules that are to be in force.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRules {
    /// The version that the change was made from; if another is in force by now, nothing is changed.
    #[serde(default)]
    version: Option<u64>,
    /// Take schemas that break with the last ones of their events: that refuse what fitted, or name no longer what was named.
    #[serde(default)]
    force: bool,
    /// All rules: what is left out has its default.
    #[serde(deserialize_with = "from_object")]
    rules: SiteRules,
}

/// A list would be read as the rules in their order.
fn from_object<'de, D: Deserializer<'de>>(value: D) -> Result<SiteRules, D::Error> {
    let object = serde_json::Map::deserialize(value)?;
    serde_json::from_value(object.into()).map_err(D::Error::custom)
}

/// Replaces a site's rules; connected collectors obey within seconds.
#[utoipa::path(
    put,
    path = "/api/v1/sites/{site}/rules",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = NewRules,
    responses(
        (status = 200, description = "The rules as they are now", body = RulesInForce),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_rules(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(new): Body<NewRules>,
) -> Result<Json<RulesInForce>, Problem> {
    let site = member.site(&state, &site)?;
    let by = member.0.name;
    let saved = blocking(&state.control, move |control| {
        control.set_rules(site, &new.rules, new.version, &by, new.force)
    })
    .await?;
    Ok(Json(RulesInForce::of(saved, &state)))
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
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<SavedRules>>, Problem> {
    let site = member.site(&state, &site)?;
    let history = blocking(&state.control, move |control| control.rules_history(site));
    history.await.map(Json)
}

/// The schemas that events of a site have had, with the version of the rules that brought each.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/rules/schemas",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "By name of the event, the newest first", body = Vec<SchemaVersion>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn schema_versions(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<SchemaVersion>>, Problem> {
    let site = member.site(&state, &site)?;
    let versions = blocking(&state.control, move |control| control.schema_versions(site));
    versions.await.map(Json)
}

/// What rules would have done to what came in the last hours: how many events they would have refused, how many refused
/// ones they would have let pass, and some of each. Nothing is changed.
#[utoipa::path(
    post,
    path = "/api/v1/sites/{site}/rules/preview",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = PreviewRequest,
    responses(
        (status = 200, description = "What they would have done", body = Preview),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Another preview is made", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn preview(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<Preview>, Problem> {
    let site = member.site(&state, &site)?;
    let snapshot = state.control.snapshot();
    let now = (state.clock)();
    Ok(Json(
        state
            .previewer
            .preview(&snapshot, site, &request, now)
            .await?,
    ))
}
