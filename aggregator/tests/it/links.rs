//! Public links: the reports of one site, and nothing else.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::edge::{Spool, connect, push, visit};
use super::http::{Server, problem};
use super::live::{messages, next};

/// A server with two sites, of which the first has events, an alias and a segment; and a link to its reports.
async fn server(embed: &Value) -> (Server, Value) {
    let server = Server::start("UTC").await;
    for (path, body) in [
        ("/api/v1/sites", json!({"domain": "other.example"})),
        (
            "/api/v1/sites/1/segments",
            json!({"name": "Phones", "filters": [["is", "visit:device", ["Mobile"]]]}),
        ),
    ] {
        assert_eq!(server.post(path, &body).await.status(), StatusCode::CREATED);
    }
    let alias = server.request(Method::PATCH, "/api/v1/sites/1");
    let alias = alias.bearer_auth(super::http::TOKEN);
    let alias = alias.json(&json!({"alias": ["segment:secret"]}));
    assert_eq!(alias.send().await.unwrap().status(), StatusCode::OK);
    let link = json!({"name": "Board", "embed": embed});
    let made = server.post("/api/v1/sites/shop.example/links", &link).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let link = made.json().await.unwrap();
    (server, link)
}

async fn send(server: &Server, link: &Value, method: Method, path: &str, body: &Value) -> Response {
    let request = server.request(method, path);
    let request = request.bearer_auth(link["secret"].as_str().unwrap());
    request.json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_public_link_reads_the_reports_of_its_site_and_nothing_else() {
    let (server, link) = server(&json!([])).await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 5, Spool::of([visit(1, 3)]).blocks())
        .await
        .unwrap();
    server.applied().await;
    let null = json!(null);
    let get = async |path: &str| -> Value {
        let answer = send(&server, &link, Method::GET, path, &null).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    };

    let question =
        |site: &str| json!({"site_id": site, "metrics": ["events"], "date_range": "all"});
    let answer = send(
        &server,
        &link,
        Method::POST,
        "/api/v2/query",
        &question("1"),
    )
    .await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["results"][0]["metrics"], json!([3]));
    let sites = get("/api/v1/sites").await;
    assert_eq!(sites.as_array().unwrap().len(), 1);
    assert_eq!(
        (&sites[0]["domain"], &sites[0]["aliases"]),
        (&json!("shop.example"), &json!([]))
    );
    let segments = get("/api/v1/sites/1/segments").await;
    assert_eq!(
        (&segments[0]["name"], &segments[0]["filters"]),
        (&json!("Phones"), &json!([]))
    );
    assert_eq!(get("/api/v1/session").await["link"], link["id"]);
    assert_eq!(
        get("/api/v1/stats/aggregate?site_id=1&period=day").await["results"]["visitors"]["value"],
        0
    );

    for (method, path, body) in [
        (Method::POST, "/api/v2/query", question("2")),
        (
            Method::GET,
            "/api/v1/sites/other.example/segments",
            null.clone(),
        ),
        (Method::GET, "/api/v1/live?site=2", null.clone()),
    ] {
        let other = send(&server, &link, method, path, &body).await;
        problem(other, StatusCode::NOT_FOUND).await;
    }
    for (method, path, body) in [
        (Method::GET, "/api/v1/keys?site=1", null.clone()),
        (Method::GET, "/api/v1/sites/1/goals", null.clone()),
        (
            Method::POST,
            "/api/v1/sites/1/goals",
            json!({"name": "a", "rule": {"event": "a"}}),
        ),
        (
            Method::POST,
            "/api/v1/sites/1/segments",
            json!({"name": "a", "filters": []}),
        ),
        (Method::DELETE, "/api/v1/sites/1/segments/1", null.clone()),
        (Method::GET, "/api/v1/sites/1/links", null.clone()),
        (Method::POST, "/api/v1/sites/1/links", json!({"name": "a"})),
        (Method::DELETE, "/api/v1/sites/1/links/1", null.clone()),
        (Method::GET, "/api/v1/sites/1/rules", null.clone()),
        (Method::PUT, "/api/v1/sites/1/rules", json!({"rules": {}})),
        (Method::PATCH, "/api/v1/sites/1", json!({"currency": "CHF"})),
        (
            Method::POST,
            "/api/v1/sites",
            json!({"domain": "third.example"}),
        ),
        (Method::GET, "/api/v1/ledger?site_id=1", null.clone()),
        (Method::GET, "/api/v1/dead-letters?site_id=1", null.clone()),
        (
            Method::POST,
            "/api/v1/events/sample",
            json!({"site_id": 1, "date_range": "all"}),
        ),
        (Method::GET, "/api/v1/status", null.clone()),
    ] {
        let refused = send(&server, &link, method.clone(), path, &body).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    let sign_in = server.request(Method::POST, "/api/v1/session");
    let sign_in = sign_in
        .json(&json!({"token": link["secret"]}))
        .send()
        .await
        .unwrap();
    problem(sign_in, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_revoked_link_opens_nothing_and_ends_what_is_open() {
    let (server, link) = server(&json!([])).await;
    let live = send(
        &server,
        &link,
        Method::GET,
        "/api/v1/live?site=1",
        &json!(null),
    )
    .await;
    let mut stream = messages(live);
    assert_eq!(next(&mut stream, "now").await, json!({"visitors": 0}));
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 5, Spool::of([visit(1, 3)]).blocks())
        .await
        .unwrap();
    // Figures changed is told, what happened is not.
    let message = loop {
        let message = stream.next().await.unwrap();
        if !message.starts_with("event: now") {
            break message;
        }
    };
    assert!(message.starts_with("event: changed"), "{message}");

    let path = format!("/api/v1/sites/1/links/{}", link["id"]);
    let revoked = server
        .request(Method::DELETE, &path)
        .bearer_auth(super::http::TOKEN);
    assert_eq!(
        revoked.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let rest = tokio::time::timeout(Duration::from_secs(20), stream.collect::<Vec<_>>()).await;
    assert!(
        rest.unwrap()
            .iter()
            .all(|message| !message.starts_with("event: event"))
    );
    let again = send(&server, &link, Method::GET, "/api/v1/session", &json!(null)).await;
    problem(again, StatusCode::UNAUTHORIZED).await;
    let twice = server
        .request(Method::DELETE, &path)
        .bearer_auth(super::http::TOKEN);
    problem(twice.send().await.unwrap(), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn only_the_page_of_a_link_may_be_framed_and_only_by_whom_it_names() {
    let (server, link) = server(&json!([
        "https://intranet.example",
        "http://localhost:3000"
    ]))
    .await;
    let policy = async |path: &str| {
        let page = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let framed = !page.headers().contains_key(header::X_FRAME_OPTIONS);
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        let (_, ancestors) = policy.rsplit_once("frame-ancestors ").unwrap();
        (framed, ancestors.to_owned())
    };
    let secret = link["secret"].as_str().unwrap();
    let named = (
        true,
        "https://intranet.example http://localhost:3000".to_owned(),
    );
    let nobody = (false, "'none'".to_owned());
    assert_eq!(policy(&format!("/share/{secret}")).await, named);
    assert_eq!(policy(&format!("/share/{secret}?theme=dark")).await, named);
    for path in ["/", "/share/", "/share/nothing", "/sharing"] {
        assert_eq!(policy(path).await, nobody, "{path}");
    }
    for embed in ["*", "https://a.example; script-src *", "a.example"] {
        let link = json!({"name": "Bad", "embed": [embed]});
        let refused = server.post("/api/v1/sites/1/links", &link).await;
        problem(refused, StatusCode::BAD_REQUEST).await;
    }
}
