//! Counters of what the doors did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wakeline_proto::Reason;

use crate::http::problem::Refusal;

/// Counts since the start. `received` = `accepted` + all of `rejected`, between requests.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    received: AtomicU64,
    accepted: AtomicU64,
    warned: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    refused: [AtomicU64; Refusal::LABELS.len()],
}

impl Stats {
    /// Counts the events of a request whose fates are decided and durable.
    pub(crate) fn decided(
        &self,
        received: u64,
        accepted: u64,
        rejected: impl Iterator<Item = Reason>,
    ) {
        self.received.fetch_add(received, Relaxed);
        self.accepted.fetch_add(accepted, Relaxed);
        for reason in rejected {
            if let Some(at) = Reason::ALL.iter().position(|known| *known == reason) {
                self.rejected[at].fetch_add(1, Relaxed);
            }
        }
    }

    /// Counts events that were accepted though they don't fit their schema.
    pub(crate) fn warned(&self, events: u64) {
        self.warned.fetch_add(events, Relaxed);
    }

    pub(crate) fn schema_warnings(&self) -> u64 {
        self.warned.load(Relaxed)
    }

    /// Counts a request that was refused as a whole.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let label = refusal.label();
        if let Some(at) = Refusal::LABELS.iter().position(|known| *known == label) {
            self.refused[at].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(crate) fn rejected(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::ALL
            .iter()
            .zip(&self.rejected)
            .map(|(reason, count)| (reason.as_str(), count.load(Relaxed)))
    }

    pub(crate) fn requests_refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::LABELS
            .iter()
            .zip(&self.refused)
            .map(|(label, count)| (*label, count.load(Relaxed)))
    }
}
