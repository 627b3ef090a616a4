//! Clients of other trackers: requests as they send them, what becomes of them, and what they get back.

use std::io::Write as _;

use serde_json::{Value, json};
use wakeline_proto::v1::{self, EventType};

use crate::harness::{Edge, SERVER_KEY, WRITE_KEY};

const PAGE: &str = "https://shop.example/p?utm_source=x";

/// Stops the collector; all events in its spool, each with its visitor.
async fn events(edge: Edge) -> Vec<(String, v1::Event)> {
    let groups = edge.groups().await;
    let mut all = Vec::new();
    for group in groups {
        assert_eq!(group.rejected, [], "{:?}", group.rejected);
        let visitor = group.visitor;
        all.extend(
            group
                .events
                .into_iter()
                .map(|event| (visitor.clone(), event)),
        );
    }
    all
}

async fn send(edge: &Edge, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let request = edge.post(path, body).header("user-agent", "Browser/1");
    request.send().await.unwrap()
}

fn property<'a>(event: &'a v1::Event, name: &str) -> Option<&'a v1::value::Kind> {
    let found = event.properties.iter().find(|one| one.name == name)?;
    found.value.as_ref()?.kind.as_ref()
}

fn text(event: &v1::Event, name: &str) -> String {
    match property(event, name) {
        Some(v1::value::Kind::Text(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

fn revenue(event: &v1::Event) -> (i64, &str) {
    let order = event.order.as_ref().unwrap();
    (order.value, &order.currency)
}

#[tokio::test]
async fn plausible_counts_views_goals_revenue_and_engagement_of_one_visitor() {
    let edge = Edge::start().await;
    for body in [
        json!({"n":"pageview","u":PAGE,"d":"shop","r":"https://search.example/","v":1}),
        json!({"n":"Signup","u":PAGE,"d":"shop","p":{"plan":"pro"},"i":false}),
        json!({"name":"Purchase","url":PAGE,"domain":"shop.example","revenue":{"currency":"EUR","amount":"12.345"}}),
        json!({"n":"engagement","u":PAGE,"d":"shop","sd":70,"e":4200}),
    ] {
        let answer = send(&edge, "/api/event", body.to_string()).await;
        assert_eq!(answer.status(), 202);
        assert!(!answer.headers().contains_key("x-plausible-dropped"));
        assert_eq!(answer.text().await.unwrap(), "ok");
    }
    let unknown = json!({"n":"pageview","u":PAGE,"d":"wk_unknown"}).to_string();
    let answer = send(&edge, "/api/event", unknown).await;
    assert_eq!(answer.status(), 503, "the aggregator can't be asked");
    let all = events(edge).await;
    let types: Vec<_> = all.iter().map(|(_, event)| event.r#type()).collect();
    let expected = [
        EventType::PageView,
        EventType::Custom,
        EventType::Custom,
        EventType::Engagement,
    ];
    assert_eq!(types, expected);
    assert!(
        all.iter()
            .all(|(visitor, _)| visitor.starts_with("d.") && *visitor == all[0].0)
    );
    assert_eq!(all[0].1.path, "/p");
    assert!(all[1].1.passive && text(&all[1].1, "plan") == "pro");
    assert_eq!(revenue(&all[2].1), (1235, "EUR"));
    assert_eq!(all[2].1.name, "Purchase");
    assert_eq!(all[3].1.engagement.unwrap().time_ms, 4200);
}

#[tokio::test]
async fn umami_counts_views_events_and_revenue() {
    let edge = Edge::start().await;
    for payload in [
        json!({"website":"shop","hostname":"shop.example","url":"/p?utm_source=x","referrer":"","screen":"800x600","language":"de","title":"T"}),
        json!({"website":"shop","hostname":"shop.example","url":"/p","name":"buy","data":{"revenue":9.5,"currency":"USD","size":"L"},"id":"u1"}),
    ] {
        let body = json!({"type":"event","payload":payload}).to_string();
        let answer = send(&edge, "/api/send", body).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["sessionId"].as_str().unwrap().len(), 36);
    }
    let all = events(edge).await;
    assert_eq!(
        (all[0].1.hostname.as_str(), all[0].1.path.as_str()),
        ("shop.example", "/p")
    );
    assert_eq!(revenue(&all[1].1), (950, "USD"));
    assert_eq!(all[1].1.name, "buy");
    assert_eq!(all[1].1.r#type(), EventType::Custom);
    assert_eq!((all[1].0.as_str(), all[1].1.user.as_str()), ("u1", "u1"));
    assert_eq!(text(&all[1].1, "size"), "L");
}

#[tokio::test]
async fn matomo_counts_views_events_orders_and_bulk() {
    let edge = Edge::start().await;
    let view = "idsite=shop&rec=1&action_name=T&url=https%3A%2F%2Fshop.example%2Fp&_id=0123456789abcdef&res=800x600";
    let answer = edge
        .get(&format!("/matomo.php?{view}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "image/gif");
    let answer = send(
        &edge,
        &format!("/matomo.php?{view}&e_c=Video&e_a=Play&e_v=3&send_image=0"),
        "",
    )
    .await;
    assert_eq!(answer.status(), 204);
    let order = "idsite=shop&rec=1&url=https://shop.example/done&_id=0123456789abcdef&idgoal=0&ec_id=A1&revenue=20.50\
                 &ec_items=%5B%5B%22S1%22%2C%22Mug%22%2C%22Cups%22%2C10.25%2C2%5D%5D";
    let body = json!({"requests":[format!("?{order}"), format!("?{view}"), 7]}).to_string();
    let answer: Value = send(&edge, "/matomo.php", body).await.json().await.unwrap();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["tracked"], 2);
    let groups = edge.groups().await;
    let all: Vec<_> = groups.iter().flat_map(|group| &group.events).collect();
    assert_eq!(all.len(), 4);
    assert!(
        groups
            .iter()
            .filter(|group| !group.events.is_empty())
            .all(|group| group.visitor == "0123456789abcdef")
    );
    assert_eq!((all[0].title.as_str(), all[0].path.as_str()), ("T", "/p"));
    assert_eq!(
        (all[1].name.as_str(), text(all[1], "category")),
        ("Play", "Video".to_owned())
    );
    assert_eq!(revenue(all[2]), (2050, "EUR"), "the site's currency");
    let items = &all[2].order.as_ref().unwrap().items;
    assert_eq!((items[0].price, items[0].quantity), (1025, 2));
}

#[tokio::test]
async fn ga4_counts_hits_of_gtag_and_of_servers() {
    let edge = Edge::start().await;
    let common = "v=2&tid=shop&cid=123.456&dl=https%3A%2F%2Fshop.example%2Fp&dt=T&sr=800x600&ul=de";
    let lines = "en=page_view&_et=5\r\nen=purchase&cu=EUR&epn.value=21.5&ep.transaction_id=T1&pr1=idS1~nmMug~pr10.75~qt2\nen=scroll&epn.percent_scrolled=90";
    for (query, body) in [
        (common.to_owned(), lines),
        (format!("{common}&en=login&ep.method=mail&gcs=G111"), ""),
    ] {
        let answer = send(&edge, &format!("/g/collect?{query}"), body).await;
        assert_eq!(
            (answer.status().as_u16(), answer.content_length()),
            (204, Some(0))
        );
    }
    let body = json!({"client_id":"123.456","user_id":"u","user_properties":{"tier":{"value":"gold"}},"events":[
        {"name":"purchase","params":{"currency":"EUR","value":3,"transaction_id":"T2","page_location":PAGE}}]});
    let answer = send(
        &edge,
        "/mp/collect?measurement_id=shop&api_secret=x",
        body.to_string(),
    )
    .await;
    assert_eq!(answer.status(), 204);
    let denied = send(
        &edge,
        &format!("/g/collect?{common}&en=page_view&gcs=G100"),
        "",
    )
    .await;
    assert_eq!(denied.status(), 204);
    let all = events(edge).await;
    assert_eq!(all.len(), 5, "what is denied is not kept");
    assert!(all.iter().all(|(visitor, _)| visitor == "123.456"));
    assert_eq!(all[0].1.r#type(), EventType::PageView);
    assert_eq!(revenue(&all[1].1), (2150, "EUR"));
    assert_eq!(all[1].1.order.as_ref().unwrap().items[0].sku, "S1");
    assert_eq!(all[2].1.engagement.unwrap().scroll_percent, 90);
    let login = all.iter().find(|(_, event)| event.name == "login").unwrap();
    assert_eq!(text(&login.1, "method"), "mail");
    let last = all.iter().find(|(_, event)| event.user == "u").unwrap();
    assert_eq!(
        (revenue(&last.1), text(&last.1, "user.tier")),
        ((300, "EUR"), "gold".to_owned())
    );
}

#[tokio::test]
async fn posthog_is_answered_with_200_however_it_is_wrapped() {
    let edge = Edge::start().await;
    let view = |uuid: &str| json!({"uuid":uuid,"event":"$pageview","properties":{"token":"shop","distinct_id":"u1","$device_id":"d1","$current_url":PAGE,"$referrer":"$direct","title":"T","plan":"pro"}});
    let gzip = |value: &Value| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(value.to_string().as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    // {"event":"x","api_key":"shop","distinct_id":"u1"}
    let form = "data=eyJldmVudCI6IngiLCJhcGlfa2V5Ijoic2hvcCIsImRpc3RpbmN0X2lkIjoidTEifQ%3D%3D&compression=base64";
    let batch = json!({"api_key":"shop","batch":[
        {"event":"Order Completed","distinct_id":"u1","properties":{"revenue":5,"currency":"EUR","order_id":"O1"}},
        {"event":"$identify","distinct_id":"u2","properties":{"$anon_distinct_id":"d1","$set":{"name":"n"}}}]});
    for (path, body) in [
        ("/e/?compression=gzip-js", gzip(&json!([view("a")]))),
        ("/i/v0/e/", gzip(&view("b"))),
        ("/e/", form.as_bytes().to_vec()),
        ("/batch", batch.to_string().into_bytes()),
    ] {
        let answer = send(&edge, path, body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(
            answer.json::<Value>().await.unwrap(),
            json!({"status":"Ok"})
        );
    }
    for path in [
        "/flags/?v=2",
        "/decide/?v=3",
        "/array/shop/config",
        "/array/shop/config.js",
    ] {
        let answer = send(&edge, path, "{}").await.text().await.unwrap();
        assert!(answer.contains("supportedCompression"), "{answer}");
    }
    let all = events(edge).await;
    let find = |wanted: EventType| {
        all.iter()
            .find(|(_, event)| event.r#type() == wanted)
            .unwrap()
    };
    assert_eq!(all.len(), 5);
    let (visitor, view) = find(EventType::PageView);
    assert_eq!(
        (
            visitor.as_str(),
            view.user.as_str(),
            view.client_id.as_str()
        ),
        ("d1", "u1", "a")
    );
    assert_eq!(
        (view.referrer.as_str(), text(view, "plan")),
        ("", "pro".to_owned())
    );
    assert_eq!(revenue(&find(EventType::Order).1), (500, "EUR"));
    assert_eq!(find(EventType::Identify).1.user, "u2");
}

#[tokio::test]
async fn segment_and_rudderstack_count_all_six_calls() {
    let edge = Edge::start().await;
    let settings: Value = edge
        .get("/v1/projects/shop/settings")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(settings["integrations"]["Segment.io"]["apiKey"], "shop");
    let config: Value = edge
        .get("/sourceConfig/?writeKey=shop")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(config["source"]["enabled"], true);
    let context =
        json!({"page":{"url":PAGE,"title":"T"},"library":{"name":"analytics.js"},"locale":"de"});
    for (path, body) in [
        (
            "/v1/p",
            json!({"anonymousId":"a","messageId":"m1","context":context,"properties":{"plan":"pro"}}),
        ),
        (
            "/v1/track",
            json!({"anonymousId":"a","messageId":"m2","event":"Order Completed","context":context,"properties":{"order_id":"O","revenue":7.5,"currency":"EUR","products":[{"sku":"S","price":7.5,"quantity":1}],"coupon":"c"}}),
        ),
        (
            "/v1/i",
            json!({"anonymousId":"a","userId":"u","messageId":"m3","traits":{"tier":"gold"}}),
        ),
        (
            "/v1/s",
            json!({"anonymousId":"a","messageId":"m4","name":"Home"}),
        ),
        (
            "/v1/g",
            json!({"anonymousId":"a","messageId":"m5","groupId":"g"}),
        ),
        (
            "/v1/a",
            json!({"previousId":"a","userId":"u","messageId":"m6"}),
        ),
    ] {
        // shop:
        let request = edge
            .post(path, body.to_string())
            .header("authorization", "Basic c2hvcDo=");
        let answer = request
            .header("content-type", "text/plain")
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.text().await.unwrap().as_str()
            ),
            (200, r#"{"success":true}"#)
        );
    }
    let batch = json!({"writeKey":WRITE_KEY,"batch":[{"type":"track","event":"x","userId":"u9","messageId":"m7"}]});
    assert_eq!(
        send(&edge, "/v1/batch", batch.to_string()).await.status(),
        200
    );
    let all = events(edge).await;
    let types: Vec<_> = all.iter().map(|(_, event)| event.r#type()).collect();
    assert_eq!(
        types,
        [
            EventType::PageView,
            EventType::Order,
            EventType::Identify,
            EventType::ScreenView,
            EventType::Custom,
            EventType::Identify,
            EventType::Custom
        ]
    );
    assert!(all[..6].iter().all(|(visitor, _)| visitor == "a"));
    assert_eq!(
        (all[0].1.path.as_str(), all[0].1.client_id.as_str()),
        ("/p", "m1")
    );
    assert_eq!(
        (revenue(&all[1].1), text(&all[1].1, "coupon")),
        ((750, "EUR"), "c".to_owned())
    );
    assert_eq!(
        (all[2].1.user.as_str(), text(&all[2].1, "user.tier")),
        ("u", "gold".to_owned())
    );
    assert_eq!((all[6].0.as_str(), all[6].1.user.as_str()), ("u9", "u9"));
}

#[tokio::test]
async fn snowplow_counts_views_pings_described_events_and_transactions() {
    let edge = Edge::start().await;
    let common = |mut event: Value| {
        let more = json!({"aid":"shop","p":"web","tv":"js","duid":"v1","url":PAGE,"page":"T","res":"800x600"});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    };
    let described = json!({"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":{
        "schema":"iglu:com.acme/save_search/jsonschema/1-0-0","data":{"term":"mug"}}});
    let action = json!({"data":{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2","data":{"type":"transaction"}}});
    let contexts = json!({"data":[
        {"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/transaction/jsonschema/1-0-0","data":{"transaction_id":"T1","currency":"EUR","revenue":11}},
        {"schema":"iglu:com.acme/plan/jsonschema/1-0-0","data":{"name":"pro"}}]});
    let encoded = |value: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let body = json!({"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[
        common(json!({"e":"pv","eid":"e1"})),
        common(json!({"e":"pp","eid":"e2","pp_may":"400","ds":"800x2000","vp":"800x600"})),
        common(json!({"e":"ue","eid":"e3","ue_pr":described.to_string()})),
        common(json!({"e":"ue","eid":"e4","ue_px":encoded(&action),"cx":encoded(&contexts)})),
        common(json!({"e":"tr","eid":"e5","tr_id":"T2","tr_tt":"20","tr_cu":"EUR"})),
        common(json!({"e":"ti","eid":"e6","ti_id":"T2","ti_sk":"S","ti_pr":"10","ti_qu":"2"})),
        common(json!({"e":"se","eid":"e7","se_ca":"c","se_ac":"play","se_va":"1.5"})),
    ]});
    let request = edge.post("/com.snowplowanalytics.snowplow/tp2", body.to_string());
    let answer = request
        .header("origin", "https://shop.example")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "ok");
    let held = cookie.split(';').next().unwrap();
    let again = edge
        .get("/i?e=pv&aid=shop&url=https%3A%2F%2Fshop.example%2F")
        .header("cookie", held)
        .send()
        .await
        .unwrap();
    assert_eq!(again.headers()["content-type"], "image/gif");
    assert!(
        again.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with(held),
        "the id stays"
    );
    let anonymous = edge
        .get("/i?e=pv&aid=shop&url=https%3A%2F%2Fshop.example%2F")
        .header("sp-anonymous", "*")
        .header("user-agent", "B")
        .send()
        .await
        .unwrap();
    assert!(
        anonymous.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let all = events(edge).await;
    assert_eq!(all.len(), 9);
    assert_eq!(all[1].1.engagement.unwrap().scroll_percent, 50);
    assert_eq!(
        (all[2].1.name.as_str(), text(&all[2].1, "term")),
        ("save_search", "mug".to_owned())
    );
    assert_eq!(
        (revenue(&all[3].1), text(&all[3].1, "plan.name")),
        ((1100, "EUR"), "pro".to_owned())
    );
    assert_eq!(
        (
            revenue(&all[4].1),
            all[4].1.order.as_ref().unwrap().items.len()
        ),
        ((2000, "EUR"), 1)
    );
    assert_eq!(
        (all[6].1.name.as_str(), all[6].1.client_id.as_str()),
        ("play", "e7")
    );
    assert_eq!(format!("sp={}", all[7].0), held);
    assert!(all[8].0.starts_with("d."));
}

#[tokio::test]
async fn shopify_counts_views_and_orders() {
    let edge = Edge::start().await;
    let context = json!({"document":{"location":{"href":PAGE,"host":"shop.example"},"title":"T","referrer":""}});
    let body = json!([
        {"id":"1","name":"page_viewed","clientId":"c","timestamp":jiff::Timestamp::now().to_string(),"context":context},
        {"id":"2","name":"checkout_completed","clientId":"c","context":context,"data":{"checkout":{"order":{"id":"O"},
            "totalPrice":{"amount":12.3,"currencyCode":"EUR"},"lineItems":[{"title":"Mug","quantity":1,"variant":{"sku":"S","price":{"amount":12.3}}}]}}}]);
    let answer: Value = send(&edge, "/shopify?k=shop", body.to_string())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer, json!({"accepted":2,"rejected":0}));
    let all = events(edge).await;
    assert_eq!((all[0].0.as_str(), all[0].1.path.as_str()), ("c", "/p"));
    assert_eq!(revenue(&all[1].1), (1230, "EUR"));
}

#[tokio::test]
async fn what_a_door_refuses_can_be_sent_again_once_it_is_mended() {
    let edge = Edge::start().await;
    let snowplow = json!({"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[
        {"aid":"shop","e":"pv","duid":"v","eid":"x","url":"about:blank"}]});
    let requests = [
        ("/api/event", json!({"n":"pageview","u":"about:blank","d":"shop","p":{"a":1}}).to_string()),
        ("/api/send", json!({"type":"event","payload":{"website":"shop","url":"about:blank","hostname":""}}).to_string()),
        ("/matomo.php?idsite=shop&rec=1&url=about%3Ablank&_id=1", String::new()),
        ("/g/collect?tid=shop&cid=1&en=page_view&dl=about%3Ablank", String::new()),
        ("/mp/collect?measurement_id=shop", json!({"client_id":"1","events":[{"name":"page_view","params":{"page_location":"about:blank"}}]}).to_string()),
        ("/e/", json!({"api_key":"shop","event":"$pageview","distinct_id":"1","properties":{"$current_url":"about:blank"}}).to_string()),
        ("/v1/p", json!({"writeKey":"shop","anonymousId":"1","properties":{"url":"about:blank"}}).to_string()),
        ("/com.snowplowanalytics.snowplow/tp2", snowplow.to_string()),
        ("/shopify?k=shop", json!({"name":"page_viewed","clientId":"1","context":{"document":{"location":{"href":"about:blank"}}}}).to_string()),
    ];
    for (path, body) in requests.clone() {
        let answer = send(&edge, path, body).await;
        assert!(answer.status().is_success(), "{path}");
    }
    assert_eq!(edge.metric("events_accepted_total").await, 0);
    let groups = edge.groups().await;
    let kept: Vec<_> = groups.iter().flat_map(|group| &group.rejected).collect();
    assert_eq!(kept.len(), requests.len());
    let edge = Edge::start().await;
    for rejected in kept {
        assert_eq!(rejected.reason, "invalid_url");
        let mut payload: Value = serde_json::from_slice(&rejected.payload).unwrap();
        payload["url"] = PAGE.into();
        let again = edge
            .post("/w/1/events", payload.to_string())
            .bearer_auth(SERVER_KEY);
        let answer: Value = again.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer, json!({"accepted":1,"rejected":[]}), "{payload}");
    }
}

#[tokio::test]
async fn a_preflight_is_told_that_what_it_asks_for_is_fine() {
    let edge = Edge::start().await;
    let request = edge
        .http
        .request(reqwest::Method::OPTIONS, edge.url("/v1/t"));
    let request = request.header("origin", "https://a.example");
    let answer = request
        .header(
            "access-control-request-headers",
            "authorization,x-retry-count",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.headers()["access-control-allow-headers"],
        "authorization,x-retry-count"
    );
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://a.example"
    );
    edge.stop().await;
}

#[tokio::test]
async fn events_of_a_request_that_say_no_time_keep_their_order() {
    let edge = Edge::start().await;
    let called = |name: &str| json!({"name": name});
    let body = json!({"client_id": "c", "events": [called("one"), called("two"), called("three")]});
    let path = "/mp/collect?measurement_id=shop";
    send(&edge, path, body.to_string()).await;
    let mut all = events(edge).await;
    all.sort_by_key(|(_, event)| event.time);
    let names: Vec<_> = all.iter().map(|(_, event)| event.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(all[2].1.time - all[0].1.time, 2);
}

/// The refused events of a collector's spool, each with its reason and detail.
async fn refused(edge: Edge) -> (usize, Vec<(String, String)>) {
    let groups = edge.groups().await;
    let accepted = groups.iter().map(|group| group.events.len()).sum();
    let refused = groups.into_iter().flat_map(|group| group.rejected);
    (
        accepted,
        refused.map(|one| (one.reason, one.detail)).collect(),
    )
}

#[tokio::test]
async fn a_number_beyond_every_double_refuses_its_event_and_no_other() {
    let edge = Edge::start().await;
    let events = r#"{"client_id":"c","events":[
        {"name":"purchase","params":{"transaction_id":"T1","currency":"EUR","value":1e400}},
        {"name":"purchase","params":{"transaction_id":"T2","currency":"EUR","value":12.5}}]}"#;
    let answer = send(&edge, "/mp/collect?measurement_id=shop", events).await;
    assert_eq!(answer.status(), 204);
    let answer = send(&edge, "/mp/collect?measurement_id=shop", "{").await;
    assert_eq!(answer.status(), 400, "what can't be read at all is said");
    let (accepted, refused) = refused(edge).await;
    assert_eq!(accepted, 1);
    let [(reason, detail)] = refused.as_slice() else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, "invalid_money");
    assert!(detail.starts_with("value is no amount"), "{detail}");
}

#[tokio::test]
async fn amounts_of_matomo_are_read_with_a_comma_and_what_is_none_is_said_in_its_words() {
    let edge = Edge::start().await;
    let order = |id: &str, revenue: &str| {
        format!(
            "/matomo.php?idsite=shop&rec=1&_id=0123456789abcdef&url=https://shop.example/&idgoal=0&ec_id={id}&revenue={revenue}"
        )
    };
    for (id, revenue) in [
        ("A", "10,50"),
        ("B", "-3.20"),
        ("C", "1,000"),
        ("D", "1e14"),
    ] {
        edge.get(&order(id, revenue)).send().await.unwrap();
    }
    let groups = edge.groups().await;
    let events = groups.iter().flat_map(|group| &group.events);
    let amounts: Vec<_> = events.map(revenue).collect();
    assert_eq!(amounts, [(1050, "EUR"), (-320, "EUR")], "a refund is one");
    let refused = groups.iter().flat_map(|group| &group.rejected);
    let details: Vec<_> = refused.map(|one| one.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "revenue is no amount: send major units as a number with a point, such as 10.50",
            "revenue is out of range"
        ]
    );
}
