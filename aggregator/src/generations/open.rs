//! Opening the folder, its log and its state, and removing generations that are not in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Generations, owner};
use crate::causes::Causes;
use crate::config::{Config, ConfigError};
use crate::control::Control;
use crate::health::Troubles;
use crate::influx::Influx;
use crate::ledger::DeadLetters;
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::{EventLog as _, LogReader as _, SegmentEventLog};
use crate::process::{Positions, RecoverError};
use crate::server::StartError;
use crate::state::{FORMAT, FjallState, RedisState, StateError, Store};
use crate::stats::Stats;

/// File with the number of partitions of the log.
const PARTITIONS: &str = "partitions";
/// How far before its end the log is searched for its newest record first; records are at most some MiB.
const TAIL: u64 = 1 << 10;
/// How often a generation that was replaced is looked at for its last reader.
const LAST_READER: Duration = Duration::from_millis(50);

impl Generations {
    /// Takes the folder, and opens what has to be there: the control store and the log.
    pub(crate) fn open_folder(config: Config) -> Result<Arc<Self>, StartError> {
        let errors = config.check();
        if !errors.is_empty() {
            return Err(ConfigError { errors }.into());
        }
        let data = &config.data;
        let lock = Arc::new(FolderLock::take(data)?);
        let control = Arc::new(Control::open(&data.join("control.sqlite"))?);
        fix_partitions(&data.join("log"), config.log.partitions.get())?;
        let log = SegmentEventLog::open(&data.join("log/segments"), config.log.segment_bytes)?;
        let letters = DeadLetters::open(&data.join("dead-letters"), config.dead_letters.limits())?;
        let epoch = control.begin_epoch()?;
        let owner = owner::owner(data, epoch).map_err(StartError::Data)?;
        Ok(Arc::new(Self {
            control,
            log,
            live: Arc::new(Live::default()),
            stats: Arc::new(Stats::default()),
            letters: Arc::new(letters),
            positions: Arc::new(Positions::default()),
            troubles: Arc::new(Troubles::default()),
            lock,
            owner,
            redis: Mutex::new(None),
            in_use: RwLock::new(None),
            replaced: Mutex::default(),
            processing: tokio::sync::Mutex::new(None),
            lake: OnceLock::new(),
            rebuilding: tokio::sync::Mutex::new(()),
            influx: Influx::open(&config)?,
            failure: Mutex::new(None),
            failed: CancellationToken::new(),
            end: CancellationToken::new(),
            stopping: CancellationToken::new(),
            config,
        }))
    }

    /// The number of the generation in use. State whose format this version can't read gives way to an empty generation,
    /// which is made from the log.
    pub(super) async fn choose(&self) -> Result<u32, StartError> {
        let in_use = self.control.generations()?.in_use;
        if in_use.format == FORMAT {
            return Ok(in_use.number);
        }
        // What can't be reached now may be later, and another log's is left alone: numbers are not used up meanwhile.
        self.open(in_use.number).await.map(drop)?;
        let number = self.control.add_generation(FORMAT)?;
        self.wipe(number).await?;
        self.control.use_generation(number, false)?;
        tracing::warn!(
            found = in_use.format,
            format = FORMAT,
            "the state was made by another version, whose records this one does not read: it is made anew from the log, and \
             figures are complete once that is read"
        );
        Ok(number)
    }

    /// Opens a generation; one that readers still have is the same store.
    pub(super) async fn open(&self, number: u32) -> Result<Arc<Store>, StartError> {
        if let Some(store) = self.replaced(number) {
            return Ok(store);
        }
        let store = if self.config.redis().is_some() {
            let redis = self.redis().await?.generation(number);
            redis
                .succeed(self.partitions(), |found| {
                    let epoch = self.control.begin_epoch_above(found);
                    Ok::<_, Failed>(epoch.map_err(StartError::from)?)
                })
                .await
                .map_err(|failed| match failed {
                    Failed::State(error) => self.failed_state(error),
                    Failed::Start(error) => error,
                })?;
            Store::Redis(Box::new(redis))
        } else {
            let folder = self.folder(number);
            let opened = FjallState::open(
                &folder,
                self.config.log.partitions.get(),
                self.config.state.block_cache_bytes,
            );
            Store::Embedded(opened.map_err(|error| StartError::State(folder, error))?)
        };
        Ok(Arc::new(store))
    }

    /// The way to Redis: connects if need be.
    async fn redis(&self) -> Result<RedisState, StartError> {
        if let Some(redis) = self.redis_now() {
            return Ok(redis);
        }
        let url = self.config.redis().unwrap_or_default();
        let ca = self.config.state.ca.as_deref();
        let redis = RedisState::open(url, ca, self.owner.clone(), 0)
            .await
            .map_err(|error| self.failed_state(error))?;
        let mut known = self.redis.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.get_or_insert(redis).clone())
    }

    /// Where an embedded generation is.
    fn folder(&self, number: u32) -> PathBuf {
        match number {
            // As it was before there were generations.
            0 => self.config.data.join("state"),
            number => self.config.data.join(format!("state-{number}")),
        }
    }

    pub(super) fn failed_state(&self, error: StateError) -> StartError {
        match error {
            StateError::InUse { seconds } => StartError::StateInUse(seconds),
            StateError::Replaced { .. } => StartError::Replaced,
            error if self.config.redis().is_some() => StartError::Redis(error),
            error => {
                let in_use = self.control.generations();
                let in_use = in_use.map_or(0, |listed| listed.in_use.number);
                StartError::State(self.folder(in_use), error)
            }
        }
    }

    pub(super) fn failed_recovery(&self, error: RecoverError) -> StartError {
        match error {
            RecoverError::State(error) => self.failed_state(error),
            error => error.into(),
        }
    }

    /// Removes what a rebuild, or a version before this one, left.
    pub(crate) async fn remove_unused(self: Arc<Self>) {
        // A rebuild that runs is not in use, either.
        let Ok(_rebuilding) = self.rebuilding.try_lock() else {
            return;
        };
        match self.control.generations() {
            Ok(listed) => {
                for number in listed.others {
                    self.remove(number).await;
                }
            }
            Err(error) => tracing::warn!(error = %Causes(&error), "list generations of state"),
        }
    }

    /// Removes a generation, unless it is in use, or kept. What fails is tried again at the next start.
    pub(super) async fn remove(&self, number: u32) {
        let removed = async {
            if !self.control.generations()?.others.contains(&number) {
                return Ok(false);
            }
            self.wipe(number).await?;
            self.control.forget_generation(number)?;
            Ok::<_, StartError>(true)
        };
        match removed.await {
            Ok(false) => {}
            Ok(true) => tracing::info!(generation = number, "removed state that is not in use"),
            Err(error) => {
                tracing::warn!(
                    generation = number,
                    error = %Causes(&error),
                    "remove state that is not in use"
                );
            }
        }
    }

    /// Removes all that a generation's place holds: also what a copy of this folder, whose numbers are the same, left there.
    pub(super) async fn wipe(&self, number: u32) -> Result<(), StartError> {
        if self.config.redis().is_some() {
            let redis = self.redis().await?.generation(number);
            let wiped = redis.wipe(self.partitions()).await;
            return wiped.map_err(|error| self.failed_state(error));
        }
        match tokio::fs::remove_dir_all(self.folder(number)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StartError::Data(error)),
            _ => Ok(()),
        }
    }

    /// Removes a generation once nobody reads it any more.
    pub(super) async fn remove_later(self: Arc<Self>, number: u32) {
        while self.replaced(number).is_some() {
            let pause = tokio::time::sleep(LAST_READER);
            if self.end.run_until_cancelled(pause).await.is_none() {
                return; // the next start does it
            }
        }
        self.remove(number).await;
    }

    /// The store of a generation that is not in use any more, while somebody has it.
    pub(super) fn replaced(&self, number: u32) -> Option<Arc<Store>> {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.get(&number)?.upgrade()
    }
}

/// Why a later epoch could not be begun.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The newest append stamp of the log, in ms; 0 if it is empty.
pub(super) async fn newest_stamp(log: &SegmentEventLog) -> Result<u64, StartError> {
    let end = *log.end().borrow();
    let mut newest = 0;
    let mut reader = log.reader(end.saturating_sub(TAIL));
    loop {
        let entries = reader.next(1 << 20).await?;
        if entries.is_empty() {
            return Ok(newest);
        }
        let records = entries.into_iter().filter_map(|entry| entry.record);
        newest = records.fold(newest, |newest, record| newest.max(record.appended_at));
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
            write_durably(&file, &format!("{configured}\n")).map_err(StartError::Data)
        }
        Err(error) => Err(StartError::Data(error)),
    }
}

/// Writes a file that is there as a whole or not at all, whatever happens.
pub(crate) fn write_durably(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = file.with_extension("new");
    let mut writer = std::fs::File::create(&new)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(folder)?.sync_all()
}
