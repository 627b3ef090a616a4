//! How the lake is, for status and metrics.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use wakeline_lake::{Lake, Snapshot};

/// How the lake of all events is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LakeReport {
    /// Where it is; absent if it is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Every counted event below this offset of the log is in it.
    pub end: u64,
    /// Every one below this offset is in its files.
    pub covered_to: u64,
    /// Events in files.
    pub rows: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Events that are in memory only, and in the log.
    pub waiting_rows: u64,
    /// What is wrong. Nothing is lost meanwhile: the log has what the lake has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl LakeReport {
    pub(super) fn new(lake: Option<(&Lake, Arc<Snapshot>)>, trouble: Option<String>) -> Self {
        let Some((lake, now)) = lake else {
            return Self {
                trouble,
                ..Self::default()
            };
        };
        Self {
            place: Some(lake.store().name().to_owned()),
            end: now.end,
            covered_to: now.manifest.covered_to,
            rows: now.manifest.rows(),
            bytes: now.manifest.bytes(),
            files: now.manifest.files.len() as u64,
            waiting_rows: now.tail_rows() as u64,
            trouble,
        }
    }

    /// Appends gauges in Prometheus' text format.
    pub(crate) fn write(&self, out: &mut String) {
        let gauges = [
            (
                "lake_end_offset",
                "Every counted event below this offset of the log is in the lake.",
                self.end,
            ),
            (
                "lake_covered_offset",
                "Every counted event below this offset is in the lake's files.",
                self.covered_to,
            ),
            ("lake_rows", "Events in files of the lake.", self.rows),
            ("lake_bytes", "Bytes of files of the lake.", self.bytes),
            ("lake_files", "Files of the lake.", self.files),
            (
                "lake_waiting_rows",
                "Events of the lake that are in no file yet.",
                self.waiting_rows,
            ),
            (
                "lake_trouble",
                "1 while the lake can't be used as it should.",
                u64::from(self.trouble.is_some()),
            ),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(
                out,
                "# HELP wakeline_{name} {help}\n# TYPE wakeline_{name} gauge\nwakeline_{name} {value}"
            );
        }
    }
}
