//! Questions that rollups don't answer: the lake says what the log says, whatever is in files, in memory, or in neither yet.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wakeline_aggregator::admin::{AdminRequest, LakeRequest, RebuildRequest};

use super::super::edge::{Spool, connect, push, until};
use super::super::events::traffic;
use super::super::http::{Server, problem};
use super::{config, make_site, server, status};

/// About everything that events tell, and not rollups.
fn questions() -> Vec<Value> {
    let range = json!(["2026-05-04", "2026-05-08"]);
    // Always true, and nothing that rows tell.
    let always = json!(["has_not_done", ["is", "event:name", ["never"]]]);
    let metrics = json!([
        "visitors",
        "visits",
        "pageviews",
        "events",
        "views_per_visit",
        "bounce_rate",
        "visit_duration",
        "orders",
        "total_revenue"
    ]);
    let of_events = json!(["visitors", "visits", "pageviews", "events", "total_revenue"]);
    let mut questions = Vec::new();
    for dimension in [
        "time:hour",
        "visit:source",
        "visit:channel",
        "visit:country",
        "visit:device",
        "visit:entry_page",
        "visit:exit_page",
    ] {
        questions.push(json!({ "metrics": metrics, "dimensions": [dimension] }));
    }
    for dimension in [
        "event:page",
        "event:hostname",
        "event:goal",
        "event:props:plan",
    ] {
        questions.push(json!({ "metrics": of_events, "dimensions": [dimension, "time:day"] }));
    }
    questions.push(json!({ "metrics": ["visitors", "new_visitors", "returning_visitors"], "dimensions": ["time:day"] }));
    questions
        .push(json!({ "metrics": ["time_on_page", "scroll_depth"], "dimensions": ["event:page"] }));
    questions.push(json!({
        "metrics": ["visitors", "conversion_rate"], "dimensions": ["visit:source"],
        "filters": [["is", "event:goal", ["order"]]],
    }));
    for question in &mut questions {
        question["date_range"] = range.clone();
        question["include"] = json!({ "source": true });
        let mut filters = question["filters"].take();
        if filters.is_null() {
            filters = json!([]);
        }
        filters.as_array_mut().unwrap().push(always.clone());
        question["filters"] = filters;
    }
    questions
}

async fn answers(server: &Server) -> Vec<Value> {
    server.applied().await;
    let mut answers = Vec::new();
    for question in questions() {
        let mut answer = server.query(question.clone()).await;
        assert_eq!(answer["meta"]["source"]["read"], "events", "{question}");
        answers.push(answer["results"].take());
    }
    answers
}

#[tokio::test]
async fn are_answered_as_from_the_log_whatever_is_in_files() {
    let data = tempfile::tempdir().unwrap();
    let mut without = config(data.path());
    without.lake.enabled = false;
    let of_log = Server::open(data, &without).await;
    make_site(&of_log.aggregator, "shop.example").await;
    let data = tempfile::tempdir().unwrap();
    let mut with = config(data.path());
    let of_lake = Server::open(data, &with).await;
    make_site(&of_lake.aggregator, "shop.example").await;

    let spool = Spool::of(traffic());
    let (log, lake_channel) = (
        connect(of_log.aggregator.grpc_addr()).await,
        connect(of_lake.aggregator.grpc_addr()).await,
    );
    let pushed = async |edge, from, to| {
        for channel in [&log, &lake_channel] {
            push(channel, edge, spool.round(from, to)).await.unwrap();
        }
    };
    let (third, all) = (spool.next / 3, spool.next);
    pushed(7, 0, third).await;
    assert_eq!(answers(&of_lake).await, answers(&of_log).await, "in memory");
    until("all is in files", async || {
        status(&of_lake).await["waiting_rows"] == 0
    })
    .await;
    assert_eq!(answers(&of_lake).await, answers(&of_log).await, "in files");
    // Copies by another way, and more; as the files are now, the rest is in memory.
    pushed(8, 0, 2 * third).await;
    assert_eq!(answers(&of_lake).await, answers(&of_log).await, "in both");
    until("all is in files", async || {
        status(&of_lake).await["waiting_rows"] == 0
    })
    .await;
    pushed(7, third, all).await;
    let expected = answers(&of_log).await;
    assert_eq!(answers(&of_lake).await, expected, "in several files");
    assert!(
        expected
            .iter()
            .all(|rows| !rows.as_array().unwrap().is_empty())
    );
    // The lake begins anew while it is asked: what it has not yet is in the log.
    for _ in 0..3 {
        let anew = of_lake
            .aggregator
            .admin(AdminRequest::Rebuild(RebuildRequest::Lake));
        let (rebuilt, given) = tokio::join!(anew, answers(&of_lake));
        rebuilt.unwrap();
        assert_eq!(given, expected, "while it is made anew");
    }
    drop((log, lake_channel));
    // A whole day until the next file: the newest events are read from the log once more.
    with.lake.flush_interval_ms = 86_400_000;
    let of_lake = of_lake.restart(&with, false).await;
    assert_eq!(answers(&of_lake).await, expected, "after a crash");
    let of_lake = of_lake.restart(&with, true).await;
    assert_eq!(answers(&of_lake).await, expected, "after a stop");
}

#[tokio::test]
async fn say_which_file_is_damaged_and_over_which_limit_they_are() {
    let server = server().await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 1, Spool::of(traffic()).blocks())
        .await
        .unwrap();
    server.applied().await;
    until("all is in files", async || {
        let lake = status(&server).await;
        lake["waiting_rows"] == 0 && lake["rows"].as_u64() > Some(0)
    })
    .await;
    let files = server
        .aggregator
        .admin(AdminRequest::Lake(LakeRequest::Files));
    let files = files.await.unwrap()["results"].clone();
    let mut question = questions().remove(0);
    question["site_id"] = json!("shop.example");
    for file in files.as_array().unwrap() {
        let path = server
            .data()
            .join("lake")
            .join(file["path"].as_str().unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    }
    let answer = server.post("/api/v2/query", &question).await;
    let said = problem(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("events/day=2026-05-"), "{said}");
    let rebuild = AdminRequest::Rebuild(RebuildRequest::Lake);
    server.aggregator.admin(rebuild).await.unwrap();
    let answer = server.post("/api/v2/query", &question).await;
    assert_eq!(answer.status(), StatusCode::OK);

    let mut small = config(server.data());
    small.query.max_memory_bytes = 1 << 10;
    let server = server.restart(&small, true).await;
    let answer = server.post("/api/v2/query", &question).await;
    let said = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("query.max_memory_bytes"), "{said}");
}
