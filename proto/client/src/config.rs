use alloc::string::String;
use core::num::NonZeroU64;

use wakeline_proto::limits::MAX_AGE_MS;
use wakeline_proto::v1::{self, Consent};

/// Two clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds by a clock that only runs forwards, from any beginning (`performance.now()`).
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC (`Date.now()`); may be wrong and may be set.
    pub wall_ms: u64,
}

/// What a [`Client`](crate::Client) is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The clocks.
    pub now: Now,
    /// 64 random bits of this page load or process.
    pub stream: NonZeroU64,
    /// The install id; empty: cookieless.
    pub install: String,
    /// Day of the install's first event, in days since 1970-01-01 UTC; 0 = unknown.
    pub first_day: u32,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

/// Whose events are, by [`Client::set_person`](crate::Client::set_person).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The install id; empty: cookieless.
    pub install: String,
    /// Day of the install's first event, in days since 1970-01-01 UTC; 0 = unknown.
    pub first_day: u32,
    /// The site's own id of the signed-in person; empty: nobody is.
    pub user: String,
    /// What the person agreed to. While denied or pending, events are refused.
    pub consent: Consent,
}

/// How a [`Client`](crate::Client) behaves. [`Config::new`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The site's write key.
    pub key: String,
    /// The software that makes the events.
    pub client: v1::Client,
    /// Where they happen.
    pub device: v1::Device,

    /// A batch is sent once no event has come for so long, in ms: what stands alone is seen at once, what comes in
    /// quick succession goes together. Default: 400.
    pub batch_quiet_ms: u64,
    /// Longest wait of an event before a batch is sent, in ms. Default: 2,500.
    pub batch_wait_ms: u64,
    /// Events that are sent without waiting further. Default: 50.
    pub batch_events: usize,
    /// Bytes that are sent without waiting further. Default: 16 KiB.
    pub batch_bytes: usize,
    /// Most events in one batch. Default: 500. At most 1,000.
    pub max_batch_events: usize,
    /// Most bytes of one batch, but for a single event that is larger. Default: 60 KiB, which fits a keepalive fetch.
    pub max_batch_bytes: usize,

    /// Most events that wait. Default: 10,000.
    pub queue_events: usize,
    /// Most bytes of events that wait, each counted as if alone. Default: 1 MiB.
    pub queue_bytes: usize,
    /// Age at which an event is given up, in ms. Default, and what servers take: 30 days.
    pub queue_age_ms: u64,

    /// The first retry comes within this many ms; the next ones within twice, four times… Default: 1,000.
    pub backoff_base_ms: u64,
    /// Longest wait between retries, in ms. Default: 5 min.
    pub backoff_cap_ms: u64,
    /// Wait after the server refused the key, the origin or the request as such, in ms. Default: 10 min.
    pub pause_ms: u64,
    /// Longest `Retry-After` that is believed, in ms. Default: 1 h.
    pub retry_after_cap_ms: u64,
    /// How long a beacon's events wait until they are sent once more, in ms. Default: 30,000.
    pub beacon_grace_ms: u64,

    /// Fates kept for [`Client::take_fates`](crate::Client::take_fates); older ones remain in the counts. Default: 256.
    pub keep_fates: usize,
}

impl Config {
    /// The defaults, for a site's write key.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            client: v1::Client::default(),
            device: v1::Device::default(),
            batch_quiet_ms: 400,
            batch_wait_ms: 2_500,
            batch_events: 50,
            batch_bytes: 16 << 10,
            max_batch_events: 500,
            max_batch_bytes: 60 << 10,
            queue_events: 10_000,
            queue_bytes: 1 << 20,
            queue_age_ms: MAX_AGE_MS,
            backoff_base_ms: 1_000,
            backoff_cap_ms: 5 * 60 * 1_000,
            pause_ms: 10 * 60 * 1_000,
            retry_after_cap_ms: 60 * 60 * 1_000,
            beacon_grace_ms: 30_000,
            keep_fates: 256,
        }
    }
}
