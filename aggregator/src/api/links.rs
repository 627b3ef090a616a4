//! Public links: made and revoked by members, and how their pages may be framed.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CONTENT_SECURITY_POLICY, Shared,
    auth::Member,
    body::Body,
    manage::blocking,
    problem::{Problem, ProblemBody},
};
use crate::control::{ControlSnapshot, Link};

/// Where the pages of links are.
const PATH: &str = "/share/";

/// A public link to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLink {
    /// What it is for.
    #[schema(example = "For the board")]
    name: String,
    /// Origins whose pages may show it in a frame; without, none may.
    #[serde(default)]
    #[schema(example = json!(["https://intranet.example"]))]
    embed: Vec<String>,
}

/// A site's public links. Who has one reads the site's reports, at `/share/SECRET` or with the secret as a token.
#[utoipa::path(
    get,
    path = "/api/v1/sites/{site}/links",
    params(("site" = String, Path, description = "Id or domain")),
    responses(
        (status = 200, description = "Oldest first", body = Vec<Link>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_links(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
) -> Result<Json<Vec<Link>>, Problem> {
    let site = member.site(&state, &site)?;
    let snapshot = state.control.snapshot();
    let links = snapshot.links.iter().filter(|link| link.site == site);
    Ok(Json(links.cloned().collect()))
}

/// Makes a public link to a site's reports.
#[utoipa::path(
    post,
    path = "/api/v1/sites/{site}/links",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = NewLink,
    responses(
        (status = 201, description = "Made", body = Link),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_link(
    member: Member,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(new): Body<NewLink>,
) -> Result<(StatusCode, Json<Link>), Problem> {
    let site = member.site(&state, &site)?;
    let made = blocking(&state.control, move |control| {
        control.create_link(site, &new.name, &new.embed)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revokes a public link: from now on it opens nothing, and pages that are open by it get nothing more.
#[utoipa::path(
    delete,
    path = "/api/v1/sites/{site}/links/{id}",
    params(
        ("site" = String, Path, description = "Id or domain"),
        ("id" = u64, Path, description = "Id of the link"),
    ),
    responses(
        (status = 204, description = "Revoked"),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke_link(
    member: Member,
    State(state): State<Shared>,
    Path((site, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let site = member.site(&state, &site)?;
    let id = id.parse().unwrap_or(0);
    blocking(&state.control, move |control| control.revoke_link(site, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The policy of the page at a path, if pages of other origins may frame it: that of a link which says so.
pub(super) fn framed(snapshot: &ControlSnapshot, path: &str) -> Option<HeaderValue> {
    let secret = path.strip_prefix(PATH)?.trim_end_matches('/');
    let link = snapshot.link(secret)?;
    if link.embed.is_empty() {
        return None;
    }
    let ancestors = format!("frame-ancestors {}", link.embed.join(" "));
    HeaderValue::from_str(&CONTENT_SECURITY_POLICY.replace("frame-ancestors 'none'", &ancestors))
        .ok()
}
