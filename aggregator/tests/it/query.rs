//! Questions over HTTP, about events that came in over gRPC.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wakeline_proto::v1::{Event, EventType, Group};

use super::edge::{Spool, connect, push};
use super::http::{Server, TOKEN, problem};

/// 2026-10-25T00:30:00Z: half past two in Berlin, for the first of two times.
const NIGHT_MS: u64 = 1_792_888_200_000;
const MINUTE_MS: u64 = 60_000;

fn event(stream: u64, seq: u64, minute: u64, kind: EventType, path: &str) -> Event {
    Event {
        stream,
        seq,
        time: NIGHT_MS + minute * MINUTE_MS,
        r#type: kind.into(),
        hostname: "shop.example".into(),
        path: path.into(),
        ..Event::default()
    }
}

fn group(visitor: &str, events: Vec<Event>) -> Group {
    Group {
        site: 1,
        visitor: visitor.into(),
        received_at: NIGHT_MS + 86_400_000,
        events,
        ..Group::default()
    }
}

/// Anna looks at two pages, and an hour later at one; Ben looks at one and goes, and so he does the next day.
async fn server() -> Server {
    use EventType::PageView;
    let server = Server::start("Europe/Berlin").await;
    let spool = Spool::of([
        group(
            "anna",
            vec![
                event(1, 0, 0, PageView, "/"),
                event(1, 1, 2, PageView, "/shoes"),
                event(1, 2, 60, PageView, "/"),
            ],
        ),
        group(
            "ben",
            vec![
                event(2, 0, 1, PageView, "/shoes"),
                event(2, 1, 1_440, PageView, "/shoes"),
            ],
        ),
    ]);
    let channel = connect(server.aggregator.grpc_addr()).await;
    // Twice: copies change nothing.
    push(&channel, 7, spool.blocks()).await.unwrap();
    push(&channel, 8, spool.blocks()).await.unwrap();
    server.applied().await;
    server
}

const ALL: [&str; 7] = [
    "visitors",
    "visits",
    "pageviews",
    "events",
    "views_per_visit",
    "bounce_rate",
    "visit_duration",
];

#[tokio::test]
async fn totals_hours_days_and_pages_are_answered() {
    let server = server().await;
    let both = json!(["2026-10-25", "2026-10-26"]);
    let totals = server
        .query(json!({"metrics": ALL, "date_range": both}))
        .await;
    // Visits: Anna's of two pages and 120 s, and three bounces.
    assert_eq!(
        totals["results"],
        json!([{"dimensions": [], "metrics": [2, 4, 5, 5, 1.25, 75, 30]}])
    );
    assert_eq!(
        totals["query"]["date_range"],
        json!(["2026-10-25T00:00:00+02:00", "2026-10-26T23:59:59+01:00"])
    );

    let hours = server
        .query(json!({
            "metrics": ["visitors", "pageviews"], "date_range": both, "dimensions": ["time:hour"],
            "include": {"time_labels": true, "freshness": true},
        }))
        .await;
    assert_eq!(
        hours["results"],
        json!([
            {"dimensions": ["2026-10-25 02:00:00+02:00"], "metrics": [2, 3]},
            {"dimensions": ["2026-10-25 02:00:00+01:00"], "metrics": [1, 1]},
            {"dimensions": ["2026-10-26 01:00:00"], "metrics": [1, 1]},
        ])
    );
    assert_eq!(hours["meta"]["time_labels"].as_array().unwrap().len(), 49);
    let freshness = &hours["meta"]["freshness"];
    assert!(
        freshness["applied"].as_u64().unwrap() > 0 && freshness["applied"] == freshness["log_end"]
    );

    let days = server
        .query(json!({"metrics": ["visitors", "visits"], "date_range": both, "dimensions": ["time"], "order_by": [["visitors", "asc"]]}))
        .await;
    // 49 hours are two days for "time", which chooses hours.
    assert_eq!(days["query"]["dimensions"], json!(["time:hour"]));

    let minutes = server
        .query(json!({
            "metrics": ["visitors", "pageviews"],
            "date_range": ["2026-10-25T00:31:00Z", "2026-10-25T00:35:59Z"],
        }))
        .await;
    assert_eq!(
        minutes["results"],
        json!([{"dimensions": [], "metrics": [2, 2]}])
    );

    let pages = server
        .query(json!({
            "metrics": ["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"],
            "date_range": both, "dimensions": ["event:page"], "include": {"total_rows": true},
        }))
        .await;
    assert_eq!(
        pages["results"],
        json!([
            {"dimensions": ["/shoes"], "metrics": [2, 3, 3, 100, 0]},
            {"dimensions": ["/"], "metrics": [1, 2, 2, 50, 60]},
        ])
    );
    assert_eq!(pages["meta"]["total_rows"], 2);

    let by_day = server
        .query(json!({
            "metrics": ["visitors"], "date_range": both, "dimensions": ["time:day"],
            "filters": [["is", "event:page", ["/shoes"]]],
        }))
        .await;
    assert_eq!(
        by_day["results"],
        json!([
            {"dimensions": ["2026-10-25"], "metrics": [2]},
            {"dimensions": ["2026-10-26"], "metrics": [1]},
        ])
    );
}

#[tokio::test]
async fn every_named_range_is_answered() {
    let server = server().await;
    for range in [
        "day", "24h", "7d", "28d", "30d", "91d", "month", "6mo", "12mo", "year", "all",
    ] {
        for dimensions in [json!([]), json!(["time"])] {
            let body = json!({"site_id": 1, "metrics": ALL, "date_range": range, "dimensions": dimensions});
            let response = server.post("/api/v2/query", &body).await;
            assert_eq!(response.status(), StatusCode::OK, "{range} {dimensions}");
        }
    }
}

#[tokio::test]
async fn bad_questions_get_400_with_the_reason_and_unknown_sites_404() {
    let server = Server::start("UTC").await;
    let base = json!({"site_id": 1, "metrics": ["visitors"], "date_range": "day"});
    for (key, value, named) in [
        ("colour", json!("red"), "`colour`"),
        ("metrics", json!(["time_on_page"]), "an event:page filter"),
        (
            "date_range",
            json!(["2026-01-01T00:00:10Z", "2026-01-01T00:10:00Z"]),
            "whole minutes",
        ),
        (
            "filters",
            json!([["is", "visit:planet", ["Mars"]]]),
            "visit:planet",
        ),
        ("filters", json!([["is", "segment", [7]]]), "no segment 7"),
        ("dimensions", json!(["visit:mood"]), "visit:mood"),
    ] {
        let mut body = base.clone();
        body[key] = value;
        let response = server.post("/api/v2/query", &body).await;
        let problem = problem(response, StatusCode::BAD_REQUEST).await;
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{problem}"
        );
    }
    let mut body = base.clone();
    body["site_id"] = json!("other.example");
    problem(
        server.post("/api/v2/query", &body).await,
        StatusCode::NOT_FOUND,
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_no_questions_are_refused() {
    let server = Server::start("UTC").await;
    let send = |content_type: &'static str, body: Vec<u8>| {
        let request = server
            .request(Method::POST, "/api/v2/query")
            .bearer_auth(TOKEN);
        request
            .header("content-type", content_type)
            .body(body)
            .send()
    };
    let json = "application/json";
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for body in [
        Vec::new(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        b"null".to_vec(),
        deep,
    ] {
        problem(send(json, body).await.unwrap(), StatusCode::BAD_REQUEST).await;
    }
    let huge = vec![b' '; 1 << 20];
    problem(
        send(json, huge).await.unwrap(),
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    let typed = send("text/plain", Value::Null.to_string().into_bytes())
        .await
        .unwrap();
    problem(typed, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
}
