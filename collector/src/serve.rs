//! An HTTP/1.1 server with the limits that axum's own does not have.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::config::HttpConfig;

/// Limits of [`serve`].
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Longest time for a request's head to arrive; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How long requests in progress may take to end after the shutdown began; then they are cut.
    pub drain: Duration,
}

impl From<&HttpConfig> for ServeOptions {
    fn from(config: &HttpConfig) -> Self {
        Self {
            header_timeout: config.header_timeout(),
            max_connections: config.max_connections,
            drain: config.drain(),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self::from(&HttpConfig::default())
    }
}

/// After the shutdown began connections are accepted until none has come for this long: those that wait in the system's
/// queue would be reset otherwise, and who made them believes that they are served.
const QUIET: Duration = Duration::from_millis(10);
/// Longest time for that; then as long again is left to new connections to send their request.
const LAST_CONNECTIONS: Duration = Duration::from_millis(250);

/// Serves `router` on `listener` until `shutdown` fires and the requests in progress have ended.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(
        options.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout);
    let mut closing: Option<Instant> = None;
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let accepted = match closing {
            None => tokio::select! {
                accepted = accepted => accepted,
                () = shutdown.cancelled() => {
                    closing = Some(Instant::now() + LAST_CONNECTIONS);
                    continue;
                }
            },
            Some(until) if Instant::now() < until => {
                tokio::time::timeout(QUIET, accepted).await.ok().flatten()
            }
            Some(_) => None,
        };
        let Some((accepted, permit)) = accepted else {
            break;
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: connections that end make room again.
                tracing::warn!(%error, "accept connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        let router = router.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().call(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection");
            }
            drop(permit);
        });
    }
    drop(listener);
    // A connection without a request yet is closed by what follows.
    tokio::time::sleep(LAST_CONNECTIONS).await;
    if tokio::time::timeout(options.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were cut at the drain deadline");
    }
}
