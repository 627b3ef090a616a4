//! The aggregator's HTTP: queries, administration, live events, health and the dashboard.

mod assets;
mod auth;
mod body;
mod definitions;
mod document;
mod ledger;
mod links;
mod live;
mod manage;
mod problem;
pub(crate) mod query;
mod rules;
mod status;

use std::{ops::Deref, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    auth::{Throttle, Viewer},
    body::JsonBytes,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    control::Control, events::EventSource, followers::Followers, influx::MetricsReport,
    lake::LakeReport, ledger::Desk, live::Live, metrics::MetricStore, preview::Previewer,
};

/// How the server is, as far as HTTP tells.
pub trait Health: Send + Sync {
    /// Why the server cannot do its work now, in a sentence; `Ok` if it can.
    fn ready(&self) -> Result<(), String>;
    /// What was acknowledged and found damaged since the start.
    fn lost_corrupt(&self) -> u64;
    /// How figures get where they are read.
    fn metrics(&self) -> MetricsReport;
    /// How the lake is, if there is one.
    fn lake(&self) -> Option<LakeReport>;
    /// Appends metrics in Prometheus' text format.
    fn write_metrics(&self, out: &mut String);
}

/// What the routes need.
#[derive(Clone)]
pub struct ApiState {
    /// Sites, keys and tokens.
    pub control: Arc<Control>,
    /// What queries are answered from.
    pub metrics: Arc<dyn MetricStore>,
    /// What questions are answered from that rollups don't answer.
    pub events: Arc<dyn EventSource>,
    /// What happens now.
    pub live: Arc<Live>,
    /// What became of everything.
    pub desk: Arc<Desk>,
    /// Which collectors obey which rules.
    pub followers: Arc<Followers>,
    /// What other rules would have done.
    pub previewer: Arc<Previewer>,
    /// For `/readyz` and `/metrics`.
    pub health: Arc<dyn Health>,
    /// Where pages reach the collector, if that was configured.
    pub collector_url: Option<String>,
    /// Unix milliseconds.
    pub clock: fn() -> i64,
    /// Ends the streams of live events, so that the server can stop.
    pub shutdown: CancellationToken,
}

/// What handlers share.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    api: ApiState,
    throttle: Throttle,
    streams: Arc<Semaphore>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.api
    }
}

/// All routes. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: `/metrics` and the throttle of
/// wrong tokens go by the peer's address.
pub fn router(state: ApiState) -> Router {
    let shared = Shared(Arc::new(Inner {
        api: state,
        throttle: Throttle::default(),
        streams: Arc::new(Semaphore::new(live::MAX_STREAMS)),
    }));
    let (routes, document) = routes().split_for_parts();
    routes
        .route("/api/v1/openapi.json", get(async || Json(document)))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .fallback(assets::assets)
        .layer(from_fn_with_state(shared.clone(), add_headers))
        .with_state(shared)
}

/// All routes that are documented, with their documentation.
fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(ask))
        .routes(routes!(query::older::realtime_visitors))
        .routes(routes!(query::older::aggregate))
        .routes(routes!(query::older::timeseries))
        .routes(routes!(query::older::breakdown))
        .routes(routes!(definitions::list_goals, definitions::create_goal))
        .routes(routes!(definitions::delete_goal))
        .routes(routes!(
            definitions::list_segments,
            definitions::create_segment
        ))
        .routes(routes!(definitions::delete_segment))
        .routes(routes!(links::list_links, links::create_link))
        .routes(routes!(links::revoke_link))
        .routes(routes!(query::sample::sample))
        .routes(routes!(manage::who, manage::sign_in, manage::sign_out))
        .routes(routes!(manage::list_sites, manage::create_site))
        .routes(routes!(manage::change_site))
        .routes(routes!(manage::list_keys))
        .routes(routes!(rules::get_rules, rules::put_rules))
        .routes(routes!(rules::rules_history))
        .routes(routes!(rules::schema_versions))
        .routes(routes!(rules::preview))
        .routes(routes!(live::live))
        .routes(routes!(ledger::ledger))
        .routes(routes!(ledger::letters))
        .routes(routes!(ledger::replay))
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(status::metrics))
        .routes(routes!(status::status))
}

/// Answers a question about a site, in the shape of Plausible's Stats API v2.
#[utoipa::path(
    post,
    path = "/api/v2/query",
    request_body = query::Request,
    responses(
        (status = 200, description = "The answer", body = query::Answer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn ask(
    Viewer(member): Viewer,
    State(state): State<Shared>,
    JsonBytes(body): JsonBytes,
) -> Result<impl IntoResponse, Problem> {
    let control = member.snapshot(&state);
    let pinned = state.metrics.pinned();
    let metrics = pinned.as_deref().unwrap_or(&*state.metrics);
    let stores = query::Stores {
        control: &control,
        metrics,
        events: &state.events,
    };
    let answer = query::ask(&body, stores, (state.clock)()).await?;
    Ok(Json(answer))
}

/// Nothing from elsewhere runs in the dashboard, and nobody frames it but who a public link names.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

async fn add_headers(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let framed = links::framed(&state.control.snapshot(), request.uri().path());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(policy) = framed {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.remove(header::X_FRAME_OPTIONS);
    }
    // Figures and errors are not for caches; files say for themselves.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
