//! A site's rules, as they come with the snapshot while the collector runs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wakeline_proto::v1;

use crate::harness::{
    Edge, FakeAggregator, SERVER_KEY, WRITE_KEY, eventually, keep_snapshot, problem, site, snapshot,
};

pub(crate) fn with_rules(version: u64, change: impl FnOnce(&mut v1::SiteRules)) -> v1::Snapshot {
    let mut rules = v1::SiteRules {
        refuse_crawlers: true,
        refuse_spam: true,
        sample_percent: 100,
        ..v1::SiteRules::default()
    };
    change(&mut rules);
    let site = v1::Site {
        rules: Some(rules),
        ..site()
    };
    v1::Snapshot {
        sites: vec![site],
        ..snapshot(version)
    }
}

async fn edge(change: impl FnOnce(&mut v1::SiteRules)) -> Edge {
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &with_rules(1, change));
    let url = crate::harness::nowhere().await;
    Edge::start_in(data, |config| config.upstream.url = url).await
}

pub(crate) fn reason(reply: &Value) -> &str {
    reply["rejected"][0]["reason"]
        .as_str()
        .unwrap_or("accepted")
}

fn view(url: &str) -> Value {
    json!({"type": "page_view", "visitor": "v", "url": url})
}

#[tokio::test]
async fn rules_are_in_force_within_seconds_without_a_restart() {
    let aggregator = FakeAggregator::start(Some(snapshot(1))).await;
    let edge = Edge::start_under(&aggregator, tempfile::tempdir().unwrap()).await;
    edge.until("/readyz", 200).await;
    let page = view("https://shop.example/admin/users");
    assert_eq!(reason(&edge.events(&page).await), "accepted");
    aggregator.publish(with_rules(2, |rules| {
        rules.blocked_paths = vec!["/admin*".to_owned()];
    }));
    let changed = Instant::now();
    eventually(async || reason(&edge.events(&page).await) == "blocked_path").await;
    assert!(changed.elapsed() < Duration::from_secs(5));
    let groups = edge.groups().await;
    let judged = groups
        .iter()
        .find(|group| !group.rejected.is_empty())
        .unwrap();
    assert_eq!(judged.rules_version, 2);
}

#[tokio::test]
async fn replies_tell_pages_what_the_site_blocks_and_captures() {
    let edge = edge(|rules| {
        rules.blocked_paths = vec!["/admin*".to_owned()];
        rules.capture = vec!["clicks".to_owned()];
    })
    .await;
    let reply = edge.events(&view("https://shop.example/")).await;
    let expected = json!({"blocked": ["/admin*"], "capture": ["clicks"]});
    assert_eq!(reply["settings"], expected);
}

#[tokio::test]
async fn replies_of_a_site_without_rules_for_pages_only_say_what_was_accepted() {
    let edge = edge(|_| {}).await;
    let reply = edge.events(&view("https://shop.example/")).await;
    assert_eq!(reply, json!({"accepted": 1, "rejected": []}));
}

#[tokio::test]
async fn crawlers_are_refused_and_kept_and_tools_are_not_unless_the_site_says_so() {
    let edge = edge(|_| {}).await;
    let send = async |agent: &str| {
        let request = edge.post(
            &format!("/w/1/events?k={WRITE_KEY}"),
            view("https://shop.example/").to_string(),
        );
        let reply: Value = request
            .header("user-agent", agent)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        reason(&reply).to_owned()
    };
    assert_eq!(
        send("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)").await,
        "bot"
    );
    assert_eq!(send("curl/8.5.0").await, "accepted");
    assert_eq!(send("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36").await, "accepted");
    let groups = edge.groups().await;
    let refused: Vec<_> = groups.iter().flat_map(|group| &group.rejected).collect();
    assert_eq!((refused.len(), refused[0].reason.as_str()), (1, "bot"));
    assert!(String::from_utf8_lossy(&refused[0].payload).contains("page_view"));
}

#[tokio::test]
async fn a_site_may_refuse_programs_too_and_take_crawlers() {
    let edge = edge(|rules| {
        rules.refuse_crawlers = false;
        rules.refuse_automation = true;
        rules.refuse_libraries = true;
    })
    .await;
    let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
    let headless = "Mozilla/5.0 HeadlessChrome/120.0.0.0 Safari/537.36";
    for (agent, language, expected) in [
        ("Googlebot/2.1", "", "accepted"),
        ("curl/8.5.0", "", "bot"),
        (headless, "en", "bot"),
        (chrome, "en", "accepted"),
        (chrome, "", "bot"),
    ] {
        let mut request = edge.post(
            &format!("/w/1/events?k={WRITE_KEY}"),
            view("https://shop.example/").to_string(),
        );
        if !language.is_empty() {
            request = request.header("accept-language", language);
        }
        let reply: Value = request
            .header("user-agent", agent)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(reason(&reply), expected, "{agent}");
    }
}

#[tokio::test]
async fn made_up_referrers_are_refused_by_name() {
    let edge = edge(|_| {}).await;
    let mut event = view("https://shop.example/");
    event["referrer"] = json!("http://semalt.com/crawler");
    assert_eq!(reason(&edge.events(&event).await), "spam");
}

#[tokio::test]
async fn pages_of_other_hosts_are_refused_by_origin_and_by_url() {
    let edge = edge(|rules| rules.hosts = vec!["*.shop.example".to_owned()]).await;
    assert_eq!(
        reason(&edge.events(&view("https://evil.example/")).await),
        "foreign_host"
    );
    for (origin, status) in [
        ("https://www.shop.example", 202),
        ("https://shop.example:8443", 202),
        ("https://evil.example", 403),
    ] {
        let request = edge.post(
            &format!("/w/1/events?k={WRITE_KEY}"),
            view("https://shop.example/").to_string(),
        );
        let response = request.header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status, "{origin}");
    }
    // A server speaks for whom it likes.
    let request = edge.post("/w/1/events", view("https://evil.example/").to_string());
    let reply: Value = request
        .bearer_auth(SERVER_KEY)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(reason(&reply), "accepted");
}

#[tokio::test]
async fn who_sends_too_much_is_told_when_to_come_again() {
    let edge = edge(|rules| rules.events_per_minute_of_ip = 3).await;
    let three = json!([
        view("https://shop.example/"),
        view("https://shop.example/"),
        view("https://shop.example/")
    ]);
    assert_eq!(edge.events(&three).await["accepted"], 3);
    let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), three.to_string());
    let response = request.send().await.unwrap();
    let wait: u32 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let detail = problem(response, 429).await;
    assert!(detail.contains("this address"), "{detail}");
    assert_eq!(edge.metric("events_received_total").await, 3);
    // The ledger shows the refused request, by its reason.
    let groups = edge.groups().await;
    let tallies: Vec<_> = groups.iter().flat_map(|group| &group.tallies).collect();
    assert_eq!(tallies.len(), 1, "{tallies:?}");
    assert_eq!(
        (tallies[0].reason.as_str(), tallies[0].count),
        ("rate_limited", 1)
    );
}

#[tokio::test]
async fn visitors_that_are_not_sampled_leave_nothing() {
    let edge = edge(|rules| rules.sample_percent = 0).await;
    assert_eq!(
        reason(&edge.events(&view("https://shop.example/")).await),
        "not_sampled"
    );
    let groups = edge.groups().await;
    assert!(groups.iter().all(|group| group.visitor.is_empty()));
    assert!(
        groups
            .iter()
            .all(|group| group.events.is_empty() && group.rejected.is_empty())
    );
    let tallies: Vec<_> = groups.iter().flat_map(|group| &group.tallies).collect();
    assert_eq!((tallies.len(), tallies[0].count), (1, 1));
}

#[tokio::test]
async fn personal_data_is_taken_out_of_urls_titles_and_properties_also_of_refused_events() {
    let edge = edge(|rules| {
        rules.email = v1::Redaction::Mask.into();
        rules.card = v1::Redaction::Drop.into();
        rules.blocked_paths = vec!["/blocked".to_owned()];
    })
    .await;
    let event = |url: &str| {
        json!({"type": "page_view", "visitor": "v", "url": url, "title": "Mail of jane@mail.example",
            "properties": {"note": "ask jane@mail.example", "paid": "4111 1111 1111 1111"}})
    };
    edge.events(&event("https://shop.example/u/jane%40mail.example"))
        .await;
    assert_eq!(
        reason(&edge.events(&event("https://shop.example/blocked")).await),
        "blocked_path"
    );
    let groups = edge.groups().await;
    let all = format!("{groups:?}");
    assert!(
        !all.contains("jane@mail") && !all.contains("jane%40mail"),
        "{all}"
    );
    let event = groups
        .iter()
        .flat_map(|group| &group.events)
        .next()
        .unwrap();
    assert_eq!(
        (event.path.as_str(), event.title.as_str()),
        ("/u/[email]", "Mail of [email]")
    );
    let names: Vec<_> = event
        .properties
        .iter()
        .map(|property| property.name.as_str())
        .collect();
    assert_eq!(names, ["note"]);
}

#[tokio::test]
async fn addresses_and_cards_in_urls_are_masked_unless_a_site_says_otherwise() {
    let edge = Edge::start().await;
    let event =
        view("https://shop.example/u/jane%40mail.example/4111111111111111?ref=jane@mail.example");
    edge.events(&event).await;
    // What quotes it in saying what is wrong is kept without it, too.
    let property =
        json!({"type": "click", "visitor": "v", "properties": {"jane@mail.example": null}});
    edge.events(&property).await;
    let groups = edge.groups().await;
    let event = &groups[0].events[0];
    assert_eq!(
        (event.path.as_str(), event.query.as_str()),
        ("/u/[email]/[card]", "ref=[email]")
    );
    let all = format!("{groups:?}");
    assert!(!all.contains("jane") && !all.contains("4111"), "{all}");

    let edge = self::edge(|_| {}).await;
    edge.events(&view("https://shop.example/u/jane@mail.example"))
        .await;
    assert_eq!(
        edge.groups().await[0].events[0].path,
        "/u/jane@mail.example"
    );
}

#[tokio::test]
async fn properties_that_do_not_fit_are_refused_or_counted() {
    let schema = |reject| {
        move |rules: &mut v1::SiteRules| {
            rules.schemas = vec![v1::EventSchema {
                event: "signup".to_owned(),
                schema: json!({"required": ["plan"]}).to_string(),
                reject,
            }];
        }
    };
    let event = json!({"type": "custom", "name": "signup", "visitor": "v"});
    let strict = edge(schema(true)).await;
    let reply = strict.events(&event).await;
    assert_eq!(reason(&reply), "schema_mismatch");
    assert!(
        reply["rejected"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("plan")
    );
    let lax = edge(schema(false)).await;
    assert_eq!(lax.events(&event).await["accepted"], 1);
    assert_eq!(lax.metric("events_schema_warnings_total").await, 1);
}
