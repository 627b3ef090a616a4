//! When to try again: exponential backoff with full jitter, and what the server says.

use crate::config::Config;

#[derive(Debug)]
pub(crate) struct Retry {
    random: u64,
    /// Failures since the last success.
    failures: u32,
    /// Monotonic time before which nothing is sent.
    at: u64,
    /// The server asked for the wait: beacons obey it too, and the next page.
    asked: bool,
}

impl Retry {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            failures: 0,
            at: 0,
            asked: false,
        }
    }

    /// Until when to wait, if at all.
    pub(crate) fn wait(&self, now: u64) -> Option<u64> {
        (self.at > now).then_some(self.at)
    }

    /// The part of [`wait`](Self::wait) that the server asked for.
    pub(crate) fn asked_wait(&self, now: u64) -> Option<u64> {
        self.wait(now).filter(|_| self.asked)
    }

    /// Whether the last try failed.
    pub(crate) fn failing(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// What failed may be tried at once.
    #[cfg(feature = "store")]
    pub(crate) fn forgive(&mut self) {
        self.failures = 0;
        self.at = 0;
    }

    pub(crate) fn back_off(&mut self, config: &Config, now: u64) {
        let longest = config
            .backoff_base_ms
            .saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX))
            .min(config.backoff_cap_ms);
        self.failures = self.failures.saturating_add(1);
        self.at = now.saturating_add(self.up_to(longest));
        self.asked = false;
    }

    /// Waits as long as the server asked, and a little more, so that not all clients come at once.
    pub(crate) fn wait_as_asked(&mut self, wait: u64, config: &Config, now: u64) {
        let spread = self.up_to(config.backoff_base_ms);
        self.failures = self.failures.saturating_add(1);
        self.at = now.saturating_add(wait).saturating_add(spread);
        self.asked = true;
    }

    /// An earlier page was asked to wait until then.
    pub(crate) fn inherit(&mut self, at: u64) {
        if at > self.at {
            self.at = at;
            self.asked = true;
        }
    }

    /// `SplitMix64`, evenly enough from 0 to `max`.
    fn up_to(&mut self, max: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % max.saturating_add(1).max(1)
    }
}
