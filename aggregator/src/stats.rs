//! Counters of what went through, since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// One counter each.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $($(#[doc = $doc])+ pub(crate) $name: Counter,)+
        }

        impl Stats {
            /// Name, help and value of each.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name.get()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Blocks appended to the log.
    blocks_logged,
    /// Blocks that collectors sent again and that were in the log already.
    blocks_repeated,
    /// Streams and blocks of collectors that were refused.
    pushes_refused,
    /// Events that are in the figures.
    events_counted,
    /// Copies of events that were in the figures already.
    events_duplicate,
    /// Events of days that were sealed when they came.
    events_late,
    /// Numbers that SDKs gave to events, and that were found missing: they are on their way, or lost.
    numbers_missing,
    /// Such numbers that came after all.
    numbers_found,
    /// Events that collectors refused and sent for the record.
    events_rejected,
    /// Events that collectors refused, and counted without sending them.
    events_tallied,
    /// Records of the log that could not be read and were passed over.
    records_unreadable,
    /// Events that collectors acknowledged, and that were damaged in their spools. An alarm, as `log_lost_corrupt_total` is.
    events_lost_corrupt,
    /// Commits to the state store.
    commits,
    /// Commits and reads of the state store that failed and were tried again.
    state_failures,
    /// Times that a partition's state was found at an earlier commit and applied again from the log.
    state_fallbacks,
}

impl Stats {
    /// A commit, and what became of events in it.
    pub(crate) fn committed(&self, counted: u64, duplicate: u64, late: u64) {
        self.commits.add(1);
        self.events_counted.add(counted);
        self.events_duplicate.add(duplicate);
        self.events_late.add(late);
    }
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
