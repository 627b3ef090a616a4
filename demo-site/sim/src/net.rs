//! Simulated TCP under the real HTTP/1.1, HTTP/2 and gRPC.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Uri;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};
use wakeline_client::Reply;

/// Where each host listens.
pub(crate) const PORT: u16 = 80;
/// A client waits no longer for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Connects to the host that a URL names.
pub(crate) fn connector()
-> impl tower::Service<Uri, Response = TokioIo<TcpStream>, Error = io::Error, Future: Send>
+ Send
+ 'static {
    tower::service_fn(|url: Uri| async move {
        let host = url.host().unwrap_or_default().to_owned();
        Ok(TokioIo::new(TcpStream::connect((host, PORT)).await?))
    })
}

/// What comes in, for a gRPC server.
pub(crate) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Connection(stream)), listener))
    })
}

/// A connection to a gRPC server.
pub(crate) struct Connection(TcpStream);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A request to a collector.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) host: String,
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    /// The key, where the body has none.
    pub(crate) key: Option<String>,
    pub(crate) body: Bytes,
}

impl Post {
    /// Sends it and waits for the answer.
    pub(crate) async fn send(self) -> Reply {
        match tokio::time::timeout(PATIENCE, self.try_send()).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Reply::Unreachable,
        }
    }

    async fn try_send(self) -> anyhow::Result<Reply> {
        let stream = TcpStream::connect((self.host.as_str(), PORT)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::post(self.path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, self.content_type);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let answer = sender
            .send_request(request.body(Full::new(self.body))?)
            .await?;
        let status = answer.status().as_u16();
        let seconds = answer.headers().get(RETRY_AFTER);
        let seconds = seconds.and_then(|seconds| seconds.to_str().ok()?.parse::<u64>().ok());
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Reply::of_status(status, seconds.map(|s| s * 1000), &body))
    }
}
