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

/// Writes `lines`, cutting in half what is refused, since one answer speaks for all lines of a write. Ends at the first
/// answer that speaks of the server instead.
pub(super) async fn deliver(
    to: &Shared,
    lines: &[&str],
    clock: fn() -> i64,
) -> (Vec<Fate>, Option<InfluxError>) {
    let mut fates = vec![Fate::Left; lines.len()];
    let starts = (0..lines.len()).step_by(LINES_AT_ONCE);
    let mut ranges: VecDeque<_> = starts
        .map(|start| start..lines.len().min(start + LINES_AT_ONCE))
        .collect();
    let mut searches = 0;
    while let Some(range) = ranges.pop_front() {
        let some = &lines[range.clone()];
        match to.client.write(&some.concat()).await {
            Ok(()) => {
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
                return (fates, Some(error));
            }
        }
    }
    (fates, None)
}
