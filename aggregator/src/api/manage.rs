//! Signing in and out, sites and keys.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{Extensions, HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Shared,
    auth::{self, Admin, COOKIE, Member, Viewer},
    body::Body,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    admin::{AdminRequest, CreateSite, MadeSite, SetSite, SiteRequest, execute},
    control::{Caller, Control, ControlError, Key, SESSION_LIFETIME_MS, Site},
};

/// What a browser signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// An admin token.
    token: String,
}

/// Signs a browser in: exchanges a token for a cookie that scripts cannot read.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    request_body = SignIn,
    security(()),
    responses(
        (status = 200, description = "Signed in; the session is in a cookie", body = Caller),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn sign_in(
    State(state): State<Shared>,
    headers: HeaderMap,
    extensions: Extensions,
    Body(request): Body<SignIn>,
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let caller = auth::check_token(request.token.trim(), auth::peer(&extensions), &state, now)?;
    let token = caller.token;
    let session = blocking(&state.control, move |control| {
        control.open_session(token, now)
    })
    .await?;
    let cookie = cookie(&session, SESSION_LIFETIME_MS / 1000, &headers);
    Ok(([(header::SET_COOKIE, cookie)], Json(caller)).into_response())
}

/// Signs a browser out.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    security(()),
    responses(
        (status = 204, description = "Signed out"),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn sign_out(
    State(state): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = auth::session(&headers) {
        auth::own_origin(&headers)?;
        let session = session.to_owned();
        blocking(&state.control, move |control| {
            control.close_session(&session)
        })
        .await?;
    }
    let cookie = cookie("", 0, &headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Who is calling, and what else a dashboard has to know.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionInfo {
    #[serde(flatten)]
    caller: Caller,
    /// Where pages reach the collector, if that was configured (`http.collector_url`), without a slash at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    collector_url: Option<String>,
}

/// Who is calling.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    responses(
        (status = 200, description = "The token shown, or signed in with", body = SessionInfo),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn who(
    Viewer(Member(caller)): Viewer,
    State(state): State<Shared>,
) -> Json<SessionInfo> {
    let url = state.collector_url.as_deref();
    let url = url.filter(|_| caller.link.is_none());
    Json(SessionInfo {
        caller,
        collector_url: url.map(|url| url.trim_end_matches('/').to_owned()),
    })
}

fn cookie(value: &str, max_age_s: i64, headers: &HeaderMap) -> String {
    // Behind a proxy that ends TLS, the cookie must not leave by plain HTTP.
    let over_tls = headers
        .get("x-forwarded-proto")
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if over_tls { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}")
}

/// All sites that the caller may see.
#[utoipa::path(
    get,
    path = "/api/v1/sites",
    responses(
        (status = 200, description = "Ascending by id", body = Vec<Site>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_sites(viewer: Viewer, State(state): State<Shared>) -> Json<Vec<Site>> {
    let mut sites = viewer.0.snapshot(&state).sites.clone();
    if viewer.is_public() {
        // Some are what other trackers take for keys.
        for site in &mut sites {
            site.aliases.clear();
        }
    }
    Json(sites)
}

/// Makes a site with its keys.
#[utoipa::path(
    post,
    path = "/api/v1/sites",
    request_body = CreateSite,
    responses(
        (status = 201, description = "Made", body = MadeSite),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_site(
    _: Admin,
    State(state): State<Shared>,
    Body(new): Body<CreateSite>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let request = AdminRequest::Site(SiteRequest::Create(new));
    Ok((
        StatusCode::CREATED,
        Json(administer(&state, request).await?),
    ))
}

/// What of a site is to change; time zone and session gap only to what they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteChange {
    domain: Option<String>,
    currency: Option<String>,
    timezone: Option<String>,
    session_gap: Option<u32>,
    /// Names to give to it, each `TRACKER:ID`, such as `plausible:shop.example`.
    #[serde(default)]
    alias: Vec<String>,
    /// Names to take from it.
    #[serde(default)]
    remove_alias: Vec<String>,
}

/// Changes of a site what is given.
#[utoipa::path(
    patch,
    path = "/api/v1/sites/{site}",
    params(("site" = String, Path, description = "Id or domain")),
    request_body = SiteChange,
    responses(
        (status = 200, description = "The site as it is now", body = Site),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change_site(
    _: Admin,
    State(state): State<Shared>,
    Path(site): Path<String>,
    Body(change): Body<SiteChange>,
) -> Result<Json<Value>, Problem> {
    let request = AdminRequest::Site(SiteRequest::Set(SetSite {
        site,
        domain: change.domain,
        currency: change.currency,
        timezone: change.timezone,
        session_gap: change.session_gap,
        alias: change.alias,
        remove_alias: change.remove_alias,
    }));
    administer(&state, request).await.map(Json)
}

#[derive(Deserialize)]
pub(super) struct OfSite {
    pub(super) site: String,
}

impl OfSite {
    /// What is wrong with a query that names none.
    pub(super) fn missing() -> Problem {
        Problem::with(
            Code::Invalid,
            "site: give the id or the domain of one site, as ?site=",
        )
    }
}

/// The keys of a site that work.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    params(("site" = String, Query, description = "Id or domain")),
    responses(
        (status = 200, description = "Oldest first", body = Vec<Key>),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_keys(
    member: Member,
    State(state): State<Shared>,
    of: Result<Query<OfSite>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Key>>, Problem> {
    let Query(of) = of.map_err(|_| OfSite::missing())?;
    let site = member.site(&state, &of.site)?;
    let snapshot = state.control.snapshot();
    let keys = snapshot.keys.iter().filter(|key| key.site == site);
    Ok(Json(keys.cloned().collect()))
}

async fn administer(state: &Shared, request: AdminRequest) -> Result<Value, Problem> {
    let control = state.control.clone();
    let done = tokio::task::spawn_blocking(move || execute(&control, request)).await;
    Ok(done.map_err(|_| Problem::new(Code::Internal))??)
}

/// Runs what writes to the control store off the runtime's threads: it waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    control: &Arc<Control>,
    work: impl FnOnce(&Control) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, Problem> {
    let control = control.clone();
    let done = tokio::task::spawn_blocking(move || work(&control)).await;
    Ok(done.map_err(|_| Problem::new(Code::Internal))??)
}
