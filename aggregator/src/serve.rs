//! Listening: HTTP/1.1 and gRPC with the limits that axum's and tonic's own loops do not have.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::{Stream, stream};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tower::ServiceExt as _;

use crate::config::HttpConfig;

/// Pause after a connection could not be accepted: those that end make room again.
const PAUSE: Duration = Duration::from_millis(50);
/// What an HTTP/2 client sends first.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// A listener that hands out as many connections at a time as it may; more wait to be accepted.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Door {
    fn new(listener: TcpListener, max_connections: usize) -> Self {
        let room = max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            listener,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// The next connection; `None` never happens while the door is there.
    async fn accept(&self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "set TCP_NODELAY");
                    }
                    return Some((stream, peer, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Serves `router` on `listener` until `close` fires and the requests in progress have ended.
pub(crate) async fn http(
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    close: CancellationToken,
) {
    let door = Door::new(listener, config.max_connections);
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms));
    while let Some(Some((stream, peer, permit))) = close.run_until_cancelled(door.accept()).await {
        let service = router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request
            });
        let service = TowerToHyperService::new(service);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection");
            }
            drop(permit);
        });
    }
    drop(door);
    graceful.shutdown().await;
}

/// The connections of `listener`, for tonic: of each, HTTP/2's preface has to arrive within `patience`.
pub(crate) fn http2_connections(
    listener: TcpListener,
    max_connections: usize,
    patience: Duration,
) -> impl Stream<Item = io::Result<Http2Connection>> {
    let door = Door::new(listener, max_connections);
    stream::unfold(door, move |door| async move {
        let (stream, _, permit) = door.accept().await?;
        let connection = Http2Connection {
            stream,
            preface: Some((Box::pin(sleep(patience)), PREFACE)),
            _permit: permit,
        };
        Some((Ok(connection), door))
    })
}

/// A connection that counts among those of its door.
pub(crate) struct Http2Connection {
    stream: TcpStream,
    /// Until when how many bytes have to come; `None` once they are here: then keepalive finds out who is gone.
    preface: Option<(Pin<Box<Sleep>>, usize)>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Http2Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Http2Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some((deadline, _)) = &mut this.preface
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len() - before;
        if let Some((_, missing)) = &mut this.preface {
            *missing = missing.saturating_sub(came);
            if *missing == 0 {
                this.preface = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
