//! `Ingest`: takes blocks from collectors and makes them durable.
//!
//! - An Ack is sent when everything before it on the stream is durable.
//! - Blocks that are in the log already are not logged again; the highest logged position of their edge and partition
//!   tells. It grows when a block is durable, so that after a failure nothing is taken for logged that is not.
//! - Of one edge and partition one block at a time is being appended: the log has them in spool order, whatever fails.
//! - What is taken but not durable yet is bounded by bytes; beyond that the stream is not read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};
use wakeline_proto::EDGES_BEFORE;
use wakeline_proto::limits::MAX_BLOCK_BYTES;
use wakeline_proto::v1::ingest_server::Ingest;
use wakeline_proto::v1::{Ack, Block};

use super::Token;
use super::sessions::{Session, Sessions};
use crate::causes::Causes;
use crate::ledger::backlog::Backlog;
use crate::log::{EventLog, LogError};
use crate::process::Positions;
use crate::stats::Stats;

/// Bytes of a message: a block's payload and room for its other fields.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_BLOCK_BYTES + (64 << 10);
/// Bytes of a stream's blocks that are taken but not durable yet.
const IN_FLIGHT_BYTES: usize = 8 << 20;
/// Earlier openings of a spool that are looked at.
const MAX_BEFORE: usize = 64;
/// Acks that wait to be sent.
const ACKS: usize = 64;

pub(super) struct IngestService<L> {
    pub(super) log: L,
    pub(super) partitions: u16,
    pub(super) positions: Arc<Positions>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) stats: Arc<Stats>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) token: Token,
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl<L: EventLog> Ingest for IngestService<L> {
    type PushStream = ReceiverStream<Result<Ack, Status>>;

    async fn push(
        &self,
        request: Request<Streaming<Block>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let edge = self
            .token
            .check(request.metadata())
            .and_then(|()| edge_id(request.metadata()))
            .inspect_err(|_| self.stats.pushes_refused.add(1))?;
        let Some(session) = self.sessions.begin(edge) else {
            self.stats.pushes_refused.add(1);
            tracing::warn!(
                edge = format!("{edge:016x}"),
                "a second stream: ending both"
            );
            return Err(two_streams());
        };
        let (acks, replies) = mpsc::channel(ACKS);
        let push = Push {
            edge,
            before: edges_before(request.metadata()),
            log: self.log.clone(),
            partitions: self.partitions,
            positions: Arc::clone(&self.positions),
            stats: Arc::clone(&self.stats),
            backlog: Arc::clone(&self.backlog),
            acks,
            in_flight: FuturesOrdered::new(),
            in_flight_bytes: 0,
            appending: HashSet::new(),
            waiting: None,
            failed: false,
        };
        tokio::spawn(push.run(request.into_inner(), session, self.shutdown.clone()));
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

fn edge_id(metadata: &MetadataMap) -> Result<u64, Status> {
    metadata
        .get("wakeline-edge")
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() == 16)
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| Status::invalid_argument("metadata wakeline-edge: 16 hex digits wanted"))
}

/// The edges of earlier openings of the spool; what is no id is none.
fn edges_before(metadata: &MetadataMap) -> Vec<u64> {
    let listed = metadata
        .get(EDGES_BEFORE)
        .and_then(|value| value.to_str().ok());
    let ids = listed.unwrap_or_default().split(',').take(MAX_BEFORE);
    ids.filter_map(|id| u64::from_str_radix(id, 16).ok())
        .collect()
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

fn two_streams() -> Status {
    Status::aborted("two live streams of one edge: do two collectors use copies of one spool?")
}

/// A block on its way into the log.
struct Pending {
    /// `None`: it was there already.
    partition: Option<u16>,
    last_position: u64,
    complete_to: u64,
    bytes: usize,
}

/// One stream of a collector.
struct Push<L> {
    edge: u64,
    /// What was spooled under these is acknowledged.
    before: Vec<u64>,
    log: L,
    partitions: u16,
    positions: Arc<Positions>,
    stats: Arc<Stats>,
    backlog: Arc<Backlog>,
    acks: mpsc::Sender<Result<Ack, Status>>,
    in_flight: FuturesOrdered<BoxFuture<'static, (Pending, Result<(), LogError>)>>,
    in_flight_bytes: usize,
    /// Partitions of the blocks in flight.
    appending: HashSet<u16>,
    /// The newest block, held back while one of its partition is in flight.
    waiting: Option<Block>,
    /// A block was not logged: nothing is acknowledged after it.
    failed: bool,
}

/// Why a stream ends.
enum End {
    /// The collector closed it, or is gone.
    Closed,
    Status(Status),
}

impl<L: EventLog> Push<L> {
    async fn run(
        mut self,
        mut blocks: Streaming<Block>,
        session: Session,
        shutdown: CancellationToken,
    ) {
        tracing::info!(edge = self.name(), "a collector pushes");
        self.backlog.begin(self.edge, &self.before, now_ms());
        let end = self.take_blocks(&mut blocks, &session, &shutdown).await;
        // What was taken is made durable and acknowledged, unless another stream may be about to send it again.
        let end = if session.contested.is_cancelled() {
            End::Status(two_streams())
        } else {
            match self.drain().await {
                Ok(()) => end,
                Err(failure) => failure,
            }
        };
        drop(session);
        self.backlog.end(self.edge, now_ms());
        if let End::Status(status) = end {
            if !matches!(status.code(), Code::Unavailable) {
                self.stats.pushes_refused.add(1);
            }
            tracing::warn!(edge = self.name(), %status, "ends a collector's stream");
            let _ = self.acks.send(Err(status)).await;
        } else {
            tracing::info!(edge = self.name(), "a collector's stream ended");
        }
    }

    async fn take_blocks(
        &mut self,
        blocks: &mut Streaming<Block>,
        session: &Session,
        shutdown: &CancellationToken,
    ) -> End {
        loop {
            let room = self.waiting.is_none() && self.in_flight_bytes < IN_FLIGHT_BYTES;
            let taken = tokio::select! {
                biased;
                () = session.contested.cancelled() => return End::Status(two_streams()),
                () = shutdown.cancelled() => {
                    return End::Status(Status::unavailable("the aggregator stops"));
                }
                Some((pending, result)) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.durable(pending, result).await
                }
                () = self.acks.closed() => return End::Closed,
                message = blocks.message(), if room => match message {
                    Ok(Some(block)) => self.take(block),
                    Ok(None) => return End::Closed,
                    Err(status) if status.code() == Code::OutOfRange => return End::Status(status),
                    Err(_gone) => return End::Closed,
                },
            };
            if let Err(end) = taken {
                return end;
            }
        }
    }

    /// Waits for all that was taken.
    async fn drain(&mut self) -> Result<(), End> {
        while let Some((pending, result)) = self.in_flight.next().await {
            self.durable(pending, result).await?;
        }
        Ok(())
    }

    /// Checks a block and begins to append it.
    fn take(&mut self, block: Block) -> Result<(), End> {
        let partition = self.check(&block).map_err(End::Status)?;
        self.backlog.report(self.edge, block.pending, now_ms());
        if self.appending.contains(&partition) {
            self.waiting = Some(block);
            return Ok(());
        }
        let highest = self.positions.get(self.edge, partition);
        let empty = block.events == 0 && block.rejected == 0 && block.tallies == 0;
        let known = empty || highest.is_some_and(|highest| highest >= block.last_position);
        let pending = Pending {
            partition: (!known).then_some(partition),
            last_position: block.last_position,
            complete_to: block.complete_to,
            bytes: block.payload.len(),
        };
        self.in_flight_bytes += pending.bytes;
        if known {
            self.stats.blocks_repeated.add(u64::from(!empty));
            let done = std::future::ready((pending, Ok(())));
            self.in_flight.push_back(Box::pin(done));
        } else {
            self.appending.insert(partition);
            let append = self.log.append(self.edge, block);
            self.in_flight.push_back(Box::pin(async move {
                (pending, append.await.map(|_offset| ()))
            }));
        }
        Ok(())
    }

    fn check(&self, block: &Block) -> Result<u16, Status> {
        if block.partitions != u32::from(self.partitions) {
            return Err(Status::failed_precondition(format!(
                "the log has {} partitions, the block was made for {}",
                self.partitions, block.partitions
            )));
        }
        let partition = u16::try_from(block.partition)
            .ok()
            .filter(|partition| *partition < self.partitions)
            .ok_or_else(|| Status::invalid_argument("no such partition"))?;
        if block.payload.len() > MAX_BLOCK_BYTES {
            return Err(Status::out_of_range("the block is too large"));
        }
        if block.first_position > block.last_position {
            return Err(Status::invalid_argument("the block ends before it begins"));
        }
        if crc32c::crc32c(&block.payload) != block.crc {
            return Err(Status::data_loss("the block's CRC is wrong"));
        }
        Ok(partition)
    }

    /// A block is in the log, or failed to get there.
    async fn durable(&mut self, pending: Pending, result: Result<(), LogError>) -> Result<(), End> {
        self.in_flight_bytes -= pending.bytes;
        if let Some(partition) = pending.partition {
            self.appending.remove(&partition);
            if let Err(error) = result {
                tracing::error!(error = %Causes(&error), edge = self.name(), "append a block");
                self.failed = true;
                self.waiting = None;
                return Err(End::Status(Status::unavailable("the log can't be written")));
            }
            self.positions
                .raise(self.edge, partition, pending.last_position);
            self.stats.blocks_logged.add(1);
        }
        if pending.complete_to > 0 && !self.failed {
            let ack = Ack {
                position: pending.complete_to,
            };
            if self.acks.send(Ok(ack)).await.is_err() {
                return Err(End::Closed);
            }
        }
        match self.waiting.take() {
            Some(block) => self.take(block),
            None => Ok(()),
        }
    }

    fn name(&self) -> String {
        format!("{:016x}", self.edge)
    }
}
