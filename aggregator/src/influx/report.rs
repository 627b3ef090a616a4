//! How the export to InfluxDB is, for `/api/v1/status`, `/metrics` and the dashboard.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use super::client::InfluxError;
use crate::causes::Causes;

/// Refusals that are shown.
const SHOWN: usize = 20;

/// How metrics get where they are read.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MetricsReport {
    /// `state`, or `influxdb` if they are exported there.
    pub store: &'static str,
    /// Everything that is marked is written.
    pub drained: bool,
    /// The generation that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The one that readers of InfluxDB are told to read: another one while `generation` is written for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable_generation: Option<u32>,
    /// Since when InfluxDB lacks figures that should be there, in Unix milliseconds; absent if it is where it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since_ms: Option<i64>,
    /// Windows that are known to wait. Some always do, for the time when they are due: minutes each second, hours each 10 s,
    /// days each minute.
    pub pending_windows: u64,
    /// Windows written since the process started.
    pub windows_written: u64,
    /// Lines written since the process started.
    pub lines_written: u64,
    /// Writes that InfluxDB took.
    pub writes: u64,
    /// Writes that failed and will be repeated.
    pub failed_writes: u64,
    /// Lines that InfluxDB refused. Their windows are answered from the state, and tried again from time to time.
    pub lines_quarantined: u64,
    /// Queries that InfluxDB did not answer, so that the state did.
    pub failed_queries: u64,
    /// What keeps windows waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_trouble: Option<String>,
    /// Why queries are answered from the state for the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_trouble: Option<String>,
    /// The last refusals, the newest first.
    pub quarantine: Vec<Refusal>,
    /// File with all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_file: Option<String>,
}

impl MetricsReport {
    /// Nothing is exported.
    pub(crate) fn of_state() -> Self {
        Self {
            store: "state",
            drained: true,
            ..Self::default()
        }
    }
}

/// What was written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The tag of its points, which readers of InfluxDB are told to read now.
    pub generation: u32,
    /// Windows written meanwhile.
    pub windows: u64,
    /// How long it took, in ms.
    pub took_ms: u64,
}

/// Lines that InfluxDB refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Of the answer.
    pub status: u16,
    /// InfluxDB's words.
    pub message: String,
    /// The first of the lines.
    pub line: String,
}

/// A report in the making.
#[derive(Default)]
pub(crate) struct Report(Mutex<(MetricsReport, VecDeque<Refusal>)>);

impl Report {
    /// The report now.
    pub(crate) fn get(&self) -> MetricsReport {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MetricsReport {
            store: "influxdb",
            quarantine: inner.1.iter().cloned().collect(),
            ..inner.0.clone()
        }
    }

    /// Changes figures.
    pub(super) fn change(&self, change: impl FnOnce(&mut MetricsReport)) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner.0);
    }

    /// Writing works, or why not; logged when it changes.
    pub(super) fn tell_writing(&self, trouble: Option<String>) {
        self.change(|report| tell("write metrics", &mut report.write_trouble, trouble));
    }

    /// Querying works, or why not; logged when it changes.
    pub(super) fn tell_queries(&self, trouble: Option<&InfluxError>) {
        self.change(|report| {
            report.failed_queries += u64::from(trouble.is_some());
            let trouble = trouble.map(|error| Causes(error).to_string());
            tell("query metrics", &mut report.query_trouble, trouble);
        });
    }

    /// Lines were refused.
    pub(super) fn refuse(&self, lines: usize, refusal: Refusal) {
        tracing::error!(
            lines,
            status = refusal.status,
            message = refusal.message,
            line = refusal.line,
            "InfluxDB refuses points: they are in quarantine, queries answer from the state"
        );
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.lines_quarantined += lines as u64;
        inner.1.push_front(refusal);
        inner.1.truncate(SHOWN);
    }
}

fn tell(what: &str, before: &mut Option<String>, now: Option<String>) {
    if *before == now {
        return;
    }
    if let Some(why) = &now {
        tracing::error!(why, "can't {what}; nothing is lost, trying again");
    } else {
        tracing::info!("can {what} again");
    }
    *before = now;
}
