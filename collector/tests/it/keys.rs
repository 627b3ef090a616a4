//! Who may write, and how the collector knows.

use serde_json::json;
use wakeline_proto::v1;

use crate::harness::{
    Edge, FakeAggregator, WRITE_KEY, eventually, keep_snapshot, key, nowhere, problem, site,
    snapshot, tallied,
};

/// Requests that the site's ledger has as those of others.
fn foreign(groups: &[v1::Group]) -> u64 {
    let of_site = groups.iter().filter(|group| group.site == site().id);
    let tallies = of_site.flat_map(|group| &group.tallies);
    let foreign = tallies.filter(|tally| tally.reason == "foreign_host");
    foreign.map(|tally| tally.count).sum()
}

fn click() -> String {
    json!({"type": "click", "visitor": "v"}).to_string()
}

async fn status(edge: &Edge, key: &str) -> u16 {
    let response = edge
        .post(&format!("/w/1/events?k={key}"), click())
        .send()
        .await
        .unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn it_is_ready_once_a_snapshot_is_held() {
    let aggregator = FakeAggregator::start(None).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    assert_eq!(edge.get("/healthz").send().await.unwrap().status(), 200);
    problem(edge.get("/readyz").send().await.unwrap(), 503).await;
    aggregator.publish(snapshot(1));
    edge.until("/readyz", 200).await;
    assert_eq!(status(&edge, WRITE_KEY).await, 202);
    assert_eq!(edge.metric("config_version").await, 1);
}

#[tokio::test]
async fn it_starts_with_the_kept_snapshot_when_the_aggregator_is_away() {
    let aggregator = FakeAggregator::start(Some(snapshot(5))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    eventually(async || edge.data.path().join("snapshot.pb").exists()).await;
    let data = edge.stop().await;

    let url = nowhere().await;
    let edge = Edge::start_in(data, |config| config.upstream.url = url).await;
    assert_eq!(edge.get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(status(&edge, WRITE_KEY).await, 202);
    assert_eq!(edge.metric("config_version").await, 5);
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    eventually(async || status(&edge, WRITE_KEY).await == 202).await;
    aggregator.publish(v1::Snapshot {
        keys: Vec::new(),
        ..snapshot(2)
    });
    let revoked = std::time::Instant::now();
    eventually(async || status(&edge, WRITE_KEY).await == 401).await;
    assert!(revoked.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_once() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    aggregator.know(key("brand-new", v1::KeyKind::Write));
    assert_eq!(status(&edge, "brand-new").await, 202);
    assert_eq!(aggregator.lookups(), 1);
    for _ in 0..3 {
        let response = edge
            .post("/w/1/events?k=made-up", click())
            .send()
            .await
            .unwrap();
        problem(response, 401).await;
    }
    assert_eq!(aggregator.lookups(), 2, "the answer is remembered");
    assert_eq!(edge.metric("requests_refused_total{kind=\"key\"}").await, 3);
}

#[tokio::test]
async fn requests_with_unknown_keys_are_counted_in_few_bytes() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    for _ in 0..50 {
        assert_eq!(status(&edge, "made-up").await, 401);
    }
    assert_eq!(
        edge.get("/w/1/pixel.gif?v=v")
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    let spooled = edge.metric("spool_bytes").await;
    let groups = edge.groups().await;
    assert!(groups.iter().all(|group| group.site == 0));
    assert_eq!(
        groups.iter().map(tallied).sum::<u64>(),
        51,
        "none is lost at an orderly end"
    );
    assert!(groups.len() < 20, "{} groups for 51 requests", groups.len());
    assert!(spooled < 4096, "{spooled} bytes");
}

#[tokio::test]
async fn a_key_that_cannot_be_asked_for_is_not_called_wrong() {
    let edge = Edge::start().await;
    let response = edge
        .post("/w/1/events?k=who-knows", click())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    problem(response, 503).await;
    assert_eq!(status(&edge, WRITE_KEY).await, 202);
}

#[tokio::test]
async fn a_key_of_a_site_that_does_not_exist_is_no_key() {
    let aggregator = FakeAggregator::start(None).await;
    let data = tempfile::tempdir().unwrap();
    let homeless = v1::Key {
        site: 99,
        ..key("homeless", v1::KeyKind::Write)
    };
    let mut kept = snapshot(1);
    kept.keys.push(homeless.clone());
    keep_snapshot(data.path(), &kept);
    aggregator.know(homeless);
    assert_ne!(site().id, 99);
    let edge = Edge::start_under(&aggregator, data).await;
    assert_eq!(status(&edge, "homeless").await, 401);
}

#[tokio::test]
async fn a_key_of_apps_takes_nothing_of_others() {
    let data = tempfile::tempdir().unwrap();
    let mut kept = snapshot(1);
    kept.keys.push(v1::Key {
        apps: vec![
            "com.example.shop".to_owned(),
            "com.example.shop.tv".to_owned(),
        ],
        ..key("app-key", v1::KeyKind::Write)
    });
    keep_snapshot(data.path(), &kept);
    let url = nowhere().await;
    let edge = Edge::start_in(data, |config| config.upstream.url = url).await;
    let send = async |key: &str, app: Option<&str>| {
        let mut request = edge.post(&format!("/w/1/events?k={key}"), click());
        if let Some(app) = app {
            request = request.header("wakeline-app", app);
        }
        request.send().await.unwrap()
    };
    for app in [
        None,
        Some("com.example.other"),
        Some("com.example"),
        Some(""),
    ] {
        let detail = problem(send("app-key", app).await, 403).await;
        assert!(detail.contains("Wakeline-App"), "{detail}");
    }
    for app in ["com.example.shop", "com.example.shop.tv"] {
        assert_eq!(send("app-key", Some(app)).await.status(), 202);
    }
    assert_eq!(send(WRITE_KEY, Some("anything")).await.status(), 202);
    assert_eq!(edge.metric("requests_refused_total{kind=\"app\"}").await, 4);
    assert_eq!(foreign(&edge.groups().await), 4);
}

#[tokio::test]
async fn the_name_that_another_tracker_has_for_a_site_is_no_key() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    // The aggregator answers for names that no snapshot has yet, too.
    aggregator.know(key("plausible:brand-new.example", v1::KeyKind::Write));
    for name in [
        "posthog:shop",
        "plausible:shop.example",
        "plausible:brand-new.example",
    ] {
        assert_eq!(status(&edge, name).await, 401, "{name}");
    }
    assert_eq!(aggregator.lookups(), 0);
    for (name, accepted) in [("posthog:shop", false), ("shop", true)] {
        let hit = json!({"api_key": name, "event": "e", "distinct_id": "v"});
        let response = edge.post("/capture", hit.to_string()).send().await;
        assert_eq!(response.unwrap().status().is_success(), accepted, "{name}");
    }
}
