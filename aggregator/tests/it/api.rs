//! The HTTP API besides queries: sessions, health, dashboard, documentation.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::edge::{config, start};
use super::http::{Server, TOKEN, problem};

#[tokio::test]
async fn nothing_is_told_without_a_token_or_a_session() {
    let server = Server::start("UTC").await;
    for (method, path) in [
        (Method::POST, "/api/v2/query"),
        (Method::GET, "/api/v1/session"),
        (Method::GET, "/api/v1/sites"),
        (Method::POST, "/api/v1/sites"),
        (Method::PATCH, "/api/v1/sites/1"),
        (Method::GET, "/api/v1/sites/1/rules"),
        (Method::PUT, "/api/v1/sites/1/rules"),
        (Method::GET, "/api/v1/sites/1/rules/history"),
        (Method::POST, "/api/v1/sites/1/rules/preview"),
        (Method::GET, "/api/v1/keys?site=1"),
        (Method::GET, "/api/v1/live?site=1"),
    ] {
        let bare = server
            .request(method.clone(), path)
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        problem(bare, StatusCode::UNAUTHORIZED).await;
        let wrong = server
            .request(method, path)
            .header(header::COOKIE, "wakeline_session=x")
            .json(&json!({}));
        problem(wrong.send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test]
async fn a_browser_signs_in_with_a_token_and_out_again() {
    let server = Server::start("UTC").await;
    let sign_in = server
        .request(Method::POST, "/api/v1/session")
        .json(&json!({"token": TOKEN}));
    let response = sign_in.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let with_cookie = |method: Method, path: &str| {
        server
            .request(method, path)
            .header(header::COOKIE, &cookie)
            .send()
    };
    let who: Value = with_cookie(Method::GET, "/api/v1/session")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(who["name"], "tests");
    let sites = with_cookie(Method::GET, "/api/v1/sites").await.unwrap();
    assert_eq!(
        sites.json::<Value>().await.unwrap()[0]["domain"],
        "shop.example"
    );

    let out = with_cookie(Method::DELETE, "/api/v1/session")
        .await
        .unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(
        out.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    problem(
        with_cookie(Method::GET, "/api/v1/session").await.unwrap(),
        StatusCode::UNAUTHORIZED,
    )
    .await;
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing_with_the_cookie() {
    let server = Server::start("UTC").await;
    let sign_in = server
        .request(Method::POST, "/api/v1/session")
        .json(&json!({"token": TOKEN}));
    let cookie = sign_in.send().await.unwrap().headers()[header::SET_COOKIE].clone();
    let host = server.aggregator.http_addr();
    let own = format!("http://{host}");
    let change = |method: Method, path: &str| {
        let request = server
            .request(method, path)
            .json(&json!({"currency": "CHF"}));
        request.header(header::COOKIE, &cookie)
    };
    for foreign in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        for (method, path) in [
            (Method::PATCH, "/api/v1/sites/1"),
            (Method::POST, "/api/v1/sites"),
            (Method::DELETE, "/api/v1/session"),
        ] {
            let refused = change(method, path).header(header::ORIGIN, foreign);
            problem(refused.send().await.unwrap(), StatusCode::FORBIDDEN).await;
        }
    }
    let site = "/api/v1/sites/1";
    for allowed in [
        change(Method::PATCH, site),
        change(Method::PATCH, site).header(header::ORIGIN, &own),
        change(Method::PATCH, site)
            .header(header::ORIGIN, "https://stats.example")
            .header("x-forwarded-host", "stats.example"),
        change(Method::PATCH, site)
            .header(header::ORIGIN, "https://stats.example")
            .header("sec-fetch-site", "same-origin"),
        // A token is not added by browsers.
        change(Method::PATCH, site)
            .header(header::ORIGIN, "https://evil.example")
            .bearer_auth(TOKEN),
        change(Method::DELETE, "/api/v1/session").header(header::ORIGIN, &own),
    ] {
        let status = allowed.send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
    }
}

#[tokio::test]
async fn the_dashboard_is_told_where_the_collector_is_if_that_is_configured() {
    let server = Server::start("UTC").await;
    let session: Value = server.get("/api/v1/session").await.json().await.unwrap();
    assert_eq!(session, json!({"token": 1, "name": "tests"}));

    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.http.collector_url = Some("https://collect.example/".to_owned());
    let aggregator = start(&config).await;
    aggregator.control().adopt_token("tests", TOKEN).unwrap();
    let url = format!("http://{}/api/v1/session", aggregator.http_addr());
    let session = reqwest::Client::new().get(url).bearer_auth(TOKEN).send();
    let session: Value = session.await.unwrap().json().await.unwrap();
    assert_eq!(session["collector_url"], "https://collect.example");
    assert_eq!(session["name"], "tests");
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls_only() {
    let server = Server::start("UTC").await;
    let request = server
        .request(Method::POST, "/api/v1/session")
        .header("x-forwarded-proto", "https");
    let response = request.json(&json!({"token": TOKEN})).send().await.unwrap();
    assert!(
        response.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .ends_with("; Secure")
    );
}

#[tokio::test]
async fn guessing_tokens_has_to_wait_while_right_tokens_and_sessions_go_on() {
    let server = Server::start("UTC").await;
    let sign_in = |token: &'static str| {
        server
            .request(Method::POST, "/api/v1/session")
            .json(&json!({"token": token}))
            .send()
    };
    let cookie = sign_in(TOKEN).await.unwrap().headers()[header::SET_COOKIE].clone();
    for _ in 0..10 {
        problem(sign_in("guess").await.unwrap(), StatusCode::UNAUTHORIZED).await;
    }
    let refused = sign_in("guess").await.unwrap();
    let wait: u64 = refused.headers()[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    problem(refused, StatusCode::TOO_MANY_REQUESTS).await;
    let wrong = server
        .request(Method::GET, "/api/v1/sites")
        .bearer_auth("guess");
    problem(wrong.send().await.unwrap(), StatusCode::TOO_MANY_REQUESTS).await;
    // Behind a proxy everybody has the guesser's address.
    assert_eq!(server.get("/api/v1/sites").await.status(), StatusCode::OK);
    assert_eq!(sign_in(TOKEN).await.unwrap().status(), StatusCode::OK);
    let session = server
        .request(Method::GET, "/api/v1/sites")
        .header(header::COOKIE, cookie);
    assert_eq!(session.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn health_and_metrics_are_open_to_this_machine_but_not_through_a_proxy() {
    let server = Server::start("UTC").await;
    let get = |path: &str| server.request(Method::GET, path);
    assert_eq!(
        get("/healthz").send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        get("/readyz").send().await.unwrap().status(),
        StatusCode::OK
    );
    let metrics = get("/metrics").send().await.unwrap();
    assert!(
        metrics.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(metrics.text().await.unwrap().contains("# TYPE "));
    let proxied = || get("/metrics").header("x-forwarded-for", "203.0.113.1");
    problem(proxied().send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    assert_eq!(
        proxied().bearer_auth(TOKEN).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_dashboard_is_served_with_strict_headers_and_cached_by_version() {
    let server = Server::start("UTC").await;
    let get = |path: &str| server.request(Method::GET, path);
    let page = get("/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let headers = page.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-cache");
    let policy = headers["content-security-policy"].to_str().unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    let html = page.text().await.unwrap();

    // A path within the dashboard is the same page, a file that is not there is none.
    assert_eq!(
        get("/some/view")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        html
    );
    problem(
        get("/assets/none.js").send().await.unwrap(),
        StatusCode::NOT_FOUND,
    )
    .await;
    problem(
        get("/favicon.ico").send().await.unwrap(),
        StatusCode::NOT_FOUND,
    )
    .await;

    let known = get("/")
        .header("if-none-match", &headers["etag"])
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);

    let script = html
        .split('"')
        .find(|part| part.starts_with("/assets/") && part.contains(".js"))
        .unwrap();
    let plain = get(script).send().await.unwrap();
    assert!(
        plain.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    let plain = plain.bytes().await.unwrap();
    let zipped = get(script)
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert!(zipped.bytes().await.unwrap().len() < plain.len());
}

#[tokio::test]
async fn unknown_paths_and_methods_of_the_api_are_problems() {
    let server = Server::start("UTC").await;
    problem(server.get("/api/v1/nothing").await, StatusCode::NOT_FOUND).await;
    problem(
        server.get("/api/v2/query").await,
        StatusCode::METHOD_NOT_ALLOWED,
    )
    .await;
    let response = server.request(Method::POST, "/").send().await.unwrap();
    problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
}

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.push(reference.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_openapi_document_describes_routes_that_are_there_and_who_may_call_them() {
    let server = Server::start("UTC").await;
    let get = server.request(Method::GET, "/api/v1/openapi.json");
    let document: Value = get.send().await.unwrap().json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let question =
        &document["paths"]["/api/v2/query"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(question["schema"]["$ref"], "#/components/schemas/Query");
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            let method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{site}", "1");
            let bare = server
                .request(method, &path)
                .header("x-forwarded-for", "203.0.113.1");
            let status = bare.send().await.unwrap().status();
            let open = operation["security"] == json!([{}]);
            assert_eq!(
                status == StatusCode::UNAUTHORIZED,
                !open,
                "{path}: {status}"
            );
            assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
