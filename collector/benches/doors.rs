//! Events a second through the doors on one core, read, judged, enriched and fsynced in the spool; with what enrichment
//! costs as the difference of two lines. There is no server before them, and the aggregator is away.
//!
//! `cargo bench -p wakeline-collector --bench doors`

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, Throughput};
use prost::Message as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wakeline_collector::{Collector, Config, inspect};
use wakeline_proto::v1;

const KEY: &str = "write-key";
/// What other trackers call the site.
const ALIAS: &str = "shop";
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
/// Requests at a time: as many as share an fsync, so that the disk is not what is measured.
const WAITING: u64 = 64;
const CORE: &str = "0";

fn main() -> anyhow::Result<()> {
    let pinned = Command::new("taskset")
        .args(["-acp", CORE, &std::process::id().to_string()])
        .output()?;
    ensure!(pinned.status.success(), "taskset (util-linux) failed");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    for events in [1, 10, 100] {
        for enrich in [false, true] {
            let how = if enrich { "enriched" } else { "bare" };
            let door = Door::native_json(events);
            measure(&mut criterion, &runtime, how, &door, enrich)?;
        }
    }
    for door in [
        Door::plausible(),
        Door::ga4(),
        Door::posthog(1),
        Door::posthog(50),
        Door::segment(1),
        Door::segment(50),
        Door::snowplow(10),
    ] {
        measure(&mut criterion, &runtime, "enriched", &door, true)?;
    }
    criterion.final_summary();
    Ok(())
}

/// Sends the same request to a collector of its own again and again, and looks whether its spool has all events.
fn measure(
    criterion: &mut Criterion,
    runtime: &tokio::runtime::Runtime,
    how: &str,
    door: &Door,
    enrich: bool,
) -> anyhow::Result<()> {
    // Beside the build, so that it is a disk and no tmpfs.
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (collector, router) = runtime.block_on(start(data.path(), enrich))?;
    let mut sent = 0;
    let mut group = criterion.benchmark_group(door.name);
    group.throughput(Throughput::Elements(door.events * WAITING));
    group.bench_function(format!("{} at a time, {how}", door.events), |bencher| {
        bencher.iter(|| {
            sent += WAITING * door.events;
            let requests = (0..WAITING).map(|_| router.clone().oneshot(door.request()));
            runtime.block_on(futures_util::future::join_all(requests))
        });
    });
    group.finish();
    let report = runtime.block_on(async {
        collector.shutdown(Duration::from_secs(10)).await;
        inspect::inspect(data.path(), 0).await
    });
    let report = report.context("inspect")?;
    ensure!(
        report.accepted == sent && report.rejected + report.tallied == 0,
        "{}: of {sent} events {} were accepted, {} refused",
        door.name,
        report.accepted,
        report.rejected + report.tallied
    );
    Ok(())
}

async fn start(data: &std::path::Path, enrich: bool) -> anyhow::Result<(Collector, Router)> {
    let snapshot = v1::Snapshot {
        version: 1,
        partitions: 4,
        sites: vec![v1::Site {
            id: 1,
            domain: "shop.example".to_owned(),
            timezone: "UTC".to_owned(),
            currency: "EUR".to_owned(),
            aliases: wakeline_proto::TRACKERS
                .iter()
                .map(|tracker| v1::Alias {
                    tracker: (*tracker).to_owned(),
                    id: ALIAS.to_owned(),
                })
                .collect(),
            salts: vec![v1::Salt {
                from: 0,
                salt: vec![7; 32].into(),
            }],
            ..v1::Site::default()
        }],
        keys: vec![v1::Key {
            key: KEY.to_owned(),
            site: 1,
            kind: v1::KeyKind::Write.into(),
            ..v1::Key::default()
        }],
    };
    std::fs::write(data.join("snapshot.pb"), snapshot.encode_to_vec())?;
    let mut config = Config {
        data: data.to_owned(),
        ..Config::default()
    };
    "http://127.0.0.1:1".clone_into(&mut config.upstream.url);
    config.enrich.agent = enrich;
    config.enrich.place = enrich;
    config.enrich.source = enrich;
    let collector = Collector::start(config).await?;
    let router = collector.router();
    Ok((collector, router))
}

/// A request as a client sends it.
struct Door {
    name: &'static str,
    path: String,
    body: String,
    events: u64,
}

const PAGE: &str = "https://shop.example/cups/blue-mug?utm_source=newsletter&gclid=y";
const REFERRER: &str = "https://www.google.com/";

impl Door {
    fn new(name: &'static str, path: impl Into<String>, events: u64, body: &Value) -> Self {
        Self {
            name,
            path: path.into(),
            body: body.to_string(),
            events,
        }
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = axum::http::Method::POST;
        if let Ok(uri) = self.path.parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        for (name, value) in [("user-agent", AGENT), ("accept-language", "de-DE,de;q=0.9")] {
            headers.insert(name, axum::http::HeaderValue::from_static(value));
        }
        request
    }

    fn native_json(events: u64) -> Self {
        let body = (0..events).map(|number| {
            json!({
                "type": "page_view", "visitor": "v", "url": PAGE, "referrer": REFERRER,
                "properties": {"place": "footer", "discount": number},
            })
        });
        let path = format!("/w/1/events?k={KEY}");
        Self::new("Wakeline JSON", path, events, &body.collect())
    }

    fn plausible() -> Self {
        let body = json!({"n": "pageview", "u": PAGE, "d": ALIAS, "r": REFERRER, "v": 1});
        Self::new("Plausible", "/api/event", 1, &body)
    }

    fn ga4() -> Self {
        let page = "https%3A%2F%2Fshop.example%2Fcups%2Fblue-mug%3Futm_source%3Dnewsletter";
        let path = format!(
            "/g/collect?v=2&tid={ALIAS}&cid=123.456&ul=de-de&sr=1920x1080&en=page_view&dl={page}&dr=https%3A%2F%2Fwww.google.com%2F&dt=Blue%20mug"
        );
        Self {
            body: String::new(),
            ..Self::new("GA4", path, 1, &Value::Null)
        }
    }

    fn posthog(events: u64) -> Self {
        let event = json!({
            "event": "$pageview", "distinct_id": "visitor",
            "properties": {
                "$current_url": PAGE, "$referrer": REFERRER, "title": "Blue mug", "$browser_language": "de-DE",
                "$timezone": "Europe/Berlin", "$screen_width": 1920, "$screen_height": 1080, "plan": "pro",
            },
        });
        let (path, body) = if events == 1 {
            let mut body = event;
            body["api_key"] = ALIAS.into();
            ("/i/v0/e/", body)
        } else {
            let batch = vec![event; events as usize];
            ("/batch", json!({"api_key": ALIAS, "batch": batch}))
        };
        Self::new("PostHog", path, events, &body)
    }

    fn segment(events: u64) -> Self {
        let event = json!({
            "type": "track", "event": "Product Added", "anonymousId": "visitor",
            "properties": {"product_id": "mug", "name": "Blue mug", "price": 12.9, "quantity": 1, "currency": "EUR"},
            "context": {
                "page": {"url": PAGE, "referrer": REFERRER, "title": "Blue mug"},
                "locale": "de-DE", "timezone": "Europe/Berlin",
            },
        });
        let batch = vec![event; events as usize];
        let body = json!({"writeKey": ALIAS, "batch": batch});
        Self::new("Segment", "/v1/batch", events, &body)
    }

    fn snowplow(events: u64) -> Self {
        let event = json!({
            "e": "pv", "aid": ALIAS, "p": "web", "tv": "js-4", "duid": "visitor", "url": PAGE, "refr": REFERRER,
            "page": "Blue mug", "res": "1920x1080", "lang": "de-DE", "tz": "Europe/Berlin",
        });
        let body = json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
            "data": vec![event; events as usize],
        });
        let path = "/com.snowplowanalytics.snowplow/tp2";
        Self::new("Snowplow", path, events, &body)
    }
}
