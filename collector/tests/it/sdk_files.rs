//! The SDK's files.

use crate::harness::{Edge, problem};

async fn edge_with_sdk(script: &str) -> (Edge, tempfile::TempDir) {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("sdk");
    std::fs::create_dir_all(dir.join("snippets")).unwrap();
    for (name, content) in [
        ("wakeline.js", "plain loader"),
        ("wakeline.js.br", "brotli loader"),
        ("wakeline.js.gz", "gzip loader"),
        ("core-0a1b2c3d.wasm", "wasm"),
        ("chunk-NQJGJ4EB.js", "chunk"),
        ("snippets/a.js", "below"),
        (".hidden", "hidden"),
        ("../secret.txt", "secret"),
    ] {
        std::fs::write(dir.join(name), content).unwrap();
    }
    let script = script.to_owned();
    let edge = Edge::start_with(|config| {
        config.sdk.dir = Some(dir);
        config.sdk.script = script;
    })
    .await;
    (edge, outer)
}

#[tokio::test]
async fn the_loader_comes_compressed_as_the_client_likes_it() {
    let (edge, _dir) = edge_with_sdk("wakeline.js").await;
    for (accepts, encoding, content) in [
        ("", None, "plain loader"),
        ("gzip, deflate, br", Some("br"), "brotli loader"),
        ("gzip", Some("gzip"), "gzip loader"),
        ("br;q=0, gzip;q=0.5", Some("gzip"), "gzip loader"),
    ] {
        let response = edge
            .get("/w/sdk/wakeline.js")
            .header("accept-encoding", accepts)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        assert_eq!(
            headers
                .get("content-encoding")
                .map(|value| value.to_str().unwrap()),
            encoding
        );
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["cache-control"], "public, max-age=300");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let vary: Vec<_> = headers
            .get_all("vary")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert!(vary.contains(&"accept-encoding"), "{vary:?}");
        assert_eq!(response.text().await.unwrap(), content);

        let again = edge
            .get("/w/sdk/wakeline.js")
            .header("accept-encoding", accepts)
            .header("if-none-match", &headers["etag"])
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.headers()["etag"], headers["etag"]);
    }
}

#[tokio::test]
async fn names_with_a_hash_are_kept_for_good() {
    let (edge, _dir) = edge_with_sdk("wakeline.js").await;
    for (path, content_type) in [
        ("core-0a1b2c3d.wasm", "application/wasm"),
        ("chunk-NQJGJ4EB.js", "text/javascript; charset=utf-8"),
    ] {
        let response = edge.get(&format!("/w/sdk/{path}")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(
            response.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
    }
    let response = edge.get("/w/sdk/snippets/a.js").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "below");
}

#[tokio::test]
async fn nothing_else_can_be_asked_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (edge, _dir) = edge_with_sdk("wakeline.js").await;
    for path in [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "snippets/../../secret.txt",
        "/etc/passwd",
        ".hidden",
        "wakeline.js.br",
        "%ff",
        "",
    ] {
        // Not by a client that tidies paths up.
        let mut stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let request = format!("GET /w/sdk/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn the_loader_can_have_another_name() {
    let (edge, _dir) = edge_with_sdk("w.js").await;
    let response = edge.get("/w/sdk/w.js").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "plain loader");
    problem(edge.get("/w/sdk/wakeline.js").send().await.unwrap(), 404).await;
}
