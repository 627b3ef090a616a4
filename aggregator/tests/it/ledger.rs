//! Fates and dead letters through the API.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wakeline_aggregator::admin::{AdminRequest, DeadLetterRequest};
use wakeline_aggregator::ledger::{LedgerQuery, LetterQuery};
use wakeline_proto::v1::{Group, Rejected, Tally};

use super::edge::{self, NOON_MS, SITE, Spool, visit};
use super::http::{Server, problem};

/// The day of all events here.
const DAY: &str = "from=2024-10-04&to=2024-10-04";

/// Three views, of which one is sent twice; two refused events that are kept, three that are not.
fn spool(received_at: u64) -> Spool {
    let mut views = visit(1, 3);
    views.received_at = received_at;
    let mut copy = visit(1, 1);
    copy.received_at = received_at + 1;
    let rejected = |reason: &str, payload: Value| Rejected {
        reason: reason.to_owned(),
        detail: "why".to_owned(),
        payload: payload.to_string().into_bytes().into(),
        ..Rejected::default()
    };
    let refused = Group {
        site: SITE,
        visitor: "v".to_owned(),
        received_at,
        rejected: vec![
            rejected("too_old", json!({"type": "click", "visitor": "v"})),
            rejected("malformed", json!({"cut": "…", "bytes": 300_000})),
        ],
        ..Group::default()
    };
    let tally = |site, reason: &str, count| Group {
        site,
        received_at,
        tallies: vec![Tally {
            reason: reason.to_owned(),
            count,
        }],
        ..Group::default()
    };
    Spool::of([
        views,
        copy,
        refused,
        tally(SITE, "no_consent", 3),
        tally(0, "unknown_key", 7),
    ])
}

async fn push(server: &Server, spool: &Spool) {
    let channel = edge::connect(server.aggregator.grpc_addr()).await;
    // The second time as after a lost Ack.
    for _ in 0..2 {
        edge::push(&channel, 5, spool.blocks()).await.unwrap();
    }
    server.applied().await;
}

async fn get(server: &Server, path: &str) -> Value {
    let response = server.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

#[tokio::test]
async fn the_ledger_tells_every_fate_once_whatever_is_sent_again() {
    let server = Server::start("Asia/Kolkata").await;
    push(&server, &spool(NOON_MS)).await;
    let ledger = get(&server, &format!("/api/v1/ledger?site_id=1&{DAY}")).await;
    let line = json!({
        "time": "2024-10-04T12:00:00Z", "received": 9, "accepted": 4,
        "rejected": {"malformed": 1, "no_consent": 3, "too_old": 1},
        "counted": 3, "duplicate": 1, "late": 0, "unreadable": 0, "lost_corrupt": 0,
        "lost_by_client": 0, "unsettled": 0,
    });
    assert_eq!(ledger["lines"], json!([line]));
    assert_eq!(ledger["site"], "shop.example");
    assert_eq!(ledger["waiting"]["log_records"], 0);
    let days = get(
        &server,
        &format!("/api/v1/ledger?site_id=shop.example&interval=day&{DAY}"),
    )
    .await;
    assert_eq!(days["lines"][0]["time"], "2024-10-04T00:00:00Z");
    assert_eq!(days["total"]["received"], 9);
    let unknown = get(&server, &format!("/api/v1/ledger?site_id=(unknown)&{DAY}")).await;
    assert_eq!(unknown["total"]["rejected"], json!({"unknown_key": 7}));
    // Nobody's requests are not taken for events of a visitor.
    let figures = json!({"metrics": ["visitors", "events"], "date_range": "all"});
    assert_eq!(
        server.query(figures).await["results"][0]["metrics"],
        json!([1, 3])
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let server = Server::start("UTC").await;
    for (query, status, says) in [
        ("ledger", StatusCode::BAD_REQUEST, "site_id"),
        ("ledger?site_id=9", StatusCode::NOT_FOUND, "9"),
        (
            "ledger?site_id=1&from=soon",
            StatusCode::BAD_REQUEST,
            "from",
        ),
        (
            "dead-letters?site_id=1&reason=old",
            StatusCode::BAD_REQUEST,
            "too_old",
        ),
        (
            "ledger?site_id=1&interval=week",
            StatusCode::BAD_REQUEST,
            "week",
        ),
        (
            "ledger?site_id=1&from=2026-02-01&to=2026-01-01",
            StatusCode::BAD_REQUEST,
            "before",
        ),
        (
            "ledger?site_id=1&from=1990-01-01",
            StatusCode::BAD_REQUEST,
            "by day",
        ),
        (
            "dead-letters?site_id=(unknown)",
            StatusCode::NOT_FOUND,
            "(unknown)",
        ),
        ("dead-letters?site_id=1&after=x", StatusCode::NOT_FOUND, "x"),
    ] {
        let response = server.get(&format!("/api/v1/{query}")).await;
        let problem = problem(response, status).await;
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{query}: {problem}"
        );
    }
    for path in ["ledger?site_id=1", "dead-letters?site_id=1"] {
        let bare = server.request(Method::GET, &format!("/api/v1/{path}"));
        problem(bare.send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    }
    let replay = server
        .post("/api/v1/dead-letters/replay", &json!({"site_id": "1"}))
        .await;
    let says = problem(replay, StatusCode::CONFLICT).await;
    assert!(
        says["detail"]
            .as_str()
            .unwrap()
            .contains("http.collector_url"),
        "{says}"
    );
}

#[tokio::test]
async fn refused_events_are_kept_whole_and_read_in_pages() {
    let server = Server::start("UTC").await;
    push(&server, &spool(now_ms())).await;
    let all = get(&server, "/api/v1/dead-letters?site_id=1").await;
    let letters = all["letters"].as_array().unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["malformed", "too_old"]);
    assert_eq!(
        letters[1]["payload"],
        json!({"type": "click", "visitor": "v"})
    );
    assert_eq!(letters[1]["outcome"], Value::Null);
    let first = get(&server, "/api/v1/dead-letters?site_id=1&limit=1").await;
    let next = first["next"].as_str().unwrap();
    let second = get(
        &server,
        &format!("/api/v1/dead-letters?site_id=1&limit=1&after={next}"),
    )
    .await;
    assert_eq!(second["letters"][0], letters[1]);
    let old = get(&server, "/api/v1/dead-letters?site_id=1&reason=too_old").await;
    assert_eq!(old["letters"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_replay_that_finds_no_collector_marks_nothing() {
    let server = Server::start("UTC").await;
    push(&server, &spool(now_ms())).await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    let request = json!({"site_id": "1", "reason": "too_old", "collector": url});
    let response = server.post("/api/v1/dead-letters/replay", &request).await;
    problem(response, StatusCode::SERVICE_UNAVAILABLE).await;
    let letters = get(&server, "/api/v1/dead-letters?site_id=1&reason=too_old").await;
    assert_eq!(letters["letters"][0]["outcome"], Value::Null);
    // What holds no event needs no collector, and is not asked about again.
    let request = json!({"site_id": "1", "reason": "malformed", "collector": url});
    for expected in [1, 0] {
        let response = server.post("/api/v1/dead-letters/replay", &request).await;
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["not_replayable"], expected, "{answer}");
    }
}

#[tokio::test]
async fn operators_ask_the_same_by_command() {
    let server = Server::start("UTC").await;
    push(&server, &spool(now_ms())).await;
    let ledger = AdminRequest::Ledger(LedgerQuery {
        site_id: "shop.example".to_owned(),
        ..LedgerQuery::default()
    });
    let ledger = server.aggregator.admin(ledger).await.unwrap();
    assert_eq!(ledger["total"]["received"], 9);
    let list = AdminRequest::DeadLetter(DeadLetterRequest::List(LetterQuery {
        site_id: "1".to_owned(),
        ..LetterQuery::default()
    }));
    let list = server.aggregator.admin(list).await.unwrap();
    assert_eq!(list["letters"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn operators_ask_the_same_of_a_folder_whose_server_is_stopped() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = edge::start(&edge::config(data.path())).await;
    let site = json!({"site": {"create": {"domain": "shop.example"}}});
    let request: AdminRequest = serde_json::from_value(site).unwrap();
    aggregator.admin(request).await.unwrap();
    let channel = edge::connect(aggregator.grpc_addr()).await;
    edge::push(&channel, 5, spool(now_ms()).blocks())
        .await
        .unwrap();
    edge::until("the log is applied", async || {
        let at = aggregator.metrics().watermark();
        at.applied == at.log_end
    })
    .await;
    aggregator
        .shutdown(std::time::Duration::from_secs(10))
        .await;

    let run = |arguments: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_wakeline-aggregator"))
            .env("WAKELINE_DATA", data.path())
            .env("WAKELINE_LOG__PARTITIONS", edge::PARTITIONS.to_string())
            .args(arguments.split(' '))
            .arg("--json")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let ledger = run("ledger --site shop.example");
    assert_eq!(ledger["total"]["received"], 9, "{ledger}");
    assert_eq!(ledger["total"]["unsettled"], 0);
    let letters = run("dead-letter list --site 1");
    assert_eq!(letters["letters"].as_array().unwrap().len(), 2);
    let rules = data.path().join("rules.json");
    std::fs::write(&rules, r#"{"blocked_paths": ["/0"]}"#).unwrap();
    let preview = run(&format!(
        "site rules --site 1 --preview {}",
        rules.display()
    ));
    assert_eq!(preview["would_refuse"]["reasons"]["blocked_path"], 2);
    run(&format!("site rules --site 1 --set {}", rules.display()));
    std::fs::write(&rules, "{}").unwrap();
    run(&format!("site rules --site 1 --set {}", rules.display()));
    let restored = run("site rules --site 1 --restore 1");
    assert_eq!(restored["version"], 3);
    assert_eq!(restored["rules"]["blocked_paths"], json!(["/0"]));
    let versions = run("site rules --site 1 --history");
    assert_eq!(versions["versions"][2]["changed_by"], "command line");
}

/// Bits of a record that was acknowledged flip: nothing of it is counted any more once the state is made from the log, which
/// the ledger, the metrics and the status say.
#[tokio::test]
async fn records_that_the_disk_damaged_are_in_the_ledger_and_an_alarm() {
    let data = tempfile::tempdir().unwrap();
    let config = edge::config(data.path());
    let aggregator = edge::start(&config).await;
    let channel = edge::connect(aggregator.grpc_addr()).await;
    let blocks = edge::Spool::without_copies().blocks();
    let records = blocks.len() as u64;
    edge::push(&channel, 5, blocks).await.unwrap();
    let whole = edge::Figures::of(aggregator.metrics()).await.total();
    drop(channel);
    aggregator
        .shutdown(std::time::Duration::from_secs(10))
        .await;

    let segments = std::fs::read_dir(data.path().join("log/segments")).unwrap();
    let mut segments = segments.map(|entry| entry.unwrap().path());
    let segment = segments.find(|path| path.extension().is_some_and(|name| name == "seg"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let length = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[length / 2] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let aggregator = edge::start(&config).await;
    let rebuild = AdminRequest::Rebuild(wakeline_aggregator::admin::RebuildRequest::State);
    aggregator.admin(rebuild).await.unwrap();
    let left = edge::Figures::of(aggregator.metrics()).await.total();
    assert!(left.pageviews < whole.pageviews, "{left:?} of {whole:?}");
    let ledger = AdminRequest::Ledger(LedgerQuery {
        site_id: "(unknown)".to_owned(),
        ..LedgerQuery::default()
    });
    let ledger = aggregator.admin(ledger).await.unwrap();
    let lost = ledger["total"]["lost_corrupt"].as_u64().unwrap();
    assert!((1..records).contains(&lost), "{ledger}");
    assert_eq!(ledger["total"]["received"], lost);
    assert_eq!(ledger["total"]["unsettled"], 0);
    let url = format!("http://{}/metrics", aggregator.http_addr());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let alarm = "wakeline_aggregator_log_lost_corrupt_total 1\n";
    assert!(metrics.contains(alarm), "{metrics}");
}
