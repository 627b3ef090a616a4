//! A collector on a port of its own, with an aggregator that answers as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wakeline_collector::{Collector, Config, ServeOptions, serve};
use wakeline_proto::v1;
use wakeline_proto::v1::config_server::{self, ConfigServer};
use wakeline_spool::SegmentLog;

pub(crate) const WRITE_KEY: &str = "write-key";
pub(crate) const SERVER_KEY: &str = "server-key";
pub(crate) const SITE: u64 = 1;
const PATIENCE: Duration = Duration::from_secs(20);

/// The site with both its keys.
pub(crate) fn snapshot(version: u64) -> v1::Snapshot {
    v1::Snapshot {
        version,
        partitions: 4,
        sites: vec![site()],
        keys: vec![
            key(WRITE_KEY, v1::KeyKind::Write),
            key(SERVER_KEY, v1::KeyKind::Server),
        ],
    }
}

pub(crate) fn site() -> v1::Site {
    v1::Site {
        id: SITE,
        domain: "shop.example".to_owned(),
        timezone: "UTC".to_owned(),
        currency: "EUR".to_owned(),
        aliases: wakeline_proto::TRACKERS
            .iter()
            .map(|tracker| v1::Alias {
                tracker: (*tracker).to_owned(),
                id: "shop".to_owned(),
            })
            .collect(),
        salts: vec![v1::Salt {
            from: 0,
            salt: vec![7; 32].into(),
        }],
        ..v1::Site::default()
    }
}

pub(crate) fn key(key: &str, kind: v1::KeyKind) -> v1::Key {
    v1::Key {
        key: key.to_owned(),
        site: SITE,
        kind: kind.into(),
        ..v1::Key::default()
    }
}

/// The aggregator's config service. It takes no events.
#[derive(Clone)]
pub(crate) struct FakeAggregator {
    pub(crate) url: String,
    snapshots: watch::Sender<Option<v1::Snapshot>>,
    keys: Arc<Mutex<HashMap<String, v1::Key>>>,
    lookups: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl FakeAggregator {
    pub(crate) async fn start(first: Option<v1::Snapshot>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            snapshots: watch::Sender::new(first),
            keys: Arc::default(),
            lookups: Arc::default(),
            stop: CancellationToken::new(),
        };
        let server = tonic::transport::Server::builder()
            .add_service(ConfigServer::new(this.clone()))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                this.stop.clone().cancelled_owned(),
            );
        tokio::spawn(server);
        this
    }

    /// Pushes a snapshot to all who watch.
    pub(crate) fn publish(&self, snapshot: v1::Snapshot) {
        self.snapshots.send_replace(Some(snapshot));
    }

    /// Makes a key that no snapshot has.
    pub(crate) fn know(&self, key: v1::Key) {
        self.keys.lock().unwrap().insert(key.key.clone(), key);
    }

    fn look_up(&self, key: &str) -> v1::LookupKeyReply {
        let key = self.keys.lock().unwrap().get(key).cloned();
        let site = key.as_ref().map(|_| site());
        v1::LookupKeyReply { key, site }
    }

    pub(crate) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl config_server::Config for FakeAggregator {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::Snapshot, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream = WatchStream::new(self.snapshots.subscribe())
            .filter_map(async |snapshot| snapshot.map(Ok));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn confirm(
        &self,
        _: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::ConfirmReply>, Status> {
        Ok(Response::new(v1::ConfirmReply {}))
    }

    async fn lookup_key(
        &self,
        request: Request<v1::LookupKeyRequest>,
    ) -> Result<Response<v1::LookupKeyReply>, Status> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(self.look_up(&request.get_ref().key)))
    }

    async fn lookup_keys(
        &self,
        request: Request<v1::LookupKeysRequest>,
    ) -> Result<Response<v1::LookupKeysReply>, Status> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let keys = &request.get_ref().keys;
        assert!(keys.len() <= wakeline_proto::limits::MAX_LOOKUP_KEYS);
        let replies = keys.iter().map(|key| self.look_up(key)).collect();
        Ok(Response::new(v1::LookupKeysReply { replies }))
    }
}

/// A URL at which nothing listens.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Puts a snapshot where a collector finds it at its start.
pub(crate) fn keep_snapshot(data: &Path, snapshot: &v1::Snapshot) {
    std::fs::write(data.join("snapshot.pb"), snapshot.encode_to_vec()).unwrap();
}

/// A collector on a port of its own.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    pub(crate) http: reqwest::Client,
    pub(crate) data: TempDir,
    collector: Collector,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Edge {
    /// A collector that holds a snapshot and whose aggregator is away.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As [`Edge::start`], with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        keep_snapshot(data.path(), &snapshot(1));
        let url = nowhere().await;
        Self::start_in(data, |config| {
            config.upstream.url = url;
            change(config);
        })
        .await
    }

    /// A collector with an aggregator.
    pub(crate) async fn start_under(aggregator: &FakeAggregator, data: TempDir) -> Self {
        let url = aggregator.url.clone();
        Self::start_in(data, |config| config.upstream.url = url).await
    }

    /// A collector in a folder that is as it is.
    pub(crate) async fn start_in(data: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            data: data.path().to_owned(),
            ..Config::default()
        };
        change(&mut config);
        let scheme = if config.http.cert_file.is_some() {
            "https"
        } else {
            "http"
        };
        let options = ServeOptions::open(&config.http).unwrap();
        let collector = Collector::start(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, collector.alone(), options, stop.clone()));
        Self {
            address,
            scheme,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            data,
            collector,
            stop,
            serving,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path))
    }

    pub(crate) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).body(body)
    }

    /// Posts JSON with the write key; the reply's JSON if that is 202.
    pub(crate) async fn events(&self, body: &serde_json::Value) -> serde_json::Value {
        let response = self
            .post(&format!("/w/1/events?k={WRITE_KEY}"), body.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// Posts a batch that is to be answered with 202.
    pub(crate) async fn batch(&self, batch: &v1::Batch) -> v1::BatchReply {
        let response = self
            .post("/w/1/batch", batch.encode_to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
        v1::BatchReply::decode(response.bytes().await.unwrap()).unwrap()
    }

    /// The value of a metric, named as it is exposed but for its prefix.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self
            .get("/metrics")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = format!("wakeline_collector_{name} ");
        text.lines()
            .find_map(|text| text.strip_prefix(&line)?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Waits until a request gets `status`.
    pub(crate) async fn until(&self, path: &str, status: u16) {
        eventually(async || {
            let response = self.get(path).send().await.unwrap();
            response.status() == status
        })
        .await;
    }

    /// Stops the collector; what is in its spool.
    pub(crate) async fn groups(self) -> Vec<v1::Group> {
        let data = self.stop().await;
        groups(data.path().join("spool")).await
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.collector.shutdown(PATIENCE).await;
        self.data
    }
}

/// The groups in a spool, in order.
pub(crate) async fn groups(spool: PathBuf) -> Vec<v1::Group> {
    let (log, _) = SegmentLog::open(&spool, wakeline_spool::Options::default()).unwrap();
    let mut reader = log.reader(0);
    let mut groups = Vec::new();
    loop {
        let records = reader.next(1 << 20).unwrap();
        if records.is_empty() {
            break;
        }
        for record in records {
            let record_groups = v1::SpoolRecord::decode(record.payload).unwrap();
            let mut span = 0;
            for (group, header) in record_groups.groups.iter().zip(&record_groups.headers) {
                assert!(
                    group.len() <= 512 << 10,
                    "a group has {} bytes",
                    group.len()
                );
                let group = v1::Group::decode(group.clone()).unwrap();
                assert_eq!(header.events as usize, group.events.len());
                assert_eq!(header.rejected as usize, group.rejected.len());
                assert_eq!(header.tallies as usize, group.tallies.len());
                assert_eq!(header.tallied, tallied(&group));
                assert_eq!(
                    header.partition_hash,
                    wakeline_proto::partition_hash(group.site, &group.visitor)
                );
                span += header.events + header.rejected + header.tallies;
                groups.push(group);
            }
            assert_eq!(record.span, span);
        }
    }
    log.close().await;
    groups
}

/// Events of a group that were refused and only counted.
pub(crate) fn tallied(group: &v1::Group) -> u64 {
    group.tallies.iter().map(|tally| tally.count).sum()
}

/// Waits until `condition` holds, up to a generous deadline.
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the condition never held");
}

/// A refusal is problem+json that says its status; its detail.
pub(crate) async fn problem(response: reqwest::Response, status: u16) -> String {
    let found = response.status().as_u16();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(found, status, "{body}");
    assert_eq!(content_type, "application/problem+json");
    assert_eq!(body["status"], status);
    for key in ["type", "title", "detail"] {
        assert!(
            body[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key} in {body}"
        );
    }
    body["detail"].as_str().unwrap().to_owned()
}

/// A batch with page views of one visitor, `ages` in ms.
pub(crate) fn batch(ages: &[i64]) -> v1::Batch {
    let mut before = 0;
    v1::Batch {
        key: WRITE_KEY.to_owned(),
        visitor: "v1".to_owned(),
        strings: vec!["https://Shop.example/p?utm_source=x&email=a#f".to_owned()],
        kinds: vec![v1::Kind {
            r#type: v1::EventType::PageView.into(),
            ..v1::Kind::default()
        }],
        streams: vec![v1::Stream {
            id: 7,
            pages: vec![v1::Page {
                url: 1,
                ..v1::Page::default()
            }],
            events: ages
                .iter()
                .map(|age| {
                    let age_delta = age - before;
                    before = *age;
                    v1::BatchEvent {
                        kind: 1,
                        page: 1,
                        age_delta,
                        ..v1::BatchEvent::default()
                    }
                })
                .collect(),
            ..v1::Stream::default()
        }],
        ..v1::Batch::default()
    }
}
