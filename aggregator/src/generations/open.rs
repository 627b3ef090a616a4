//! Opening the folder, its log and its state, and removing generations that are not in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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
            processing: tokio::sync::Mutex::new(None),
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
    pub(super) fn choose(&self) -> Result<u32, StartError> {
        let listed = self.control.generations()?;
        if listed.format == FORMAT {
            return Ok(listed.in_use);
        }
        let number = self.control.add_generation(FORMAT)?;
        self.control.use_generation(number)?;
        tracing::warn!(
            found = listed.format,
            format = FORMAT,
            "the state was made by another version, whose records this one does not read: it is made anew from the log, and \
             figures are complete once that is read"
        );
        Ok(number)
    }

    /// Opens a generation.
    pub(super) async fn open(&self, number: u32) -> Result<Arc<Store>, StartError> {
        let store = if self.config.redis().is_some() {
            let redis = self
                .redis()
                .await
                .map_err(|error| self.failed_state(error))?;
            Store::Redis(Box::new(redis.generation(number)))
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
    async fn redis(&self) -> Result<RedisState, StateError> {
        if let Some(redis) = self.redis_now() {
            return Ok(redis);
        }
        let url = self.config.redis().unwrap_or_default();
        let ca = self.config.state.ca.as_deref();
        let redis = RedisState::open(url, ca, self.owner.clone(), 0).await?;
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
                let in_use = self.control.generations().map_or(0, |listed| listed.in_use);
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

    /// Removes a generation. What fails is tried again at the next start.
    pub(super) async fn remove(&self, number: u32) {
        let removed = if let Some(redis) = self.redis_now() {
            // Of refused events and those of no site there are rows without rules.
            let control = self.control.snapshot();
            let sites = control.sites.iter().map(|site| site.id);
            let sites: Vec<u64> = std::iter::once(0).chain(sites).collect();
            let wiped = redis
                .generation(number)
                .wipe(self.config.log.partitions.get(), &sites)
                .await;
            wiped.map_err(|error| Causes(&error).to_string())
        } else {
            match tokio::fs::remove_dir_all(self.folder(number)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            }
        };
        let removed = removed.and_then(|()| {
            let forgotten = self.control.forget_generation(number);
            forgotten.map_err(|error| error.to_string())
        });
        match removed {
            Ok(()) => tracing::info!(generation = number, "removed state that is not in use"),
            Err(error) => {
                tracing::warn!(
                    generation = number,
                    error,
                    "remove state that is not in use"
                );
            }
        }
    }

    /// Removes a generation once nobody reads it any more.
    pub(super) async fn remove_later(self: Arc<Self>, number: u32, store: std::sync::Weak<Store>) {
        while store.strong_count() > 0 {
            let pause = tokio::time::sleep(LAST_READER);
            if self.end.run_until_cancelled(pause).await.is_none() {
                return; // the next start does it
            }
        }
        self.remove(number).await;
    }
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
