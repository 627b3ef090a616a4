//! Live events.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wakeline_aggregator::admin::{AdminRequest, TokenRequest};

use super::edge::{Spool, connect, push, visit};
use super::http::Server;

/// The next message of that name; how long it may take is bounded.
pub(crate) async fn next(stream: &mut (impl Stream<Item = String> + Unpin), name: &str) -> Value {
    let find = async {
        loop {
            let message = stream.next().await.expect("the stream goes on");
            let (event, data) = message.split_once('\n').expect("a name and data");
            if event == format!("event: {name}") {
                return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), find)
        .await
        .expect("in time")
}

/// The messages of a stream of Server-Sent Events.
pub(crate) fn messages(response: reqwest::Response) -> impl Stream<Item = String> + Unpin {
    let state = (Box::pin(response.bytes_stream()), String::new());
    Box::pin(futures_util::stream::unfold(
        state,
        |(mut bytes, mut text)| async move {
            loop {
                if let Some((message, rest)) = text.split_once("\n\n") {
                    let (message, rest) = (message.to_owned(), rest.to_owned());
                    return Some((message, (bytes, rest)));
                }
                let more = bytes.next().await?.ok()?;
                text.push_str(std::str::from_utf8(&more).unwrap());
            }
        },
    ))
}

#[tokio::test]
async fn events_are_seen_as_they_come_with_their_fate() {
    let server = Server::start("UTC").await;
    let response = server.get("/api/v1/live?site=shop.example").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = messages(response);
    assert_eq!(next(&mut stream, "now").await, json!({"visitors": 0}));

    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let mut group = visit(3, 2);
    group.received_at = now;
    for event in &mut group.events {
        event.time = now - 1_000;
    }
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 7, Spool::of([group]).blocks())
        .await
        .unwrap();

    let event = next(&mut stream, "event").await;
    assert_eq!(
        (&event["fate"], &event["event_type"], &event["path"]),
        (&json!("counted"), &json!("page_view"), &json!("/0"))
    );
    next(&mut stream, "changed").await;
    while next(&mut stream, "now").await != json!({"visitors": 1}) {}
}

#[tokio::test]
async fn open_streams_do_not_keep_the_server_from_stopping() {
    let server = Server::start("UTC").await;
    let mut stream = messages(server.get("/api/v1/live?site=1").await);
    next(&mut stream, "now").await;
    let begun = std::time::Instant::now();
    server.aggregator.shutdown(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let server = Server::start("UTC").await;
    let made = AdminRequest::Token(TokenRequest::Create {
        name: "short".to_owned(),
        sites: Vec::new(),
    });
    let made = server.aggregator.admin(made).await.unwrap();
    let ask = || {
        let request = server.request(Method::GET, "/api/v1/session");
        request.bearer_auth(made["token"].as_str().unwrap()).send()
    };
    assert_eq!(ask().await.unwrap().status(), StatusCode::OK);
    let revoke = AdminRequest::Token(TokenRequest::Revoke {
        id: made["id"].as_u64().unwrap(),
    });
    server.aggregator.admin(revoke).await.unwrap();
    assert_eq!(ask().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_open_stream_ends_within_five_seconds_of_its_token() {
    let server = Server::start("UTC").await;
    let create = AdminRequest::Token(TokenRequest::Create {
        name: "for a while".to_owned(),
        sites: vec!["shop.example".to_owned()],
    });
    let token = server.aggregator.admin(create).await.unwrap();
    let response = server
        .request(Method::GET, "/api/v1/live?site=shop.example")
        .bearer_auth(token["token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = messages(response);
    next(&mut stream, "now").await;
    let revoke = AdminRequest::Token(TokenRequest::Revoke {
        id: token["id"].as_u64().unwrap(),
    });
    server.aggregator.admin(revoke).await.unwrap();
    let end = async { while stream.next().await.is_some() {} };
    let ended = tokio::time::timeout(Duration::from_secs(5), end).await;
    ended.expect("the stream ends in time");
}
