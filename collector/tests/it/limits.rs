//! What happens at the limits: of time, of connections, of memory, of the disk.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Edge, WRITE_KEY, problem};

const PATIENCE: Duration = Duration::from_secs(20);

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the connection stays open")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let edge = Edge::start_with(|config| config.http.header_timeout_ms = 200).await;
    for head in ["", "POST /w/1/events HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains("202"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let edge = Edge::start_with(|config| config.http.body_timeout_ms = 200).await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = format!(
        "POST /w/1/events?k={WRITE_KEY} HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n["
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let edge = Edge::start_with(|config| {
        config.http.max_connections = 1;
        config.http.header_timeout_ms = 300;
    })
    .await;
    let idle = TcpStream::connect(edge.address).await.unwrap();
    // Served once the idle one has been closed for its silence.
    let response = edge.get("/healthz").send().await.unwrap();
    assert_eq!(response.status(), 200);
    drop(idle);
}

#[tokio::test]
async fn an_address_with_as_many_connections_as_it_may_have_gets_no_more_unless_it_is_a_proxys() {
    let edge = Edge::start_with(|config| {
        config.http.max_connections_per_address = 2;
        config.http.proxies.clear();
    })
    .await;
    let first = TcpStream::connect(edge.address).await.unwrap();
    let mut second = TcpStream::connect(edge.address).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut third = TcpStream::connect(edge.address).await.unwrap();
    let _ = third.write_all(ask).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, third.read_to_end(&mut answer))
        .await
        .unwrap();
    assert_eq!(answer, b"", "closed at once");
    // Those that are there are served, and leave their place.
    second.write_all(ask).await.unwrap();
    assert!(read_to_end(&mut second).await.starts_with("HTTP/1.1 200 "));
    drop((first, second));
    crate::harness::eventually(async || edge.get("/healthz").send().await.is_ok()).await;

    let edge = Edge::start_with(|config| config.http.max_connections_per_address = 1).await;
    let _idle = TcpStream::connect(edge.address).await.unwrap();
    assert_eq!(edge.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_head_has_as_many_bytes_as_it_may_and_not_one_more() {
    const LIMIT: usize = 8 << 10;
    let edge = Edge::start_with(|config| config.http.head_bytes = LIMIT).await;
    for (bytes, status) in [(LIMIT, "200"), (LIMIT + 1, "431"), (2 * LIMIT, "431")] {
        let line = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: ";
        let padding = "x".repeat(bytes - line.len() - 4);
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        let head = format!("{line}{padding}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{bytes}: {answer}"
        );
    }
}

#[tokio::test]
async fn bodies_beyond_the_memory_that_is_set_aside_come_back_later() {
    let edge = Edge::start_with(|config| {
        config.limits.body_bytes = 1000;
        config.limits.in_flight_bytes = 1200;
    })
    .await;
    let url = format!("/w/1/events?k={WRITE_KEY}");
    // One body that is still coming takes nearly all.
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = format!(
        "POST {url} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 950\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b' '; 900]).await.unwrap();
    let body = json!({"type": "click", "visitor": "v", "title": "x".repeat(200)}).to_string();
    crate::harness::eventually(async || {
        let response = edge.post(&url, body.clone()).send().await.unwrap();
        response.status() == 503 && response.headers()["retry-after"] == "1"
    })
    .await;
    stream
        .write_all(format!("{:50}", r#"{"type":"click","visitor":"v"}"#).as_bytes())
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let response = edge.post(&url, body).send().await.unwrap();
    assert_eq!(response.status(), 202, "what was set aside is free again");
}

#[tokio::test]
async fn a_full_spool_says_so_and_keeps_what_it_has() {
    let edge = Edge::start_with(|config| {
        config.spool.segment_bytes = 1 << 20;
        config.spool.max_bytes = 4 << 20;
        config.spool.reserve_bytes = 1 << 20;
    })
    .await;
    assert_eq!(edge.get("/readyz").send().await.unwrap().status(), 200);
    let events: Vec<_> = (0..20)
        .map(|_| json!({"type": "click", "visitor": "v", "properties": {"p": "x".repeat(4000)}}))
        .collect();
    let body = json!(events).to_string();
    let mut accepted = 0;
    let refused = loop {
        let response = edge
            .post(&format!("/w/1/events?k={WRITE_KEY}"), body.clone())
            .send()
            .await
            .unwrap();
        if response.status() != 202 {
            break response;
        }
        accepted += 20;
        assert!(accepted < 2000, "the spool never gets full");
    };
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    problem(edge.get("/readyz").send().await.unwrap(), 503).await;
    assert!(edge.metric("spool_bytes").await <= 4 << 20);
    assert_eq!(edge.metric("events_received_total").await, accepted);
    let events: usize = edge
        .groups()
        .await
        .iter()
        .map(|group| group.events.len())
        .sum();
    assert_eq!(events as u64, accepted);
}

#[tokio::test]
async fn a_collector_whose_disk_fails_is_not_ready_until_it_works_again() {
    let edge = Edge::start_with(|config| config.spool.segment_bytes = 1 << 20).await;
    let spool = edge.data.path().join("spool");
    let away = edge.data.path().join("away");
    // The segment being written stays open; the next one can't be made.
    std::fs::rename(&spool, &away).unwrap();
    let events: Vec<_> = (0..20)
        .map(|_| json!({"type": "click", "visitor": "v", "properties": {"p": "x".repeat(4000)}}))
        .collect();
    let body = json!(events).to_string();
    let mut requests = 0;
    while edge
        .post(&format!("/w/1/events?k={WRITE_KEY}"), body.clone())
        .send()
        .await
        .unwrap()
        .status()
        == 202
    {
        requests += 1;
        assert!(requests < 100, "the segment never gets full");
    }
    problem(edge.get("/readyz").send().await.unwrap(), 503).await;
    assert_eq!(edge.metric("spool_failing").await, 1);

    std::fs::rename(&away, &spool).unwrap();
    edge.until("/readyz", 200).await;
    edge.events(&json!({"type": "click", "visitor": "v"})).await;
    assert_eq!(edge.metric("spool_failing").await, 0);
}
