//! The listeners: connections that ask nothing don't keep others out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wakeline_aggregator::Aggregator;

use super::edge::{Spool, config, connect, push, start, visit};

/// Longest time until something happens that has to.
const IN_TIME: Duration = Duration::from_secs(20);

/// An aggregator with few connections and little patience for HTTP, and its folder.
async fn narrow(max_connections: usize, header_timeout_ms: u64) -> (Aggregator, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.http.max_connections = max_connections;
    config.http.header_timeout_ms = header_timeout_ms;
    (start(&config).await, data)
}

async fn half_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nho")
        .await
        .unwrap();
    stream
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(IN_TIME, stream.read_to_end(&mut rest))
        .await
        .expect("in time");
}

#[tokio::test]
async fn a_request_sent_by_half_is_closed_after_the_timeout() {
    let (aggregator, _data) = narrow(100, 300).await;
    let mut half = half_request(aggregator.http_addr()).await;
    let begun = Instant::now();
    closed(&mut half).await;
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn connections_over_the_limit_are_served_once_there_is_room() {
    let (aggregator, _data) = narrow(2, 60_000).await;
    let held = half_request(aggregator.http_addr()).await;
    let other = half_request(aggregator.http_addr()).await;
    let url = format!("http://{}/healthz", aggregator.http_addr());
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut asked = Box::pin(client.get(&url).send());
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut asked)
            .await
            .is_err(),
        "served beyond the limit"
    );
    drop(held);
    let answer = tokio::time::timeout(IN_TIME, asked).await.expect("in time");
    assert_eq!(answer.unwrap().status(), 200);
    drop(other);
}

#[tokio::test]
async fn a_silent_collector_is_hung_up_on_and_others_push_meanwhile() {
    let (aggregator, _data) = narrow(100, 15_000).await;
    let mut silent = TcpStream::connect(aggregator.grpc_addr()).await.unwrap();
    silent.write_all(b"PRI * HT").await.unwrap();
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of([visit(1, 2)]);
    assert_eq!(
        push(&channel, 7, spool.blocks()).await.unwrap(),
        [spool.next]
    );
    closed(&mut silent).await;
}
