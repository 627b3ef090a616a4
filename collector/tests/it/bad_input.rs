//! Whatever request comes, it gets its answer, the server lives, and nothing that was accepted is lost.

use std::io::Write as _;

use prost::Message as _;
use serde_json::json;

use crate::harness::{Edge, WRITE_KEY, batch, problem};

const MIB: usize = 1 << 20;

pub(crate) async fn assert_alive(edge: &Edge) {
    let reply = edge.events(&json!({"type": "click", "visitor": "v"})).await;
    assert_eq!(reply["accepted"], 1);
    let received = edge.metric("events_received_total").await;
    let accepted = edge.metric("events_accepted_total").await;
    let text = edge
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let rejected: u64 = text
        .lines()
        .filter(|line| line.starts_with("wakeline_collector_events_rejected_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(received, accepted + rejected);
}

#[tokio::test]
async fn bodies_that_are_nothing_are_malformed() {
    let edge = Edge::start().await;
    let valid = batch(&[0; 10]).encode_to_vec();
    let mut not_utf8 = batch(&[0]);
    not_utf8.visitor = "vvvv".to_owned();
    let not_utf8: Vec<u8> = {
        let bytes = not_utf8.encode_to_vec();
        let at = bytes
            .windows(4)
            .position(|window| window == b"vvvv")
            .unwrap();
        let mut bytes = bytes;
        bytes[at] = 0xff;
        bytes
    };
    let garbage: Vec<u8> = (0..2000_u32)
        .map(|i| (i * 7919 % 251) as u8 | 0x80)
        .collect();
    for body in [garbage.clone(), valid[..valid.len() - 3].to_vec(), not_utf8] {
        let response = edge.post("/w/1/batch", body).send().await.unwrap();
        problem(response, 400).await;
    }
    let url = format!("/w/1/events?k={WRITE_KEY}");
    let bodies: [Vec<u8>; 9] = [
        garbage,
        b"".to_vec(),
        b"nonsense".to_vec(),
        b"5".to_vec(),
        b"\"text\"".to_vec(),
        b"[{\"type\":\"click\"".to_vec(),
        b"{\"type\":\"click\",\"visitor\":\"\xff\"}".to_vec(),
        b"[{\"type\":\"click\",\"visitor\":\"v\",\"properties\":{\"n\":NaN}}]".to_vec(),
        b"{\"events\":[],\"other\":1}".to_vec(),
    ];
    for body in bodies {
        let response = edge.post(&url, body).send().await.unwrap();
        problem(response, 400).await;
    }
    assert_alive(&edge).await;
}

#[tokio::test]
async fn bodies_of_a_hundred_megabytes_are_refused_before_they_are_here() {
    let edge = Edge::start().await;
    for path in [
        "/w/1/batch".to_owned(),
        format!("/w/1/events?k={WRITE_KEY}"),
    ] {
        // Told by its length: refused at the head.
        let response = raw(
            &edge,
            &format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n"),
            b"",
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
        assert!(response.contains("application/problem+json"), "{response}");
        // Not told: refused as soon as it is too long.
        let chunk = [b"100000\r\n", vec![b'x'; MIB].as_slice(), b"\r\n"].concat();
        let response = raw(
            &edge,
            &format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"),
            &chunk.repeat(2),
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    }
    assert_alive(&edge).await;
}

/// Sends bytes as they are and reads the first packet of the answer.
async fn raw(edge: &Edge, head: &str, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = vec![0; 4096];
    // The server may stop reading at any time.
    let (length, _) = tokio::join!(read.read(&mut answer), write.write_all(body));
    String::from_utf8_lossy(&answer[..length.unwrap()]).into_owned()
}

#[tokio::test]
async fn bombs_of_every_encoding_are_defused() {
    let edge = Edge::start().await;
    let zeros = vec![0_u8; 64 * MIB];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&zeros).unwrap();
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 1, 22)
        .write_all(&zeros)
        .unwrap();
    let bombs = [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("br", br),
        ("zstd", zstd::encode_all(zeros.as_slice(), 1).unwrap()),
    ];
    for path in [
        "/w/1/batch".to_owned(),
        format!("/w/1/events?k={WRITE_KEY}"),
    ] {
        for (encoding, bomb) in &bombs {
            assert!(bomb.len() < MIB);
            let response = edge
                .post(&path, bomb.clone())
                .header("content-encoding", *encoding)
                .send()
                .await
                .unwrap();
            problem(response, 413).await;
            let response = edge
                .post(
                    &path,
                    bomb[..bomb.len() / 2]
                        .iter()
                        .map(|b| !b)
                        .collect::<Vec<_>>(),
                )
                .header("content-encoding", *encoding)
                .send()
                .await
                .unwrap();
            problem(response, 400).await;
        }
    }
    assert_alive(&edge).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_by_its_status() {
    let edge = Edge::start().await;
    let events = format!("/w/1/events?k={WRITE_KEY}");
    let good = json!({"type": "click", "visitor": "v"}).to_string();
    let requests = [
        (
            edge.post(&events, good.clone())
                .header("content-encoding", "compress"),
            415,
        ),
        (
            edge.post(&events, good.clone())
                .header("content-encoding", "gzip, br"),
            415,
        ),
        (
            edge.post(&events, good.clone())
                .header("content-type", "image/png"),
            415,
        ),
        (
            edge.post("/w/1/batch", "")
                .header("content-type", "application/json"),
            415,
        ),
        (edge.post("/w/1/events", good.clone()), 401),
        (edge.post("/w/1/events?k=", good.clone()), 401),
        (
            edge.post("/w/1/events", good.clone())
                .header("authorization", "Basic eA=="),
            401,
        ),
        (edge.post("/w/1/batch", ""), 401),
        (edge.get("/w/1/pixel.gif"), 401),
        (
            edge.post(
                &events,
                json!({"historical": true, "events": []}).to_string(),
            ),
            403,
        ),
        (edge.get("/w/1/nothing"), 404),
        (edge.get("/nothing"), 404),
        (edge.get("/w/sdk/wakeline.js"), 404),
        (edge.get("/w/1/batch"), 405),
        (edge.post("/w/1/pixel.gif", ""), 405),
        (edge.post(&events, json!(vec![0; 1001]).to_string()), 413),
        (
            edge.post("/w/1/batch", batch(&vec![0; 1001]).encode_to_vec()),
            413,
        ),
        (
            edge.post(&events, good.clone())
                .header("idempotency-key", "x".repeat(256)),
            400,
        ),
    ];
    for (request, status) in requests {
        let response = request.send().await.unwrap();
        match status {
            405 => assert!(
                response.headers()["allow"]
                    .to_str()
                    .unwrap()
                    .contains("OPTIONS")
            ),
            415 => assert!(response.headers().contains_key("vary")),
            _ => {}
        }
        problem(response, status).await;
    }
    assert_alive(&edge).await;
}

#[tokio::test]
async fn many_references_to_one_long_text_do_not_fill_the_disk() {
    let edge = Edge::start().await;
    let mut sent = batch(&[0; 1000]);
    sent.strings[0] = "x".repeat(MIB); // a URL that is too long, in every event
    let zstd = zstd::encode_all(sent.encode_to_vec().as_slice(), 1).unwrap();
    let response = edge
        .post("/w/1/batch", zstd)
        .header("content-encoding", "zstd")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let mut sent = batch(&[0; 1000]);
    sent.strings[0] = format!("https://shop.example/{}", "é".repeat(10_000));
    sent.streams[0].pages[0].referrer = 1;
    assert_eq!(edge.batch(&sent).await.rejected.len(), 1000);
    assert!(edge.metric("spool_bytes").await < 12 << 20);
}

#[tokio::test]
async fn a_path_with_nothing_has_no_list_of_methods() {
    let edge = Edge::start().await;
    for path in ["/w/nothing", "/nothing"] {
        let response = edge.get(path).send().await.unwrap();
        assert!(!response.headers().contains_key("allow"), "{path}");
        problem(response, 404).await;
    }
}
