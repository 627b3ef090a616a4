//! The doors of collectors: `Ingest`, `Config`, health and reflection.

mod config;
mod ingest;
mod sessions;
mod tls;

use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use wakeline_proto::DESCRIPTORS;
use wakeline_proto::v1::config_server::ConfigServer;
use wakeline_proto::v1::ingest_server::IngestServer;

use self::config::ConfigService;
use self::ingest::{IngestService, MAX_MESSAGE_BYTES};
use self::sessions::Sessions;
pub use self::tls::TlsError;
pub(crate) use self::tls::tls;
use crate::control::Control;
use crate::followers::Followers;
use crate::ledger::backlog::Backlog;
use crate::log::EventLog;
use crate::process::Positions;
use crate::stats::Stats;

/// What the services need.
pub(crate) struct Services<L> {
    pub(crate) log: L,
    pub(crate) partitions: u16,
    pub(crate) positions: Arc<Positions>,
    pub(crate) control: Arc<Control>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) followers: Arc<Followers>,
    pub(crate) token: Option<String>,
    /// Ends all streams: what was taken is made durable and acknowledged first.
    pub(crate) shutdown: CancellationToken,
}

impl<L: EventLog> Services<L> {
    /// All routes of the gRPC listener.
    pub(crate) async fn routes(self) -> Result<Routes, tonic_reflection::server::Error> {
        let token = Token(self.token.map(Arc::from));
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<IngestServer<IngestService<L>>>().await;
        health.set_serving::<ConfigServer<ConfigService>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let config = ConfigService {
            control: self.control,
            followers: self.followers,
            partitions: self.partitions,
            token: token.clone(),
            shutdown: self.shutdown.clone(),
        };
        let ingest = IngestService {
            log: self.log,
            partitions: self.partitions,
            positions: self.positions,
            sessions: Arc::new(Sessions::default()),
            stats: self.stats,
            backlog: self.backlog,
            token,
            shutdown: self.shutdown,
        };
        let ingest = IngestServer::new(ingest).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Routes::new(ingest)
            .add_service(ConfigServer::new(config))
            .add_service(health_service)
            .add_service(reflection))
    }
}

/// What collectors have to show, if anything.
#[derive(Clone)]
struct Token(Option<Arc<str>>);

impl Token {
    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(wanted) = &self.0 else {
            return Ok(());
        };
        let shown = metadata
            .get("authorization")
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match shown {
            Some(shown) if bool::from(shown.ct_eq(wanted.as_bytes())) => Ok(()),
            _ => Err(Status::unauthenticated(
                "this aggregator wants its grpc.token as `authorization: Bearer …`",
            )),
        }
    }
}
