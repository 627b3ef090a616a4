//! The aggregator as a whole: what starts in which order, and stops.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminError, AdminRequest, AdminSocket};
use crate::api::{self, ApiState};
use crate::causes::Causes;
use crate::config::{Config, ConfigError, HttpConfig};
use crate::control::{Control, ControlError};
use crate::grpc::Services;
use crate::health::{ServerHealth, Troubles};
use crate::ledger::backlog::Backlog;
use crate::ledger::desk::Tools;
use crate::ledger::{DeadLetterError, DeadLetters, Desk, StateFates};
use crate::live::Live;
use crate::lock::{FolderLock, LockError};
use crate::log::{EventLog as _, LogError, SegmentEventLog};
use crate::metrics::{MetricStore, StateMetrics};
use crate::process::{Board, Processing, RecoverError, Recovered, Shared, recover};
use crate::serve;
use crate::state::{FjallState, Owner, Progress, RedisState, StateError, StateStore as _, Store};
use crate::stats::Stats;

/// The state is made durable this often; what is lost in a crash is replayed from the log.
const PERSIST_EVERY: Duration = Duration::from_secs(1);
/// Watchers are told of changes that came too quickly to be told at once.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// Dead letters that are too old are deleted this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Collectors that are gone without a word are noticed after this and as long again.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Connections of collectors at a time; each has one or two.
const GRPC_CONNECTIONS: usize = 2_000;
/// How long a new connection of a collector may take to say the first thing.
const GRPC_PATIENCE: Duration = Duration::from_secs(5);
/// The folder's lock makes sure that there is one owner of the log and so of its state: all its lives share an epoch.
/// Aggregators that divide partitions among themselves need epochs that whoever divides them hands out.
const EPOCH: u64 = 1;
/// File with the random name of the log.
const LOG_ID: &str = "id";
/// File with the number of partitions of the log.
const PARTITIONS: &str = "partitions";

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
    /// State and log don't fit together or can't be read.
    #[error("go on where the log was left")]
    Recover(#[from] RecoverError),
    /// The refused events can't be used.
    #[error("open the dead letters")]
    DeadLetters(#[from] DeadLetterError),
    /// An address can't be listened on.
    #[error("listen on {0}")]
    Listen(String, #[source] io::Error),
    /// The gRPC services can't be put together.
    #[error("make the gRPC services")]
    Grpc(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// The state can't be used, wherever it is.
    fn of_state(config: &Config, error: StateError) -> Self {
        if config.redis().is_some() {
            Self::Redis(error)
        } else {
            Self::State(config.data.join("state"), error)
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
    control: Arc<Control>,
    desk: Arc<Desk>,
    log: SegmentEventLog,
    state: Arc<Store>,
    metrics: Arc<dyn MetricStore>,
    live: Arc<Live>,
    processing: Processing,
    /// Serves collectors, HTTP and the admin socket.
    doors: TaskTracker,
    /// Closes the doors.
    close: DropGuard,
    /// Ends whatever else runs in the background.
    background: DropGuard,
    lock: Arc<FolderLock>,
}

impl Aggregator {
    /// Opens everything under `config.data`, goes on where the log was left, and listens.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let data = config.data.clone();
        let started = Self::start_with(config).await;
        started.map_err(|error| error.of_disk(&data))
    }

    async fn start_with(config: Config) -> Result<Self, StartError> {
        let errors = config.check();
        if !errors.is_empty() {
            return Err(ConfigError { errors }.into());
        }
        let data = &config.data;
        let partitions = config.log.partitions.get();
        let lock = Arc::new(FolderLock::take(data)?);
        let control = Arc::new(Control::open(&data.join("control.sqlite"))?);
        fix_partitions(&data.join("log"), partitions)?;
        let log = SegmentEventLog::open(&data.join("log/segments"), config.log.segment_bytes)?;
        let state = Arc::new(open_state(&config).await?);
        let Recovered {
            progress,
            positions,
            stamp_ms,
        } = recovered(&config, &state, &log).await?;
        log.raise_stamp(stamp_ms);
        let letters = DeadLetters::open(&data.join("dead-letters"), config.dead_letters.limits());
        let letters = Arc::new(letters?);

        let grpc = listen(config.grpc.listen).await?;
        let http = listen(config.http.listen).await?;
        let local = |listener: &TcpListener| listener.local_addr().map_err(StartError::Data);
        let (grpc_addr, http_addr) = (local(&grpc)?, local(&http)?);

        let counters = Arc::new(Stats::default());
        let live = Arc::new(Live::default());
        let board = Arc::new(board(&log, &progress));
        let shared = Arc::new(Shared {
            store: Arc::clone(&state),
            control: Arc::clone(&control),
            live: Arc::clone(&live),
            stats: Arc::clone(&counters),
            board: Arc::clone(&board),
            letters: Some(Arc::clone(&letters)),
            _lock: Arc::clone(&lock),
        });
        let processing =
            Processing::start(&shared, &config, &log, progress).map_err(StartError::Data)?;
        let metrics: Arc<dyn MetricStore> = Arc::new(StateMetrics {
            store: Arc::clone(&state),
            partitions,
            max_values: config.query.max_values,
            board: Arc::clone(&board),
        });

        let (desk, backlog) = ledger(&config, &control, &state, &metrics, &letters)?;

        let close = CancellationToken::new();
        let background = CancellationToken::new();
        // From here on whatever was started ends if starting fails.
        let close_all = (close.clone().drop_guard(), background.clone().drop_guard());
        let doors = TaskTracker::new();
        let services = Services {
            log: log.clone(),
            partitions,
            positions: Arc::new(positions),
            control: Arc::clone(&control),
            stats: Arc::clone(&counters),
            backlog,
            token: config.grpc.token.clone(),
            shutdown: close.clone(),
        };
        doors.spawn(serve_grpc(grpc, services.routes().await?, close.clone()));
        let troubles = Arc::new(Troubles::default());
        let api = ApiState {
            control: Arc::clone(&control),
            metrics: Arc::clone(&metrics),
            live: Arc::clone(&live),
            desk: Arc::clone(&desk),
            health: Arc::new(ServerHealth {
                log: log.clone(),
                board,
                stats: counters,
                troubles: Arc::clone(&troubles),
            }),
            collector_url: config.http.collector_url.clone(),
            clock: now_ms,
            shutdown: close.clone(),
        };
        doors.spawn(serve_http(http, api, config.http.clone(), close.clone()));
        let socket = AdminSocket::bind(data).map_err(StartError::Data)?;
        doors.spawn(socket.run(Arc::clone(&control), Arc::clone(&desk), close.clone()));
        doors.close();
        tokio::spawn(persist(Arc::clone(&state), troubles, background.clone()));
        tokio::spawn(expire(letters, background.clone()));
        tokio::spawn(flush(Arc::clone(&live), background.clone()));
        tracing::info!(%grpc_addr, %http_addr, "the aggregator runs");
        Ok(Self {
            grpc_addr,
            http_addr,
            control,
            desk,
            log,
            state,
            metrics,
            live,
            processing,
            doors,
            close: close_all.0,
            background: close_all.1,
            lock,
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
        &self.control
    }

    /// What happens now.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What queries are answered from.
    pub fn metrics(&self) -> &Arc<dyn MetricStore> {
        &self.metrics
    }

    /// Does what an operator asks for.
    pub async fn admin(&self, request: AdminRequest) -> Result<serde_json::Value, AdminError> {
        admin::perform(&self.control, &self.desk, request).await
    }

    /// Stops in order: takes nothing new and acknowledges what was taken, answers what was asked, applies what was read
    /// of the log, makes it durable. What is not done by the deadline is left: the next start does it.
    pub async fn shutdown(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        drop(self.close);
        if tokio::time::timeout_at(until, self.doors.wait())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time");
        }
        self.processing.stop(tokio::time::sleep_until(until)).await;
        drop(self.background);
        self.log.close().await;
        if let Err(error) = self.state.persist().await {
            tracing::warn!(error = %Causes(&error), "make the state durable");
        }
        drop(self.lock);
        tracing::info!("the aggregator stopped");
    }
}

/// Finds out where state and log are.
async fn recovered(
    config: &Config,
    state: &Store,
    log: &SegmentEventLog,
) -> Result<Recovered, StartError> {
    let recovered = recover(state, log, config.log.partitions.get()).await;
    recovered.map_err(|error| match error {
        RecoverError::State(error) => StartError::of_state(config, error),
        error => error.into(),
    })
}

/// How far everything is that is in the state.
fn board(log: &SegmentEventLog, progress: &[Progress]) -> Board {
    let offsets = progress.iter().map(|at| at.next_offset);
    let read = offsets.clone().min().unwrap_or(0);
    let applied_ms = progress.iter().map(|at| at.stamp_ms).max().unwrap_or(0);
    Board::new(log.end(), read, offsets, applied_ms)
}

/// Where fates are asked for, and where collectors' backlogs are noted for it.
fn ledger(
    config: &Config,
    control: &Arc<Control>,
    state: &Arc<Store>,
    metrics: &Arc<dyn MetricStore>,
    letters: &Arc<DeadLetters>,
) -> Result<(Arc<Desk>, Arc<Backlog>), StartError> {
    let backlog = Arc::new(Backlog::default());
    let desk = Desk::new(Tools {
        control: Arc::clone(control),
        fates: Arc::new(StateFates {
            store: Arc::clone(state),
            partitions: config.log.partitions.get(),
        }),
        metrics: Arc::clone(metrics),
        letters: Arc::clone(letters),
        backlog: Arc::clone(&backlog),
        collector_url: config.http.collector_url.clone(),
        clock: now_ms,
    });
    Ok((Arc::new(desk.map_err(StartError::Data)?), backlog))
}

/// Opens the store that is configured.
async fn open_state(config: &Config) -> Result<Store, StartError> {
    let failed = |error| StartError::of_state(config, error);
    let Some(url) = config.redis() else {
        let embedded = FjallState::open(
            &config.data.join("state"),
            config.log.partitions.get(),
            config.state.block_cache_bytes,
        )
        .map_err(failed)?;
        return Ok(Store::Embedded(embedded));
    };
    let log = log_id(&config.data.join("log")).map_err(StartError::Data)?;
    let redis = RedisState::open(url, Owner { epoch: EPOCH, log });
    let redis = redis.await.map_err(failed)?;
    Ok(Store::Redis(Box::new(redis)))
}

/// A random name of the log, made once.
fn log_id(log: &Path) -> io::Result<String> {
    let file = log.join(LOG_ID);
    match std::fs::read_to_string(&file) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = format!("{:016x}", getrandom::u64()?);
            write_durably(log, &file, &format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

/// Writes down the number of partitions when the log is made, and refuses another one later.
fn fix_partitions(log: &Path, configured: u16) -> Result<(), StartError> {
    let file = log.join(PARTITIONS);
    match std::fs::read_to_string(&file) {
        Ok(made) if made.trim() == configured.to_string() => Ok(()),
        Ok(made) => Err(StartError::Partitions {
            configured,
            made: made.trim().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_durably(log, &file, &format!("{configured}\n")).map_err(StartError::Data)
        }
        Err(error) => Err(StartError::Data(error)),
    }
}

fn write_durably(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::create_dir_all(folder)?;
    let new = file.with_extension("new");
    let mut writer = std::fs::File::create(&new)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(folder)?.sync_all()
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen(address.to_string(), error))
}

async fn serve_grpc(
    listener: TcpListener,
    routes: tonic::service::Routes,
    close: CancellationToken,
) {
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            serve::http2_connections(listener, GRPC_CONNECTIONS, GRPC_PATIENCE),
            close.cancelled_owned(),
        )
        .await;
    if let Err(error) = served {
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

/// Keeps what a crash would have to replay short.
async fn persist(state: Arc<Store>, troubles: Arc<Troubles>, end: CancellationToken) {
    let mut every = tokio::time::interval(PERSIST_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        let state = Arc::clone(&state);
        let runtime = tokio::runtime::Handle::current();
        let done = tokio::task::spawn_blocking(move || runtime.block_on(state.persist()));
        if let Ok(done) = done.await {
            troubles.tell(done.err().map(|error| Causes(&error).to_string()));
        }
    }
}

/// Deletes dead letters that are too old.
async fn expire(letters: Arc<DeadLetters>, end: CancellationToken) {
    let mut every = tokio::time::interval(EXPIRE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while end.run_until_cancelled(every.tick()).await.is_some() {
        let letters = Arc::clone(&letters);
        let now = u64::try_from(now_ms()).unwrap_or(0);
        let done = tokio::task::spawn_blocking(move || letters.expire(now)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(error = %Causes(&error), "delete old dead letters");
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

fn now_ms() -> i64 {
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
