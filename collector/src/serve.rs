//! An HTTP server with the limits that axum's own does not have, with or without TLS.
//!
//! Without TLS it speaks HTTP/1.1; with TLS also HTTP/2, where the client asks for it. What a connection may hold is
//! bounded either way: the handshake and a request's head have to come in time, a connection that says nothing is
//! closed, heads and HTTP/2's windows have a size.

mod peers;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use self::peers::Peers;
use crate::config::{HttpConfig, Network};
use crate::tls::{H2, Tls, TlsError};

/// Limits of [`serve`], and its certificate.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Longest time for a TLS handshake and for a request's head to arrive; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Connections of one address at a time; more are closed at once. 0: any number.
    pub max_connections_per_address: usize,
    /// Networks of proxies, whose connections are those of many.
    pub proxies: Vec<Network>,
    /// How long requests in progress may take to end after the shutdown began; then they are cut.
    pub drain: Duration,
    /// None: without TLS.
    pub tls: Option<Tls>,
}

impl ServeOptions {
    /// As configured; reads certificate and key if there are some.
    pub fn open(config: &HttpConfig) -> Result<Self, TlsError> {
        let files = config.cert_file.as_ref().zip(config.key_file.as_ref());
        let tls = files.map(|(cert, key)| Tls::open(cert, key)).transpose()?;
        Ok(Self {
            header_timeout: config.header_timeout(),
            head_bytes: config.head_bytes,
            max_connections: config.max_connections,
            max_connections_per_address: config.max_connections_per_address,
            proxies: config.proxies.clone(),
            drain: config.drain(),
            tls,
        })
    }

    /// How URLs of the server begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// After the shutdown began connections are accepted until none has come for this long, a round trip: those that the
/// system has made, or is about to make, would be reset otherwise, and who made them believes that they are served.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time for that, where the system goes on to make connections; then as long again is left to new ones to send
/// their request.
const LAST_CONNECTIONS: Duration = Duration::from_millis(250);
/// Requests at a time on one connection of HTTP/2.
const MAX_STREAMS: u32 = 64;
/// What a client of HTTP/2 may send before it is read, in bytes: of one request, and of all of its connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// What answers the requests of a server.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The answer to a request of `peer`.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send + use<Self>;
}

impl Answer for Router {
    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send + use<> {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = self.clone().call(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    }
}

/// Has `answers` serve on `listener` until `shutdown` fires and the requests in progress have ended.
pub async fn serve<A: Answer>(
    listener: TcpListener,
    answers: A,
    options: ServeOptions,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(
        options.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let connections = TaskTracker::new();
    if let Some(tls) = options.tls.clone() {
        tokio::spawn(tls.follow(shutdown.clone()));
    }
    let drain = options.drain;
    let peers = Peers::new(options.max_connections_per_address, options.proxies.clone());
    let server = Arc::new(Server {
        answers,
        options,
        closing: CancellationToken::new(),
        cut: CancellationToken::new(),
    });
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
                    refuse_connections(&listener);
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
        let Some(place) = peers.enter(peer.ip()) else {
            continue;
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = server.connection(stream, peer).await {
                tracing::debug!(%error, "connection");
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    // A connection without a request yet is closed by what follows.
    tokio::time::sleep(LAST_CONNECTIONS).await;
    server.closing.cancel();
    if tokio::time::timeout(drain, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests were cut at the drain deadline");
        server.cut.cancel();
    }
}

/// Has the system ignore who asks for a new connection, while those that it has made already can still be accepted: under
/// load one more would otherwise be made between the last accept and the end of the listener, and be reset. Who asks
/// tries again, and finds that nobody listens.
#[cfg(target_os = "linux")]
fn refuse_connections(listener: &TcpListener) {
    // Classic BPF, which sees a packet from its TCP header on (RFC 9293, 3.1: flags are its byte 13): keeps all that is
    // not SYN alone, which is how a connection begins. Opcodes of linux/filter.h.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        tracing::debug!(%error, "ignore new connections");
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_connections(_: &TcpListener) {}

/// Why a connection did not end well: the peer's doing, mostly.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no TLS handshake in time")]
    Slow,
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// What all connections share.
struct Server<A> {
    answers: A,
    options: ServeOptions,
    /// Requests in progress are the last ones.
    closing: CancellationToken,
    /// Nothing is waited for any longer.
    cut: CancellationToken,
}

impl<A: Answer> Server<A> {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), ConnectionError> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        let Some(tls) = &self.options.tls else {
            return self.http1(TokioIo::new(stream), peer).await;
        };
        // Apart, so that connections without TLS do not take the memory of those with it.
        Box::pin(self.over_tls(tls, stream, peer)).await
    }

    async fn over_tls(
        &self,
        tls: &Tls,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), ConnectionError> {
        let accepted = tokio::time::timeout(self.options.header_timeout, tls.accept(stream));
        let stream = accepted
            .await
            .map_err(|_| ConnectionError::Slow)?
            .map_err(ConnectionError::Handshake)?;
        if stream.get_ref().1.alpn_protocol() == Some(H2) {
            self.http2(TokioIo::new(stream), peer).await
        } else {
            self.http1(TokioIo::new(stream), peer).await
        }
    }

    async fn http1(
        &self,
        io: impl Read + Write + Unpin + 'static,
        peer: SocketAddr,
    ) -> Result<(), ConnectionError> {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(self.options.head_bytes);
        let service =
            service_fn(|request| answer(&self.answers, request, peer, self.options.head_bytes));
        // It looks after its silence itself.
        let connection = http.serve_connection(io, service);
        Ok(self.drive(connection, std::future::pending()).await?)
    }

    async fn http2(
        &self,
        io: impl Read + Write + Unpin + 'static,
        peer: SocketAddr,
    ) -> Result<(), ConnectionError> {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .keep_alive_interval(self.options.header_timeout)
            .keep_alive_timeout(self.options.header_timeout)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(self.options.head_bytes.try_into().unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let requests = watch::Sender::new(0_usize);
        let silence = silence(requests.subscribe(), self.options.header_timeout);
        let (answers, head_bytes) = (self.answers.clone(), self.options.head_bytes);
        let service = service_fn(move |request| {
            let running = Running::new(&requests);
            let answer = answer(&answers, request, peer, head_bytes);
            async move {
                let _running = running;
                answer.await
            }
        });
        let connection = http.serve_connection(io, service);
        Ok(self.drive(connection, silence).await?)
    }

    /// Serves a connection to its end; from `silence` on, or once the server closes, only what is in progress.
    async fn drive<C: GracefulConnection>(
        &self,
        connection: C,
        silence: impl Future<Output = ()>,
    ) -> Result<(), C::Error> {
        let mut connection = pin!(connection);
        let patience = tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.closing.cancelled() => self.options.drain,
            () = silence => self.options.header_timeout,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            () = tokio::time::sleep(patience) => Ok(()),
            () = self.cut.cancelled() => Ok(()),
        }
    }
}

/// The answer to a request of `peer`; 431 to one whose head has more than `head_bytes`: hyper compares them with what it has
/// read, which may be more or less.
fn answer<A: Answer>(
    answers: &A,
    request: Request<Incoming>,
    peer: SocketAddr,
    head_bytes: usize,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<A> {
    let answer = (bytes_of_head(&request) <= head_bytes).then(|| answers.answer(request, peer));
    async move {
        Ok(match answer {
            Some(answer) => answer.await,
            None => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
        })
    }
}

/// Bytes of a request's head as HTTP/1.1 writes it, without spaces that need not be there.
fn bytes_of_head<B>(request: &Request<B>) -> usize {
    const LINE: usize = "  HTTP/1.1\r\n".len();
    const FIELD: usize = ": \r\n".len();
    let uri = request.uri();
    let query = uri.query().map_or(0, |query| query.len() + 1);
    let fields = request.headers().iter();
    let fields: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum();
    let method = request.method().as_str().len();
    LINE + method + uri.path().len() + query + fields + "\r\n".len()
}

/// A request in progress.
struct Running(watch::Sender<usize>);

impl Running {
    fn new(requests: &watch::Sender<usize>) -> Self {
        requests.send_modify(|running| *running += 1);
        Self(requests.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Ends once there was no request for as long.
async fn silence(mut requests: watch::Receiver<usize>, longest: Duration) {
    loop {
        if requests.wait_for(|running| *running == 0).await.is_err() {
            return;
        }
        if tokio::time::timeout(longest, requests.changed())
            .await
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
