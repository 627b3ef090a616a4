//! Every counted event as Parquet.

mod away;
mod questions;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wakeline_aggregator::admin::{AdminRequest, EraseVisitor, LakeRequest};
use wakeline_aggregator::{Aggregator, Config};

use super::edge::{self, Spool, connect, push, until, visit};
use super::http::{Server, problem};

/// Quick to make files, so that there are many.
fn config(data: &std::path::Path) -> Config {
    let mut config = edge::config(data);
    config.lake.flush_interval_ms = 100;
    config
}

async fn server() -> Server {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let server = Server::open(data, &config).await;
    make_site(&server.aggregator, "shop.example").await;
    server
}

async fn make_site(aggregator: &Aggregator, domain: &str) {
    let request = json!({ "site": { "create": { "domain": domain, "currency": "EUR" } } });
    let request: AdminRequest = serde_json::from_value(request).unwrap();
    aggregator.admin(request).await.unwrap();
}

/// Events of all time, as the lake has them.
async fn events(server: &Server) -> Value {
    server.applied().await;
    let mut answer = server
        .query(json!({
            "metrics": ["events"], "date_range": "all", "include": {"source": true},
            "filters": [["has_not_done", ["is", "event:name", ["never"]]]],
        }))
        .await;
    assert_eq!(answer["meta"]["source"]["read"], "events");
    answer["results"][0]["metrics"][0].take()
}

/// What the server says of the lake.
async fn status(server: &Server) -> Value {
    let status: Value = server.get("/api/v1/status").await.json().await.unwrap();
    status["lake"].clone()
}

#[tokio::test]
async fn has_what_is_counted_whatever_is_sent_again_and_whenever_the_process_dies() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let mut server = Server::open(data, &config).await;
    make_site(&server.aggregator, "shop.example").await;
    // Copies within a spool, and what several edges send: of each event one counts.
    let spools: Vec<Spool> = (0..3)
        .map(|edge| Spool::of((0..300).map(move |n| visit(n * (7 + edge) % 90, n % 5 + 1))))
        .collect();
    let mut random = fastrand::Rng::with_seed(7);
    for step in 0..12 {
        let channel = connect(server.aggregator.grpc_addr()).await;
        let (edge, spool) = (step % 3, &spools[step % 3]);
        let from = random.u64(..spool.next / 2);
        for from in (from..from + 300).step_by(100) {
            // Edges 11 to 13, and once more as others, whose positions are not known.
            for edge in [11 + edge, 21 + step] {
                let round = spool.round(from, from + 100);
                push(&channel, edge as u64, round).await.unwrap();
            }
        }
        drop(channel);
        let by_lake = events(&server).await;
        let figures = json!({ "metrics": ["events"], "date_range": "all" });
        let figures = server.query(figures).await;
        assert_eq!(by_lake, figures["results"][0]["metrics"][0], "step {step}");
        if step % 2 == 1 {
            server = server.restart(&config, step % 4 == 1).await;
        }
    }
    until("all is in files, each event once", async || {
        let lake = status(&server).await;
        lake["waiting_rows"] == 0 && lake["rows"] == events(&server).await
    })
    .await;
}

#[tokio::test]
async fn erased_visitors_are_gone_and_stay_so() {
    let server = server().await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    let spool = Spool::of((0..10).map(|visitor| visit(visitor, 3)));
    push(&channel, 1, spool.round(0, 15)).await.unwrap();
    server.applied().await;
    until("files have everything", async || {
        let lake = status(&server).await;
        lake["rows"] == 15 && lake["waiting_rows"] == 0
    })
    .await;
    let erase = EraseVisitor {
        site: "shop.example".to_owned(),
        visitor: "visitor-1".to_owned(),
    };
    let erased = server.aggregator.admin(AdminRequest::Erase(erase)).await;
    assert_eq!(erased.unwrap()["events"], 3);
    assert_eq!(events(&server).await, 12);
    let files = AdminRequest::Lake(LakeRequest::Files);
    let files = server.aggregator.admin(files).await.unwrap();
    let rows = files["results"].as_array().unwrap().iter();
    assert_eq!(
        rows.filter_map(|file| file["rows"].as_u64()).sum::<u64>(),
        12
    );
    push(&channel, 1, spool.round(15, 30)).await.unwrap();
    assert_eq!(events(&server).await, 27);
}

#[tokio::test]
async fn erased_visitors_do_not_come_back_while_the_lake_is_not_open() {
    let server = server().await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    let spool = Spool::of((0..5).map(|visitor| visit(visitor, 3)));
    push(&channel, 1, spool.blocks()).await.unwrap();
    server.applied().await;
    until("files have everything", async || {
        let lake = status(&server).await;
        lake["rows"] == 15 && lake["waiting_rows"] == 0
    })
    .await;
    let erase = EraseVisitor {
        site: "shop.example".to_owned(),
        visitor: "visitor-1".to_owned(),
    };
    let erased = server.aggregator.admin(AdminRequest::Erase(erase)).await;
    assert_eq!(erased.unwrap()["events"], 3);
    drop(channel);

    let config = config(server.data());
    let away = |data: &std::path::Path| {
        std::fs::rename(data.join("lake"), data.join("away")).unwrap();
        std::fs::write(data.join("lake"), "no folder").unwrap();
    };
    let server = server.restart_after(&config, true, away).await;
    server.applied().await;
    let question = json!({
        "site_id": "shop.example", "metrics": ["events"], "date_range": "all",
        "filters": [["has_not_done", ["is", "event:name", ["never"]]]],
    });
    let answer = server.post("/api/v2/query", &question).await;
    let said = problem(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("the lake is not open: "), "{said}");

    let back = |data: &std::path::Path| {
        std::fs::remove_file(data.join("lake")).unwrap();
        std::fs::rename(data.join("away"), data.join("lake")).unwrap();
    };
    let server = server.restart_after(&config, true, back).await;
    assert_eq!(events(&server).await, 12);
}

#[tokio::test]
async fn says_how_the_lake_is() {
    let server = server().await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 1, Spool::of([visit(1, 3)]).blocks())
        .await
        .unwrap();
    until("files have everything", async || {
        let lake = status(&server).await;
        lake["rows"] == 3 && lake["waiting_rows"] == 0
    })
    .await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("wakeline_lake_rows 3\n"), "{metrics}");
}
