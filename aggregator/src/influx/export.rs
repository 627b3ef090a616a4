//! The export as the server sees it: one at a time, of the generation in use.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wakeline_spool::work;

use super::client::{Client, InfluxError};
use super::generation::Book;
use super::pending::Pending;
use super::quarantine::Quarantine;
use super::report::{MetricsReport, Report};
use super::server::Server;
use super::store::{InfluxMetrics, Shared};
use super::writer::{Sources, Writer};
use crate::config::Config;
use crate::lock::FolderLock;
use crate::metrics::{MetricStore, StateMetrics};
use crate::state::StateStore;

/// File that says which generation, in which bucket, has what is not marked.
const BUCKET: &str = "metrics-bucket";

/// Why there can't be an export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The client can't be made.
    #[error(transparent)]
    Client(#[from] InfluxError),
    /// What is in the data folder can't be used.
    #[error("use {BUCKET} in the data folder")]
    Folder(#[source] io::Error),
}

/// An InfluxDB, for all generations.
pub(crate) struct Influx {
    client: Arc<dyn Server>,
    report: Arc<Report>,
    quarantine: Arc<Quarantine>,
    book: Book,
    partitions: u16,
    pending_marks: usize,
    /// Somebody wants everything to be written as a new generation.
    again: Arc<AtomicBool>,
    /// Held by whoever writes.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Influx {
    /// The one that is configured. It need not be there.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, ExportError> {
        let bucket_file = config.data.join(BUCKET);
        let Some(url) = config.influx() else {
            // Nothing is marked from here on: a bucket that is configured later lacks it.
            return match std::fs::remove_file(bucket_file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(ExportError::Folder(error))
                }
                _ => Ok(None),
            };
        };
        let client = Client::new(&config.metrics, url)?;
        Ok(Some(Self::at(config, Arc::new(client))))
    }

    /// What writes to `server`.
    pub(crate) fn at(config: &Config, server: Arc<dyn Server>) -> Self {
        Self {
            client: server,
            report: Arc::default(),
            quarantine: Arc::new(Quarantine::new(&config.data.join("quarantine"))),
            book: Book::new(config.data.join(BUCKET)),
            partitions: config.log.partitions.get(),
            pending_marks: config.metrics.pending_marks,
            again: Arc::default(),
            writing: Arc::default(),
        }
    }

    /// The marks of a generation.
    pub(crate) fn pending(&self) -> Arc<Pending> {
        Arc::new(Pending::new(self.partitions, self.pending_marks))
    }

    /// How the export is.
    pub(crate) fn report(&self) -> MetricsReport {
        let mut report = self.report.get();
        if report.lines_quarantined > 0 {
            report.quarantine_file = Some(self.quarantine.file().display().to_string());
        }
        report
    }

    /// Asks for everything to be written as a new generation; `false` if somebody has.
    pub(crate) fn write_again(&self) -> bool {
        !self.again.swap(true, Ordering::AcqRel)
    }

    /// The generation that readers have, if nothing else is to be written or being written.
    pub(crate) fn settled(&self) -> Option<u32> {
        let report = self.report.get();
        let asked = self.again.load(Ordering::Acquire);
        report
            .generation
            .filter(|number| !asked && report.readable_generation == Some(*number))
    }

    /// Exports a generation of state, once whoever exports another has ended; and what queries are answered from meanwhile.
    pub(crate) fn start<S: StateStore>(
        &self,
        pending: &Arc<Pending>,
        sources: Sources<S>,
        state: StateMetrics<S>,
        lock: Arc<FolderLock>,
    ) -> io::Result<(Arc<dyn MetricStore>, Exporting)> {
        let shared = Arc::new(Shared::new(
            Arc::clone(&self.client),
            Arc::clone(pending),
            Arc::clone(&self.report),
            Arc::clone(&self.quarantine),
            Arc::clone(&self.again),
        ));
        let writer = Writer::new(sources, self.book.clone(), Arc::clone(&shared));
        let exporting = Exporting {
            end: CancellationToken::new(),
            finish: Arc::default(),
            done: CancellationToken::new(),
        };
        let (end, finish) = (exporting.end.clone(), Arc::clone(&exporting.finish));
        let done = exporting.done.clone().drop_guard();
        let writing = Arc::clone(&self.writing);
        let write = async move {
            if let Some(_one) = end.run_until_cancelled(writing.lock()).await {
                writer.run(end.clone(), &finish).await;
            }
            drop((lock, done)); // the state is in use until here
        };
        if work::is_in_turn() {
            tokio::task::spawn_local(write);
        } else {
            let runtime = tokio::runtime::Handle::current();
            let thread = std::thread::Builder::new().name("influxdb".to_owned());
            thread.spawn(move || runtime.block_on(write))?;
        }
        Ok((Arc::new(InfluxMetrics::new(state, shared)), exporting))
    }
}

/// A thread that writes to InfluxDB. It ends when this is dropped.
pub(crate) struct Exporting {
    end: CancellationToken,
    /// Write what can be written quickly before the end.
    finish: Arc<AtomicBool>,
    done: CancellationToken,
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Exporting {
    /// Ends it at once: another takes its place.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Lets it write what it can until then, and ends it.
    pub(crate) async fn finish(&self, until: Instant) {
        self.finish.store(true, Ordering::Release);
        self.end.cancel();
        let done = tokio::time::timeout_at(until, self.done.cancelled());
        if done.await.is_err() {
            tracing::warn!("writing to InfluxDB did not end in time");
        }
    }
}
