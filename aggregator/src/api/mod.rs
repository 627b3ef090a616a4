//! The aggregator's HTTP: queries, administration, live events, health and the dashboard.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

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

/// All routes. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: `/metrics` and the throttle of
/// sign-ins go by the peer's address.
pub fn router(state: ApiState) -> Router {
    Router::new().with_state(state)
}
