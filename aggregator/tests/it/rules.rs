//! A site's rules through the API: changed, previewed, in force.

use prost::Message as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wakeline_proto::v1::config_client::ConfigClient;
use wakeline_proto::v1::{
    ConfirmRequest, Event, EventType, Group, Property, Rejected, WatchRequest,
};

use super::edge::{self, SITE, Spool, connect, until};
use super::http::{Server, TOKEN, problem};

const RULES: &str = "/api/v1/sites/shop.example/rules";

#[tokio::test]
async fn a_sites_rules_are_replaced_as_a_whole_and_from_the_version_that_was_seen() {
    let server = Server::start("UTC").await;
    let path = "/api/v1/sites/shop.example/rules";
    let send = |method: Method, path: &str, body: Value| {
        let request = server.request(method, path).bearer_auth(TOKEN);
        request.json(&body).send()
    };
    let before: Value = send(Method::GET, path, json!(null))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&before["version"], &before["rules"]["bots"]["crawlers"]),
        (&json!(0), &json!(true))
    );

    let change =
        json!({"version": 0, "rules": {"blocked_paths": ["/admin*"], "limits": {"per_day": 5}}});
    let saved = send(Method::PUT, path, change.clone()).await.unwrap();
    assert_eq!(saved.status(), StatusCode::OK);
    assert_eq!(saved.json::<Value>().await.unwrap()["version"], 1);
    problem(
        send(Method::PUT, path, change).await.unwrap(),
        StatusCode::CONFLICT,
    )
    .await;
    for bad in [
        json!({"rules": {"blocked": []}}),
        json!({"rules": {"sample_percent": 101}}),
        json!({"rules": {"schemas": [{"event": "a", "mode": "warn", "schema": {"$ref": "http://127.0.0.1/"}}]}}),
        json!({}),
    ] {
        problem(
            send(Method::PUT, path, bad).await.unwrap(),
            StatusCode::BAD_REQUEST,
        )
        .await;
    }
    let history = send(Method::GET, &format!("{path}/history"), json!(null))
        .await
        .unwrap();
    assert_eq!(
        history.json::<Value>().await.unwrap()[0]["rules"]["limits"]["per_day"],
        5
    );
    let nowhere = send(Method::GET, "/api/v1/sites/9/rules", json!(null))
        .await
        .unwrap();
    problem(nowhere, StatusCode::NOT_FOUND).await;
}

async fn answer(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn put(server: &Server, body: Value) -> reqwest::Response {
    let request = server.request(Method::PUT, RULES).bearer_auth(TOKEN);
    request.json(&body).send().await.unwrap()
}

#[tokio::test]
async fn each_version_tells_who_made_it_and_what_is_wrong_is_said_beside_its_field() {
    let server = Server::start("UTC").await;
    answer(put(&server, json!({"rules": {"spam": false}})).await).await;
    let bad = json!({"rules": {"sample_percent": 101, "hosts": ["https://a"]}});
    let refused = problem(put(&server, bad).await, StatusCode::BAD_REQUEST).await;
    let keys = refused["errors"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.map(|error| error["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["hosts", "sample_percent"]);
    let history = answer(server.get(&format!("{RULES}/history")).await).await;
    assert_eq!(history[0]["changed_by"], "tests");
    assert!(history[0]["created_at"].as_i64() > Some(1_700_000_000_000));
}

#[tokio::test]
async fn a_schema_only_grows_unless_somebody_insists_and_its_versions_are_listed() {
    let server = Server::start("UTC").await;
    let signup = |schema: Value| json!([{"event": "signup", "mode": "warn", "schema": schema}]);
    let wide = signup(json!({"properties": {"plan": {"type": "string"}, "seats": {"minimum": 1}}}));
    answer(put(&server, json!({"rules": {"schemas": wide}})).await).await;
    let narrow = signup(json!({"properties": {"plan": {"type": "integer"}}}));
    let refused = put(&server, json!({"rules": {"schemas": narrow}})).await;
    let refused = problem(refused, StatusCode::CONFLICT).await;
    let errors = refused["errors"].as_array().unwrap().iter();
    let keys: Vec<_> = errors.map(|error| error["key"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "schemas[0].schema.properties.plan.type",
            "schemas[0].schema.properties.seats"
        ]
    );
    assert_eq!(answer(server.get(RULES).await).await["version"], 1);
    answer(
        put(
            &server,
            json!({"force": true, "rules": {"schemas": narrow}}),
        )
        .await,
    )
    .await;
    let versions = answer(server.get(&format!("{RULES}/schemas")).await).await;
    let numbers: Vec<_> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["number"])
        .collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(
        (&versions[0]["event"], &versions[0]["mode"]),
        (&json!("signup"), &json!("warn"))
    );
}

#[tokio::test]
async fn rules_are_in_force_where_a_collector_said_so() {
    let server = Server::start("UTC").await;
    let mut client = ConfigClient::new(connect(server.aggregator.grpc_addr()).await);
    let mut streams = Vec::new();
    for edge in [7, 8] {
        let watch = WatchRequest { edge, version: 0 };
        let mut stream = client.watch(watch).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        streams.push((edge, stream));
    }
    let changed = answer(put(&server, json!({"rules": {"spam": false}})).await).await;
    assert_eq!(
        changed["collectors"],
        json!({"connected": 2, "in_force": 0})
    );
    for (told, (edge, stream)) in streams.iter_mut().enumerate() {
        let version = stream.message().await.unwrap().unwrap().version;
        let confirm = ConfirmRequest {
            edge: *edge,
            version,
        };
        client.confirm(confirm).await.unwrap();
        let now = answer(server.get(RULES).await).await;
        assert_eq!(
            now["collectors"],
            json!({"connected": 2, "in_force": told + 1})
        );
    }
    drop(streams);
    until("collectors that left are not counted", async || {
        answer(server.get(RULES).await).await["collectors"]["connected"] == 0
    })
    .await;
}

/// What came in now: views of three pages, one of them by spam, a sign-up, two refused events.
fn arrived() -> Group {
    let view = |seq, path: &str, referrer: &str| Event {
        stream: 9,
        seq,
        time: 1,
        r#type: EventType::PageView.into(),
        hostname: "shop.example".to_owned(),
        path: path.to_owned(),
        referrer: referrer.to_owned(),
        ..Event::default()
    };
    let rejected = |reason: &str, url: &str| Rejected {
        reason: reason.to_owned(),
        detail: "why".to_owned(),
        payload: json!({"type": "page_view", "url": url})
            .to_string()
            .into_bytes()
            .into(),
        ..Rejected::default()
    };
    Group {
        site: SITE,
        visitor: "v".to_owned(),
        received_at: 1_790_000_000_000,
        events: vec![
            view(0, "/", ""),
            view(1, "/Admin/users", ""),
            view(2, "/admin", "https://semalt.com/x"),
            Event {
                r#type: EventType::Custom.into(),
                name: "signup".to_owned(),
                properties: vec![Property {
                    name: "plan".to_owned(),
                    value: None,
                }],
                ..view(3, "/", "")
            },
        ],
        rejected: vec![
            rejected("foreign_host", "https://other.example/a"),
            rejected("foreign_host", "https://third.example/a"),
            rejected("too_old", "https://shop.example/"),
        ],
        ..Group::default()
    }
}

#[tokio::test]
async fn a_preview_tells_what_other_rules_would_have_done_and_changes_nothing() {
    let server = Server::start("UTC").await;
    let (mine, mut foreign) = (arrived(), arrived());
    foreign.site = 2;
    assert!(mine.encoded_len() > 100);
    let spool = Spool::of([mine, foreign]);
    let channel = edge::connect(server.aggregator.grpc_addr()).await;
    edge::push(&channel, 5, spool.blocks()).await.unwrap();
    server.applied().await;

    let path = format!("{RULES}/preview");
    let preview = async |rules: Value| {
        let response = server.post(&path, &json!({ "rules": rules })).await;
        answer(response).await
    };
    let nothing = preview(json!({"spam": false, "hosts": ["nobody.example"]})).await;
    assert_eq!(nothing["complete"], true);
    assert_eq!(
        (&nothing["accepted"], &nothing["refused"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(nothing["would_refuse"]["events"], 0, "{nothing}");
    assert_eq!(nothing["would_accept"]["events"], 0);

    let told = preview(json!({
        "blocked_paths": ["/admin*"], "urls": {"lower_case_paths": true}, "hosts": ["other.example"],
        "schemas": [{"event": "signup", "mode": "reject", "schema": {"required": ["plan"]}}],
    }))
    .await;
    assert_eq!(
        told["would_refuse"]["reasons"],
        json!({"blocked_path": 1, "schema_mismatch": 1, "spam": 1})
    );
    let samples = told["would_refuse"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    assert_eq!(samples[0]["page"], "shop.example/Admin/users");
    assert_eq!(told["would_accept"]["reasons"], json!({"foreign_host": 1}));
    assert_eq!(
        told["would_accept"]["samples"][0]["page"],
        "other.example/a"
    );
    let not_told = told["not_told"].to_string();
    assert!(not_told.contains("Hosts:") && !not_told.contains("Bots:"));
    assert_eq!(answer(server.get(RULES).await).await["version"], 0);

    for (bad, key) in [
        (json!({"rules": {"sample_percent": 101}}), "sample_percent"),
        (json!({"rules": {}, "hours": 25}), "hours"),
    ] {
        let refused = problem(server.post(&path, &bad).await, StatusCode::BAD_REQUEST).await;
        assert!(refused["detail"].as_str().unwrap().contains(key));
    }
}
