//! An aggregator without listeners, HTTP and background tasks, on any state store: what a simulation drives.
//!
//! Ingest, log, recovery, processing and export are those of [`Aggregator`](crate::Aggregator), started in the same order.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

use crate::config::Config;
use crate::control::Control;
use crate::grpc::Services;
use crate::influx::{Exporting, Influx, Pending, Sources};
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::{EventLog as _, SegmentEventLog};
use crate::metrics::{MetricStore, StateMetrics};
use crate::process::{Board, Outage, Processing, Recovered, Shared, recover};
use crate::server::{StartError, now_ms};
use crate::state::StateStore;
use crate::stats::Stats;

/// How long the last writes may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// The running parts. Dropping it stops them at once, as a crash would.
pub struct Headless {
    routes: Routes,
    log: SegmentEventLog,
    metrics: Arc<dyn MetricStore>,
    answers: Arc<dyn MetricStore>,
    processing: Processing,
    export: Option<(Influx, Arc<Pending>, Exporting)>,
    close: DropGuard,
}

impl Headless {
    /// Opens the log under `config.data` and goes on with the state in `store`; listens to nothing.
    pub async fn start<S: StateStore>(
        config: &Config,
        control: Arc<Control>,
        store: Arc<S>,
    ) -> Result<Self, StartError> {
        Self::run(config, control, store, None).await
    }

    /// As [`start`](Self::start), and exports figures to a model of an InfluxDB. In a simulation, in a
    /// [`LocalSet`](tokio::task::LocalSet).
    #[cfg(any(test, feature = "testing"))]
    pub async fn start_with<S: StateStore>(
        config: &Config,
        control: Arc<Control>,
        store: Arc<S>,
        model: Arc<crate::influx::model::ModelInflux>,
    ) -> Result<Self, StartError> {
        let influx = Influx::at(config, model);
        Self::run(config, control, store, Some(influx)).await
    }

    async fn run<S: StateStore>(
        config: &Config,
        control: Arc<Control>,
        store: Arc<S>,
        influx: Option<Influx>,
    ) -> Result<Self, StartError> {
        let lock = Arc::new(FolderLock::take(&config.data)?);
        let partitions = config.log.partitions.get();
        let segments = config.data.join("log/segments");
        let log = SegmentEventLog::open(&segments, config.log.segment_bytes)?;
        let Recovered {
            progress,
            positions,
            stamp_ms,
        } = recover(&*store, &log, partitions).await?;
        log.raise_stamp(stamp_ms);

        let offsets = progress.iter().map(|at| at.next_offset);
        let read = offsets.clone().min().unwrap_or(0);
        let applied_ms = progress.iter().map(|at| at.stamp_ms).max().unwrap_or(0);
        let board = Arc::new(Board::new(log.end(), read, offsets, applied_ms));
        let stats = Arc::new(Stats::default());
        let pending = influx.as_ref().map(Influx::pending);
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            control: Arc::clone(&control),
            live: Arc::new(Live::default()),
            stats: Arc::clone(&stats),
            board: Arc::clone(&board),
            letters: None,
            pending: pending.clone(),
            outage: Outage::default(),
            _lock: Arc::clone(&lock),
        });
        let processing =
            Processing::start(&shared, config, &log, progress).map_err(StartError::Data)?;
        let figures = || StateMetrics {
            store: Arc::clone(&store),
            partitions,
            board: Arc::clone(&board),
            max_values: config.query.max_values,
        };
        let metrics: Arc<dyn MetricStore> = Arc::new(figures());
        let mut answers = Arc::clone(&metrics);
        let mut export = None;
        if let (Some(influx), Some(pending)) = (influx, pending) {
            let sources = Sources {
                store: Arc::clone(&store),
                metrics: figures(),
                control: Arc::clone(&control),
                partitions,
                state: 0,
                log: "log".to_owned(),
                clock: now_ms,
            };
            let (front, exporting) = influx
                .start(&pending, sources, figures(), lock)
                .map_err(StartError::Data)?;
            answers = front;
            export = Some((influx, pending, exporting));
        }
        let close = CancellationToken::new();
        let services = Services {
            log: log.clone(),
            partitions,
            positions: Arc::new(positions),
            control,
            stats,
            backlog: Arc::default(),
            followers: Arc::default(),
            token: None,
            shutdown: close.clone(),
        };
        Ok(Self {
            routes: services.routes().await?,
            log,
            metrics,
            answers,
            processing,
            export,
            close: close.drop_guard(),
        })
    }

    /// The gRPC services, to be served.
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// The log.
    pub fn log(&self) -> &SegmentEventLog {
        &self.log
    }

    /// What queries are answered from: the state, with an InfluxDB in front of it if figures are exported.
    pub fn answers(&self) -> &Arc<dyn MetricStore> {
        &self.answers
    }

    /// The state's figures.
    pub fn metrics(&self) -> &Arc<dyn MetricStore> {
        &self.metrics
    }

    /// Whether all figures are exported, and readers have them; `true` if they are not exported.
    pub fn is_exported(&self) -> bool {
        let export = self.export.as_ref();
        export.is_none_or(|(influx, pending, _)| pending.is_drained() && influx.settled().is_some())
    }

    /// Ends in order, so that the folder can be opened again.
    pub async fn stop(self) {
        drop(self.close);
        self.processing.stop(std::future::pending()).await;
        if let Some((_, _, exporting)) = self.export {
            exporting
                .finish(tokio::time::Instant::now() + LAST_WRITES)
                .await;
        }
        self.log.close().await;
    }
}
