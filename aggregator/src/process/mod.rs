//! Turns the log into state.
//!
//! One dispatcher reads the log and hands each record to the worker that owns its partition. A worker takes what is
//! queued, decodes it, loads the visitors concerned, lets the engine apply their events, and commits visitors, rollup
//! rows, page names, edge positions and the next offset of a partition at once.
//!
//! - A partition has one worker; nobody else writes its state.
//! - Records that were read but not committed are bounded by bytes, over all workers.
//! - A record that can't be read although its checksums are right is reported, counted and passed over.
//! - A store that fails is tried again until it works; nothing is lost meanwhile, since the log has it.
//! - A store that fell back to an earlier commit, or to nothing, gets from the log what it lost.

mod board;
mod cache;
mod decode;
mod dispatch;
mod numbers;
mod outage;
mod partition;
#[cfg(test)]
mod properties;
mod recover;
mod rules;
mod tell;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wakeline_spool::work;

pub(crate) use self::board::Board;
pub(crate) use self::decode::{Decoder, Origin, event_type, report_name};
use self::dispatch::Dispatcher;
pub(crate) use self::outage::Outage;
use self::partition::{Memory, Owned};
pub use self::recover::RecoverError;
pub(crate) use self::recover::{Positions, Recovered, recover};
pub(crate) use self::rules::{at_first_event, engine_rules};
use self::worker::{Place, Worker};
use crate::config::Config;
use crate::control::Control;
use crate::influx::Pending;
use crate::ledger::DeadLetters;
use crate::live::Live;
use crate::lock::FolderLock;
use crate::log::EventLog;
use crate::state::{Progress, StateStore};
use crate::stats::Stats;

/// What all workers use.
pub(crate) struct Shared<S> {
    pub(crate) store: Arc<S>,
    pub(crate) control: Arc<Control>,
    pub(crate) live: Arc<Live>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) board: Arc<Board>,
    pub(crate) outage: Outage,
    /// Where refused events are kept; `None`: nowhere, which is for tests.
    pub(crate) letters: Option<Arc<DeadLetters>>,
    /// Told what changed; `None` if nothing is exported.
    pub(crate) pending: Option<Arc<Pending>>,
    /// The folder is in use until the last thread has ended.
    pub(crate) _lock: Arc<FolderLock>,
}

/// The threads that process the log; in a simulation they are tasks, see [`work`].
pub(crate) struct Processing {
    threads: Vec<thread::JoinHandle<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Read no more; finish what was read.
    drain: CancellationToken,
    /// Finish the commit in progress.
    halt: CancellationToken,
}

impl Processing {
    /// Starts to process `log` where the partitions are.
    pub(crate) fn start<S: StateStore, L: EventLog>(
        shared: &Arc<Shared<S>>,
        config: &Config,
        log: &L,
        progress: Vec<Progress>,
    ) -> std::io::Result<Self> {
        let workers = config.worker_threads();
        let mut processing = Self {
            threads: Vec::new(),
            tasks: Vec::new(),
            drain: CancellationToken::new(),
            halt: CancellationToken::new(),
        };
        let offsets: Vec<u64> = progress.iter().map(|at| at.next_offset).collect();
        let mut owned: Vec<HashMap<u16, Place>> = (0..workers).map(|_| HashMap::new()).collect();
        for (partition, progress) in (0_u16..).zip(progress) {
            owned[usize::from(partition) % workers]
                .insert(partition, Place::new(Owned::new(progress)));
        }
        let mut queues = Vec::new();
        for (number, partitions) in owned.into_iter().enumerate() {
            let (queue, tasks) = mpsc::unbounded_channel();
            queues.push(queue);
            let worker = Worker {
                shared: Arc::clone(shared),
                memory: Memory::new(&config.state, workers),
                decoder: Decoder::new()?,
                partitions,
                log: log.clone(),
                checked: std::time::Instant::now(),
                tasks,
                halt: processing.halt.clone(),
            };
            processing.spawn(format!("worker-{number}"), worker.run())?;
        }
        let dispatcher = Dispatcher::new(
            log,
            offsets,
            queues,
            Arc::clone(&shared.board),
            Arc::clone(&shared.stats),
            processing.drain.clone(),
        );
        processing.spawn("log-reader".to_owned(), dispatcher.run())?;
        Ok(processing)
    }

    fn spawn(
        &mut self,
        name: String,
        processing: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        if work::is_in_turn() {
            self.tasks.push(tokio::spawn(processing));
            return Ok(());
        }
        let runtime = Handle::current();
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(processing))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Finishes what was read from the log, until `halt` says to leave it.
    pub(crate) async fn stop(mut self, halt: impl Future<Output = ()>) {
        self.drain.cancel();
        let threads = std::mem::take(&mut self.threads);
        let tasks = std::mem::take(&mut self.tasks);
        let joined = async move {
            let threads = work::spawn_blocking(move || {
                let ended = threads.into_iter().map(thread::JoinHandle::join);
                ended.filter(Result::is_err).count()
            });
            let mut failed = threads.await.unwrap_or(1);
            for task in tasks {
                failed += usize::from(task.await.is_err());
            }
            if failed > 0 {
                tracing::error!(failed, "threads that process the log panicked");
            }
        };
        tokio::pin!(joined);
        tokio::select! {
            () = &mut joined => return,
            () = halt => self.halt.cancel(),
        }
        joined.await;
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        self.drain.cancel();
        self.halt.cancel();
    }
}
