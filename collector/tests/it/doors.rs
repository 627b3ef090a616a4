//! What comes in by each door, and what becomes of it.

use std::collections::BTreeMap;

use serde_json::json;
use wakeline_proto::v1::{self, value::Kind};

use crate::harness::{Edge, SERVER_KEY, SITE, WRITE_KEY, batch, tallied};

#[tokio::test]
async fn a_batch_is_spooled_with_corrected_times_and_split_urls() {
    let edge = Edge::start().await;
    let mut sent = batch(&[5_000, 1_000]);
    sent.first_day = 20_000;
    sent.user = "u".to_owned();
    sent.client = Some(v1::Client {
        name: "web".to_owned(),
        version: "1".to_owned(),
    });
    let reply = edge.batch(&sent).await;
    assert_eq!((reply.accepted, reply.rejected.len()), (2, 0));

    let [group] = edge.groups().await.try_into().unwrap();
    assert_eq!(
        (group.site, group.visitor.as_str(), group.first_day),
        (SITE, "v1", 20_000)
    );
    assert_eq!((group.rules_version, group.client), (1, sent.client));
    let [first, second] = group.events.try_into().unwrap();
    assert_eq!((first.stream, first.seq, second.seq), (7, 0, 1));
    assert_eq!(group.received_at - first.time, 5_000);
    assert_eq!(group.received_at - second.time, 1_000);
    assert_eq!(
        (
            first.hostname.as_str(),
            first.path.as_str(),
            first.query.as_str(),
            first.user.as_str()
        ),
        ("shop.example", "/p", "utm_source=x", "u")
    );
}

#[tokio::test]
async fn a_batch_is_taken_in_every_encoding() {
    use std::io::Write as _;

    use prost::Message as _;

    let edge = Edge::start().await;
    let raw = batch(&[0]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&raw).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(&raw).unwrap();
    let mut deflate =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(&raw).unwrap();
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 5, 20)
        .write_all(&raw)
        .unwrap();
    let bodies = [
        (None, raw.clone()),
        (Some("identity"), raw.clone()),
        (None, gzip.clone()), // a beacon can't say it
        (Some("gzip"), gzip),
        (Some("deflate"), zlib.finish().unwrap()),
        (Some("deflate"), deflate.finish().unwrap()),
        (Some("zstd"), zstd::encode_all(raw.as_slice(), 3).unwrap()),
        (Some("br"), br),
    ];
    for (encoding, body) in bodies {
        for content_type in [
            "application/x-protobuf",
            "application/octet-stream",
            "text/plain;charset=UTF-8",
        ] {
            let mut request = edge
                .post("/w/1/batch", body.clone())
                .header("content-type", content_type);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 202, "{encoding:?} {content_type}");
        }
    }
}

#[tokio::test]
async fn json_events_keep_what_they_say() {
    let edge = Edge::start().await;
    let event = json!({
        "type": "order", "name": "bought", "id": "mine", "visitor": "v", "user": "u",
        "time": "2026-01-01T00:00:00Z", "title": "Thanks",
        "url": "https://shop.example/thanks?ref=a&card=1", "referrer": "https://search.example/?q=x",
        "properties": {
            "text": "2026-01-01T00:00:00Z", "whole": -3, "half": 0.5, "wide": 18_446_744_073_709_551_615_u64,
            "yes": true, "at": {"timestamp": "2026-01-01T00:00:00.5+01:00"}
        },
        "interactive": false, "consent": "granted",
        "order": {"id": "o1", "currency": "EUR", "value": 1999, "items": [{"sku": "s", "name": "n", "price": 1999, "quantity": 1}]},
        "ip": "192.0.2.1", "user_agent": "x"
    });
    let response = edge
        .post(
            "/w/1/events",
            json!({"historical": true, "events": [event]}).to_string(),
        )
        .bearer_auth(SERVER_KEY)
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(
        response.json::<serde_json::Value>().await.unwrap(),
        json!({"accepted": 1, "rejected": []})
    );

    let [group] = edge.groups().await.try_into().unwrap();
    assert_eq!(group.consent(), v1::Consent::Granted);
    let event = &group.events[0];
    assert_eq!(event.time, 1_767_225_600_000);
    assert_eq!((event.stream, event.client_id.as_str()), (0, "mine"));
    assert_eq!(
        (event.path.as_str(), event.query.as_str()),
        ("/thanks", "ref=a")
    );
    assert_eq!(event.referrer, "https://search.example/");
    assert!(
        event.passive && event.title == "Thanks" && event.name == "bought" && event.user == "u"
    );
    let order = event.order.as_ref().unwrap();
    assert_eq!((order.value, order.items[0].quantity), (1999, 1));
    let kinds: BTreeMap<_, _> = event
        .properties
        .iter()
        .map(|property| {
            let kind = property.value.as_ref().unwrap().kind.clone().unwrap();
            (property.name.as_str(), kind)
        })
        .collect();
    let expected = BTreeMap::from([
        ("text", Kind::Text("2026-01-01T00:00:00Z".to_owned())),
        ("whole", Kind::Integer(-3)),
        ("half", Kind::Number(0.5)),
        ("wide", Kind::Number(18_446_744_073_709_551_615.0)),
        ("yes", Kind::Flag(true)),
        ("at", Kind::Timestamp(1_767_222_000_500)),
    ]);
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn json_is_taken_under_the_types_that_clients_give_it() {
    let edge = Edge::start().await;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
    ] {
        let response = edge
            .post(
                &format!("/w/1/events?k={WRITE_KEY}"),
                json!({"type": "click", "visitor": "v"}).to_string(),
            )
            .header("content-type", content_type)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202, "{content_type}");
    }
}

#[tokio::test]
async fn json_ids_of_our_own_clients_are_streams() {
    let edge = Edge::start().await;
    let reply = edge
        .events(&json!({"type": "click", "visitor": "v", "id": "00c0ffee00c0ffee.17"}))
        .await;
    assert_eq!(reply["accepted"], 1);
    let groups = edge.groups().await;
    let event = &groups[0].events[0];
    assert_eq!(
        (event.stream, event.seq, event.client_id.as_str()),
        (0x00c0_ffee_00c0_ffee, 17, "")
    );
}

#[tokio::test]
async fn visitors_of_one_request_are_kept_apart_and_in_order() {
    let edge = Edge::start().await;
    let events: Vec<_> = ["a", "b", "a", "c", "b"]
        .iter()
        .enumerate()
        .map(|(index, visitor)| json!({"type": "custom", "name": format!("n{index}"), "visitor": visitor}))
        .collect();
    edge.events(&json!(events)).await;
    let found: Vec<_> = edge
        .groups()
        .await
        .into_iter()
        .map(|group| {
            let names: Vec<_> = group
                .events
                .iter()
                .map(|event| event.name.clone())
                .collect();
            (group.visitor, names.join(" "))
        })
        .collect();
    let expected = [("a", "n0 n2"), ("b", "n1 n4"), ("c", "n3")];
    assert_eq!(
        found,
        expected.map(|(visitor, names)| (visitor.to_owned(), names.to_owned()))
    );
}

#[tokio::test]
async fn a_large_request_is_split_into_groups_that_fit() {
    let edge = Edge::start().await;
    let events: Vec<_> = (0..200)
        .map(|_| json!({"type": "click", "visitor": "v", "properties": {"a": "x".repeat(4000), "b": "y".repeat(4000)}}))
        .collect();
    let body = json!(events).to_string();
    let zstd = zstd::encode_all(body.as_bytes(), 1).unwrap();
    let response = edge
        .post(&format!("/w/1/events?k={WRITE_KEY}"), zstd)
        .header("content-encoding", "zstd")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let groups = edge.groups().await;
    assert!(groups.len() >= 4, "{}", groups.len());
    assert_eq!(
        groups.iter().map(|group| group.events.len()).sum::<usize>(),
        200
    );
}

#[tokio::test]
async fn a_repeat_under_the_same_idempotency_key_has_the_same_ids() {
    let edge = Edge::start().await;
    let body = json!([
        {"type": "click", "visitor": "v"},
        {"type": "click", "visitor": "v", "id": "own"},
        {"type": "click", "visitor": "v"},
    ]);
    for key in ["first", "first", "second"] {
        let response = edge
            .post(&format!("/w/1/events?k={WRITE_KEY}"), body.to_string())
            .header("idempotency-key", key)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
    }
    let ids: Vec<Vec<String>> = edge
        .groups()
        .await
        .into_iter()
        .map(|group| {
            group
                .events
                .into_iter()
                .map(|event| event.client_id)
                .collect()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    assert_ne!(ids[0][0], ids[0][2]);
    assert_eq!((ids[0][1].as_str(), ids[2][1].as_str()), ("own", "own"));
    assert!(ids.iter().flatten().all(|id| !id.is_empty()));
}

#[tokio::test]
async fn the_pixel_counts_a_view_and_is_an_image_also_if_it_does_not() {
    let edge = Edge::start().await;
    let query = "v=v1&u=https%3A%2F%2Fshop.example%2Fnews%3Futm_medium%3Dmail";
    let response = edge
        .get(&format!("/w/1/pixel.gif?k={WRITE_KEY}&{query}"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/gif");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(response.bytes().await.unwrap().starts_with(b"GIF89a"));

    let response = edge
        .get(&format!(
            "/w/1/pixel.gif?k={WRITE_KEY}&t=custom&n=opened&v=v1"
        ))
        .header("referer", "https://shop.example/from-header")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);

    let response = edge
        .get(&format!("/w/1/pixel.gif?k={WRITE_KEY}&t=nothing&v=v1"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["wakeline-rejected"], "invalid_type");

    let paths: Vec<_> = edge
        .groups()
        .await
        .iter()
        .flat_map(|group| &group.events)
        .map(|event| (event.path.clone(), event.query.clone(), event.name.clone()))
        .collect();
    let expected = [
        ("/news", "utm_medium=mail", ""),
        ("/from-header", "", "opened"),
    ];
    assert_eq!(
        paths,
        expected.map(|(path, query, name)| (path.to_owned(), query.to_owned(), name.to_owned()))
    );
}

#[tokio::test]
async fn pages_of_other_origins_may_send_and_read() {
    let edge = Edge::start().await;
    for path in [
        "/w/1/batch",
        "/w/1/events",
        "/w/1/pixel.gif",
        "/w/sdk/wakeline.js",
    ] {
        let response = edge
            .http
            .request(reqwest::Method::OPTIONS, edge.url(path))
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 204, "{path}");
        let headers = response.headers();
        assert_eq!(
            headers["access-control-allow-origin"],
            "https://shop.example"
        );
        assert_eq!(headers["access-control-max-age"], "7200");
        assert_eq!(headers["vary"], "origin");
    }
    // A refusal can be read as well, or a page would not know when to come back.
    let response = edge
        .post("/w/1/events", "[]")
        .header("origin", "https://shop.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(
        response.headers()["access-control-expose-headers"],
        "retry-after"
    );
}

#[tokio::test]
async fn the_prefix_can_be_changed_or_left_out() {
    for prefix in ["/our/own", ""] {
        let edge = Edge::start_with(|config| config.http.prefix = prefix.to_owned()).await;
        let body = json!({"type": "click", "visitor": "v"}).to_string();
        for (path, status) in [
            (format!("{prefix}/1/events"), 202),
            ("/w/1/events".to_owned(), 404),
        ] {
            let response = edge
                .post(&format!("{path}?k={WRITE_KEY}"), body.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(edge.get(path).send().await.unwrap().status(), 200, "{path}");
        }
    }
}

#[tokio::test]
async fn looking_at_the_pixel_is_no_view() {
    let edge = Edge::start().await;
    let url = edge.url(&format!(
        "/w/1/pixel.gif?k={WRITE_KEY}&v=v1&u=https://shop.example/"
    ));
    let response = edge.http.head(url).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(edge.metric("events_received_total").await, 0);
}

#[tokio::test]
async fn what_a_person_did_not_agree_to_is_counted_and_not_kept() {
    let edge = Edge::start().await;
    let reply = edge
        .events(&json!([
            {"type": "click", "visitor": "secret", "consent": "denied"},
            {"type": "click", "visitor": "secret", "consent": "pending"},
            {"type": "click", "visitor": "secret", "consent": "denied", "unknown": 1},
            {"type": "click", "visitor": "secret", "consent": "perhaps"},
        ]))
        .await;
    assert_eq!(reply["accepted"], 0);
    for rejected in reply["rejected"].as_array().unwrap() {
        assert_eq!(rejected["reason"], "no_consent", "{rejected}");
    }
    let mut denied = batch(&[0, 0]);
    denied.consent = v1::Consent::Denied.into();
    denied.kinds.clear(); // unreadable besides
    assert_eq!(edge.batch(&denied).await.rejected[1].reason, "no_consent");
    for header in ["sec-gpc", "dnt"] {
        let response = edge
            .post(
                &format!("/w/1/events?k={WRITE_KEY}"),
                json!([{"type": "click", "visitor": "secret"}, {"type": "click", "visitor": "agreed", "consent": "granted"}])
                    .to_string(),
            )
            .header(header, "1")
            .send()
            .await
            .unwrap();
        assert_eq!(
            response.json::<serde_json::Value>().await.unwrap()["accepted"],
            1
        );
    }
    assert_eq!(
        edge.metric("events_rejected_total{reason=\"no_consent\"}")
            .await,
        8
    );
    assert_eq!(edge.metric("events_received_total").await, 10);
    let data = edge.data.path().join("spool");
    for file in std::fs::read_dir(data).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }
    let (counted, kept): (Vec<_>, Vec<_>) = edge
        .groups()
        .await
        .into_iter()
        .partition(|group| group.events.is_empty());
    assert_eq!(kept.len(), 2);
    assert_eq!(counted.iter().map(tallied).sum::<u64>(), 8);
    for group in counted {
        assert_eq!(group.tallies[0].reason, "no_consent");
        let bare = v1::Group {
            site: SITE,
            received_at: group.received_at,
            rules_version: group.rules_version,
            tallies: group.tallies.clone(),
            ..v1::Group::default()
        };
        assert_eq!(group, bare, "nothing else is kept");
    }
}
