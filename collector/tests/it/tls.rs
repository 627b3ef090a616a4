//! The doors over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Version;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use wakeline_collector::Config;

use crate::harness::{Edge, WRITE_KEY, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// Writes a certificate of the loopback address and its key, and gives it as clients need it.
fn renew(folder: &Path) -> reqwest::Certificate {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn trusting(certificate: reqwest::Certificate) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(certificate)
}

/// A collector with TLS, a client that trusts it, and the folder of its certificate.
async fn start(change: impl FnOnce(&mut Config)) -> (Edge, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let certificate = renew(files.path());
    let mut edge = Edge::start_with(|config| {
        config.http.cert_file = Some(files.path().join("cert.pem"));
        config.http.key_file = Some(files.path().join("key.pem"));
        change(config);
    })
    .await;
    edge.http = trusting(certificate).build().unwrap();
    (edge, files)
}

async fn closed(mut stream: TcpStream) {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the connection stays open");
}

#[tokio::test]
async fn events_are_taken_over_http_2_and_1() {
    let (edge, files) = start(|config| config.http.hsts_seconds = 600).await;
    let url = edge.url(&format!("/w/1/events?k={WRITE_KEY}"));
    let body = json!({"type": "click", "visitor": "v"}).to_string();
    let certificate = std::fs::read(files.path().join("cert.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&certificate).unwrap();
    let old = trusting(certificate).http1_only().build().unwrap();
    for (client, version) in [(&edge.http, Version::HTTP_2), (&old, Version::HTTP_11)] {
        let response = client.post(&url).body(body.clone()).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (202, version)
        );
        assert_eq!(
            response.headers()["strict-transport-security"],
            "max-age=600"
        );
    }
    // Ends although both clients keep their connections.
    let groups = edge.groups().await;
    assert_eq!(
        groups.iter().map(|group| group.events.len()).sum::<usize>(),
        2
    );
}

#[tokio::test]
async fn a_renewed_certificate_serves_without_a_restart() {
    let (edge, files) = start(|_| {}).await;
    let before = edge.get("/healthz").send().await.unwrap();
    assert_eq!(before.status(), 200);
    let renewed = trusting(renew(files.path())).build().unwrap();
    let url = edge.url("/healthz");
    eventually(async || renewed.get(&url).send().await.is_ok()).await;
    let still = edge.get("/healthz").send().await.unwrap();
    assert_eq!(still.status(), 200, "connections that there are go on");
}

#[tokio::test]
async fn a_handshake_or_a_head_that_does_not_come_is_not_waited_for() {
    let (edge, files) = start(|config| config.http.header_timeout_ms = 200).await;
    for begun in [&b""[..], b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        closed(stream).await;
    }
    let mut stream = handshake(&edge, &files, b"http/1.1").await;
    stream
        .write_all(b"POST /w/1/events HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it stays open");
    assert!(!String::from_utf8_lossy(&answer).contains("202"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn_also_before_the_handshake() {
    let (edge, _files) = start(|config| {
        config.http.max_connections = 1;
        config.http.header_timeout_ms = 300;
    })
    .await;
    let idle = TcpStream::connect(edge.address).await.unwrap();
    let response = edge.get("/healthz").send().await.unwrap();
    assert_eq!(response.status(), 200, "once the idle one has been closed");
    drop(idle);
}

#[tokio::test]
async fn a_connection_of_http_2_that_falls_silent_is_closed() {
    let (edge, files) = start(|config| config.http.header_timeout_ms = 200).await;
    let io = TokioIo::new(handshake(&edge, &files, b"h2").await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(edge.url("/healthz"));
    let request = request
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    assert!(ended.is_ok(), "it stays open");
}

/// A connection that speaks `protocol`.
async fn handshake(
    edge: &Edge,
    files: &TempDir,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(files.path().join("cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}
