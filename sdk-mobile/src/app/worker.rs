//! The thread that writes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Command, Draft, Front, Life, ROOM, Shared, Turn, lock};
use crate::clock::Moment;
use crate::queue::{Folder, Record};
use crate::upload::{FORGOTTEN, Uploads, context};

/// How often writing is tried again after it failed.
const RECOVER_EVERY: Duration = Duration::from_secs(2);
/// How often old events are looked for.
const SHED_EVERY: Duration = Duration::from_secs(600);
/// How long events are gathered after some were written, but for what is urgent.
const LINGER: Duration = Duration::from_millis(50);
/// Longest sleep.
const SLEEP: Duration = Duration::from_secs(3_600);

pub(super) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("wakeline".to_owned())
        .spawn(move || {
            Worker {
                shared,
                saved: u64::MAX, // the first round says whose the queue is
                tried: u64::MAX,
                first_unsynced: None,
                recover_at: None,
                shed_at: Instant::now() + SHED_EVERY,
                unannounced: 0,
                last_round: Instant::now(),
                room: Vec::with_capacity(ROOM),
                contexts: HashMap::new(),
            }
            .run();
        })
}

struct Worker {
    shared: Arc<Shared>,
    /// Changes of what outlives the process that were stored.
    saved: u64,
    /// Changes of it that were tried to be stored: after an error, the next try waits for `recover_at`.
    tried: u64,
    /// When the first event was written that is not durable yet.
    first_unsynced: Option<Instant>,
    recover_at: Option<Instant>,
    shed_at: Instant,
    /// Events that came since those who send were told of some.
    unannounced: usize,
    last_round: Instant,
    /// For the events that come next.
    room: Vec<Draft>,
    /// Of each device, by its address: it is the same object as long as it does not change.
    contexts: HashMap<usize, u32>,
}

/// What a round has to do.
struct Work {
    drafts: Vec<Draft>,
    /// The last one before the drafts.
    erasure: u64,
    commands: Vec<Command>,
    sync: bool,
    closing: bool,
    now: Moment,
}

impl Worker {
    fn run(mut self) {
        loop {
            let work = self.await_work();
            let closing = work.closing;
            self.round(work);
            self.last_round = Instant::now();
            if closing {
                let mut front = lock(&self.shared.front);
                front.life = Life::Closed;
                drop(front);
                self.shared.progress.notify_all();
                self.shared.sendable.notify_all();
                return;
            }
        }
    }

    /// Sleeps until there is something to do.
    fn await_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut front = lock(&shared.front);
        // Events come in bursts: one write, and one waking of this thread, for many.
        let linger = LINGER.min(shared.flush_interval / 4);
        if let Some(left) = linger.checked_sub(self.last_round.elapsed()) {
            front.worker = Turn::Gathers;
            front = shared
                .work
                .wait_timeout_while(front, left, |front| !front.urgent)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        loop {
            front.worker = Turn::Busy;
            front.urgent = false;
            let now = shared.clock.now();
            front.recorder.tick(now);
            let new = front.recorder.waiting();
            let commands = std::mem::take(&mut front.commands);
            let changed = front.recorder.saved().1 != self.tried;
            let sync = std::mem::take(&mut front.sync_wanted);
            let sleep = self.sleep(&front, now);
            let idle = new == 0 && commands.is_empty() && !changed && !sync;
            if !idle || front.life != Life::Open || sleep.is_zero() {
                let drafts = front.recorder.take(std::mem::take(&mut self.room));
                front.taken += new as u64;
                return Work {
                    drafts,
                    erasure: front.recorder.saved().0.erasure,
                    commands,
                    sync,
                    closing: front.life != Life::Open,
                    now,
                };
            }
            front.worker = Turn::Sleeps;
            front = shared
                .work
                .wait_timeout(front, sleep)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn sleep(&self, front: &Front, now: Moment) -> Duration {
        let sync_at = self
            .first_unsynced
            .map(|since| since + self.shared.flush_interval);
        let at = [sync_at, self.recover_at, Some(self.shed_at)]
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let tick = front.recorder.next_tick(now).map(Duration::from_millis);
        at.chain(tick).min().unwrap_or(SLEEP)
    }

    fn round(&mut self, mut work: Work) {
        let shared = Arc::clone(&self.shared);
        let mut uploads = lock(&shared.uploads);
        shared.heed(&mut uploads, work.now);
        if work.erasure != uploads.queue.files().erasure() && !work.drafts.is_empty() {
            let erased = work.drafts.len() as u64;
            work.drafts.clear();
            *uploads.fates.dropped.entry(FORGOTTEN).or_default() += erased;
        }
        let urgent = work.drafts.iter().any(Draft::is_order);
        let new = work.drafts.len();
        let obeyed = work.commands.len() as u64;
        // What is forgotten was recorded before, what is flushed may have been recorded since.
        let (before, after): (Vec<_>, Vec<_>) = work
            .commands
            .into_iter()
            .partition(|command| matches!(command, Command::Forget | Command::Reconfigure(_)));
        for command in before {
            obey(&mut uploads, command, work.now);
        }
        if new > 0 {
            let mut drafts = work.drafts.drain(..);
            while drafts.len() > 0 {
                // Many at once are in memory in one form each.
                let some = drafts.by_ref().take(ROOM);
                uploads.queue.push(some.map(|draft| self.record(&draft)));
            }
            drop(drafts);
            uploads.shed(work.now);
            let unsynced = uploads.queue.is_unsynced();
            self.first_unsynced = self.first_unsynced.or(unsynced.then(Instant::now));
        }
        work.drafts.shrink_to(ROOM);
        self.room = work.drafts;
        for command in after {
            obey(&mut uploads, command, work.now);
        }
        if self.recover_at.is_some_and(|at| at <= Instant::now()) {
            uploads.queue.recover();
        }
        if self.shed_at <= Instant::now() {
            uploads.shed(work.now);
            self.shed_at = Instant::now() + SHED_EVERY;
        }
        let written = {
            let mut front = lock(&shared.front);
            front.written = front.taken;
            front.see(&uploads);
            front.written
        };
        shared.progress.notify_all();
        // Whoever waits to send knows until when; only what changes that wakes a thread.
        self.unannounced += new;
        let first = new > 0 && uploads.queue.len() <= new;
        if urgent || obeyed > 0 || first || self.unannounced >= shared.batch_events {
            self.unannounced = 0;
            shared.sendable.notify_all();
        }
        let due = self
            .first_unsynced
            .is_some_and(|since| since.elapsed() >= shared.flush_interval);
        let mut durable = false;
        if urgent || due || work.sync || work.closing {
            if work.closing && uploads.queue.error().is_some() {
                uploads.queue.recover();
            }
            durable = uploads.queue.sync();
            self.first_unsynced = None;
        }
        if work.closing {
            uploads.queue.close();
        }
        let kept = self.save(&mut uploads, work.now);
        let whole = kept && uploads.queue.error().is_none();
        self.recover_at = match self.recover_at {
            _ if whole => None,
            Some(at) if at > Instant::now() => Some(at),
            _ => Some(Instant::now() + RECOVER_EVERY),
        };
        let mut front = lock(&shared.front);
        front.obeyed += obeyed;
        if durable {
            front.durable = front.durable.max(written);
        }
        front.see(&uploads);
        drop(front);
        shared.progress.notify_all();
    }

    /// Stores what outlives the process, if it changed. False: it could not be stored.
    fn save(&mut self, uploads: &mut Uploads<Folder>, now: Moment) -> bool {
        let changes = lock(&self.shared.front).recorder.saved().1;
        if changes == self.saved {
            return true;
        }
        self.tried = changes;
        let stored = self.store(uploads, now);
        let mut front = lock(&self.shared.front);
        match &stored {
            Ok(changes) => {
                self.saved = *changes;
                self.tried = *changes;
                front.kept = *changes;
                front.unkept.clear();
            }
            Err(error) => front.unkept = error.to_string(),
        }
        stored.is_ok()
    }

    /// The changes that are stored now.
    fn store(&self, uploads: &mut Uploads<Folder>, now: Moment) -> io::Result<u64> {
        let held = self.shared.store.hold()?;
        self.shared.heed(uploads, now);
        let (saved, changes) = {
            let front = lock(&self.shared.front);
            let (saved, changes) = front.recorder.saved();
            (saved.clone(), changes)
        };
        if saved.erasure == uploads.queue.files().erasure() {
            uploads.queue.files().store_erasure()?;
        } // else the next round erases, and the queue says until then that it is from before
        self.shared.store.save(&saved)?;
        drop(held);
        lock(&self.shared.front).recorder.set_stored(saved);
        Ok(changes)
    }

    fn record(&mut self, draft: &Draft) -> Record {
        let device = Arc::as_ptr(&draft.stored.device) as usize;
        let context = *self
            .contexts
            .entry(device)
            .or_insert_with(|| context(&draft.stored));
        Record {
            id: draft.stored.id,
            arrival: 0,
            order: draft.is_order(),
            at: draft.at,
            context,
            stored: draft.stored.to_bytes(),
        }
    }
}

fn obey(uploads: &mut Uploads<Folder>, command: Command, now: Moment) {
    match command {
        Command::Flush => uploads.flush(),
        Command::Background(background) => uploads.set_background(background),
        Command::Network(network) => uploads.set_network(network, now),
        Command::Forget => {} // done, since the recorder says so
        Command::Reconfigure(target) => uploads.reconfigure(target, now),
    }
}
