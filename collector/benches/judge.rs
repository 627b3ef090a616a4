//! Events a second through a door: decoded, judged, spooled; with what enrichment costs as the difference of two lines.

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use serde_json::json;
use tower::ServiceExt as _;
use wakeline_collector::{Collector, Config};
use wakeline_proto::v1;

const KEY: &str = "write-key";
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

/// A collector's doors without a server before them; the aggregator is away.
async fn doors(data: &std::path::Path, enrich: bool) -> Option<(Collector, axum::Router)> {
    let snapshot = v1::Snapshot {
        version: 1,
        partitions: 4,
        sites: vec![v1::Site {
            id: 1,
            domain: "shop.example".to_owned(),
            ..v1::Site::default()
        }],
        keys: vec![v1::Key {
            key: KEY.to_owned(),
            site: 1,
            kind: v1::KeyKind::Write.into(),
        }],
    };
    std::fs::write(data.join("snapshot.pb"), snapshot.encode_to_vec()).ok()?;
    let mut config = Config {
        data: data.to_owned(),
        ..Config::default()
    };
    "http://127.0.0.1:1".clone_into(&mut config.upstream.url);
    config.enrich.agent = enrich;
    config.enrich.place = enrich;
    config.enrich.source = enrich;
    let collector = Collector::start(config).await.ok()?;
    let router = collector.router();
    Some((collector, router))
}

fn judge(criterion: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return;
    };
    for events in [1, 10, 100] {
        let body = json!(
            (0..events)
                .map(|n| json!({
                    "type": "page_view", "visitor": "v", "url": format!("https://shop.example/p/{n}?utm_source=x&gclid=y"),
                    "referrer": "https://www.google.com/", "properties": {"place": "footer", "discount": n},
                }))
                .collect::<Vec<_>>()
        )
        .to_string();
        for enrich in [false, true] {
            // Beside the build, so that it is a disk and no tmpfs.
            let Ok(data) = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")) else {
                return;
            };
            let Some((_collector, router)) = runtime.block_on(doors(data.path(), enrich)) else {
                return;
            };
            let mut group = criterion.benchmark_group("judge");
            // As many requests at a time as share an fsync, so that the disk is not what is measured.
            let waiting = 64;
            group.throughput(Throughput::Elements(events * waiting));
            let name = format!(
                "{events} events, {}",
                if enrich { "enriched" } else { "bare" }
            );
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let requests = (0..waiting).map(|_| {
                        let request = Request::post(format!("/w/1/events?k={KEY}"))
                            .header("user-agent", AGENT)
                            .body(Body::from(body.clone()));
                        let router = router.clone();
                        async move { router.oneshot(request.ok()?).await.ok() }
                    });
                    runtime.block_on(futures_util::future::join_all(requests))
                });
            });
        }
    }
}

criterion_group!(benches, judge);
criterion_main!(benches);
