//! An aggregator without listeners, HTTP and background tasks, on any state store: what a simulation drives.
//!
//! Ingest, log, recovery and processing are those of [`Aggregator`](crate::Aggregator), started in the same order.

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

use crate::config::Config;
use crate::control::Control;
use crate::grpc::Services;
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::{EventLog as _, SegmentEventLog};
use crate::metrics::{MetricStore, StateMetrics};
use crate::process::{Board, Outage, Processing, Recovered, Shared, recover};
use crate::server::StartError;
use crate::state::StateStore;
use crate::stats::Stats;

/// The running parts. Dropping it stops them at once, as a crash would.
pub struct Headless {
    routes: Routes,
    log: SegmentEventLog,
    metrics: Arc<dyn MetricStore>,
    processing: Processing,
    close: DropGuard,
}

impl Headless {
    /// Opens the log under `config.data` and goes on with the state in `store`; listens to nothing.
    pub async fn start<S: StateStore>(
        config: &Config,
        control: Arc<Control>,
        store: Arc<S>,
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
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            control: Arc::clone(&control),
            live: Arc::new(Live::default()),
            stats: Arc::clone(&stats),
            board: Arc::clone(&board),
            letters: None,
            pending: None,
            outage: Outage::default(),
            _lock: lock,
        });
        let processing =
            Processing::start(&shared, config, &log, progress).map_err(StartError::Data)?;
        let metrics = Arc::new(StateMetrics {
            store,
            partitions,
            board,
            max_values: config.query.max_values,
        });
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
            processing,
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

    /// What queries are answered from.
    pub fn metrics(&self) -> &Arc<dyn MetricStore> {
        &self.metrics
    }

    /// Ends in order, so that the folder can be opened again.
    pub async fn stop(self) {
        drop(self.close);
        self.processing.stop(std::future::pending()).await;
        self.log.close().await;
    }
}
