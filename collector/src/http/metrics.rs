//! `GET /metrics`: the Prometheus text format, for this machine and for whoever has the token.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::header::CONTENT_TYPE;

use super::problem::Refusal;
use super::{Doors, Head, guard};

pub(crate) async fn door(State(doors): State<Arc<Doors>>, head: Head) -> Response {
    if !guard::may_read_metrics(&doors, &head) {
        return doors.answer(Err(Refusal::Forbidden(
            "metrics are for this machine, and for whoever shows http.metrics_token",
        )));
    }
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, render(&doors)).into_response()
}

fn render(doors: &Doors) -> String {
    let mut text = Exposition::default();
    for (name, help, value) in singles(doors).into_iter().chain(enrichment(doors)) {
        text.head(name, help);
        text.line(name, "", value);
    }
    text.by(
        "events_rejected_total",
        "Events refused.",
        "reason",
        doors.stats.rejected(),
    );
    text.by(
        "requests_refused_total",
        "Requests refused as a whole.",
        "kind",
        doors.stats.requests_refused(),
    );
    text.0
}

/// As [`singles`], of rules and enrichment.
fn enrichment(doors: &Doors) -> [(&'static str, &'static str, u64); 3] {
    let stats = &doors.stats;
    [
        (
            "geoip_loaded",
            "Whether a database of places is in use.",
            doors.enricher.knows_places().into(),
        ),
        (
            "networks_loaded",
            "Whether a database of networks is in use.",
            doors.enricher.knows_networks().into(),
        ),
        (
            "events_schema_warnings_total",
            "Events accepted though they don't fit their schema.",
            stats.schema_warnings(),
        ),
    ]
}

/// Name, help and value of each metric without labels.
fn singles(doors: &Doors) -> [(&'static str, &'static str, u64); 21] {
    let (stats, spool, forward) = (&doors.stats, doors.log.stats(), &doors.forward);
    [
        (
            "events_received_total",
            "Events whose fate was decided.",
            stats.received(),
        ),
        (
            "events_accepted_total",
            "Events accepted.",
            stats.accepted(),
        ),
        (
            "config_version",
            "Version of the config snapshot held; 0: none.",
            doors.keys.rules_version(),
        ),
        ("spool_bytes", "Bytes of the spool.", spool.bytes),
        (
            "spool_max_bytes",
            "Bytes that the spool may take.",
            doors.spool.max_bytes,
        ),
        (
            "spool_segments",
            "Segment files of the spool.",
            spool.segments as u64,
        ),
        (
            "spool_first_position",
            "Oldest position that is kept.",
            doors.log.first(),
        ),
        (
            "spool_durable_position",
            "Position after the last durable event.",
            doors.log.durable(),
        ),
        ("spool_fsyncs_total", "Groups made durable.", spool.fsyncs),
        (
            "spool_failed_fsyncs_total",
            "Failed writes and fsyncs.",
            spool.failed_fsyncs,
        ),
        (
            "spool_failing",
            "Whether the last group could not be made durable.",
            spool.failing.into(),
        ),
        (
            "spool_lost_corrupt_total",
            "Corrupt places skipped, each at least one record.",
            spool.lost_corrupt,
        ),
        (
            "spool_lost_positions_total",
            "Positions of events that were in them.",
            spool.lost_positions,
        ),
        (
            "spool_torn_bytes",
            "Bytes cut from the spool's end at its opening.",
            spool.torn_bytes,
        ),
        (
            "forward_connected",
            "Whether the aggregator takes blocks.",
            forward.connected().into(),
        ),
        (
            "forward_acked_position",
            "The aggregator has all below.",
            forward.acked(),
        ),
        (
            "forward_events_total",
            "Events that the aggregator acknowledged.",
            forward.events(),
        ),
        ("forward_blocks_total", "Blocks sent.", forward.blocks()),
        (
            "forward_bytes_total",
            "Bytes of blocks sent.",
            forward.bytes(),
        ),
        (
            "forward_failures_total",
            "Streams that ended.",
            forward.failures(),
        ),
        (
            "forward_malformed_total",
            "Records and events that can't be forwarded.",
            forward.malformed(),
        ),
    ]
}

#[derive(Default)]
struct Exposition(String);

// Writing to a String does not fail.
impl Exposition {
    fn head(&mut self, name: &str, help: &str) {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        let _ = write!(
            self.0,
            "# HELP wakeline_collector_{name} {help}\n# TYPE wakeline_collector_{name} {kind}\n"
        );
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "wakeline_collector_{name}{labels} {value}");
    }

    fn by(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        self.head(name, help);
        for (value, count) in values {
            self.line(name, &format!("{{{label}=\"{value}\"}}"), count);
        }
    }
}
