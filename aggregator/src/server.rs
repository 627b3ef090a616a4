//! The aggregator as a whole: what starts in which order, and stops.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminError, AdminRequest, AdminSocket};
use crate::api::{self, ApiState};
use crate::causes::Causes;
use crate::config::{Config, ConfigError, GrpcConfig, HttpConfig};
use crate::control::{Control, ControlError};
use crate::followers::Followers;
use crate::generations::Generations;
use crate::grpc::{self, Services, TlsError};
use crate::health::ServerHealth;
use crate::influx::ExportError;
use crate::ledger::backlog::Backlog;
use crate::ledger::desk::Tools;
use crate::ledger::{DeadLetterError, DeadLetters, Desk};
use crate::live::Live;
use crate::lock::LockError;
use crate::log::LogError;
use crate::metrics::MetricStore;
use crate::preview::Previewer;
use crate::process::RecoverError;
use crate::serve;
use crate::state::{RedisStateError, StateError};

/// Watchers are told of changes that came too quickly to be told at once.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// A salt is drawn a day before it holds: any time in between will do.
const TURN_SALTS_EVERY: Duration = Duration::from_secs(600);
/// Dead letters that are too old are deleted this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Collectors that are gone without a word are noticed after this and as long again.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Connections of collectors at a time; each has one or two.
const GRPC_CONNECTIONS: usize = 2_000;
/// How long a new connection of a collector may take to say the first thing.
const GRPC_PATIENCE: Duration = Duration::from_secs(5);
/// Why an aggregator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another aggregator uses the data folder.
    #[error("{} is in use by another aggregator", .0.display())]
    InUse(PathBuf),
    /// The data folder can't be used.
    #[error("use the data folder")]
    Data(#[source] io::Error),
    /// The log was made with another number of partitions.
    #[error("log.partitions is {configured}, but the log was made with {made}: it is fixed")]
    Partitions {
        /// As configured.
        configured: u16,
        /// As the log has it.
        made: String,
    },
    /// The control store can't be used.
    #[error("open the control store")]
    Control(#[from] ControlError),
    /// The log can't be used.
    #[error("open the log")]
    Log(#[from] LogError),
    /// The disk has no room for what a start writes.
    #[error(
        "the disk of {} is full: make room and start again; nothing is lost, collectors keep what they have", .0.display()
    )]
    DiskFull(PathBuf, #[source] Box<StartError>),
    /// The state can't be used.
    #[error(
        "the state in {} can't be used. It holds only what can be rebuilt: move or delete that folder (not the log), \
         and the next start rebuilds it from the log", .0.display()
    )]
    State(PathBuf, #[source] StateError),
    /// The state in Redis can't be used.
    #[error("use the state in Redis (state.url)")]
    Redis(#[source] StateError),
    /// Another aggregator uses the state.
    #[error(
        "the state in Redis (state.url) is in use by another aggregator, for {0} s more at least: stop that first, or give \
         this one a state of its own"
    )]
    StateInUse(u64),
    /// Another aggregator has taken the state over, while this one did not renew its lease.
    #[error(
        "another aggregator has taken the state over: this one stops, and nothing of it is counted twice"
    )]
    Replaced,
    /// State and log don't fit together or can't be read.
    #[error("go on where the log was left")]
    Recover(#[from] RecoverError),
    /// The refused events can't be used.
    #[error("open the dead letters")]
    DeadLetters(#[from] DeadLetterError),
    /// There can't be an export of figures.
    #[error("export figures to InfluxDB (metrics.url)")]
    Influx(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address can't be listened on.
    #[error("listen on {0}")]
    Listen(String, #[source] io::Error),
    /// A certificate or key of collectors' door can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The gRPC services can't be put together.
    #[error("make the gRPC services")]
    Grpc(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// Whether it is worth trying again without changing anything here: the store is away, full, not yet what it should be.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Redis(StateError::Store(error)) => error
                .downcast_ref::<RedisStateError>()
                .is_none_or(RedisStateError::may_pass),
            _ => false,
        }
    }

    /// Names the folder and what to do, if `self` comes of a full disk.
    fn of_disk(self, data: &Path) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&self);
        while let Some(error) = cause {
            let io = error.downcast_ref::<io::Error>();
            let sqlite = error.downcast_ref::<rusqlite::Error>();
            if io.is_some_and(is_full)
                || sqlite.and_then(rusqlite::Error::sqlite_error_code)
                    == Some(rusqlite::ErrorCode::DiskFull)
            {
                return Self::DiskFull(data.to_owned(), Box::new(self));
            }
            cause = error.source();
        }
        self
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl From<ExportError> for StartError {
    fn from(error: ExportError) -> Self {
        Self::Influx(Box::new(error))
    }
}

impl From<LockError> for StartError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse(folder) => Self::InUse(folder),
            LockError::Io(_, error) => Self::Data(error),
        }
    }
}

/// A running aggregator. Dropping it stops it at once, as a crash would; [`shutdown`](Self::shutdown) is gentler.
pub struct Aggregator {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    generations: Arc<Generations>,
    desk: Arc<Desk>,
    metrics: Arc<dyn MetricStore>,
    /// Serves collectors, HTTP and the admin socket.
    doors: TaskTracker,
    /// Closes the doors.
    close: DropGuard,
    /// Ends whatever else runs in the background.
    _background: DropGuard,
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.generations.halt();
    }
}

impl Aggregator {
    /// Opens everything under `config.data`, goes on where the log was left, and listens.
    ///
    /// A Redis that is away, or can't keep state at the moment, is waited for meanwhile: collectors are answered, readiness
    /// says why there are no figures.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let data = config.data.clone();
        let started = Self::start_with(config).await;
        started.map_err(|error| error.of_disk(&data))
    }

    async fn start_with(config: Config) -> Result<Self, StartError> {
        let generations = Generations::open_folder(config.clone())?;
        let started = Self::start_on(config, Arc::clone(&generations)).await;
        if started.is_err() {
            generations.release().await;
        }
        started
    }

    async fn start_on(config: Config, generations: Arc<Generations>) -> Result<Self, StartError> {
        let stop = HaltOnDrop(Some(Arc::clone(&generations)));
        generations.start().await?;
        generations.start_lake()?;

        let grpc_server = grpc_server(&config.grpc)?;
        let grpc = listen(config.grpc.listen).await?;
        let http = listen(config.http.listen).await?;
        let local = |listener: &TcpListener| listener.local_addr().map_err(StartError::Data);
        let (grpc_addr, http_addr) = (local(&grpc)?, local(&http)?);

        let metrics: Arc<dyn MetricStore> = Arc::clone(&generations) as _;
        let (desk, backlog) = ledger(&config, &generations)?;
        let close = CancellationToken::new();
        let background = CancellationToken::new();
        // From here on whatever was started ends if starting fails.
        let close_all = (close.clone().drop_guard(), background.clone().drop_guard());
        let doors = TaskTracker::new();
        let followers = Arc::new(Followers::default());
        let services = Services {
            followers: Arc::clone(&followers),
            log: generations.log.clone(),
            partitions: config.log.partitions.get(),
            positions: Arc::clone(&generations.positions),
            control: Arc::clone(&generations.control),
            stats: Arc::clone(&generations.stats),
            backlog,
            token: config.grpc.token.clone(),
            shutdown: close.clone(),
        };
        let routes = services.routes().await?;
        doors.spawn(serve_grpc(grpc_server, grpc, routes, close.clone()));
        let api = ApiState {
            control: Arc::clone(&generations.control),
            metrics: Arc::clone(&metrics),
            events: generations.events(),
            live: Arc::clone(&generations.live),
            desk: Arc::clone(&desk),
            followers,
            previewer: Arc::new(Previewer::new(generations.log.clone())),
            health: Arc::new(ServerHealth {
                log: generations.log.clone(),
                generations: Arc::clone(&generations),
                stats: Arc::clone(&generations.stats),
                troubles: Arc::clone(&generations.troubles),
            }),
            collector_url: config.http.collector_url.clone(),
            clock: now_ms,
            shutdown: close.clone(),
        };
        doors.spawn(serve_http(http, api, config.http.clone(), close.clone()));
        let socket = AdminSocket::bind(&config.data).map_err(StartError::Data)?;
        doors.spawn(socket.run(Arc::clone(&generations), Arc::clone(&desk), close.clone()));
        doors.close();
        let control = Arc::downgrade(&generations.control);
        tokio::spawn(turn_salts(control, background.clone()));
        tokio::spawn(expire(
            Arc::downgrade(&generations.letters),
            background.clone(),
        ));
        tokio::spawn(flush(Arc::clone(&generations.live), background.clone()));
        tracing::info!(%grpc_addr, %http_addr, "the aggregator runs");
        stop.keep_on();
        Ok(Self {
            grpc_addr,
            http_addr,
            generations,
            desk,
            metrics,
            doors,
            close: close_all.0,
            _background: close_all.1,
        })
    }

    /// Where collectors push.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where dashboard and API are.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Sites, keys and tokens.
    pub fn control(&self) -> &Arc<Control> {
        &self.generations.control
    }

    /// What happens now.
    pub fn live(&self) -> &Arc<Live> {
        &self.generations.live
    }

    /// What queries are answered from.
    pub fn metrics(&self) -> &Arc<dyn MetricStore> {
        &self.metrics
    }

    /// Does what an operator asks for.
    pub async fn admin(&self, request: AdminRequest) -> Result<serde_json::Value, AdminError> {
        admin::carry_out(&self.generations, &self.desk, request, |_| {}).await
    }

    /// Returns when the server can't go on, as when another one has taken its state over; the first who asks is told why.
    pub async fn failed(&self) -> StartError {
        self.generations.failed().await
    }

    /// Stops in order: takes nothing new and acknowledges what was taken, answers what was asked, applies what was read
    /// of the log, makes it durable. What is not done by the deadline is left: the next start does it.
    pub async fn shutdown(mut self, deadline: Duration) {
        let until = Instant::now() + deadline;
        drop(std::mem::replace(
            &mut self.close,
            CancellationToken::new().drop_guard(),
        ));
        self.generations.end_rebuilds();
        if tokio::time::timeout_at(until, self.doors.wait())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time");
        }
        self.generations.stop(until).await;
        tracing::info!("the aggregator stopped");
    }
}

/// Stops what a start has begun if it fails later on.
struct HaltOnDrop(Option<Arc<Generations>>);

impl HaltOnDrop {
    fn keep_on(mut self) {
        self.0 = None;
    }
}

impl Drop for HaltOnDrop {
    fn drop(&mut self) {
        if let Some(generations) = &self.0 {
            generations.halt();
        }
    }
}

/// Where fates are asked for, and where collectors' backlogs are noted for it.
pub(crate) fn ledger(
    config: &Config,
    generations: &Arc<Generations>,
) -> Result<(Arc<Desk>, Arc<Backlog>), StartError> {
    let backlog = Arc::new(Backlog::default());
    let desk = Desk::new(Tools {
        control: Arc::clone(&generations.control),
        fates: Arc::clone(generations) as _,
        metrics: Arc::clone(generations) as _,
        letters: Arc::clone(&generations.letters),
        backlog: Arc::clone(&backlog),
        collector_url: config.http.collector_url.clone(),
        grace_ms: config.ledger.grace_ms(),
        clock: now_ms,
    });
    Ok((Arc::new(desk.map_err(StartError::Data)?), backlog))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen(address.to_string(), error))
}

fn grpc_server(config: &GrpcConfig) -> Result<tonic::transport::Server, TlsError> {
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE));
    match grpc::tls(config, GRPC_PATIENCE)? {
        Some(tls) => server.tls_config(tls).map_err(TlsError::Unusable),
        None => Ok(server),
    }
}

async fn serve_grpc(
    mut server: tonic::transport::Server,
    listener: TcpListener,
    routes: tonic::service::Routes,
    close: CancellationToken,
) {
    let ended = server
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            serve::http2_connections(listener, GRPC_CONNECTIONS, GRPC_PATIENCE),
            close.cancelled_owned(),
        )
        .await;
    if let Err(error) = ended {
        tracing::error!(error = %Causes(&error), "serve gRPC");
    }
}

async fn serve_http(
    listener: TcpListener,
    state: ApiState,
    config: HttpConfig,
    close: CancellationToken,
) {
    serve::http(listener, api::router(state), &config, close).await;
}

/// Deletes dead letters that are too old.
async fn expire(letters: Weak<DeadLetters>, end: CancellationToken) {
    let mut every = tokio::time::interval(EXPIRE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        // Their file is let go of with the server, not with this task.
        let Some(letters) = letters.upgrade() else {
            return;
        };
        let now = u64::try_from(now_ms()).unwrap_or(0);
        let done = tokio::task::spawn_blocking(move || letters.expire(now)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(error = %Causes(&error), "delete old dead letters");
        }
    }
}

/// Sees to it that every site has the salts of its day.
async fn turn_salts(control: Weak<Control>, end: CancellationToken) {
    let mut every = tokio::time::interval(TURN_SALTS_EVERY);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        // As with dead letters, the file is let go of with the server.
        let Some(control) = control.upgrade() else {
            return;
        };
        let done = tokio::task::spawn_blocking(move || control.turn_salts(now_ms())).await;
        if let Ok(Err(error)) = done {
            tracing::error!(error = %Causes(&error), "draw salts");
        }
    }
}

async fn flush(live: Arc<Live>, end: CancellationToken) {
    let mut every = tokio::time::interval(FLUSH_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        live.flush(std::time::Instant::now());
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::{Path, StartError, StateError, io};

    #[test]
    fn a_full_disk_is_named_with_what_to_do_wherever_it_is_noticed() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let state = StateError::Store(Box::new(fjall::Error::Io(full())));
        for error in [
            StartError::Data(full()),
            StartError::State("data/state".into(), state),
        ] {
            let says = error.of_disk(Path::new("data")).to_string();
            assert!(says.contains("disk of data is full: make room"), "{says}");
        }
        let other = StartError::Data(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(
            other.of_disk(Path::new("data")),
            StartError::Data(_)
        ));
    }
}
