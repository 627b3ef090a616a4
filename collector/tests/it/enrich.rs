//! What is kept of who sent an event, and of where they came from.

use prost::Message as _;
use serde_json::json;
use wakeline_proto::{lists, v1};

use crate::harness::{Edge, SERVER_KEY, WRITE_KEY, eventually};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

fn agent(group: &v1::Group) -> String {
    let agent = group.agent.clone().unwrap_or_default();
    format!(
        "{} {} {}, {} {}",
        lists::name(lists::DEVICES, agent.device),
        lists::name(lists::BROWSERS, agent.browser),
        agent.browser_version,
        lists::name(lists::SYSTEMS, agent.os),
        agent.os_version
    )
}

#[tokio::test]
async fn browser_system_and_device_are_kept_and_the_header_is_not() {
    let edge = Edge::start().await;
    let event =
        json!({"type": "page_view", "visitor": "v", "url": "https://shop.example/"}).to_string();
    let send = |ua: &str, hints: &[(&'static str, &'static str)]| {
        let mut request = edge
            .post(&format!("/w/1/events?k={WRITE_KEY}"), event.clone())
            .header("user-agent", ua);
        for (name, value) in hints {
            request = request.header(*name, *value);
        }
        request.send()
    };
    assert_eq!(send(IPHONE, &[]).await.unwrap().status(), 202);
    let hints = [
        (
            "sec-ch-ua",
            r#""Chromium";v="120", "Microsoft Edge";v="120.0.1", "Not A;Brand";v="99""#,
        ),
        ("sec-ch-ua-platform", r#""Windows""#),
        ("sec-ch-ua-platform-version", r#""15.0.0""#),
        ("sec-ch-ua-mobile", "?0"),
    ];
    assert_eq!(send(CHROME, &hints).await.unwrap().status(), 202);
    let data = edge.stop().await;
    let groups = crate::harness::groups(data.path().join("spool")).await;
    assert_eq!(agent(&groups[0]), "Mobile Safari 17.1, iOS 17.1");
    assert_eq!(agent(&groups[1]), "Desktop Edge 120.0.1, Windows 11");
    for file in std::fs::read_dir(data.path().join("spool")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        let spooled = String::from_utf8_lossy(&bytes);
        assert!(!spooled.contains("AppleWebKit") && !spooled.contains("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_server_says_whose_software_it_was_for_each_event() {
    let edge = Edge::start().await;
    let event = |agent: &str, ip: &str| json!({"type": "click", "visitor": "v", "user_agent": agent, "ip": ip});
    let body = json!([
        event(IPHONE, "192.0.2.1"),
        event(CHROME, "192.0.2.1"),
        event(IPHONE, "nowhere")
    ]);
    let response = edge
        .post("/w/1/events", body.to_string())
        .bearer_auth(SERVER_KEY)
        .send()
        .await
        .unwrap();
    let reply: serde_json::Value = response.json().await.unwrap();
    assert_eq!(
        (&reply["accepted"], &reply["rejected"][0]["index"]),
        (&json!(2), &json!(2))
    );
    let groups = edge.groups().await;
    let mut agents: Vec<_> = groups
        .iter()
        .filter(|group| !group.events.is_empty())
        .map(agent)
        .collect();
    agents.sort();
    assert_eq!(
        agents,
        [
            "Desktop Chrome 120.0.0.0, Windows 10",
            "Mobile Safari 17.1, iOS 17.1"
        ]
    );
}

#[tokio::test]
async fn what_brought_a_visitor_is_kept_without_its_secrets() {
    let edge = Edge::start().await;
    edge.events(&json!([
        {"type": "page_view", "visitor": "v", "url": "https://shop.example/?gclid=secret&utm_campaign=summer", "referrer": "https://www.google.com/"},
        {"type": "page_view", "visitor": "v", "url": "https://shop.example/b", "referrer": "https://shop.example/"},
    ]))
    .await;
    let groups = edge.groups().await;
    let events = &groups[0].events;
    let found = events[0].acquisition.clone().unwrap();
    assert_eq!(lists::name(lists::CHANNELS, found.channel), "Paid Search");
    assert_eq!(
        (
            found.source.as_str(),
            found.utm_campaign.as_str(),
            found.click_id.as_str()
        ),
        ("Google", "summer", "gclid")
    );
    assert_eq!(events[0].query, "utm_campaign=summer");
    assert_eq!(events[1].acquisition, None);
}

#[tokio::test]
async fn steps_can_be_switched_off() {
    let edge = Edge::start_with(|config| {
        config.enrich.agent = false;
        config.enrich.source = false;
    })
    .await;
    let event =
        json!({"type": "page_view", "visitor": "v", "url": "https://shop.example/?gclid=1"})
            .to_string();
    let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), event);
    assert_eq!(
        request
            .header("user-agent", CHROME)
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    let groups = edge.groups().await;
    assert_eq!(
        (&groups[0].agent, &groups[0].events[0].acquisition),
        (&None, &None)
    );
}

#[tokio::test]
async fn countries_are_told_as_soon_as_there_is_a_database() {
    let edge =
        Edge::start_with(|config| config.enrich.client_ip_header = "X-Forwarded-For".to_owned())
            .await;
    let event = json!({"type": "click", "visitor": "v"}).to_string();
    let send = async || {
        let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), event.clone());
        let request = request.header("x-forwarded-for", "192.0.2.7, 8.8.8.8");
        assert_eq!(request.send().await.unwrap().status(), 202);
    };
    send().await;
    // The real database, as an operator fetches it, while the collector runs.
    let data = edge.data.path().to_owned();
    let fetched = tokio::task::spawn_blocking(move || wakeline_collector::fetch_places(&data))
        .await
        .unwrap();
    let path = fetched.expect("the test needs npm and access to its registry");
    assert!(path.exists());
    eventually(async || edge.metric("geoip_loaded").await == 1).await;
    send().await;
    let countries: Vec<_> = edge
        .groups()
        .await
        .into_iter()
        .map(|group| group.location.unwrap_or_default().country)
        .collect();
    assert_eq!(countries, ["", "US"]);
}

#[tokio::test]
async fn a_visitors_language_is_the_clients_else_the_browsers_unless_it_is_not_to_be_kept() {
    let device = async |on: bool, said: &str| {
        let edge = Edge::start_with(|config| config.enrich.language = on).await;
        let mut batch = crate::harness::batch(&[0]);
        batch.device = Some(v1::Device {
            language: said.to_owned(),
            ..v1::Device::default()
        });
        let request = edge.post("/w/1/batch", batch.encode_to_vec());
        let request = request.header("accept-language", "en;q=0.5, DE_at");
        assert_eq!(request.send().await.unwrap().status(), 202);
        let group = edge.groups().await.remove(0);
        group.device.unwrap_or_default().language
    };
    assert_eq!(device(true, "fr_fr").await, "fr-FR");
    assert_eq!(device(true, "").await, "de-AT");
    assert_eq!(device(false, "fr").await, "");
}

#[tokio::test]
async fn clocks_and_currencies_are_corrected_only_where_that_is_switched_on() {
    let hour_ahead = |ago_ms: i64| {
        let now = jiff::Timestamp::now().as_millisecond() + 3_600_000;
        jiff::Timestamp::from_millisecond(now - ago_ms)
            .unwrap()
            .to_string()
    };
    for on in [true, false] {
        let edge = Edge::start_with(|config| {
            config.enrich.clock = on;
            config.enrich.currency = on;
        })
        .await;
        // Seven minutes ago by a clock that is an hour ahead.
        let track = json!({"writeKey": "shop", "type": "track", "event": "e", "anonymousId": "v",
            "timestamp": hour_ahead(420_000), "sentAt": hour_ahead(0)});
        edge.post("/v1/t", track.to_string()).send().await.unwrap();
        let bought =
            json!({"n": "Bought", "u": "https://shop.example/", "d": "shop", "$": {"amount": 1}});
        let request = edge.post("/api/event", bought.to_string());
        request
            .header("user-agent", "Browser/1")
            .send()
            .await
            .unwrap();
        let groups = edge.groups().await;
        let received = groups[0].received_at;
        let event = &groups[0].events[0];
        assert_eq!(event.time_clamped, !on);
        let age = received - event.time;
        assert_eq!((419_000..421_000).contains(&age), on, "{age}");
        let refused = groups.iter().flat_map(|group| &group.rejected).count();
        assert_eq!(refused, usize::from(!on), "no currency, no amount");
    }
}
