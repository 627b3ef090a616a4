//! A site's rules, as they come with the snapshot while the collector runs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
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
    let groups = edge.groups().await;
    let tallies: Vec<_> = groups.iter().flat_map(|group| &group.tallies).collect();
    let found: Vec<_> = tallies
        .iter()
        .map(|tally| (tally.reason.as_str(), tally.count))
        .collect();
    assert_eq!(found, [("foreign_host", 1)], "the request from elsewhere");
}

/// The status of a view that a page of `origin` sends, and whether the page may read the answer.
async fn from_origin(edge: &Edge, origin: &str) -> (u16, bool) {
    let body = view("https://shop.example/").to_string();
    let request = edge.post("/w/1/events", body).bearer_auth(WRITE_KEY);
    let response = request.header("origin", origin).send().await.unwrap();
    let readable = response.headers().get("access-control-allow-origin");
    (
        response.status().as_u16(),
        readable.is_some_and(|allowed| allowed == origin),
    )
}

#[tokio::test]
async fn a_page_without_an_origin_sends_nothing_to_a_site_that_names_its_hosts() {
    let edge = edge(|rules| rules.hosts = vec!["Shop.Example.".to_owned()]).await;
    assert_eq!(from_origin(&edge, "null").await, (403, false));
    assert_eq!(
        from_origin(&edge, "https://evil.example").await,
        (403, false)
    );
    for origin in [
        "https://shop.example",
        "https://SHOP.example:443",
        "https://shop.example.",
    ] {
        assert_eq!(from_origin(&edge, origin).await, (202, true), "{origin}");
    }
    let named = self::edge(|rules| {
        rules.hosts = vec!["shop.example".to_owned(), "null".to_owned()];
    })
    .await;
    assert_eq!(from_origin(&named, "null").await, (202, true));
}

#[tokio::test]
async fn a_site_that_names_origins_answers_their_pages_and_no_others() {
    let edge = edge(|rules| rules.origins = vec!["https://*.shop.example".to_owned()]).await;
    assert_eq!(
        from_origin(&edge, "https://www.shop.example").await,
        (202, true)
    );
    for origin in [
        "http://www.shop.example",
        "https://shop.example",
        "https://evil.example",
    ] {
        assert_eq!(from_origin(&edge, origin).await, (403, false), "{origin}");
    }
    // A preflight whose URL says the key is answered alike; of one that does not, nobody knows the site yet.
    for (query, origin, allowed) in [
        (format!("?k={WRITE_KEY}"), "https://evil.example", false),
        (format!("?k={WRITE_KEY}"), "https://www.shop.example", true),
        (String::new(), "https://evil.example", true),
    ] {
        let url = edge.url(&format!("/w/1/events{query}"));
        let request = edge.http.request(reqwest::Method::OPTIONS, url);
        let response = request.header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), 204);
        let found = response
            .headers()
            .contains_key("access-control-allow-origin");
        assert_eq!(found, allowed, "{query} {origin}");
    }
}

#[tokio::test]
async fn a_blocked_path_is_one_however_it_is_written() {
    let edge = edge(|rules| rules.blocked_paths = vec!["admin*".to_owned(), "/ü".to_owned()]).await;
    for path in ["admin/users", "%61dmin", "ü", "%C3%BC"] {
        let page = view(&format!("https://shop.example/{path}"));
        assert_eq!(reason(&edge.events(&page).await), "blocked_path", "{path}");
    }
    let screen = json!({"type": "screen_view", "visitor": "v", "name": "admin panel"});
    assert_eq!(reason(&edge.events(&screen).await), "blocked_path");
    let page = view("https://shop.example/about/admin");
    assert_eq!(reason(&edge.events(&page).await), "accepted");
}

#[tokio::test]
async fn of_a_request_larger_than_what_is_left_of_the_day_as_much_is_taken_as_is_left() {
    let edge = edge(|rules| rules.events_per_day = 5).await;
    let view = || view("https://shop.example/");
    assert_eq!(edge.events(&json!([view(), view()])).await["accepted"], 2);
    let reply = edge
        .events(&json!([view(), view(), view(), view(), view()]))
        .await;
    assert_eq!(reply["accepted"], 3);
    let rejected = reply["rejected"].as_array().unwrap();
    let indexes: Vec<_> = rejected.iter().map(|one| &one["index"]).collect();
    assert_eq!(indexes, [3, 4]);
    assert_eq!(reason(&reply), "rate_limited");
    let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), view().to_string());
    let detail = problem(request.send().await.unwrap(), 429).await;
    assert!(detail.contains("of the day"), "{detail}");
    let groups = edge.groups().await;
    let events: usize = groups.iter().map(|group| group.events.len()).sum();
    let counted: u64 = groups.iter().map(crate::harness::tallied).sum();
    assert_eq!(
        (events, counted),
        (5, 3),
        "two events, and the request that may come again"
    );
}

#[tokio::test]
async fn clients_that_leave_take_nothing_of_the_days_limit() {
    const LIMIT: u64 = 4_000;
    let edge = edge(|rules| rules.events_per_day = LIMIT).await;
    let click = json!({"type": "click", "visitor": "v", "properties": {"p": "x".repeat(400)}});
    let body = json!(vec![&click; 250]).to_string();
    assert!(body.len() > 64 << 10, "judged off the threads that serve");
    for ms in 0..12 {
        let mut stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST /w/1/events?k={WRITE_KEY} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // It leaves while its events are judged, whenever that is.
        tokio::time::sleep(Duration::from_millis(3 * ms)).await;
    }
    eventually(async || {
        let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), body.clone());
        request.send().await.unwrap();
        edge.metric("events_accepted_total").await == LIMIT
    })
    .await;
}

#[tokio::test]
async fn all_names_of_a_site_share_the_limit_of_one_key() {
    let edge = edge(|rules| rules.events_per_minute_of_key = 1).await;
    let send = async |path: &str, body: Value| {
        let response = edge.post(path, body.to_string()).send().await.unwrap();
        response.status().as_u16()
    };
    let view = json!({"n": "pageview", "u": "https://shop.example/", "d": "shop.example"});
    assert_eq!(send("/api/event", view.clone()).await, 202);
    let other = json!({"n": "pageview", "u": "https://shop.example/", "d": "shop"});
    assert_eq!(send("/api/event", other).await, 429);
    let capture = json!({"api_key": "shop", "event": "e", "distinct_id": "v"});
    assert_eq!(send("/capture", capture).await, 429);
    edge.events(&self::view("https://shop.example/")).await;
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
async fn personal_data_is_taken_out_wherever_an_event_has_texts_and_breaks_nothing() {
    let edge = edge(|rules| {
        rules.email = v1::Redaction::Mask.into();
        rules.card = v1::Redaction::Mask.into();
    })
    .await;
    let order = |id: &str| {
        json!({"type": "order", "visitor": "v", "id": format!("o.{id}"),
            "url": "https://jane@mail.example:pw@shop.example/p", "referrer": "https://jane@mail.example/r",
            "order": {"id": id, "currency": "EUR", "value": 5,
                "items": [{"sku": "jane@mail.example", "name": "for jane@mail.example", "price": 5}]},
            "properties": {"jane@mail.example": true, "john@mail.example": false}})
    };
    for id in ["jane@mail.example", "john@mail.example"] {
        assert_eq!(edge.events(&order(id)).await["accepted"], 1);
    }
    // Lists stay JSON, also where what is found stands beside an escape, or is a number.
    let capture = json!({"api_key": "shop", "event": "e", "distinct_id": "v",
        "properties": {"list": ["a\njane@mail.example", 4_111_111_111_111_111_i64, {"jane@mail.example": 1}]}});
    edge.post("/capture", capture.to_string())
        .send()
        .await
        .unwrap();
    let context = json!({"schema": "iglu:com.shop/person/jsonschema/1-0-0", "data": {"mail": "jane@mail.example"}});
    let contexts = json!({"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": [context]});
    let hit = json!({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": [
        {"e": "pv", "aid": "shop", "duid": "v", "url": "https://shop.example/", "p": "web", "co": contexts.to_string()}]});
    let path = "/com.snowplowanalytics.snowplow/tp2";
    edge.post(path, hit.to_string()).send().await.unwrap();
    let groups = edge.groups().await;
    let all = format!("{groups:?}");
    assert!(
        !all.contains("jane") && !all.contains("john") && !all.contains("4111"),
        "{all}"
    );
    let events: Vec<_> = groups.iter().flat_map(|group| &group.events).collect();
    assert_eq!(
        (
            events.len(),
            groups.iter().all(|group| group.rejected.is_empty())
        ),
        (4, true),
        "{all}"
    );
    let [one, two] = [events[0], events[1]];
    assert_eq!(
        (one.hostname.as_str(), one.path.as_str()),
        ("shop.example", "/p")
    );
    assert_eq!(one.referrer, "https://mail.example/r");
    let orders = [one, two].map(|event| event.order.as_ref().unwrap());
    assert!(
        orders[0].id != orders[1].id && one.client_id != two.client_id,
        "{all}"
    );
    assert_eq!(orders[0].items[0].name, "for [email]");
    assert_eq!(
        one.properties.len(),
        1,
        "names that became one: the first stays"
    );
    let list = &events[2].properties[0];
    let Some(v1::value::Kind::Text(list)) = &list.value.as_ref().unwrap().kind else {
        panic!("{list:?}")
    };
    let list: Value = serde_json::from_str(list).unwrap();
    assert_eq!(list, json!(["a\n[email]", "[card]", {"[email]": 1}]));
    assert!(all.contains("[email]"));
}

/// What was kept of refused events, and the visitors it was kept under.
fn letters(groups: &[v1::Group]) -> Vec<(Value, &str)> {
    groups
        .iter()
        .flat_map(|group| group.rejected.iter().map(move |one| (one, group)))
        .map(|(one, group)| {
            let payload = serde_json::from_slice(&one.payload).unwrap();
            (payload, group.visitor.as_str())
        })
        .collect()
}

fn without_blocked(rules: &mut v1::SiteRules) {
    rules.email = v1::Redaction::Mask.into();
    rules.card = v1::Redaction::Mask.into();
    rules.blocked_paths = vec!["/blocked".to_owned()];
}

#[tokio::test]
async fn the_ids_of_a_refused_event_are_those_that_it_has_when_it_is_accepted() {
    let edge = edge(without_blocked).await;
    let who = "jane@mail.example";
    let at = |path: &str| {
        json!([
            {"type": "order", "visitor": who, "user": who, "url": format!("https://shop.example{path}"), "id": who,
                "order": {"id": who, "currency": "EUR", "value": 5,
                    "items": [{"sku": "4111111111111111", "name": who, "price": 5}, {"sku": "plain", "price": 5}]}},
            {"type": "exposure", "visitor": who, "url": format!("https://shop.example{path}"),
                "exposure": {"experiment": "4111111111111111", "variant": who}},
        ])
    };
    assert_eq!(edge.events(&at("/")).await["accepted"], 2);
    assert_eq!(edge.events(&at("/blocked")).await["accepted"], 0);
    let groups = edge.groups().await;
    let [(order, visitor), (exposure, _)] = &letters(&groups)[..] else {
        panic!("{groups:?}")
    };
    assert_eq!(
        (&order["visitor"], &order["user"], *visitor),
        (&json!(who), &json!(who), who)
    );
    assert_eq!(order["order"]["items"][0]["name"], "[email]");
    let events: Vec<_> = groups.iter().flat_map(|group| &group.events).collect();
    assert_eq!(order["id"], events[0].client_id);
    let sold = events[0].order.as_ref().unwrap();
    assert_eq!(order["order"]["id"], sold.id);
    for (index, item) in sold.items.iter().enumerate() {
        assert_eq!(order["order"]["items"][index]["sku"], item.sku);
    }
    let seen = events[1].exposure.as_ref().unwrap();
    assert_eq!(
        exposure["exposure"],
        json!({"experiment": seen.experiment, "variant": seen.variant})
    );
}

#[tokio::test]
async fn a_refused_event_is_kept_with_the_id_and_the_visitor_that_only_its_request_knew() {
    let edge = edge(without_blocked).await;
    let send = async |path: &str| {
        let url = format!("https://shop.example{path}");
        let body = json!([{"type": "page_view", "visitor": "", "url": url}, {"type": "click", "visitor": "", "id": null, "url": url}]);
        let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), body.to_string());
        let response = request.header("idempotency-key", "once").send().await;
        assert_eq!(response.unwrap().status(), 202);
    };
    for path in ["/blocked", "/blocked", "/"] {
        send(path).await;
    }
    let groups = edge.groups().await;
    let events: Vec<_> = groups
        .iter()
        .flat_map(|group| {
            group
                .events
                .iter()
                .map(move |event| (event, &group.visitor))
        })
        .collect();
    let letters = letters(&groups);
    assert_eq!((events.len(), letters.len()), (2, 4));
    for ((letter, _), (event, visitor)) in letters.iter().zip(events.iter().cycle()) {
        assert_eq!(
            (&letter["id"], &letter["visitor"]),
            (&json!(event.client_id), &json!(visitor))
        );
        assert!(!event.client_id.is_empty() && !visitor.is_empty());
    }
}

#[tokio::test]
async fn a_refused_event_of_a_wrong_clock_is_kept_with_its_corrected_time() {
    let edge = edge(without_blocked).await;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut sent = crate::harness::batch(&[60_000]);
    sent.strings = vec!["https://shop.example/blocked".to_owned()];
    sent.sent_at = now as u64 - 3 * 86_400_000;
    sent.streams[0].clock = v1::Clock::Wall.into();
    assert_eq!(edge.batch(&sent).await.rejected[0].reason, "blocked_path");
    let groups = edge.groups().await;
    let time: jiff::Timestamp = letters(&groups)[0].0["time"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let late = time.as_millisecond() - (now - 60_000);
    assert!((0..20_000).contains(&late), "{late} ms");
}

#[tokio::test]
async fn hashes_of_what_is_redacted_are_made_with_a_secret_that_only_the_snapshot_has() {
    let hashed = async |salt: &'static [u8]| {
        let data = tempfile::tempdir().unwrap();
        let mut kept = with_rules(1, |rules| rules.email = v1::Redaction::Hash.into());
        kept.sites[0].redaction_salt = salt.into();
        keep_snapshot(data.path(), &kept);
        let url = crate::harness::nowhere().await;
        let edge = Edge::start_in(data, |config| config.upstream.url = url).await;
        edge.events(&view("https://shop.example/u/jane@mail.example"))
            .await;
        edge.groups().await[0].events[0].path.clone()
    };
    let (one, again, other) = (
        hashed(b"one").await,
        hashed(b"one").await,
        hashed(b"two").await,
    );
    assert!(one.starts_with("/u/email-"), "{one}");
    assert_eq!(one, again);
    assert_ne!(one, other);
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
