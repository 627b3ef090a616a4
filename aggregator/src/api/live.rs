//! `GET /api/v1/live?site=`: what happens on a site, as Server-Sent Events.
//!
//! - `event`: an event and its fate ([`LiveEvent`](crate::live::LiveEvent)); not by a public link.
//! - `changed`: figures changed, or messages were missed: ask again.
//! - `now`: `{"visitors": n}`, those of the last five minutes: at first, after each `changed`, and every 10 s.
//!
//! A stream ends when the server stops, or within [`CHECK`] of its caller not being allowed to listen any more.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{Extensions, HeaderMap},
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Shared,
    auth::{self, Viewer},
    manage::OfSite,
    problem::{Code, Problem, ProblemBody},
    query,
};
use crate::live::LiveMessage;

/// Streams at a time.
pub(super) const MAX_STREAMS: usize = 1_000;
/// How often it is asked whether the caller may still listen, and how long figures may keep that waiting.
const CHECK: Duration = Duration::from_secs(2);
/// Longest silence: proxies close what is silent for long.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What happens on a site from now on, as Server-Sent Events: `event` (an event and its fate), `changed` (figures
/// changed), `now` (`{"visitors": n}` of the last five minutes).
#[utoipa::path(
    get,
    path = "/api/v1/live",
    params(("site" = String, Query, description = "Id or domain")),
    responses(
        (status = 200, description = "A stream without end", content_type = "text/event-stream", body = String),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn live(
    viewer: Viewer,
    State(state): State<Shared>,
    headers: HeaderMap,
    extensions: Extensions,
    of: Result<Query<OfSite>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(of) = of.map_err(|_| OfSite::missing())?;
    let site = viewer.0.site(&state, &of.site)?;
    let permit = state.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::with(
            Code::Unavailable,
            format!("{MAX_STREAMS} streams are open already"),
        )
        .retry_after(10)
    })?;
    // Listens before the first figure is read, so that no change falls between.
    let messages = state.live.subscribe(site);
    let mut listener = Listener {
        site,
        messages,
        queue: VecDeque::new(),
        next_beat: Instant::now() + HEARTBEAT,
        next_check: Instant::now() + CHECK,
        state,
        headers,
        extensions,
        is_public: viewer.is_public(),
        _permit: permit,
    };
    listener.push_now().await;
    let quiet = [
        ("cache-control", "no-store"),
        // Asks nginx not to hold events back.
        ("x-accel-buffering", "no"),
    ];
    Ok((quiet, Sse::new(listener.into_stream())))
}

struct Listener {
    state: Shared,
    site: u64,
    messages: broadcast::Receiver<Arc<LiveMessage>>,
    /// Made, but not sent yet.
    queue: VecDeque<Event>,
    next_beat: Instant,
    next_check: Instant,
    /// What the caller showed when connecting.
    headers: HeaderMap,
    extensions: Extensions,
    /// Single events are not for who has a public link.
    is_public: bool,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.next_check <= Instant::now() {
                self.next_check = Instant::now() + CHECK;
                let caller = auth::caller(&self.headers, &self.extensions, &self.state).ok()?;
                if !caller.sees(self.site) {
                    return None;
                }
            }
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let shutdown = self.state.shutdown.clone();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                message = self.messages.recv() => match message.as_deref() {
                    Ok(LiveMessage::Event(_)) if self.is_public => {}
                    Ok(LiveMessage::Event(event)) => self.push("event", event),
                    Ok(LiveMessage::Changed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.push("changed", &json!({}));
                        self.push_now().await;
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = sleep_until(self.next_check) => {}
                () = sleep_until(self.next_beat) => self.push_now().await,
            }
        }
    }

    async fn push_now(&mut self) {
        self.next_beat = Instant::now() + HEARTBEAT;
        let now = (self.state.clock)();
        let asked = query::visitors_now(self.site, &*self.state.metrics, now);
        match timeout(CHECK, asked).await {
            Ok(Ok(visitors)) => return self.push("now", &json!({ "visitors": visitors })),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "visitors now");
            }
            Err(_) => tracing::debug!("figures take long"),
        }
        // Keeps the connection alive all the same.
        self.queue.push_back(Event::default().comment("no figures"));
    }

    fn push(&mut self, name: &str, data: &impl serde::Serialize) {
        match Event::default().event(name).json_data(data) {
            Ok(event) => self.queue.push_back(event),
            Err(error) => tracing::error!(%error, name, "write a live event"),
        }
    }
}
