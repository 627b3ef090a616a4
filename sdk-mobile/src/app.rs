//! The SDK of one app and site: who calls what on which thread.
//!
//! Callers touch [`Front`] only, for microseconds. A worker thread takes what they recorded, writes it to the queue and
//! makes it durable. Whoever uploads takes turns with the worker at the queue, and waits for it; callers never do, but for
//! an order, at most [`ORDER_WAIT`], and for [`App::sync`] and [`App::shutdown`].

mod worker;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

pub use crate::upload::Request as Upload;

use crate::clock::{Clock, Moment, random};
use crate::input::{self, Misuse};
use crate::queue::{Folder, Limits, Queue, Slot};
use crate::recorder::{Draft, Recorder, Saved};
use crate::settings::{Settings, Target};
use crate::store::Store;
use crate::upload::{FORGOTTEN, Fates, Network, Step, Uploads};

/// An order's call waits so long for its being written.
const ORDER_WAIT: Duration = Duration::from_millis(100);
/// Events that wait for the worker.
const MAX_WAITING: usize = 20_000;
/// So many of them have room without asking for memory, and the worker gathers no more.
const ROOM: usize = 512;
/// Bytes of events that are kept while nothing can be written.
const MAX_MEMORY_BYTES: u64 = 1 << 20;
const DAY_MS: i64 = 86_400_000;

/// What to do next for an upload.
#[derive(Debug, Default)]
pub enum Task {
    /// Send this, and report the answer.
    Send(Upload),
    /// There was nothing to send within the time.
    #[default]
    Wait,
    /// The SDK was shut down.
    Stop,
}

/// See the [crate's documentation](crate).
pub struct App {
    shared: Arc<Shared>,
    worker: Mutex<Vec<JoinHandle<()>>>,
    process: u32,
}

/// What callers, worker and uploaders share.
pub(crate) struct Shared {
    store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    flush_interval: Duration,
    /// Events that are sent without waiting further.
    batch_events: usize,
    front: Mutex<Front>,
    /// There is work for the worker.
    work: Condvar,
    /// The worker got further.
    progress: Condvar,
    /// Locked before `front`, if both are.
    uploads: Mutex<Uploads<Folder>>,
    /// There may be something to send.
    sendable: Condvar,
}

/// What callers change.
struct Front {
    recorder: Recorder,
    commands: Vec<Command>,
    /// Events that were taken by the worker, that are written, and that are durable.
    taken: u64,
    written: u64,
    durable: u64,
    /// Changes of what outlives the process that are stored, and why later ones are not; empty: they are.
    kept: u64,
    unkept: String,
    /// Commands that were given, and that took effect.
    asked: u64,
    obeyed: u64,
    /// Someone waits for durability.
    sync_wanted: bool,
    worker: Turn,
    /// The worker is not to wait for more to come.
    urgent: bool,
    life: Life,
    seen: Seen,
}

/// What the worker is at, as far as nobody has woken it yet: each waking is a call of the system's, which a caller pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Busy,
    /// It gathers what comes, but for what is urgent.
    Gathers,
    Sleeps,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// Nothing is taken any more; the worker puts on disk what there is.
    Closing,
    Closed,
}

/// What the worker saw last of the queue.
#[derive(Clone, Debug, Default)]
struct Seen {
    queued: usize,
    fates: Fates,
    restored: u64,
    stopped: u16,
    error: String,
}

/// What callers ask of the queue.
enum Command {
    Flush,
    Background(bool),
    Network(Network),
    Forget,
    Reconfigure(Target),
}

impl App {
    /// Starts the SDK.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let now = clock.now();
        let limits = Limits {
            bytes: settings.queue_max_bytes,
            memory_bytes: MAX_MEMORY_BYTES.min(settings.queue_max_bytes),
            age_ms: i64::from(settings.queue_max_age_days) * DAY_MS,
        };
        let store = Store::new(&settings.data_dir);
        let stored = store.load();
        let (mut queue, mut found) = Queue::open(Folder::open(settings.data_dir.clone()), limits);
        let erasure = match &stored {
            Some(saved) => saved.erasure,
            None => queue.files().erasure(), // nothing says that its events are to be erased
        };
        let mut erased = 0;
        if queue.files().erasure() != erasure {
            erased += queue.clear();
        }
        queue.files().set_erasure(erasure);
        let _ = queue.files().store_erasure(); // tried again when the state is stored
        for slot in Slot::left_behind(&settings.data_dir) {
            let folder = Folder::of(slot);
            let more = if stored.is_some() && folder.erasure() != erasure {
                let (mut before, more) = Queue::open(folder, limits);
                erased += before.clear();
                more
            } else {
                queue.take_over(folder)
            };
            found.restored += more.restored;
            found.corrupt += more.corrupt;
        }
        let saved = Saved {
            erasure,
            ..stored.unwrap_or_default()
        };
        let wait = saved.wait_until;
        let recorder = Recorder::new(&settings, saved, random(), found.last, now);
        let built_in = settings.http == "built_in";
        let flush_interval = Duration::from_millis(settings.flush_interval_ms);
        let batch_events = settings.batch_events;
        let mut uploads = Uploads::new(queue, settings, now);
        uploads.fates.corrupt = found.corrupt;
        if erased > 0 {
            uploads.fates.dropped.insert(FORGOTTEN, erased as u64);
        }
        let left = -wait.age(now);
        if wait != Moment::default() && left > 0 {
            uploads.inherit_wait(Some(now.mono_ms + left as u64));
        }
        let shared = Arc::new(Shared {
            store,
            clock,
            flush_interval,
            batch_events,
            front: Mutex::new(Front {
                recorder,
                commands: Vec::new(),
                taken: 0,
                written: 0,
                durable: 0,
                kept: 0,
                unkept: String::new(),
                asked: 0,
                obeyed: 0,
                sync_wanted: false,
                worker: Turn::Busy,
                urgent: false,
                life: Life::Open,
                seen: Seen {
                    restored: found.restored,
                    queued: uploads.queue.len(),
                    ..Seen::default()
                },
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            uploads: Mutex::new(uploads),
            sendable: Condvar::new(),
        });
        let app = Self {
            worker: Mutex::new(vec![worker::start(Arc::clone(&shared))?]),
            shared,
            process: std::process::id(),
        };
        #[cfg(feature = "http")]
        if built_in {
            let sender = crate::http::start(Arc::clone(&app.shared))?;
            lock(&app.worker).push(sender);
        }
        #[cfg(not(feature = "http"))]
        debug_assert!(!built_in, "settings without the feature say so");
        Ok(app)
    }

    /// Takes an event, as JSON. False: it was refused, which is counted and reported.
    pub fn record(&self, event: &str) -> bool {
        let mut misuse = Misuse::default();
        let said = input::event(event, &mut misuse);
        let Some(mut front) = self.front() else {
            return false;
        };
        if front.recorder.waiting() >= MAX_WAITING {
            front.recorder.overrun();
            return false;
        }
        let now = self.shared.clock.now();
        let taken = front.recorder.record(said, misuse, now);
        let order = taken && front.recorder.last_is_order();
        // Exactly then: one waking for all that come until the worker has its turn.
        front.urgent |= order || front.recorder.waiting() == ROOM;
        self.shared.wake(&mut front);
        if order {
            let goal = front.goal();
            self.shared
                .wait(front, ORDER_WAIT, |front| front.written >= goal);
        }
        taken
    }

    /// Names the person who is signed in, from now on. False: the name is empty or longer than 128 bytes.
    pub fn identify(&self, user: &str) -> bool {
        self.call(|recorder, now| recorder.identify(user, now))
    }

    /// Nobody is signed in any more, and what follows is of another install.
    pub fn reset(&self) {
        self.call(Recorder::reset);
    }

    /// What the person agreed to: "granted", "denied", "pending", or "none" where the site does not ask. Who denies
    /// is forgotten.
    pub fn set_consent(&self, consent: &str) {
        if self.call(|recorder, now| recorder.set_consent(consent, now)) {
            self.command(Command::Forget);
        }
    }

    /// The properties that every event gets from now on, as a JSON object.
    pub fn set_defaults(&self, properties: &str) {
        let properties = serde_json::from_str(properties);
        self.call(|recorder, _| match properties {
            Ok(properties) => recorder.set_defaults(properties),
            Err(_) => recorder.wrong_call(),
        });
    }

    /// The next custom event of that name gets the property `duration_ms`.
    pub fn start_timer(&self, name: &str) {
        self.call(|recorder, now| recorder.start_timer(name, now));
    }

    /// The app is seen ("foreground"), is not ("background"), or is short of memory (`low_memory`).
    pub fn lifecycle(&self, state: &str) {
        match state {
            "foreground" => {
                self.call(Recorder::seen);
                self.command(Command::Background(false));
            }
            "background" => {
                self.call(Recorder::hidden);
                self.command(Command::Flush);
                self.command(Command::Background(true));
            }
            // What is held beyond need is on its way to the disk already.
            "low_memory" => self.command(Command::Flush),
            _ => self.call(|recorder, _| recorder.wrong_call()),
        }
    }

    /// The network: "online", "metered", or "offline", when nothing is sent.
    pub fn network(&self, state: &str) {
        let network = match state {
            "online" => Network::Online,
            "metered" => Network::Metered,
            "offline" => Network::Offline,
            _ => return self.call(|recorder, _| recorder.wrong_call()),
        };
        self.command(Command::Network(network));
    }

    /// A link opened the app.
    pub fn open_link(&self, url: &str) {
        self.call(|recorder, now| recorder.open_link(url, now));
    }

    /// A push notification opened the app; `campaign` may be empty.
    pub fn open_push(&self, campaign: &str) {
        self.call(|recorder, now| recorder.open_push(campaign, now));
    }

    /// Sends what is queued as soon as the server allows. Does not wait for it.
    pub fn flush(&self) {
        self.command(Command::Flush);
    }

    /// Waits until all that was recorded is on disk, and earlier calls have had their effect and what they said is there,
    /// too, at most `timeout_ms`. False: it is not.
    pub fn sync(&self, timeout_ms: u64) -> bool {
        let Some(mut front) = self.front() else {
            return false;
        };
        front.recorder.settle_opening();
        let (goal, asked, changes) = (front.goal(), front.asked, front.recorder.saved().1);
        front.sync_wanted = true;
        front.urgent = true;
        self.shared.wake(&mut front);
        let timeout = Duration::from_millis(timeout_ms);
        let done =
            |front: &Front| front.durable >= goal && front.obeyed >= asked && front.kept >= changes;
        self.shared.wait(front, timeout, done)
    }

    /// What to send next; waits at most `wait_ms` for something.
    pub fn next_task(&self, wait_ms: u64) -> Task {
        if self.process != std::process::id() {
            return Task::Stop;
        }
        self.shared.next_task(Duration::from_millis(wait_ms))
    }

    /// The answer to a task: its HTTP status (0: none came), its `Retry-After` ("": none) and its body.
    pub fn task_done(&self, id: u64, status: u16, retry_after: &str, body: &[u8]) {
        if self.process == std::process::id() {
            self.shared.task_done(id, status, retry_after, body);
        }
    }

    /// Counts and state, as JSON.
    pub fn status(&self) -> String {
        if self.process != std::process::id() {
            return json!({"forked": true}).to_string();
        }
        lock(&self.shared.front).status()
    }

    /// Another key or collector: what was refused before is sent again.
    pub fn reconfigure(&self, target: Target) {
        self.command(Command::Reconfigure(target));
    }

    /// Erases what the device knows: what waits, the person, the install.
    pub fn forget(&self) {
        self.call(Recorder::forget);
        self.command(Command::Forget);
    }

    /// Puts all on disk and ends, within `timeout_ms`. False: something is not on disk. Later calls do nothing.
    pub fn shutdown(&self, timeout_ms: u64) -> bool {
        let Some(mut front) = self.front() else {
            return false;
        };
        let now = self.shared.clock.now();
        front.recorder.hidden(now);
        front.life = Life::Closing;
        front.urgent = true;
        let (goal, changes) = (front.goal(), front.recorder.saved().1);
        self.shared.wake(&mut front);
        let timeout = Duration::from_millis(timeout_ms);
        let ended = self
            .shared
            .wait(front, timeout, |front| front.life == Life::Closed);
        self.shared.sendable.notify_all();
        if ended {
            for thread in lock(&self.worker).drain(..1) {
                let _ = thread.join();
            }
        }
        let front = lock(&self.shared.front);
        ended && front.durable >= goal && front.kept >= changes
    }

    /// `None` in a child of the process that opened the SDK, where locks may be held for ever, and after the end.
    fn front(&self) -> Option<MutexGuard<'_, Front>> {
        if self.process != std::process::id() {
            return None;
        }
        Some(lock(&self.shared.front)).filter(|front| front.life == Life::Open)
    }

    fn call<T: Default>(&self, call: impl FnOnce(&mut Recorder, Moment) -> T) -> T {
        let Some(mut front) = self.front() else {
            return T::default();
        };
        let now = self.shared.clock.now();
        let result = front.call(|recorder| call(recorder, now));
        self.shared.wake(&mut front);
        result
    }

    fn command(&self, command: Command) {
        if let Some(mut front) = self.front() {
            front.commands.push(command);
            front.asked += 1;
            front.urgent = true;
            self.shared.wake(&mut front);
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown(2_000);
    }
}

impl Shared {
    /// What to send next; waits at most `wait` for something.
    pub(crate) fn next_task(&self, wait: Duration) -> Task {
        let until = Instant::now() + wait;
        let mut uploads = lock(&self.uploads);
        loop {
            let ended = lock(&self.front).life != Life::Open;
            if ended {
                return Task::Stop;
            }
            let now = self.clock.now();
            self.heed(&mut uploads, now);
            let step = uploads.next_step(now);
            let left = until.saturating_duration_since(Instant::now());
            let pause = match step {
                Step::Send(upload) => return Task::Send(upload),
                Step::WaitUntil(at) => {
                    let until_due = Duration::from_millis(at.saturating_sub(now.mono_ms).max(1));
                    left.min(until_due)
                }
                Step::Idle => left,
            };
            if left.is_zero() {
                return Task::Wait;
            }
            uploads = match self.sendable.wait_timeout(uploads, pause) {
                Ok((uploads, _)) => uploads,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Heeds what other processes of the folder stored, and erases what waits here from before an erasure.
    fn heed(&self, uploads: &mut Uploads<Folder>, now: Moment) {
        let stored = self.store.load();
        let mut front = lock(&self.front);
        if let Some(stored) = stored {
            front.call(|recorder| recorder.heed(stored, now));
        }
        let erasure = front.recorder.saved().0.erasure;
        drop(front);
        if uploads.queue.files().erasure() != erasure {
            uploads.forget(now);
            uploads.queue.files().set_erasure(erasure);
            let _ = uploads.queue.files().store_erasure(); // tried again when the state is stored
            lock(&self.front).see(uploads);
        }
    }

    /// The answer to a task.
    pub(crate) fn task_done(&self, id: u64, status: u16, retry_after: &str, body: &[u8]) {
        let now = self.clock.now();
        let mut uploads = lock(&self.uploads);
        if lock(&self.front).life == Life::Closed {
            return; // its files are another's; the copy that comes later is recognised
        }
        uploads.done(id, status, retry_after, body, now);
        let wait = uploads
            .asked_wait(now)
            .map_or(Moment::default(), |at| Moment {
                mono_ms: at,
                wall_ms: now.wall_ms + at.saturating_sub(now.mono_ms),
                boot: now.boot,
            });
        let mut front = lock(&self.front);
        front.see(&uploads);
        front.recorder.set_wait(wait);
        self.wake(&mut front);
        drop(front);
        self.sendable.notify_one(); // another thread of the host may wait
    }

    /// Wakes the worker, if need be.
    fn wake(&self, front: &mut Front) {
        let wakes = match front.worker {
            Turn::Busy => false,
            Turn::Gathers => front.urgent,
            Turn::Sleeps => true,
        };
        if wakes {
            front.worker = Turn::Busy;
            self.work.notify_one();
        }
    }

    /// Waits for the worker's progress. False: it took too long.
    fn wait(
        &self,
        front: MutexGuard<'_, Front>,
        timeout: Duration,
        done: impl Fn(&Front) -> bool,
    ) -> bool {
        let waited = self.progress.wait_timeout_while(front, timeout, |front| {
            !done(front) && front.life != Life::Closed
        });
        let front = waited.unwrap_or_else(PoisonError::into_inner).0;
        done(&front)
    }
}

impl Front {
    fn call<T>(&mut self, call: impl FnOnce(&mut Recorder) -> T) -> T {
        let forgotten = self.recorder.forgotten();
        let result = call(&mut self.recorder);
        // What was erased is waited for no longer.
        let erased = self.recorder.forgotten() - forgotten;
        self.taken += erased;
        self.written += erased;
        self.durable += erased;
        result
    }

    /// Events that were recorded up to now.
    fn goal(&self) -> u64 {
        self.taken + self.recorder.waiting() as u64
    }

    fn see(&mut self, uploads: &Uploads<Folder>) {
        self.seen.queued = uploads.queue.len();
        self.seen.fates.clone_from(&uploads.fates);
        self.seen.stopped = uploads.stopped();
        let error = uploads.queue.error().unwrap_or_default();
        error.clone_into(&mut self.seen.error);
    }

    fn status(&self) -> String {
        let (saved, _) = self.recorder.saved();
        let (seen, fates) = (&self.seen, &self.seen.fates);
        let in_hand = self.goal() - self.written;
        let mut dropped = fates.dropped.clone();
        if self.recorder.forgotten() > 0 {
            *dropped.entry(FORGOTTEN).or_default() += self.recorder.forgotten();
        }
        let misuse: serde_json::Map<_, _> = self
            .recorder
            .misuse_total()
            .counts()
            .map(|(problem, count)| (problem.to_owned(), count.into()))
            .collect();
        let error = if seen.error.is_empty() {
            &self.unkept
        } else {
            &seen.error
        };
        json!({
            "recorded": self.recorder.recorded(),
            "queued": seen.queued as u64 + in_hand,
            "accepted": fates.accepted,
            "rejected": fates.rejected,
            "refused": self.recorder.refused(),
            "dropped": dropped,
            "restored": seen.restored,
            "corrupt": fates.corrupt,
            "misuse": misuse,
            "storage": if error.is_empty() { "disk" } else { "memory" },
            "storage_error": error,
            "stopped": seen.stopped,
            "install": saved.install,
            "session": saved.session,
        })
        .to_string()
    }
}

/// A lock whose holder panicked is still a lock: each state in between is one that holds.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
