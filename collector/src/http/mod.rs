//! The HTTP doors.
//!
//! | path | door |
//! | --- | --- |
//! | `POST PREFIX/1/batch` | a native batch |
//! | `POST PREFIX/1/events` | events as JSON |
//! | `GET PREFIX/1/pixel.gif` | one event in a query |
//! | `GET PREFIX/sdk/*` | the SDK's files |
//! | what `doors/` says | clients of other trackers |
//! | `GET /healthz`, `/readyz`, `/metrics` | for operators |
//!
//! A refusal is a [`problem::Refusal`]; it is counted and answered in one place, [`Doors::answer`].

pub(crate) mod body;
pub(crate) mod cors;
pub(crate) mod doors;
pub(crate) mod guard;
mod metrics;
pub(crate) mod problem;
pub(crate) mod sdk_files;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use doors::pixel;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wakeline_proto::Reason;
use wakeline_spool::SegmentLog;

use crate::config::{LimitsConfig, Secret, SpoolConfig};
use crate::enrich::{Enricher, Sender};
use crate::forward::ForwardStats;
use crate::judge::Verdict;
use crate::judge::names::Names;
use crate::judge::native::Arrival;
use crate::keys::{KeyError, Keys, Pass};
use crate::rules::limits::{Buckets, Payer};
use crate::stats::Stats;
use crate::tallies::{Tallies, UNKNOWN_SITE};
use body::{Budget, Share};
use cors::{Audience, Say};
use problem::Refusal;
use sdk_files::SdkFiles;

/// Room that readiness asks for: the largest record that one request can make.
const ROOM_BYTES: u64 = 16 << 20;

/// The app that a request is of, where its key is bound to some.
const APP: HeaderName = HeaderName::from_static("wakeline-app");

/// Path of native batches, below the prefix.
pub(crate) const BATCHES: &str = "/1/batch";

const PIXEL_METHODS: &str = "GET, OPTIONS";

/// Bodies above this are decompressed and judged off the threads that serve connections.
const INLINE_BYTES: usize = 64 << 10;

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) headers: HeaderMap,
    /// Address that the connection came from: the visitor's, or a proxy's.
    pub(crate) peer: Option<IpAddr>,
}

impl<S: Sync> FromRequestParts<S> for Head {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self {
            headers: std::mem::take(&mut parts.headers),
            peer: peer.map(|peer| peer.0.ip()),
        })
    }
}

/// What all doors share.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) keys: Keys,
    pub(crate) enricher: Arc<Enricher>,
    pub(crate) names: Arc<Names>,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) log: SegmentLog,
    pub(crate) stats: Stats,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) forward: Arc<ForwardStats>,
    pub(crate) budget: Arc<Budget>,
    /// Turns of large bodies.
    pub(crate) heavy: Semaphore,
    pub(crate) sdk: SdkFiles,
    pub(crate) limits: LimitsConfig,
    pub(crate) spool: SpoolConfig,
    pub(crate) body_timeout: Duration,
    /// `Strict-Transport-Security`, if it is said.
    pub(crate) hsts: Option<HeaderValue>,
    /// Reads `/metrics` from other machines.
    pub(crate) metrics_token: Secret,
}

impl Doors {
    /// All routes, without a fallback for other paths.
    pub(crate) fn router(self: Arc<Self>, prefix: &str) -> Router {
        let doors = [
            (BATCHES, post(doors::batch::door), "POST, OPTIONS"),
            ("/1/events", post(doors::events::door), "POST, OPTIONS"),
            (
                "/1/pixel.gif",
                get(doors::pixel::door).head(head_of_pixel),
                PIXEL_METHODS,
            ),
            ("/sdk/{*path}", get(sdk_files::door), "GET, HEAD, OPTIONS"),
        ];
        let mut public = Router::new().route(&format!("{prefix}/{{*path}}"), any(not_found));
        for (path, door, methods) in doors {
            let door = door
                .options(async move || cors::preflight(methods))
                .fallback(move |State(doors): State<Arc<Self>>| async move {
                    doors.answer(Err(Refusal::Method(methods)))
                });
            public = public.route(&format!("{prefix}{path}"), door);
        }
        let operators = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics::door));
        public
            .layer(self.say(Audience::Own))
            .merge(crate::doors::routes().layer(self.say(Audience::Trackers)))
            .merge(operators.layer(self.say(Audience::Operators)))
            .with_state(self)
    }

    fn say(self: &Arc<Self>, audience: Audience) -> Say {
        Say {
            doors: Arc::clone(self),
            audience,
        }
    }

    /// What is answered; a refusal is counted.
    pub(crate) fn answer(&self, outcome: Result<Response, Refusal>) -> Response {
        outcome.unwrap_or_else(|refusal| {
            self.stats.refused(&refusal);
            match &refusal {
                Refusal::Key => self.tallies.add(UNKNOWN_SITE, Reason::UnknownKey, 1),
                Refusal::Limited(reached) => self.tallies.add(reached.site, Reason::RateLimited, 1),
                Refusal::Origin(site) | Refusal::App(site) => {
                    self.tallies.add(*site, Reason::ForeignHost, 1);
                }
                Refusal::Spool(error) => tracing::error!(%error, "events can't be stored"),
                // No more than its name: the text may quote what was sent.
                other => tracing::debug!(refusal = other.label(), "refused"),
            }
            refusal.into_response()
        })
    }

    /// Counts events of a request whose other ones were stored.
    pub(crate) fn count_refused(&self, refusal: &Refusal, events: u32) {
        self.stats.refused(refusal);
        let (site, reason) = match refusal {
            Refusal::Limited(reached) => (reached.site, Reason::RateLimited),
            Refusal::Origin(site) | Refusal::App(site) => (*site, Reason::ForeignHost),
            // What nobody could be asked about belongs to no site, as far as is known.
            Refusal::Key | Refusal::KeyUnknowable => (UNKNOWN_SITE, Reason::UnknownKey),
            // As of whole requests: they may be anybody's.
            _ => return,
        };
        self.tallies.add(site, reason, events.into());
    }

    /// What comes with a request whose body has come. Of a server the head says nothing about the visitor.
    pub(crate) async fn arrival(
        &self,
        key: &str,
        head: &Head,
        received_at: u64,
    ) -> Result<Arrival, Refusal> {
        let pass = self.keys.pass(key).await.map_err(Refusal::from)?;
        self.arrived(pass, head, received_at)
    }

    /// As [`Doors::arrival`], of a client that may write what `pass` says.
    pub(crate) fn arrived(
        &self,
        pass: Pass,
        head: &Head,
        received_at: u64,
    ) -> Result<Arrival, Refusal> {
        let says_yes = |name| {
            head.headers
                .get(name)
                .is_some_and(|value: &HeaderValue| value == "1")
        };
        if !pass.grant.server && !cors::from_allowed_origin(&head.headers, &pass.rules) {
            return Err(Refusal::Origin(pass.grant.site));
        }
        if let Some(apps) = &pass.grant.apps {
            let app = head.headers.get(APP);
            if !app.is_some_and(|app| apps.iter().any(|one| app == one.as_str())) {
                return Err(Refusal::App(pass.grant.site));
            }
        }
        let sender = if pass.grant.server {
            Sender::default()
        } else {
            self.enricher.sender(&head.headers, head.peer)
        };
        let payer = Payer::new(pass.rules.limits, pass.grant.site, &pass.payer, sender.ip);
        // Who has used up a limit costs no more work.
        self.buckets.take(&payer, 0, received_at)?;
        Ok(Arrival {
            payer,
            opted_out: !pass.grant.server && (says_yes("sec-gpc") || says_yes("dnt")),
            pass,
            received_at,
            sender,
            enricher: Arc::clone(&self.enricher),
            names: Arc::clone(&self.names),
            buckets: Arc::clone(&self.buckets),
        })
    }

    /// Makes the verdict durable and counts it. Goes on if the client leaves meanwhile, so that counts stay true.
    pub(crate) async fn store(
        self: &Arc<Self>,
        mut verdict: Verdict,
        mut share: Share,
    ) -> Result<Verdict, Refusal> {
        let doors = Arc::clone(self);
        let Some((payload, span)) = verdict.record.clone() else {
            verdict.paid.keep();
            doors.count(&verdict);
            return Ok(verdict);
        };
        // A record can be a thousand times its body.
        share.grow(payload.len())?;
        let appended = self.log.append(payload, span);
        let counting = async move {
            let _share = share;
            appended.await?;
            verdict.paid.keep();
            doors.count(&verdict);
            Ok(verdict)
        };
        ToTheEnd::new(counting).await
    }

    /// Runs `work`, which may take milliseconds if the body of `bytes` is large: then not on the threads that serve
    /// connections, and few at a time, since it may need a multiple of the body in memory.
    pub(crate) async fn compute<T, F>(&self, bytes: usize, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
    {
        if bytes <= INLINE_BYTES {
            return work();
        }
        let _turn = self.heavy.acquire().await;
        wakeline_spool::work::spawn_blocking(work)
            .await
            .unwrap_or(Err(Refusal::NotReady)) // the runtime is going down
    }

    fn count(&self, verdict: &Verdict) {
        let reasons: Vec<Reason> = verdict
            .rejected
            .iter()
            .map(|one| one.refused.reason)
            .collect();
        self.stats.decided(
            u64::from(verdict.received),
            u64::from(verdict.accepted),
            reasons.into_iter(),
        );
        self.stats.warned(verdict.warned.into());
    }

    /// Whether the spool takes any request's record: its disk works, as far as is known, and there is room.
    pub(crate) fn takes_events(&self) -> bool {
        let spool = self.log.stats();
        let room = ROOM_BYTES.min(self.spool.max_bytes / 4);
        !spool.failing && spool.bytes + self.spool.reserve_bytes + room <= self.spool.max_bytes
    }
}

/// A future that goes on as a task of its own if who waits for it leaves.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send> ToTheEnd<F> {
    fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending; // it has ended
        };
        let output = ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime all ends.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::Key,
            KeyError::CannotAsk => Self::KeyUnknowable,
        }
    }
}

/// The time now, in ms since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Only looking is no view.
async fn head_of_pixel(State(doors): State<Arc<Doors>>) -> Response {
    doors.answer(Err(Refusal::Method(PIXEL_METHODS)))
}

async fn not_found(State(doors): State<Arc<Doors>>) -> Response {
    doors.answer(Err(Refusal::NotFound))
}

async fn readiness(State(doors): State<Arc<Doors>>) -> Response {
    if doors.keys.ready() && doors.takes_events() {
        "ready\n".into_response()
    } else {
        Refusal::NotReady.into_response()
    }
}
