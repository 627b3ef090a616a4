//! The calls that Kotlin, Swift and Python make, by `UniFFI`: few, synchronous, of texts and bytes. The layers that apps see are
//! written by hand over them, each in its language's manner.
//!
//! After [`Core::open`] nothing throws: what goes wrong inside is counted, and a panic ends as the answer "no".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::app::{App, Task as Next};
use crate::clock::DeviceClock;
use crate::settings::{Settings, SettingsError, Target};

/// Why the SDK could not be configured.
#[derive(Debug, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum ConfigError {
    /// The settings can't be used; the message says which, and what to do.
    #[error("{0}")]
    Invalid(SettingsError),
    /// The system refused what the SDK can't do without: a thread.
    #[error("{0}")]
    System(std::io::Error),
}

/// What to do next for an upload.
#[derive(Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Task {
    /// POST `body` to `url` with `headers`, follow no redirect, and report the answer by `task_done`, whatever it is.
    Send {
        /// Names the task in `task_done`.
        id: u64,
        /// Where to.
        url: String,
        /// All headers but `Host` and `Content-Length`.
        headers: Vec<Header>,
        /// The body, compressed already.
        body: Vec<u8>,
    },
    /// There was nothing to send within the time: ask again.
    Wait,
    /// The SDK was shut down: ask no more.
    Stop,
}

/// A header of a request.
#[derive(Debug, PartialEq, Eq, uniffi::Record)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The SDK of one app and site.
#[derive(uniffi::Object)]
pub struct Core {
    app: App,
}

/// The version of the SDK.
#[uniffi::export]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[uniffi::export]
impl Core {
    /// Starts the SDK by its settings, as JSON. The only call, with `reconfigure`, that throws.
    #[uniffi::constructor]
    #[allow(clippy::needless_pass_by_value)] // UniFFI hands over what it made
    pub fn open(settings: String) -> Result<Arc<Self>, ConfigError> {
        let settings = Settings::parse(&settings).map_err(ConfigError::Invalid)?;
        let app = App::open(settings, Arc::new(DeviceClock::new())).map_err(ConfigError::System)?;
        Ok(Arc::new(Self { app }))
    }

    /// Where `wakeline_record` of `include/wakeline.h` finds this SDK, for languages in which a generated call costs several
    /// times what recording does. Holds as long as this object.
    pub fn address(&self) -> u64 {
        (&raw const self.app).expose_provenance() as u64
    }

    /// Takes an event, as JSON. False: it was refused, which is counted and reported.
    pub fn record(&self, event: &str) -> bool {
        quietly(|| self.app.record(event))
    }

    /// Names the person who is signed in, from now on. False: the name is empty or longer than 128 bytes.
    pub fn identify(&self, user: &str) -> bool {
        quietly(|| self.app.identify(user))
    }

    /// Nobody is signed in any more, and what follows is of another install: another person may use the device.
    pub fn reset(&self) {
        quietly(|| self.app.reset());
    }

    /// What the person agreed to: "granted", "denied", "pending", or "none" where the site does not ask.
    pub fn set_consent(&self, consent: &str) {
        quietly(|| self.app.set_consent(consent));
    }

    /// The properties that every event gets from now on, as a JSON object; those of the event itself win.
    pub fn set_defaults(&self, properties: &str) {
        quietly(|| self.app.set_defaults(properties));
    }

    /// The next custom event of that name gets the property `duration_ms`.
    pub fn start_timer(&self, name: &str) {
        quietly(|| self.app.start_timer(name));
    }

    /// The app is seen ("foreground"), is not ("background"), or is short of memory (`low_memory`).
    pub fn lifecycle(&self, state: &str) {
        quietly(|| self.app.lifecycle(state));
    }

    /// The network: "online", "metered", or "offline", when nothing is sent.
    pub fn network(&self, state: &str) {
        quietly(|| self.app.network(state));
    }

    /// A link opened the app; its `utm_` parameters are the visit's campaign.
    pub fn open_link(&self, url: &str) {
        quietly(|| self.app.open_link(url));
    }

    /// A push notification opened the app; `campaign` may be empty.
    pub fn open_push(&self, campaign: &str) {
        quietly(|| self.app.open_push(campaign));
    }

    /// Sends what is queued as soon as the server allows. Does not wait for it.
    pub fn flush(&self) {
        quietly(|| self.app.flush());
    }

    /// Waits until all that was recorded is on disk, at most `timeout_ms`. False: it is not.
    pub fn sync(&self, timeout_ms: u64) -> bool {
        quietly(|| self.app.sync(timeout_ms))
    }

    /// What to send next; waits at most `wait_ms` for something. Call it on a thread of its own.
    pub fn next_task(&self, wait_ms: u64) -> Task {
        quietly(|| Some(self.app.next_task(wait_ms))).map_or(Task::Wait, Task::from)
    }

    /// The answer to a task: its HTTP status (0: none came), its `Retry-After` ("": none) and its body.
    pub fn task_done(&self, id: u64, status: u16, retry_after: &str, body: &[u8]) {
        quietly(|| self.app.task_done(id, status, retry_after, body));
    }

    /// Counts and state, as JSON.
    pub fn status(&self) -> String {
        quietly(|| self.app.status())
    }

    /// Another key or collector, as JSON with `key`, `url` or both: what was refused before is sent again.
    #[allow(clippy::needless_pass_by_value)] // UniFFI hands over what it made
    pub fn reconfigure(&self, settings: String) -> Result<(), ConfigError> {
        let target = Target::parse(&settings).map_err(ConfigError::Invalid)?;
        quietly(|| self.app.reconfigure(target));
        Ok(())
    }

    /// Erases what the device knows: what waits, the person, the install.
    pub fn forget(&self) {
        quietly(|| self.app.forget());
    }

    /// Puts all on disk and ends, within `timeout_ms`. False: something is not on disk. Later calls do nothing.
    pub fn shutdown(&self, timeout_ms: u64) -> bool {
        quietly(|| self.app.shutdown(timeout_ms))
    }
}

impl From<Next> for Task {
    fn from(next: Next) -> Self {
        match next {
            Next::Send(upload) => Self::Send {
                id: upload.id,
                url: upload.url,
                headers: upload
                    .headers
                    .into_iter()
                    .map(|(name, value)| Header {
                        name: name.to_owned(),
                        value,
                    })
                    .collect(),
                body: upload.body,
            },
            Next::Wait => Self::Wait,
            Next::Stop => Self::Stop,
        }
    }
}

/// An app does not fall with its analytics.
pub(crate) fn quietly<T: Default>(call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_default()
}
