//! Health and metrics.

use axum::{
    Json,
    extract::State,
    http::{Extensions, HeaderMap, header},
    response::{IntoResponse, Response},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    auth::{self, Admin},
    problem::{Code, Problem, ProblemBody},
};
use crate::influx::MetricsReport;
use crate::lake::LakeReport;
use crate::metrics::Watermark;

/// The process answers.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, description = "It does", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the server can do its work.
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses(
        (status = 200, description = "It can", body = String),
        (status = 503, description = "Why not", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn readyz(State(state): State<Shared>) -> Result<String, Problem> {
    match state.health.ready() {
        // Reports go on while InfluxDB is away: that is said, and is no reason to keep people from them.
        Ok(()) => {
            let lake = state.health.lake().and_then(|lake| lake.trouble);
            let lake = lake.map(|why| format!("the lake: {why}"));
            let troubles = [state.health.metrics().write_trouble, lake];
            let troubles = troubles.into_iter().flatten();
            Ok(troubles.fold("ready\n".to_owned(), |said, why| format!("{said}{why}\n")))
        }
        Err(why) => Err(Problem::with(Code::Unavailable, why).retry_after(1)),
    }
}

/// How the server and its stores are.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// Whether it can do its work.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What was acknowledged and found damaged since the server started: events of collectors' spools, and places of the
    /// log. Not 0: a disk is failing; the ledger of `(unknown)` says when.
    lost_corrupt: u64,
    /// How far figures are.
    watermark: Watermark,
    /// How figures get where they are read.
    metrics: MetricsReport,
    /// How the lake of all events is; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    lake: Option<LakeReport>,
}

/// How the server and its stores are.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses(
        (status = 200, description = "How they are", body = Status),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(_: Admin, State(state): State<Shared>) -> Json<Status> {
    let trouble = state.health.ready().err();
    Json(Status {
        ready: trouble.is_none(),
        trouble,
        lost_corrupt: state.health.lost_corrupt(),
        watermark: state.metrics.watermark(),
        metrics: state.health.metrics(),
        lake: state.health.lake(),
    })
}

/// Metrics of the server in Prometheus' text format, for whoever is on its machine or shows a token.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "Metrics", content_type = "text/plain", body = String),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(
    State(state): State<Shared>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Problem> {
    // Through a proxy on this machine everybody seems to be on it.
    let forwarded =
        headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
    let local = auth::peer(&extensions).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if forwarded || !local {
        auth::caller(&headers, &extensions, &state)?;
    }
    let mut text = String::new();
    state.health.write_metrics(&mut text);
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response())
}
