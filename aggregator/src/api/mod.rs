//! The aggregator's HTTP: queries, administration, live events, health and the dashboard.

mod assets;
mod auth;
mod body;
mod live;
mod manage;
mod problem;
mod query;
mod status;

use std::{ops::Deref, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{
    auth::{Admin, Throttle},
    body::JsonBytes,
    problem::{Code, Problem},
};
use crate::{control::Control, live::Live, metrics::MetricStore};

/// How the server is, as far as HTTP tells.
pub trait Health: Send + Sync {
    /// Why the server cannot do its work now, in a sentence; `Ok` if it can.
    fn ready(&self) -> Result<(), String>;
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
    /// What happens now.
    pub live: Arc<Live>,
    /// For `/readyz` and `/metrics`.
    pub health: Arc<dyn Health>,
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
    Router::new()
        .route("/api/v2/query", post(ask))
        .route(
            "/api/v1/session",
            get(manage::who)
                .post(manage::sign_in)
                .delete(manage::sign_out),
        )
        .route(
            "/api/v1/sites",
            get(manage::list_sites).post(manage::create_site),
        )
        .route("/api/v1/sites/{site}", patch(manage::change_site))
        .route("/api/v1/keys", get(manage::list_keys))
        .route("/api/v1/live", get(live::live))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .fallback(assets::assets)
        .layer(from_fn(add_headers))
        .with_state(shared)
}

async fn ask(
    _: Admin,
    State(state): State<Shared>,
    JsonBytes(body): JsonBytes,
) -> Result<impl IntoResponse, Problem> {
    let control = state.control.snapshot();
    let answer = query::ask(&body, &control, &*state.metrics, (state.clock)()).await?;
    Ok(Json(answer))
}

/// Nothing from elsewhere runs in the dashboard, and nobody frames it.
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

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Figures and errors are not for caches; files say for themselves.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
