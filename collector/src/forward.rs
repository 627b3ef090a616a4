//! Sends the spool to the aggregator, in order, until each event is acknowledged.
//!
//! - A *round* is a run of spool records as blocks, one or more for each partition concerned; the last block carries
//!   `complete_to`. An Ack of it lets the spool delete what is below.
//! - Up to eight rounds of 2 MiB are on their way. The first event of an idle connection leaves at once. While rounds
//!   are on their way, the next one waits until it is worth a round or until an Ack comes: there is no timer.
//! - An aggregator that takes blocks and acknowledges none of them is given up in time.
//! - After any failure, sending starts again at the last acknowledged position. What is sent twice the aggregator
//!   skips by edge id and position, so the position file may be old or missing.
//! - Each opening of the spool has its own edge id, and each stream is of one edge: once all of an older opening is
//!   acknowledged, the stream of the next one begins.

mod round;
#[cfg(test)]
mod tests;
mod window;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataValue;
use wakeline_proto::EDGES_BEFORE;
use wakeline_proto::v1;
use wakeline_proto::v1::ingest_client::IngestClient;
use wakeline_spool::SegmentLog;

use crate::edges::Edges;
use crate::forward::round::{RoundError, Rounds};
use crate::forward::window::{Sent, Window};
use crate::snapshot::RulesWatch;
use crate::upstream::Upstream;

const MAX_ROUNDS: usize = 8;
/// A round is worth sending beside n others once it has n times as many positions.
const EAGER_POSITIONS: u64 = 512;
/// Blocks that wait for the connection.
const OUTBOX: usize = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// The position file is written this often at most.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What the forwarder did and how it is, for metrics.
#[derive(Debug, Default)]
pub(crate) struct ForwardStats {
    /// Events, rejected ones included, that the aggregator acknowledged. Those sent again count again.
    events: AtomicU64,
    /// Blocks sent, and the bytes of their payloads.
    blocks: AtomicU64,
    bytes: AtomicU64,
    /// Spool records and events that can't be forwarded.
    malformed: AtomicU64,
    /// Everything below was acknowledged.
    acked: AtomicU64,
    connected: AtomicBool,
    /// Streams that ended, or could not begin.
    failures: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl ForwardStats {
    /// Events that the aggregator acknowledged, rejected ones and tallies included.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Blocks sent.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Relaxed)
    }

    /// Bytes of block payloads sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Spool records and events that can't be forwarded.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.load(Relaxed)
    }

    /// The position below which all was acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Relaxed)
    }

    /// Whether the aggregator takes blocks right now.
    pub(crate) fn connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Streams that ended, or could not begin.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Why the last stream ended; none while one works.
    pub(crate) fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("aggregator: {} ({:?})", .0.message(), .0.code())]
    Status(#[from] tonic::Status),
    #[error("the aggregator ended the stream")]
    Ended,
    #[error("the aggregator acknowledged nothing for {0:?}")]
    Silent(Duration),
    #[error("the number of partitions has changed")]
    Partitions,
    #[error("all of an older opening is acknowledged")]
    NextEdge,
    #[error("spool")]
    Round(#[from] RoundError),
    #[error("a task was cancelled")]
    Task(#[from] tokio::task::JoinError),
}

/// Sends the spool to the aggregator.
pub(crate) struct Forwarder {
    log: SegmentLog,
    edges: Edges,
    upstream: Upstream,
    rules: RulesWatch,
    data: PathBuf,
    ack_timeout: Duration,
    stats: Arc<ForwardStats>,
}

impl Forwarder {
    /// The folder `data` keeps what was acknowledged, if it could be kept. The number of partitions comes with `rules`:
    /// nothing is sent before there are some. An aggregator that acknowledges nothing of what it has for `ack_timeout` is
    /// connected to anew.
    pub(crate) fn new(
        log: SegmentLog,
        edges: Edges,
        upstream: Upstream,
        rules: RulesWatch,
        data: PathBuf,
        ack_timeout: Duration,
    ) -> Self {
        Self {
            log,
            edges,
            upstream,
            rules,
            data,
            ack_timeout,
            stats: Arc::default(),
        }
    }

    /// Counters and gauges that stay valid while it runs.
    pub(crate) fn stats(&self) -> Arc<ForwardStats> {
        Arc::clone(&self.stats)
    }

    /// Returns when `shutdown` fires. What was not acknowledged by then stays in the spool.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let kept = self.edges.acked(&self.data).unwrap_or(0);
        // The spool may have lost its end, also what was acknowledged; what comes next must not be passed over.
        let from = kept
            .max(self.edges.first())
            .min(self.log.durable())
            .max(self.log.first());
        self.stats.acked.store(from, Relaxed);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.forward() => {}
        }
        self.stats.connected.store(false, Relaxed);
        if let Err(error) = self.edges.save_acked(&self.data, self.stats.acked()) {
            tracing::warn!(%error, "acknowledged position can't be kept: some events will be sent again");
        }
    }

    /// One stream after the other, for ever.
    async fn forward(&self) {
        let mut rules = self.rules.clone();
        let mut backoff = FIRST_BACKOFF;
        loop {
            let partitions = match rules.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(rules)) => rules.partitions,
                // Whoever watches the config is gone: the collector is being shut down.
                Ok(None) | Err(_) => return,
            };
            rules.mark_unchanged();
            let before = self.stats.acked();
            let error = match self.session(partitions).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.stats.connected.store(false, Relaxed);
            if matches!(error, SessionError::NextEdge) {
                backoff = FIRST_BACKOFF;
                continue;
            }
            self.stats.failures.fetch_add(1, Relaxed);
            if self.stats.acked() > before {
                backoff = FIRST_BACKOFF;
            }
            let report = report(&error);
            tracing::info!(error = %report, retry_in = ?backoff, "forwarding interrupted");
            *lock(&self.stats.last_error) = Some(report);
            match error {
                SessionError::Partitions => {}
                SessionError::Status(status) if status.code() == Code::FailedPrecondition => {
                    // Only a newer snapshot can help; it is asked for by the config watch.
                    let _ = tokio::time::timeout(LONGEST_BACKOFF, rules.changed()).await;
                }
                _ => {
                    tokio::time::sleep(jittered(backoff)).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// One stream, from the last acknowledged position on, as far as its opening goes.
    async fn session(&self, partitions: u32) -> Result<std::convert::Infallible, SessionError> {
        let window = Window::default();
        let (edge, border) = self.edges.at(self.stats.acked());
        let (outbox, blocks) = mpsc::channel(OUTBOX);
        let mut rules = self.rules.clone();
        let other_partitions = rules.wait_for(|rules| {
            rules
                .as_ref()
                .is_some_and(|rules| rules.partitions != partitions)
        });
        tokio::select! {
            result = self.receive(edge, blocks, &window) => result,
            result = self.send(outbox, &window, partitions, border) => result,
            Ok(_) = other_partitions => Err(SessionError::Partitions),
            () = window.overdue(self.ack_timeout) => Err(SessionError::Silent(self.ack_timeout)),
        }
    }

    /// Makes rounds and hands them to the stream, up to `border` if there is one.
    async fn send(
        &self,
        outbox: mpsc::Sender<v1::Block>,
        window: &Window,
        partitions: u32,
        border: Option<u64>,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut durable = self.log.watch();
        let limit = border.unwrap_or(u64::MAX);
        let mut rounds = Rounds::new(self.log.reader(self.stats.acked()), partitions, limit)?;
        // What follows was looked at and is nothing to send: damage, or positions that were given to nobody.
        let mut seen = 0;
        loop {
            let end = loop {
                let end = *durable.borrow_and_update();
                let waiting = end.min(limit).saturating_sub(rounds.position().max(seen));
                let on_their_way = window.len();
                // Nothing is ever added below a border.
                if let (Some(border), 0, 0) = (border, waiting, on_their_way) {
                    self.stats.acked.store(border, Relaxed);
                    return Err(SessionError::NextEdge);
                }
                if waiting > 0
                    && on_their_way < MAX_ROUNDS
                    && waiting >= EAGER_POSITIONS * on_their_way as u64
                {
                    break end;
                }
                tokio::select! {
                    Ok(()) = durable.changed() => {}
                    () = window.acknowledged() => {}
                }
            };
            let (back, round) = wakeline_spool::work::spawn_blocking(move || {
                let round = rounds.next();
                (rounds, round)
            })
            .await?;
            rounds = back;
            let Some(round) = round? else {
                seen = end;
                continue;
            };
            self.stats.malformed.fetch_add(round.malformed, Relaxed);
            if round.blocks.is_empty() {
                continue; // the next round's `complete_to` covers these records
            }
            window.push(Sent {
                complete_to: round.complete_to,
                events: round.events,
            });
            for mut block in round.blocks {
                block.pending = self.log.durable().saturating_sub(round.complete_to);
                let bytes = block.payload.len() as u64;
                if outbox.send(block).await.is_err() {
                    // The stream has ended; `receive` knows why.
                    return std::future::pending().await;
                }
                self.stats.blocks.fetch_add(1, Relaxed);
                self.stats.bytes.fetch_add(bytes, Relaxed);
            }
        }
    }

    /// Opens the stream and takes Acks.
    async fn receive(
        &self,
        edge: u64,
        blocks: mpsc::Receiver<v1::Block>,
        window: &Window,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut client = IngestClient::new(self.upstream.channel());
        let mut request = self.upstream.request(ReceiverStream::new(blocks));
        // Sixteen hex digits are always a valid value.
        if let Ok(value) = MetadataValue::try_from(format!("{edge:016x}")) {
            request.metadata_mut().insert("wakeline-edge", value);
        }
        let before: Vec<_> = self
            .edges
            .before(edge)
            .map(|id| format!("{id:016x}"))
            .collect();
        if let Ok(value) = MetadataValue::try_from(before.join(",")) {
            request.metadata_mut().insert(EDGES_BEFORE, value);
        }
        let mut acks = client.push(request).await?.into_inner();
        self.stats.connected.store(true, Relaxed);
        *lock(&self.stats.last_error) = None;
        tracing::info!(
            edge = format!("{edge:016x}"),
            from = self.stats.acked(),
            "forwarding"
        );
        let mut saved = Instant::now();
        while let Some(ack) = acks.message().await? {
            let Some((position, events)) = window.acknowledge(ack.position) else {
                continue;
            };
            self.stats.events.fetch_add(events, Relaxed);
            self.stats.acked.store(position, Relaxed);
            let save_to =
                (saved.elapsed() >= SAVE_EVERY).then(|| (self.edges.clone(), self.data.clone()));
            if save_to.is_some() {
                saved = Instant::now();
            }
            let log = self.log.clone();
            wakeline_spool::work::spawn_blocking(move || {
                if let Err(error) = log.trim(position) {
                    tracing::error!(%error, "acknowledged segments can't be deleted");
                }
                if let Some((edges, data)) = save_to
                    && let Err(error) = edges.save_acked(&data, position)
                {
                    tracing::warn!(%error, "acknowledged position can't be kept");
                }
            })
            .await?;
        }
        Err(SessionError::Ended)
    }
}

/// An error with its causes.
fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Half to all of `backoff`, so that collectors do not come back all at once.
fn jittered(backoff: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    backoff.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
