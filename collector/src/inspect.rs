//! `wakeline-collector spool inspect`: what is in a spool whose collector does not run.

use std::path::Path;

use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use wakeline_proto::{EventId, v1};
use wakeline_spool::{OpenError, Options, ReadError, SegmentLog};

use crate::edges;

/// Bytes of records read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a spool can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no spool in the data folder.
    #[error("there is no spool in {0}")]
    Missing(std::path::PathBuf),
    /// A running collector keeps it to itself.
    #[error("the data folder {0} is in use by another process: end the collector first")]
    InUse(std::path::PathBuf),
    /// It can't be opened.
    #[error("open spool")]
    Open(#[source] OpenError),
    /// The file of its edge ids can't be read.
    #[error("read edge ids")]
    Edges(#[source] std::io::Error),
    /// It can't be read.
    #[error("read spool")]
    Read(#[from] ReadError),
}

/// What is in a spool.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The openings of the spool that positions are kept of, oldest first; empty if they are not known.
    pub edges: Vec<EdgeRange>,
    /// The oldest position that is kept.
    pub first_position: u64,
    /// The position after the last event.
    pub next_position: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Records that are lost because they are corrupt.
    pub lost_corrupt: u64,
    /// Readable records: requests.
    pub records: u64,
    /// Accepted events in them.
    pub accepted: u64,
    /// Refused events in them that were kept.
    pub rejected: u64,
    /// Refused events of which only the count was kept, and requests with unknown keys.
    pub tallied: u64,
    /// The first accepted events, as many as were asked for.
    pub events: Vec<SpooledEvent>,
}

/// An opening of a spool: its positions go on to where the next one's begin.
#[derive(Debug, Serialize)]
pub struct EdgeRange {
    /// The edge id, 16 hex digits.
    pub edge: String,
    /// The first of its positions.
    pub first_position: u64,
}

/// An accepted event in a spool.
#[derive(Debug, Serialize)]
pub struct SpooledEvent {
    /// Its spool position.
    pub position: u64,
    /// The site's id.
    pub site: u64,
    /// The visitor.
    pub visitor: String,
    /// `stream.seq`, or the client's own id; empty: none but the position.
    pub id: String,
    /// The type's name.
    pub r#type: &'static str,
    /// The event's name.
    pub name: String,
    /// The page's path.
    pub path: String,
    /// Corrected time, RFC 3339.
    pub time: String,
}

/// Reads the spool of the data folder `data`, with the first `max_events` accepted events.
pub async fn inspect(data: &Path, max_events: usize) -> Result<Report, InspectError> {
    let dir = data.join(crate::SPOOL);
    if !dir.is_dir() {
        return Err(InspectError::Missing(data.to_owned()));
    }
    let (log, _) = SegmentLog::open(&dir, Options::default()).map_err(|error| match error {
        OpenError::InUse => InspectError::InUse(data.to_owned()),
        other @ OpenError::Io(_) => InspectError::Open(other),
    })?;
    let mut report = Report {
        edges: edges::read(data)
            .map_err(InspectError::Edges)?
            .unwrap_or_default()
            .into_iter()
            .map(|opening| EdgeRange {
                edge: format!("{:016x}", opening.edge),
                first_position: opening.first,
            })
            .collect(),
        first_position: log.first(),
        next_position: log.durable(),
        ..Report::default()
    };
    let mut reader = log.reader(log.first());
    loop {
        let records = reader.next(READ_BYTES)?;
        if records.is_empty() {
            break;
        }
        for record in records {
            report.records += 1;
            report.add(record.position, &record.payload, max_events);
        }
    }
    let stats = log.stats();
    report.bytes = stats.bytes;
    report.segments = stats.segments as u64;
    report.lost_corrupt = stats.lost_corrupt;
    log.close().await;
    Ok(report)
}

impl Report {
    fn add(&mut self, mut position: u64, payload: &[u8], max_events: usize) {
        let Ok(record) = v1::SpoolRecord::decode(payload) else {
            self.lost_corrupt += 1;
            return;
        };
        for (bytes, header) in record.groups.iter().zip(&record.headers) {
            self.accepted += u64::from(header.events);
            self.rejected += u64::from(header.rejected);
            if let Ok(group) = v1::Group::decode(bytes.clone())
                && self.events.len() < max_events
            {
                let room = max_events - self.events.len();
                let events = group.events.iter().zip(position..).take(room);
                self.events.extend(
                    events.map(|(event, position)| SpooledEvent::new(&group, event, position)),
                );
            }
            self.tallied += header.tallied;
            position += u64::from(header.events) + u64::from(header.rejected);
            position += u64::from(header.tallies);
        }
    }
}

impl SpooledEvent {
    fn new(group: &v1::Group, event: &v1::Event, position: u64) -> Self {
        let id = if event.stream == 0 {
            event.client_id.clone()
        } else {
            let (stream, seq) = (event.stream, event.seq);
            EventId { stream, seq }.to_string()
        };
        let time = i64::try_from(event.time)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map(|time| time.to_string());
        Self {
            position,
            site: group.site,
            visitor: group.visitor.clone(),
            id,
            r#type: event.r#type().name(),
            name: event.name.clone(),
            path: event.path.clone(),
            time: time.unwrap_or_default(),
        }
    }
}
