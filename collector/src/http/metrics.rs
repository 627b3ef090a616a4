//! `GET /metrics`: the Prometheus text format.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::header::CONTENT_TYPE;

use super::Doors;

pub(crate) async fn door(State(doors): State<Arc<Doors>>) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, render(&doors)).into_response()
}

fn render(doors: &Doors) -> String {
    let stats = &doors.stats;
    let spool = doors.log.stats();
    let mut text = Exposition::default();
    text.one(
        "events_received_total",
        "counter",
        "Events whose fate was decided.",
        stats.received(),
    );
    text.one(
        "events_accepted_total",
        "counter",
        "Events accepted.",
        stats.accepted(),
    );
    text.by(
        "events_rejected_total",
        "counter",
        "Events refused.",
        "reason",
        stats.rejected(),
    );
    text.by(
        "requests_refused_total",
        "counter",
        "Requests refused as a whole.",
        "kind",
        stats.requests_refused(),
    );
    text.one(
        "config_version",
        "gauge",
        "Version of the config snapshot held; 0: none.",
        doors.keys.rules_version(),
    );
    text.one("spool_bytes", "gauge", "Bytes of the spool.", spool.bytes);
    text.one(
        "spool_max_bytes",
        "gauge",
        "Bytes that the spool may take.",
        doors.spool.max_bytes,
    );
    text.one(
        "spool_segments",
        "gauge",
        "Segment files of the spool.",
        spool.segments as u64,
    );
    text.one(
        "spool_first_position",
        "gauge",
        "Oldest position that is kept.",
        doors.log.first(),
    );
    text.one(
        "spool_durable_position",
        "gauge",
        "Position after the last durable event.",
        doors.log.durable(),
    );
    text.one(
        "spool_fsyncs_total",
        "counter",
        "Groups made durable.",
        spool.fsyncs,
    );
    text.one(
        "spool_failed_fsyncs_total",
        "counter",
        "Failed writes and fsyncs.",
        spool.failed_fsyncs,
    );
    text.one(
        "spool_lost_corrupt_total",
        "counter",
        "Records lost because they are corrupt.",
        spool.lost_corrupt,
    );
    text.0
}

#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = write!(
            self.0,
            "# HELP wakeline_collector_{name} {help}\n# TYPE wakeline_collector_{name} {kind}\n"
        );
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "wakeline_collector_{name} {value}");
    }

    fn by(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        self.head(name, kind, help);
        for (value, count) in values {
            let _ = writeln!(
                self.0,
                "wakeline_collector_{name}{{{label}=\"{value}\"}} {count}"
            );
        }
    }
}
