//! From the queue to the collector: which events go next, and what becomes of them. The client's core decides when; what it
//! holds is a window on the queue, so that memory does not grow with what waits. No network here: a host pulls.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU64;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use wakeline_client::{BatchHandle, Client, Config, Fate, Reply, Start, Stored, v1};

use crate::clock::{Moment, random};
use crate::queue::{Files, Queue, Window};
use crate::settings::{Settings, Target};

/// What the client holds of the queue; of orders twice as much.
const WINDOW: Window = Window {
    events: 1_000,
    bytes: 512 << 10,
};
/// In the background, what is not urgent waits so long, in ms: the radio is not woken for it.
const BACKGROUND_WAIT_MS: u64 = 15 * 60 * 1_000;
/// On a metered network, events wait so many times as long.
const METERED_FACTOR: u64 = 6;
/// Longest silence that ends the wait for company, in ms.
const QUIET_MS: u64 = 1_000;
/// Bodies that are not worth compressing.
const SMALL_BODY: usize = 160;

/// Why events were dropped that the person wants to be erased.
pub(crate) const FORGOTTEN: &str = "forgotten";

/// How the device is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Online,
    Metered,
    Offline,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Request),
    /// Ask again at this time of the monotonic clock.
    WaitUntil(u64),
    /// Ask again after the next event or call.
    Idle,
}

/// A request to send.
#[derive(Debug)]
pub struct Request {
    /// Names it in [`App::task_done`](crate::App::task_done).
    pub id: u64,
    /// Where to.
    pub url: String,
    /// All headers but `Host` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body, compressed if that makes it smaller.
    pub body: Vec<u8>,
}

/// What became of events since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fates {
    pub(crate) accepted: u64,
    /// Refused by the collector, by reason.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// Given up here, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// Damaged places of the queue, and events that could not be read back.
    pub(crate) corrupt: u64,
}

/// See the [module's documentation](self).
pub(crate) struct Uploads<F> {
    pub(crate) queue: Queue<F>,
    client: Client,
    settings: Settings,
    user_agent: String,
    /// Of the events that the client has.
    context: Option<u32>,
    network: Network,
    background: bool,
    /// The status by which the collector refused key or origin.
    stopped: u16,
    /// The task that is under way.
    sent: Option<(u64, BatchHandle)>,
    tasks: u64,
    /// Of the events that wait, so many are to be sent as soon as may be.
    flushing: usize,
    pub(crate) fates: Fates,
}

impl<F: Files> Uploads<F> {
    pub(crate) fn new(queue: Queue<F>, settings: Settings, now: Moment) -> Self {
        Self {
            client: client(&settings, now),
            user_agent: user_agent(&settings),
            queue,
            settings,
            context: None,
            network: Network::Online,
            background: false,
            stopped: 0,
            sent: None,
            tasks: 0,
            flushing: 0,
            fates: Fates::default(),
        }
    }

    /// What to do now.
    pub(crate) fn next_step(&mut self, now: Moment) -> Step {
        if self.stopped != 0 || self.network == Network::Offline {
            return Step::Idle;
        }
        self.fill(now);
        if self.flushing > 0 {
            self.client.flush();
        }
        let step = self.client.next_step(now.now());
        self.settle();
        match step {
            wakeline_client::Step::Send { batch, bytes } => {
                self.tasks += 1;
                self.sent = Some((self.tasks, batch));
                Step::Send(self.request(self.tasks, bytes))
            }
            wakeline_client::Step::WaitUntil(at) => Step::WaitUntil(at),
            wakeline_client::Step::Idle => Step::Idle,
        }
    }

    /// The answer to a task; 0 = none came.
    pub(crate) fn done(
        &mut self,
        id: u64,
        status: u16,
        retry_after: &str,
        body: &[u8],
        now: Moment,
    ) {
        let Some((_, batch)) = self.sent.take_if(|(sent, _)| *sent == id) else {
            return;
        };
        let reply = match status {
            0 => Reply::Unreachable,
            // A proxy or a portal may answer for a collector, with what asks to come back.
            status => Reply::of_status(status, wait_ms(retry_after, now), body),
        };
        if matches!(status, 401 | 403) {
            self.stopped = status;
        }
        self.client.on_reply(batch, reply, now.now());
        self.settle();
    }

    /// Gives up what the limits say.
    pub(crate) fn shed(&mut self, now: Moment) {
        let Self {
            queue,
            client,
            fates,
            ..
        } = self;
        for (_, reason) in queue.shed(now, |id| client.withdraw(id)) {
            *fates.dropped.entry(reason.as_str()).or_default() += 1;
        }
    }

    /// Sends what is queued as soon as the server allows.
    pub(crate) fn flush(&mut self) {
        self.flushing = self.queue.len();
    }

    pub(crate) fn set_network(&mut self, network: Network, now: Moment) {
        if self.network == Network::Offline && network != Network::Offline {
            self.client.network_is_back(now.now());
        }
        self.network = network;
        self.set_patience();
    }

    pub(crate) fn set_background(&mut self, background: bool) {
        self.background = background;
        self.set_patience();
    }

    /// Other keys, another collector: what was refused is sent again.
    pub(crate) fn reconfigure(&mut self, target: Target, now: Moment) {
        if let Some(key) = target.key {
            self.settings.key = key;
        }
        if let Some(url) = target.url {
            self.settings.url = url;
        }
        self.start_over(now);
    }

    /// Erases what waits.
    pub(crate) fn forget(&mut self, now: Moment) {
        let erased = self.queue.clear() as u64;
        if erased > 0 {
            *self.fates.dropped.entry(FORGOTTEN).or_default() += erased;
        }
        let wait = self.client.asked_wait(now.now());
        self.start_over(now);
        self.inherit_wait(wait);
    }

    /// Until when, by the monotonic clock, the collector asked to wait.
    pub(crate) fn asked_wait(&self, now: Moment) -> Option<u64> {
        self.client.asked_wait(now.now())
    }

    /// An earlier process was asked to wait until then.
    pub(crate) fn inherit_wait(&mut self, until_mono_ms: Option<u64>) {
        if let Some(until) = until_mono_ms {
            self.client.inherit_wait(until);
        }
    }

    /// The status by which the collector refused key or origin; 0: it did not.
    pub(crate) fn stopped(&self) -> u16 {
        self.stopped
    }

    fn start_over(&mut self, now: Moment) {
        self.client = client(&self.settings, now);
        self.set_patience();
        self.queue.unload();
        self.context = None;
        self.sent = None;
        self.flushing = self.queue.len();
        self.stopped = 0;
    }

    /// Hands the client the next events of the queue.
    fn fill(&mut self, now: Moment) {
        if self.client.is_empty() {
            self.context = self.queue.next_context();
        }
        let Some(context) = self.context else { return };
        let (events, unreadable) = self.queue.load(context, WINDOW, now);
        self.fates.corrupt += unreadable;
        for (stored, at) in events {
            if self.client.is_empty() {
                self.client.set_device(stored.device.as_ref().clone());
            }
            self.client.load(stored, at, now.now());
        }
    }

    /// Takes note of what became of events.
    fn settle(&mut self) {
        let fates = self.client.take_fates();
        if fates.is_empty() {
            return;
        }
        for (_, fate) in &fates {
            let (counts, name) = match fate {
                Fate::Accepted => {
                    self.fates.accepted += 1;
                    continue;
                }
                Fate::Rejected(_) => (&mut self.fates.rejected, fate.as_str()),
                Fate::Dropped(reason) => (&mut self.fates.dropped, reason.as_str()),
            };
            *counts.entry(name).or_default() += 1;
        }
        let ids: Vec<_> = fates.into_iter().map(|(id, _)| id).collect();
        self.queue.settle(&ids);
        self.flushing = self.flushing.saturating_sub(ids.len());
    }

    fn set_patience(&mut self) {
        let wait = match (self.background, self.network) {
            (true, _) => BACKGROUND_WAIT_MS,
            (false, Network::Metered) => self.settings.batch_wait_ms.saturating_mul(METERED_FACTOR),
            (false, _) => self.settings.batch_wait_ms,
        };
        let quiet = if self.background {
            wait
        } else {
            wait.min(QUIET_MS)
        };
        self.client.set_patience(quiet, wait);
    }

    fn request(&self, id: u64, bytes: Vec<u8>) -> Request {
        let mut headers = vec![
            ("Content-Type", "application/x-protobuf".to_owned()),
            ("User-Agent", self.user_agent.clone()),
        ];
        let mut body = bytes;
        if body.len() > SMALL_BODY
            && let Some(compressed) =
                compressed(&body).filter(|compressed| compressed.len() < body.len())
        {
            headers.push(("Content-Encoding", "deflate".to_owned()));
            body = compressed;
        }
        Request {
            id,
            url: format!("{}/w/1/batch", self.settings.url),
            headers,
            body,
        }
    }
}

fn client(settings: &Settings, now: Moment) -> Client {
    let mut config = Config::new(settings.key.clone());
    config.client = v1::Client {
        name: settings.sdk.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    config.batch_wait_ms = settings.batch_wait_ms;
    config.batch_quiet_ms = settings.batch_wait_ms.min(QUIET_MS);
    config.batch_events = settings.batch_events;
    // The queue has the limits.
    config.queue_events = usize::MAX;
    config.queue_bytes = usize::MAX;
    config.keep_fates = usize::MAX;
    let start = Start {
        now: now.now(),
        stream: NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN),
        install: String::new(),
        first_day: 0,
        seed: random(),
    };
    Client::new(config, start)
}

/// What collectors know systems and classes of devices by, in the form of browsers'.
fn user_agent(settings: &Settings) -> String {
    let plain = |text: &str| -> String {
        let fine = |c: &char| c.is_ascii_graphic() && !"();,".contains(*c) || *c == ' ';
        text.chars().filter(fine).take(40).collect()
    };
    let (os, version, model) = (
        plain(&settings.os),
        plain(&settings.os_version),
        plain(&settings.model),
    );
    let tablet = settings.form == "tablet";
    let device = match os.to_ascii_lowercase().as_str() {
        "android" => {
            let class = if tablet { "Tablet" } else { "Mobile" };
            format!("Linux; Android {version}; {model}; {class}")
        }
        "ios" | "ipados" => {
            let device = if tablet {
                "iPad; CPU OS"
            } else {
                "iPhone; CPU iPhone OS"
            };
            format!("{device} {} like Mac OS X", version.replace('.', "_"))
        }
        "windows" => "Windows NT 10.0; Win64; x64".to_owned(),
        "macos" | "mac os x" | "darwin" => {
            format!("Macintosh; Intel Mac OS X {}", version.replace('.', "_"))
        }
        "linux" => "X11; Linux x86_64".to_owned(),
        _ => format!("{os} {version}").trim().to_owned(),
    };
    format!("Wakeline/{} ({device})", env!("CARGO_PKG_VERSION"))
}

fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), Compression::best());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// `Retry-After` in ms: seconds, or a date (RFC 9110, 10.2.3).
fn wait_ms(retry_after: &str, now: Moment) -> Option<u64> {
    let retry_after = retry_after.trim();
    if let Ok(seconds) = retry_after.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(retry_after).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis() as u64;
    Some(at.saturating_sub(now.wall_ms))
}

/// What tells the devices of two events apart.
pub(crate) fn context(stored: &Stored) -> u32 {
    let device = &stored.device;
    let mut hash = 0;
    for text in [
        &device.app_version,
        &device.os,
        &device.os_version,
        &device.model,
        &device.language,
        &device.timezone,
    ] {
        hash = crc32c::crc32c_append(hash, text.as_bytes());
        hash = crc32c::crc32c_append(hash, &[0]);
    }
    let size = [device.screen_width, device.screen_height];
    size.iter().fold(hash, |hash, side| {
        crc32c::crc32c_append(hash, &side.to_le_bytes())
    })
}
