//! An aggregator as far as a forwarder sees it: logs blocks in memory, skips what it has, acknowledges rounds.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wakeline_proto::v1;
use wakeline_proto::v1::ingest_server::{Ingest, IngestServer};

/// Groups with their positions, by partition, in the order in which they were logged.
pub(super) type Logged = BTreeMap<u32, Vec<(u64, Bytes)>>;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Behaviour {
    Reliable,
    /// Ends streams at random, before or after logging, and takes its time for Acks.
    Unreliable,
    /// Sends no Ack until told to.
    HoldsAcks,
}

#[derive(Default)]
struct State {
    logged: Logged,
    /// What is logged, by edge and position.
    known: BTreeMap<(u64, u64), Bytes>,
    /// The highest position logged, by edge and partition.
    highest: BTreeMap<(u64, u32), u64>,
    /// Groups taken for known ones that are not.
    lost: u64,
    edges: Vec<String>,
    authorizations: Vec<String>,
    random: u64,
}

struct Shared {
    partitions: u32,
    behaviour: Behaviour,
    state: Mutex<State>,
    streams: AtomicU64,
    skipped: AtomicU64,
    unacknowledged: AtomicU64,
    most_unacknowledged: AtomicU64,
    release: watch::Sender<bool>,
}

#[derive(Clone)]
struct Service(Arc<Shared>);

pub(super) struct Aggregator {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Aggregator {
    pub(super) async fn start(partitions: u32, behaviour: Behaviour) -> Self {
        let shared = Arc::new(Shared {
            partitions,
            behaviour,
            state: Mutex::new(State {
                random: 0x9E37_79B9_7F4A_7C15,
                ..State::default()
            }),
            streams: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            unacknowledged: AtomicU64::new(0),
            most_unacknowledged: AtomicU64::new(0),
            release: watch::Sender::new(behaviour != Behaviour::HoldsAcks),
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut aggregator = Self {
            shared,
            address: any,
            runtime: None,
        };
        aggregator.restart().await;
        aggregator
    }

    /// Goes away like a process that is killed: with its tasks and connections.
    pub(super) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Comes back at the same address with what it had logged.
    pub(super) async fn restart(&mut self) {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = self.address;
        let listener = runtime
            .spawn(async move { TcpListener::bind(address).await.unwrap() })
            .await
            .unwrap();
        self.address = listener.local_addr().unwrap();
        let service = IngestServer::new(Service(Arc::clone(&self.shared)));
        runtime.spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        self.runtime = Some(runtime);
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn logged(&self) -> Logged {
        self.shared.state.lock().unwrap().logged.clone()
    }

    /// What is logged, by edge and position.
    pub(super) fn known(&self) -> BTreeMap<(u64, u64), Bytes> {
        self.shared.state.lock().unwrap().known.clone()
    }

    /// Groups that were passed over though something else had come under their edge and position.
    pub(super) fn lost(&self) -> u64 {
        self.shared.state.lock().unwrap().lost
    }

    pub(super) fn edges(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().edges.clone()
    }

    pub(super) fn authorizations(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().authorizations.clone()
    }

    pub(super) fn streams(&self) -> u64 {
        self.shared.streams.load(SeqCst)
    }

    /// Groups that came again.
    pub(super) fn skipped(&self) -> u64 {
        self.shared.skipped.load(SeqCst)
    }

    pub(super) fn unacknowledged(&self) -> u64 {
        self.shared.unacknowledged.load(SeqCst)
    }

    pub(super) fn most_unacknowledged(&self) -> u64 {
        self.shared.most_unacknowledged.load(SeqCst)
    }

    pub(super) fn release_acks(&self) {
        self.shared.release.send_replace(true);
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// True in one of `one_in` calls.
    fn chance(&self, one_in: u64) -> bool {
        if self.behaviour != Behaviour::Unreliable {
            return false;
        }
        let mut state = self.state.lock().unwrap();
        state.random ^= state.random << 13;
        state.random ^= state.random >> 7;
        state.random ^= state.random << 17;
        state.random.is_multiple_of(one_in)
    }

    fn log(&self, edge: u64, block: &v1::Block) -> Result<(), Status> {
        if block.partitions != self.partitions {
            return Err(Status::failed_precondition("wrong number of partitions"));
        }
        assert!(block.partition < self.partitions);
        assert_eq!(crc32c::crc32c(&block.payload), block.crc);
        assert!(block.payload.len() <= 1 << 20);
        let bytes = zstd::bulk::decompress(&block.payload, 8 << 20).unwrap();
        let payload = v1::BlockPayload::decode(Bytes::from(bytes)).unwrap();
        let mut next = block.first_position;
        assert_eq!(payload.groups[0].position, next);
        let (mut events, mut rejected, mut tallies) = (0, 0, 0);
        let mut state = self.state.lock().unwrap();
        for v1::PositionedGroup { position, group } in payload.groups {
            assert!(position >= next);
            let decoded = v1::Group::decode(group.clone()).unwrap();
            events += decoded.events.len() as u32;
            rejected += decoded.rejected.len() as u32;
            tallies += decoded.tallies.len() as u32;
            next = position
                + (decoded.events.len() + decoded.rejected.len() + decoded.tallies.len()) as u64;
            let known = state.highest.get(&(edge, block.partition));
            if known.is_some_and(|known| position <= *known) {
                self.skipped.fetch_add(1, SeqCst);
                let same = state.known.get(&(edge, position)) == Some(&group);
                state.lost += u64::from(!same);
                continue;
            }
            state.highest.insert((edge, block.partition), next - 1);
            state.known.insert((edge, position), group.clone());
            state
                .logged
                .entry(block.partition)
                .or_default()
                .push((position, group));
        }
        assert_eq!(
            (next - 1, events, rejected, tallies),
            (
                block.last_position,
                block.events,
                block.rejected,
                block.tallies
            )
        );
        Ok(())
    }

    async fn take(
        &self,
        edge: u64,
        mut blocks: Streaming<v1::Block>,
        acks: &mpsc::Sender<Result<v1::Ack, Status>>,
    ) -> Result<(), Status> {
        let mut release = self.release.subscribe();
        self.unacknowledged.store(0, SeqCst);
        let mut held = Vec::new();
        loop {
            let block = tokio::select! {
                block = blocks.message() => match block? {
                    Some(block) => block,
                    None => return Ok(()),
                },
                Ok(()) = release.changed() => {
                    for position in held.drain(..) {
                        self.acknowledge(acks, position).await;
                    }
                    continue;
                }
            };
            if self.chance(40) {
                return Err(Status::unavailable("before logging"));
            }
            self.log(edge, &block)?;
            if self.chance(40) {
                return Err(Status::unavailable("after logging"));
            }
            if block.complete_to == 0 {
                continue;
            }
            let unacknowledged = self.unacknowledged.fetch_add(1, SeqCst) + 1;
            self.most_unacknowledged.fetch_max(unacknowledged, SeqCst);
            if self.chance(3) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            if *release.borrow() {
                self.acknowledge(acks, block.complete_to).await;
            } else {
                held.push(block.complete_to);
            }
        }
    }

    async fn acknowledge(&self, acks: &mpsc::Sender<Result<v1::Ack, Status>>, position: u64) {
        self.unacknowledged.fetch_sub(1, SeqCst);
        // The collector may be gone.
        let _ = acks.send(Ok(v1::Ack { position })).await;
    }
}

#[tonic::async_trait]
impl Ingest for Service {
    type PushStream = ReceiverStream<Result<v1::Ack, Status>>;

    async fn push(
        &self,
        request: Request<Streaming<v1::Block>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let metadata = |name: &str| {
            let value = request.metadata().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (edge, authorization) = (metadata("wakeline-edge"), metadata("authorization"));
        {
            let mut state = self.0.state.lock().unwrap();
            state.edges.extend(edge.clone());
            state.authorizations.extend(authorization);
        }
        self.0.streams.fetch_add(1, SeqCst);
        let edge = edge
            .and_then(|edge| u64::from_str_radix(&edge, 16).ok())
            .ok_or_else(|| Status::invalid_argument("no edge"))?;
        let (acks, stream) = mpsc::channel(64);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(status) = shared.take(edge, request.into_inner(), &acks).await {
                // The collector may be gone.
                let _ = acks.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
