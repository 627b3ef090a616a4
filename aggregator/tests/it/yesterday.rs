//! Data folders of older binaries: see `../yesterday/README.md`.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wakeline_aggregator::admin::{AdminRequest, DeadLetterRequest};
use wakeline_aggregator::ledger::LetterQuery;
use wakeline_proto::partition_hash;
use wakeline_proto::v1::Group;

use super::edge::{self, Spool, visit};
use super::http::Server;

/// Partitions of their logs.
const PARTITIONS: u32 = 32;
/// The day on which they were made.
const DAY: &str = "from=2026-11-21&to=2026-11-21";

/// Today's aggregator on a folder that an older one left.
async fn open(name: &str) -> Server {
    let data = tempfile::tempdir().unwrap();
    let packed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/yesterday/{name}.tar.gz"));
    let unpacked = Command::new("tar")
        .args(["-xzf".as_ref(), packed.as_os_str()])
        .args(["--strip-components=1", "-C"])
        .arg(data.path())
        .status()
        .expect("run tar, which this test needs");
    assert!(unpacked.success());
    let mut config = edge::config(data.path());
    config.log.partitions = (PARTITIONS as u16).try_into().unwrap();
    let server = Server::open(data, &config).await;
    server.applied().await;
    server
}

async fn figures(server: &Server) -> Value {
    let metrics = ["visitors", "visits", "pageviews", "events"];
    let answer = server.query(json!({"metrics": metrics, "date_range": "all"}));
    answer.await["results"][0]["metrics"].clone()
}

async fn fates(server: &Server) -> Value {
    let path = format!("/api/v1/ledger?site_id=shop.example&interval=day&{DAY}");
    let response = server.get(&path).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut total = response.json::<Value>().await.unwrap()["total"].take();
    total.as_object_mut().unwrap().remove("time");
    total
}

/// Figures, ledger and dead letters are what they were, and new events are counted.
async fn goes_on(name: &str) {
    let server = open(name).await;
    assert_eq!(figures(&server).await, json!([20, 20, 60, 80]));
    let expected = json!({
        "received": 87, "accepted": 85, "rejected": {"too_old": 2},
        "counted": 80, "duplicate": 5, "late": 0, "lost_corrupt": 0, "lost_by_client": 0,
        "unreadable": 0, "unsettled": 0,
    });
    assert_eq!(fates(&server).await, expected);
    let list = AdminRequest::DeadLetter(DeadLetterRequest::List(LetterQuery {
        site_id: "1".to_owned(),
        ..LetterQuery::default()
    }));
    let list = server.aggregator.admin(list).await.unwrap();
    assert_eq!(list["letters"].as_array().unwrap().len(), 2);
    let pages = server
        .query(json!({
            "metrics": ["visits", "pageviews"],
            "dimensions": ["event:page"],
            "date_range": "all",
        }))
        .await;
    assert_eq!(pages["results"].as_array().unwrap().len(), 3, "{pages}");

    // A visitor who was there, and one who was not.
    let mut spool = Spool::default();
    for visitor in [1, 77] {
        spool.put(Group {
            received_at: 1_795_269_600_000,
            ..visit(visitor, 2)
        });
    }
    let mut blocks = Vec::new();
    for (position, group) in &spool.groups {
        let hash = partition_hash(group.site, &group.visitor);
        let one = spool.round(*position, position + 1);
        blocks.extend(one.into_iter().map(|mut block| {
            block.partition = (hash % u64::from(PARTITIONS)) as u32;
            block.partitions = PARTITIONS;
            block
        }));
    }
    let channel = edge::connect(server.aggregator.grpc_addr()).await;
    edge::push(&channel, 5, blocks).await.unwrap();
    server.applied().await;
    assert_eq!(figures(&server).await, json!([21, 22, 64, 84]));
}

#[tokio::test]
async fn a_folder_from_before_the_ledger_opens_is_right_and_goes_on() {
    goes_on("walking-path").await;
}

#[tokio::test]
async fn a_folder_from_before_today_opens_is_right_and_goes_on() {
    goes_on("ledger").await;
}
