//! How the server is, for `/readyz` and `/metrics`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::Health;
use crate::generations::Generations;
use crate::influx::MetricsReport;
use crate::lake::LakeReport;
use crate::log::SegmentEventLog;
use crate::stats::Stats;

/// What is wrong with the state store at the moment.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Option<String>>);

impl Troubles {
    /// Keeps what is wrong, and logs it when it begins and ends: in between, one outage has many faces.
    pub(crate) fn tell(&self, why: Option<String>) {
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*before, &why) {
            (None, Some(why)) => tracing::error!(why, "the state store is in trouble"),
            (Some(before), Some(why)) if before != why => {
                tracing::debug!(why, "the state store is still in trouble");
            }
            (Some(_), None) => tracing::info!("the state store is well again"),
            _ => {}
        }
        *before = why;
    }
}

pub(crate) struct ServerHealth {
    pub(crate) log: SegmentEventLog,
    pub(crate) generations: Arc<Generations>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) troubles: Arc<Troubles>,
}

impl Health for ServerHealth {
    fn ready(&self) -> Result<(), String> {
        if let Some(why) = why_not_ready(&self.log.stats()) {
            return Err(why.to_owned());
        }
        let troubles = &self.troubles.0;
        let trouble = troubles.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone().map_or(Ok(()), Err)
    }

    fn lost_corrupt(&self) -> u64 {
        self.stats.events_lost_corrupt.get() + self.log.stats().lost_corrupt
    }

    fn metrics(&self) -> MetricsReport {
        self.generations.export_report()
    }

    fn lake(&self) -> Option<LakeReport> {
        self.generations.lake_report()
    }

    fn write_metrics(&self, out: &mut String) {
        if let Some(lake) = self.lake() {
            lake.write(out);
        }
        write_export(out, &self.metrics());
        for (name, help, value) in self.stats.all() {
            write(out, "counter", &format!("{name}_total"), help.trim(), value);
        }
        let log = self.log.stats();
        let at = self.generations.watermark();
        write(
            out,
            "counter",
            "log_fsyncs_total",
            "Successful fdatasyncs of the log.",
            log.fsyncs,
        );
        write(
            out,
            "counter",
            "log_failed_fsyncs_total",
            "Failed writes and fdatasyncs of the log.",
            log.failed_fsyncs,
        );
        write(
            out,
            "counter",
            "log_lost_corrupt_total",
            "Damaged records of the log that were skipped.",
            log.lost_corrupt,
        );
        write(
            out,
            "gauge",
            "log_bytes",
            "Bytes of the log on disk.",
            log.bytes,
        );
        write(
            out,
            "gauge",
            "log_end_offset",
            "Offset after the newest durable record.",
            at.log_end,
        );
        write(
            out,
            "gauge",
            "applied_offset",
            "Every record below this offset is in the figures.",
            at.applied,
        );
        write(
            out,
            "gauge",
            "applied_timestamp_ms",
            "When the newest applied record was logged.",
            at.at_ms,
        );
    }
}

fn write_export(out: &mut String, report: &MetricsReport) {
    if report.store == "state" {
        return;
    }
    let waiting = "Windows that are known to wait for InfluxDB.";
    write(
        out,
        "gauge",
        "influx_pending_windows",
        waiting,
        report.pending_windows,
    );
    let drained = "1 if InfluxDB had everything when that was last looked at.";
    write(
        out,
        "gauge",
        "influx_drained",
        drained,
        u64::from(report.drained),
    );
    let failing = "1 while figures can't be written to InfluxDB.";
    let fails = u64::from(report.write_trouble.is_some());
    write(out, "gauge", "influx_failing", failing, fails);
    let now_ms = crate::server::now_ms();
    let behind = report
        .behind_since_ms
        .map_or(0, |since| (now_ms - since).max(0) as u64 / 1_000);
    let help = "How long InfluxDB has lacked figures that should be there; 0: it does not.";
    write(out, "gauge", "influx_behind_seconds", help, behind);
    let help = "The generation that is written to InfluxDB.";
    let generation = u64::from(report.generation.unwrap_or(0));
    write(out, "gauge", "influx_generation", help, generation);
    for (name, help, value) in [
        ("lines", "Lines written to InfluxDB.", report.lines_written),
        ("writes", "Writes that InfluxDB took.", report.writes),
        (
            "failed_writes",
            "Writes to InfluxDB that failed and are repeated.",
            report.failed_writes,
        ),
        (
            "quarantined_lines",
            "Lines that InfluxDB refused.",
            report.lines_quarantined,
        ),
        (
            "failed_queries",
            "Queries that the state answered instead of InfluxDB.",
            report.failed_queries,
        ),
    ] {
        write(out, "counter", &format!("influx_{name}_total"), help, value);
    }
}

fn why_not_ready(log: &wakeline_spool::Stats) -> Option<&'static str> {
    if log.full {
        Some("the log has no room")
    } else if log.failing {
        Some("the log can't be written: the disk is full or fails; collectors keep what they have")
    } else {
        None
    }
}

fn write(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    let name = format!("wakeline_aggregator_{name}");
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}

#[cfg(test)]
mod tests {
    use wakeline_spool::Stats;

    use super::why_not_ready;

    #[test]
    fn a_log_that_cannot_be_written_is_not_ready() {
        let failing = Stats {
            failing: true,
            ..Stats::default()
        };
        assert!(why_not_ready(&failing).is_some_and(|why| why.contains("can't be written")));
        let full = Stats {
            full: true,
            ..Stats::default()
        };
        assert!(why_not_ready(&full).is_some_and(|why| why.contains("no room")));
        assert_eq!(why_not_ready(&Stats::default()), None);
    }
}
