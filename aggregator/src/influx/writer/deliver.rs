//! Gets lines to InfluxDB, but for those that it will not have.

use std::collections::VecDeque;

use super::super::client::InfluxError;
use super::super::report::Refusal;
use super::super::store::Shared;

/// Lines of a write at most.
const LINES_AT_ONCE: usize = 5_000;
/// Writes that may be spent on finding what is refused; whatever is not cut down to a line by then is refused together.
const SEARCHES: usize = 200;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// InfluxDB has it.
    Written,
    /// InfluxDB refused it.
    Refused,
    /// It was not tried, or whether it was written is unknown.
    Left,
}

/// What became of lines.
pub(super) struct Delivered {
    /// Of each.
    pub(super) fates: Vec<Fate>,
    /// Some were older than the bucket keeps, and dropped.
    pub(super) expired: bool,
    /// What the server said of itself, so that nothing more was tried.
    pub(super) error: Option<InfluxError>,
}

/// Writes `lines`, cutting in half what is refused, since one answer speaks for all lines of a write. Ends at the first
/// answer that speaks of the server instead.
pub(super) async fn deliver(to: &Shared, lines: &[&str], clock: fn() -> i64) -> Delivered {
    let mut fates = vec![Fate::Left; lines.len()];
    let mut expired = false;
    let starts = (0..lines.len()).step_by(LINES_AT_ONCE);
    let mut ranges: VecDeque<_> = starts
        .map(|start| start..lines.len().min(start + LINES_AT_ONCE))
        .collect();
    let mut searches = 0;
    while let Some(range) = ranges.pop_front() {
        let some = &lines[range.clone()];
        let answer = to.client.write(&some.concat()).await;
        // The others are kept, and these would have been dropped soon: they are as good as written.
        expired |= matches!(answer, Err(InfluxError::Expired(_)));
        match answer {
            Ok(()) | Err(InfluxError::Expired(_)) => {
                fates[range.clone()].fill(Fate::Written);
                to.report.change(|report| {
                    report.writes += 1;
                    report.lines_written += some.len() as u64;
                });
            }
            Err(InfluxError::Points { .. }) if some.len() > 1 && searches < SEARCHES => {
                searches += 1;
                let middle = usize::midpoint(range.start, range.end);
                ranges.push_front(middle..range.end);
                ranges.push_front(range.start..middle);
            }
            Err(InfluxError::Points { status, message }) => {
                fates[range].fill(Fate::Refused);
                let at_ms = clock();
                if let Err(error) = to.quarantine.add(at_ms, status, &message, some) {
                    tracing::warn!(%error, "write down what InfluxDB refused");
                }
                let line = some.first().copied().unwrap_or_default();
                let refusal = Refusal {
                    at_ms,
                    status,
                    message,
                    line: line.trim_end().chars().take(500).collect(),
                };
                to.report.refuse(some.len(), refusal);
            }
            Err(error) => {
                to.report.change(|report| report.failed_writes += 1);
                return Delivered {
                    fates,
                    expired,
                    error: Some(error),
                };
            }
        }
    }
    Delivered {
        fates,
        expired,
        error: None,
    }
}
