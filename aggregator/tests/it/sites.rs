//! Sites and keys through the API.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::http::{Server, TOKEN, problem};

#[tokio::test]
async fn sites_are_made_changed_and_listed_with_their_keys() {
    let server = Server::start("UTC").await;
    let new = json!({"domain": "Second.example", "timezone": "Asia/Tokyo", "currency": "JPY"});
    let response = server.post("/api/v1/sites", &new).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let made: Value = response.json().await.unwrap();
    assert_eq!(
        (&made["site_id"], &made["domain"]),
        (&json!(2), &json!("second.example"))
    );

    let keys: Value = server
        .get("/api/v1/keys?site=second.example")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(keys[0]["key"], made["write_key"]);
    assert_eq!(
        (&keys[0]["kind"], &keys[1]["kind"]),
        (&json!("write"), &json!("server"))
    );

    let change = |body: Value| {
        let request = server
            .request(Method::PATCH, "/api/v1/sites/2")
            .bearer_auth(TOKEN);
        request.json(&body).send()
    };
    let changed = change(json!({"domain": "third.example", "timezone": "Asia/Tokyo"}))
        .await
        .unwrap();
    assert_eq!(
        changed.json::<Value>().await.unwrap()["domain"],
        "third.example"
    );
    problem(
        change(json!({"timezone": "UTC"})).await.unwrap(),
        StatusCode::CONFLICT,
    )
    .await;
    problem(
        change(json!({"domain": "shop.example"})).await.unwrap(),
        StatusCode::CONFLICT,
    )
    .await;
    problem(
        change(json!({"color": "red"})).await.unwrap(),
        StatusCode::BAD_REQUEST,
    )
    .await;

    problem(
        server
            .post("/api/v1/sites", &json!({"domain": "https://x.example/"}))
            .await,
        StatusCode::BAD_REQUEST,
    )
    .await;
    problem(
        server.get("/api/v1/keys?site=9").await,
        StatusCode::NOT_FOUND,
    )
    .await;
    problem(server.get("/api/v1/keys").await, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn what_cannot_be_a_site_or_a_question_is_refused_in_plain_words() {
    let server = Server::start("UTC").await;
    let ask = |site: Value| json!({"site_id": site, "metrics": ["visits"], "date_range": "day"});
    for site in [json!(null), json!([1]), json!({}), json!(1.5), json!(true)] {
        let refused = server.post("/api/v2/query", &ask(site)).await;
        let said = problem(refused, StatusCode::BAD_REQUEST).await;
        assert!(
            said["detail"].as_str().unwrap().starts_with("site_id: "),
            "{said}"
        );
    }
    let refused = server.post("/api/v2/query", &json!([1])).await;
    let said = problem(refused, StatusCode::BAD_REQUEST).await;
    assert_eq!(said["detail"], "the body is not a JSON object");
}
