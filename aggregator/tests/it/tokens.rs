//! Tokens that see some sites only.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::edge::{self, Spool, visit};
use super::http::{Server, problem};

/// A server with two sites, and a token of the second.
async fn server() -> (Server, String) {
    let server = Server::start("UTC").await;
    let new = json!({"domain": "other.example", "currency": "EUR"});
    let made = server.post("/api/v1/sites", &new).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let (_, token) = server
        .aggregator
        .control()
        .create_site_token("other's", &[2])
        .unwrap();
    (server, token)
}

#[tokio::test]
async fn a_token_of_a_site_sees_that_site_and_no_other() {
    let (server, token) = server().await;
    let channel = edge::connect(server.aggregator.grpc_addr()).await;
    let spool = Spool::of([visit(1, 3)]);
    edge::push(&channel, 5, spool.blocks()).await.unwrap();
    server.applied().await;
    let send = async |method: Method, path: &str, body: &Value| {
        let request = server.request(method, path).bearer_auth(&token);
        request.json(body).send().await.unwrap()
    };
    let null = json!(null);

    let sites: Value = send(Method::GET, "/api/v1/sites", &null)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(sites.as_array().unwrap().len(), 1);
    assert_eq!(sites[0]["domain"], "other.example");
    let query = |site: &str| json!({"site_id": site, "metrics": ["events"], "date_range": "all"});
    let rules = json!({"rules": {}});
    let asked = [
        (Method::POST, "/api/v2/query", query("@")),
        (Method::GET, "/api/v1/keys?site=@", null.clone()),
        (Method::GET, "/api/v1/live?site=@", null.clone()),
        (Method::GET, "/api/v1/ledger?site_id=@", null.clone()),
        (Method::GET, "/api/v1/dead-letters?site_id=@", null.clone()),
        (Method::GET, "/api/v1/sites/@/rules", null.clone()),
        (Method::GET, "/api/v1/sites/@/rules/history", null.clone()),
        (Method::PUT, "/api/v1/sites/@/rules", rules.clone()),
        (Method::POST, "/api/v1/sites/@/rules/preview", rules),
    ];
    for (method, path, body) in asked {
        for (site, status) in [
            ("other.example", StatusCode::OK),
            ("2", StatusCode::OK),
            ("shop.example", StatusCode::NOT_FOUND),
            ("1", StatusCode::NOT_FOUND),
        ] {
            let body: Value = serde_json::from_str(&body.to_string().replace('@', site)).unwrap();
            let response = send(method.clone(), &path.replace('@', site), &body).await;
            assert_eq!(response.status(), status, "{method} {path} of {site}");
        }
    }
    let replay = json!({"site_id": "shop.example"});
    let foreign = send(Method::POST, "/api/v1/dead-letters/replay", &replay).await;
    problem(foreign, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_token_of_a_site_does_nothing_that_concerns_all() {
    let (server, token) = server().await;
    let elsewhere = json!({"site_id": "2", "collector": "http://127.0.0.1:9"});
    for (method, path, body) in [
        (
            Method::POST,
            "/api/v1/sites",
            json!({"domain": "third.example"}),
        ),
        (Method::PATCH, "/api/v1/sites/2", json!({"currency": "CHF"})),
        (Method::GET, "/api/v1/ledger?site_id=(unknown)", json!(null)),
        (Method::GET, "/api/v1/status", json!(null)),
        // The site's secret key would go there.
        (Method::POST, "/api/v1/dead-letters/replay", elsewhere),
    ] {
        let request = server.request(method.clone(), path).bearer_auth(&token);
        let response = request.json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn a_session_sees_what_its_token_does() {
    let (server, token) = server().await;
    let sign_in = server
        .request(Method::POST, "/api/v1/session")
        .json(&json!({ "token": token }));
    let response = sign_in.send().await.unwrap();
    let cookie = response.headers()[header::SET_COOKIE].clone();
    let get = async |path: &str| {
        let request = server.request(Method::GET, path);
        let response = request.header(header::COOKIE, &cookie).send().await;
        response.unwrap()
    };
    let who: Value = get("/api/v1/session").await.json().await.unwrap();
    assert_eq!(
        (&who["name"], &who["sites"]),
        (&json!("other's"), &json!([2]))
    );
    problem(get("/api/v1/sites/1/rules").await, StatusCode::NOT_FOUND).await;
    assert_eq!(get("/api/v1/sites/2/rules").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_last_token_that_may_do_everything_stays() {
    let (server, _) = server().await;
    let control = server.aggregator.control();
    let tokens = control.tokens();
    let all = tokens.iter().find(|token| token.sites.is_none()).unwrap();
    assert!(control.revoke_token(all.id).is_err());
    assert_eq!(server.get("/api/v1/status").await.status(), StatusCode::OK);
    let one = tokens.iter().find(|token| token.sites.is_some()).unwrap();
    control.revoke_token(one.id).unwrap();
    assert!(control.create_site_token("nobody's", &[9]).is_err());
}
