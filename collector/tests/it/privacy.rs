//! Nothing of a key or a person is in the log, and `/metrics` is not for everybody.

use std::process::Stdio;

use prost::Message as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::binary::{collector, listening, signal};
use crate::harness::{Edge, SERVER_KEY, WRITE_KEY, batch, keep_snapshot, problem, snapshot};

#[tokio::test]
async fn nothing_of_a_key_or_a_person_is_in_the_log_however_much_is_logged() {
    /// What may not be found: of the requests below, each has some.
    const SECRETS: [&str; 9] = [
        WRITE_KEY,
        SERVER_KEY,
        "unknown-key-5d1",
        "visitor-5d1",
        "jane5d1",
        "203.0.113.51",
        "Agent5d1",
        "title-5d1",
        "token-5d1",
    ];
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &snapshot(1));
    let mut child = collector(data.path())
        .await
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env(
            "RUST_LOG",
            "debug,wakeline_collector=trace,wakeline_spool=trace",
        )
        .env("WAKELINE_ENRICH__CLIENT_IP_HEADER", "x-forwarded-for")
        .env("WAKELINE_UPSTREAM__TOKEN", "token-5d1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = listening(&mut child).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |path: &str, body: Vec<u8>| {
        let request = http.post(format!("http://{address}{path}")).body(body);
        let request = request
            .header("x-forwarded-for", "203.0.113.51")
            .header("user-agent", "Agent5d1")
            .header("cookie", "sp=visitor-5d1");
        request.send().await.unwrap().status().as_u16()
    };
    let event = json!({"type": "page_view", "visitor": "visitor-5d1", "user": "jane5d1", "title": "title-5d1",
        "url": "https://shop.example/?email=jane5d1@mail.example"});
    let keyed = |path: &str, key: &str| format!("{path}?k={key}");
    let events = keyed("/w/1/events", WRITE_KEY);
    let mut of_batch = batch(&[0]);
    of_batch.visitor = "visitor-5d1".to_owned();
    for (path, body, status) in [
        (events.clone(), event.to_string(), 202),
        (
            events.clone(),
            "{\"visitor-5d1\": jane5d1@mail.example".to_owned(),
            400,
        ),
        (
            events.clone(),
            json!([{"type": "visitor-5d1", "title": "title-5d1"}, 5]).to_string(),
            202,
        ),
        (keyed("/w/1/events", SERVER_KEY), event.to_string(), 202),
        (
            keyed("/w/1/events", "unknown-key-5d1"),
            event.to_string(),
            503,
        ),
        ("/w/jane5d1".to_owned(), String::new(), 404),
        (
            "/i?e=pv&p=web&aid=unknown-key-5d1&url=jane5d1".to_owned(),
            String::new(),
            503,
        ),
        (
            "/v1/batch".to_owned(),
            json!({"writeKey": WRITE_KEY, "batch": [{"type": "jane5d1"}]}).to_string(),
            200,
        ),
    ] {
        assert_eq!(send(&path, body.into_bytes()).await, status, "{path}");
    }
    assert_eq!(send("/w/1/batch", of_batch.encode_to_vec()).await, 202);
    assert_eq!(send("/w/1/batch", b"\xffjane5d1".to_vec()).await, 400);
    signal(&child, "-TERM");
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut log).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    assert!(
        log.contains("refused") && log.contains("malformed"),
        "{log}"
    );
    for secret in SECRETS {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_by_a_token_and_not_through_a_proxy() {
    let edge = Edge::start_with(|config| {
        config.http.metrics_token = wakeline_collector::config::Secret::new("t0ken");
        config.enrich.client_ip_header = "x-edge-client".to_owned();
    })
    .await;
    let ask = || edge.get("/metrics");
    assert_eq!(ask().send().await.unwrap().status(), 200);
    for header in [
        "x-forwarded-for",
        "forwarded",
        "via",
        "x-real-ip",
        "x-edge-client",
    ] {
        let proxied = || ask().header(header, "203.0.113.1");
        problem(proxied().send().await.unwrap(), 403).await;
        problem(proxied().bearer_auth("t0ke").send().await.unwrap(), 403).await;
        let shown = proxied().bearer_auth("t0ken").send().await.unwrap();
        assert_eq!(shown.status(), 200, "{header}");
    }
}

#[tokio::test]
async fn every_answer_says_that_its_type_is_not_to_be_guessed() {
    let edge = Edge::start().await;
    for path in [
        "/healthz",
        "/w/1/pixel.gif",
        "/w/nothing",
        "/v1/batch",
        "/nothing",
    ] {
        let response = edge.get(path).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert!(!headers.contains_key("strict-transport-security"));
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let edge = Edge::start_with(|config| config.http.head_bytes = 8 << 10).await;
    let long = "x".repeat(20 << 10);
    let response = edge
        .get("/healthz")
        .header("x-long", long)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 431);
}
