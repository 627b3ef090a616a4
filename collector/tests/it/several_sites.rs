//! Requests with events of several sites: each has its fate, whatever becomes of the others.

use std::collections::BTreeMap;

use serde_json::json;
use wakeline_proto::v1;

use crate::harness::{
    Edge, FakeAggregator, WRITE_KEY, eventually, keep_snapshot, key, nowhere, problem, site,
    snapshot, tallied,
};

/// Site 1 (`shop.example`, called `shop`, too) and site 2 (`b.example`, called `b`), whose rules are as given.
fn two_sites(rules: v1::SiteRules) -> v1::Snapshot {
    let other = v1::Site {
        id: 2,
        domain: "b.example".to_owned(),
        aliases: wakeline_proto::TRACKERS
            .iter()
            .map(|tracker| v1::Alias {
                tracker: (*tracker).to_owned(),
                id: "b".to_owned(),
            })
            .collect(),
        rules: Some(v1::SiteRules {
            sample_percent: 100,
            ..rules
        }),
        ..site()
    };
    v1::Snapshot {
        sites: vec![site(), other],
        ..snapshot(1)
    }
}

/// A collector whose aggregator is away.
async fn edge(rules: v1::SiteRules) -> Edge {
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &two_sites(rules));
    let url = nowhere().await;
    Edge::start_in(data, |config| config.upstream.url = url).await
}

fn plausible(domains: &str) -> String {
    json!({"n": "pageview", "u": "https://shop.example/", "d": domains}).to_string()
}

fn segment(keys: &[&str], id: &str) -> String {
    let events = keys.iter().enumerate().map(|(at, key)| {
        json!({"type": "track", "event": "e", "writeKey": key, "anonymousId": "v", "messageId": format!("{id}{at}")})
    });
    json!({"batch": events.collect::<Vec<_>>()}).to_string()
}

/// Accepted events by site, and those that are only counted.
async fn kept(edge: Edge) -> (BTreeMap<u64, usize>, u64) {
    let groups = edge.groups().await;
    let mut events = BTreeMap::new();
    for group in groups.iter().filter(|group| !group.events.is_empty()) {
        *events.entry(group.site).or_default() += group.events.len();
    }
    (events, groups.iter().map(tallied).sum())
}

async fn send(edge: &Edge, path: &str, body: String) -> reqwest::Response {
    let request = edge.post(path, body).header("user-agent", "Browser/1");
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_site_that_is_named_more_than_once_counts_the_page_once() {
    let edge = edge(v1::SiteRules::default()).await;
    for domains in ["shop,shop,shop", "shop.example, b.example,shop"] {
        let answer = send(&edge, "/api/event", plausible(domains)).await;
        assert_eq!(answer.status(), 202);
        assert!(!answer.headers().contains_key("x-plausible-dropped"));
    }
    assert_eq!(kept(edge).await, (BTreeMap::from([(1, 2), (2, 1)]), 0));
}

#[tokio::test]
async fn a_domain_is_its_sites_though_an_older_aggregator_gave_it_to_another() {
    let data = tempfile::tempdir().unwrap();
    let mut both = two_sites(v1::SiteRules::default());
    both.sites[1].aliases.push(v1::Alias {
        tracker: "plausible".to_owned(),
        id: "shop.example".to_owned(),
    });
    keep_snapshot(data.path(), &both);
    let url = nowhere().await;
    let edge = Edge::start_in(data, |config| config.upstream.url = url).await;
    send(&edge, "/api/event", plausible("shop.example")).await;
    assert_eq!(kept(edge).await, (BTreeMap::from([(1, 1)]), 0));
}

#[tokio::test]
async fn a_name_that_nobody_can_be_asked_about_keeps_no_other_site_waiting() {
    let edge = edge(v1::SiteRules::default()).await;
    let answer = send(&edge, "/api/event", plausible("shop,who-knows")).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["x-plausible-dropped"], "1");
    // Nothing else can be said where no site is known.
    let answer = send(&edge, "/api/event", plausible("who-knows")).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    problem(answer, 503).await;
    assert_eq!(kept(edge).await, (BTreeMap::from([(1, 1)]), 1));
}

#[tokio::test]
async fn events_with_ids_may_come_again_with_those_that_could_not_be_taken() {
    let edge = edge(v1::SiteRules::default()).await;
    for _ in 0..2 {
        let answer = send(
            &edge,
            "/v1/batch",
            segment(&["shop", "who-knows", "b"], "m"),
        )
        .await;
        assert_eq!(answer.headers()["retry-after"], "5");
        problem(answer, 503).await;
    }
    let groups = edge.groups().await;
    let ids = |site| {
        let of_site = groups.iter().filter(move |group| group.site == site);
        let ids = of_site.flat_map(|group| &group.events);
        ids.map(|event| event.client_id.clone()).collect::<Vec<_>>()
    };
    // The same ids again: the aggregator takes them for copies.
    assert_eq!(ids(1), ["m0", "m0"]);
    assert_eq!(ids(2), ["m2", "m2"]);
    assert_eq!(groups.iter().map(tallied).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_site_over_its_limit_keeps_no_other_site_waiting() {
    let limited = || v1::SiteRules {
        events_per_minute_of_site: 1,
        ..v1::SiteRules::default()
    };
    let edge = edge(limited()).await;
    for dropped in [false, true] {
        let answer = send(&edge, "/api/event", plausible("shop,b")).await;
        assert_eq!(answer.status(), 202);
        assert_eq!(
            answer.headers().contains_key("x-plausible-dropped"),
            dropped
        );
    }
    let answer = send(&edge, "/v1/batch", segment(&["shop", "b"], "n")).await;
    problem(answer, 429).await;
    let (events, counted) = kept(edge).await;
    assert_eq!(events, BTreeMap::from([(1, 3), (2, 1)]));
    assert_eq!(
        counted, 2,
        "the event that can't come again, and the request that may"
    );
}

#[tokio::test]
async fn a_page_that_one_site_does_not_take_is_still_another_sites() {
    let edge = edge(v1::SiteRules {
        origins: vec!["https://b.example".to_owned()],
        ..v1::SiteRules::default()
    })
    .await;
    let from = async |domains: &str| {
        let request = edge.post("/api/event", plausible(domains));
        let request = request.header("origin", "https://shop.example");
        request.send().await.unwrap()
    };
    let answer = from("shop,b").await;
    assert_eq!(answer.headers()["x-plausible-dropped"], "1");
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://shop.example"
    );
    let answer = from("b").await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    problem(answer, 403).await;
    assert_eq!(kept(edge).await.0, BTreeMap::from([(1, 1)]));
}

#[tokio::test]
async fn unknown_names_are_asked_for_together_and_made_up_ones_keep_no_new_site_waiting() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    let names: Vec<String> = (0..1_000).map(|at| format!("made-up-{at}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all[500] = "shop";
    let answer = send(&edge, "/v1/batch", segment(&all, "m")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(aggregator.lookups(), 1);
    // Many of them at once, while somebody comes with a key that was just made.
    aggregator.know(key("brand-new", v1::KeyKind::Write));
    let flood = (0..40).map(|round| {
        let names: Vec<String> = (0..100).map(|at| format!("{round}-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        send(&edge, "/v1/batch", segment(&names, "n"))
    });
    let click = json!({"type": "click", "visitor": "v"}).to_string();
    let new = edge.post("/w/1/events?k=brand-new", click).send();
    let (_, new) = tokio::join!(futures_util::future::join_all(flood), new);
    assert_eq!(new.unwrap().status(), 202);
    let (events, counted) = kept(edge).await;
    assert_eq!(
        (events, counted),
        (BTreeMap::from([(1, 2)]), 999 + 40 * 100)
    );
}

#[tokio::test]
async fn a_name_of_a_site_is_no_longer_one_once_the_site_is_told_to_have_it_no_more() {
    let aggregator = FakeAggregator::start(Some(two_sites(v1::SiteRules::default()))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    aggregator.publish(snapshot(2));
    eventually(async || {
        let answer = send(&edge, "/api/event", plausible("b")).await;
        answer.headers().contains_key("x-plausible-dropped")
    })
    .await;
    let answer = send(
        &edge,
        &format!("/api/event?k={WRITE_KEY}"),
        plausible("shop"),
    )
    .await;
    assert!(!answer.headers().contains_key("x-plausible-dropped"));
}
