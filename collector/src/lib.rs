//! The edge: takes hits, makes them durable, forwards them.
//!
//! A [`Collector`] owns a data folder and the tasks that forward the spool and follow the aggregator's config. It binds
//! nothing: [`Collector::router`] is served by [`serve`](crate::serve()), alone or merged with other routes.
//!
//! The data folder holds `spool/` (segments), `edges` (the ids under which its positions are known), `snapshot.pb` (the
//! config snapshot) and `acked` (the position below which the aggregator has all). It may be restored from a backup or
//! copied: see `edges.rs`.
//!
//! Promises: a 2xx is answered after what it acknowledges was fsynced in the spool; each event has one fate, accepted
//! or rejected with a reason; one bad event never sinks others; no address of a visitor is stored.

pub mod config;
mod doors;
mod edges;
mod enrich;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
pub mod inspect;
mod judge;
mod keys;
#[cfg(feature = "measuring")]
pub mod measuring;
mod serve;
pub mod snapshot;
mod stats;
mod tallies;
mod tls;
pub mod upstream;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::{Method, Request};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wakeline_rules as rules;
use wakeline_spool::{OpenError, Options, SegmentLog};

pub use config::{Config, ConfigError};
pub use serve::{Answer, ServeOptions, serve};
pub use tls::{Tls, TlsError};

use edges::Edges;
use enrich::Enricher;
pub use enrich::geo::{FETCHED as FETCHED_PLACES, FetchError, fetch as fetch_places};
use forward::Forwarder;
use http::Doors;
use http::body::Budget;
use http::doors::batch;
use http::guard::{self, hsts};
use http::problem::Refusal;
use http::sdk_files::SdkFiles;
use judge::names::Names;
use keys::Keys;
use rules::limits::Buckets;
use snapshot::Watcher;
use tallies::Tallies;
use upstream::{Upstream, UpstreamError};

/// The spool's folder in the data folder.
pub(crate) const SPOOL: &str = "spool";
const SNAPSHOT: &str = "snapshot.pb";

/// Why a collector can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder can't be read or written.
    #[error("{path}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses the data folder.
    #[error("the data folder {0} is in use by another process")]
    InUse(PathBuf),
    /// The spool can't be opened.
    #[error("open the spool in {path}")]
    Spool {
        /// The data folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The way to the aggregator can't be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    doors: Arc<Doors>,
    prefix: String,
    /// Dropped, it ends the tasks.
    stop: DropGuard,
    tasks: TaskTracker,
}

impl Collector {
    /// Opens the data folder and starts the tasks; binds nothing.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let upstream = Upstream::new(&config.upstream)?;
        Self::start_over(upstream, config).await
    }

    /// Like [`start`](Self::start), with an aggregator that is reached some other way than `config.upstream` says, and
    /// with settings that are not checked.
    pub async fn start_over(upstream: Upstream, config: Config) -> Result<Self, StartError> {
        let opening = config.clone();
        let opened = wakeline_spool::work::spawn_blocking(move || Opened::open(&opening));
        let Opened {
            log,
            edges,
            sdk,
            enricher,
        } = opened.await.map_err(|error| StartError::Io {
            path: config.data.clone(),
            source: std::io::Error::other(error),
        })??;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (watcher, rules) =
            Watcher::open(upstream.clone(), edges.newest(), config.data.join(SNAPSHOT));
        tasks.spawn(watcher.run(stop.clone()));
        let forwarder = Forwarder::new(
            log.clone(),
            edges,
            upstream.clone(),
            rules.clone(),
            config.data.clone(),
            Duration::from_millis(config.upstream.ack_timeout_ms),
        );
        let forward = forwarder.stats();
        tasks.spawn(forwarder.run(stop.clone()));
        let tallies = Arc::<Tallies>::default();
        tasks.spawn(Arc::clone(&tallies).run(log.clone(), stop.clone()));
        enricher.follow(&tasks, &stop);
        let doors = Arc::new(Doors {
            tallies,
            keys: Keys::new(rules, upstream),
            enricher: Arc::new(enricher),
            names: Arc::new(Names::new(&config.limits)),
            buckets: Arc::<Buckets>::default(),
            log,
            stats: stats::Stats::default(),
            forward,
            budget: Budget::new(config.limits.in_flight_bytes),
            heavy: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
            sdk,
            limits: config.limits,
            spool: config.spool,
            body_timeout: Duration::from_millis(config.http.body_timeout_ms),
            hsts: hsts(config.http.hsts_seconds),
            metrics_token: config.http.metrics_token,
        });
        Ok(Self {
            doors,
            prefix: config.http.prefix,
            stop: stop.drop_guard(),
            tasks,
        })
    }

    /// All doors, without a fallback for paths outside of `http.prefix`, so that it merges with other routers.
    pub fn router(&self) -> Router {
        Arc::clone(&self.doors).router(&self.prefix)
    }

    /// [`Collector::router`], answering other paths with 404: for a server that has nothing else.
    pub fn alone(&self) -> Router {
        let doors = Arc::clone(&self.doors);
        self.router().fallback(async move || {
            let mut response = doors.answer(Err(Refusal::NotFound));
            guard::say(&doors, &mut response);
            response
        })
    }

    /// `router`, which has all doors, and before it the one of native batches: most of what comes spares the router's way.
    pub fn entrance(&self, router: Router) -> Entrance {
        Entrance(Arc::new(Entry {
            doors: Arc::clone(&self.doors),
            batches: format!("{}{}", self.prefix, http::BATCHES),
            router,
        }))
    }

    /// Why nothing is forwarded right now; none while the aggregator takes events.
    pub fn upstream_error(&self) -> Option<String> {
        self.doors.forward.last_error()
    }

    /// Spool positions that the aggregator has not acknowledged.
    pub fn backlog(&self) -> u64 {
        let acked = self.doors.forward.acked();
        self.doors.log.durable().saturating_sub(acked)
    }

    /// Ends the tasks and closes the spool, waiting for `deadline` at most. Stop serving the router first: requests that
    /// come later are refused with 503.
    pub async fn shutdown(self, deadline: Duration) {
        drop(self.stop);
        self.tasks.close();
        let ending = async {
            self.tasks.wait().await;
            self.doors.log.clone().close().await;
        };
        if tokio::time::timeout(deadline, ending).await.is_err() {
            tracing::warn!("tasks were left at the shutdown deadline");
        }
    }
}

/// The doors of a collector, as [`Collector::entrance`] puts them before a router.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    doors: Arc<Doors>,
    /// Path of native batches.
    batches: String,
    router: Router,
}

impl Answer for Entrance {
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send + use<> {
        let entry = Arc::clone(&self.0);
        async move {
            if request.method() == Method::POST && request.uri().path() == entry.batches {
                // A connection has room for its answer also while it waits: this one's is some kilobytes.
                Box::pin(batch::direct(&entry.doors, request, peer.ip())).await
            } else {
                entry.router.answer(request, peer).await
            }
        }
    }
}

/// What is read from disk at start.
struct Opened {
    log: SegmentLog,
    edges: Edges,
    sdk: SdkFiles,
    enricher: Enricher,
}

impl Opened {
    fn open(config: &Config) -> Result<Self, StartError> {
        let sdk = match &config.sdk.dir {
            Some(dir) => {
                SdkFiles::read(dir, &config.sdk.script).map_err(|source| at(dir, source))?
            }
            None => SdkFiles::default(),
        };
        // Visitors' data: for the owner only.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data)
            .map_err(|source| at(&config.data, source))?;
        let options = Options {
            segment_bytes: config.spool.segment_bytes,
            max_bytes: config.spool.max_bytes,
            reserve_bytes: config.spool.reserve_bytes,
            ..Options::default()
        };
        let (log, recovery) =
            SegmentLog::open(&config.data.join(SPOOL), options).map_err(|error| match error {
                OpenError::InUse => StartError::InUse(config.data.clone()),
                source @ OpenError::Io(_) => StartError::Spool {
                    path: config.data.clone(),
                    source,
                },
            })?;
        if recovery.lost_corrupt > 0 {
            tracing::error!(
                records = recovery.lost_corrupt,
                "the spool has corrupt records"
            );
        }
        let edges = Edges::open(&config.data, log.first(), recovery.next_position)
            .map_err(|source| at(&config.data, source))?;
        tracing::info!(
            edge = format!("{:016x}", edges.newest()),
            next_position = recovery.next_position,
            torn_bytes = recovery.torn_bytes,
            segments = recovery.segments,
            "spool opened"
        );
        let enricher = Enricher::open(&config.enrich, &config.data);
        Ok(Self {
            log,
            edges,
            sdk,
            enricher,
        })
    }
}

fn at(path: &Path, source: std::io::Error) -> StartError {
    StartError::Io {
        path: path.to_owned(),
        source,
    }
}
