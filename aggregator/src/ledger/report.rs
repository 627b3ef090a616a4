//! The ledger as people and programs see it.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wakeline_engine::LOST_BY_CLIENT;
use wakeline_proto::LOST_CORRUPT;

use super::book::{ACCEPTED, REJECTED, UNREADABLE};
use super::desk::LedgerError;
use super::read::FateRow;
use super::span;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Lines of a report.
const MAX_LINES: i64 = 10_000;

/// Which part of the ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Args, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// Id or domain of the site; `(unknown)`: what belongs to no site.
    #[arg(long = "site")]
    pub site_id: String,
    /// Begin: RFC 3339, or a date (UTC). By default 24 hours, or 30 days, before the end.
    #[arg(long)]
    #[serde(default)]
    pub from: Option<String>,
    /// End: RFC 3339, or a date (UTC), which is included. By default now.
    #[arg(long)]
    #[serde(default)]
    pub to: Option<String>,
    /// Length of a line; hours and days are of UTC.
    #[arg(long, value_enum, default_value = "hour")]
    #[serde(default)]
    #[param(inline)]
    pub interval: Interval,
}

/// Length of a line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// An hour of UTC.
    #[default]
    Hour,
    /// A day of UTC.
    Day,
}

impl Interval {
    const fn ms(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }
}

/// What became of everything that was received in a time.
///
/// `received` = `accepted` + all of `rejected` + `lost_corrupt`; `accepted` = `counted` + `duplicate` + `late` + `unreadable` +
/// `unsettled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FateLine {
    /// When it begins, RFC 3339.
    pub time: String,
    /// Events that collectors decided on; of `(unknown)`: requests.
    pub received: u64,
    /// Events that are to be counted, as the aggregator's log has them.
    pub accepted: u64,
    /// Refused events by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Accepted events that are in the figures.
    pub counted: u64,
    /// Copies of events that were in the figures already.
    pub duplicate: u64,
    /// Events of days that were closed when they came.
    pub late: u64,
    /// Events in records of the log that can't be read any more.
    pub unreadable: u64,
    /// Of `(unknown)`: what was acknowledged and can't be read any more, because bits of a disk changed: events of a
    /// collector's spool, and records of the log, each of which had one event at least. By the hour in which that was found,
    /// or in which the log's records were logged.
    pub lost_corrupt: u64,
    /// Events to which SDKs gave a number and that never came: the numbers that are missing below the last one of a page load
    /// or process, by the hour in which its last event came; known `ledger.grace_hours` after that. Not among `received`.
    pub lost_by_client: u64,
    /// Accepted events without a fate: 0, or something is wrong.
    pub unsettled: i64,
}

/// What is on its way and not in the figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Waiting {
    /// Records of the log that are not in the figures yet, of all sites.
    pub log_records: u64,
    /// What collectors said that they had not sent yet, of all sites. Collectors that had sent everything when they left
    /// are not in it.
    pub collectors: Vec<CollectorBacklog>,
}

/// What a collector said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CollectorBacklog {
    /// Edge id of its spool.
    pub edge: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Events in its spool that it had not sent yet, refused ones included.
    pub pending: u64,
    /// When it said so, or came, or left, RFC 3339.
    pub said_at: String,
    /// Since when nothing is heard of it, RFC 3339; none while it is connected. A spool that is opened again says anew
    /// what is in it; one that stays away is left out after seven days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
}

/// What became of everything.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerReport {
    /// Domain of the site, or `(unknown)`.
    pub site: String,
    /// Length of a line.
    pub interval: Interval,
    /// Begin of the first line, RFC 3339.
    pub from: String,
    /// End of the last line, RFC 3339.
    pub to: String,
    /// Lines with anything in them, ascending.
    pub lines: Vec<FateLine>,
    /// Their sum.
    pub total: FateLine,
    /// What is on its way, of all sites.
    pub waiting: Waiting,
}

/// A range of whole intervals, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

impl Span {
    /// What `query` asks for at `now_ms`.
    pub(super) fn of(query: &LedgerQuery, now_ms: i64) -> Result<Self, LedgerError> {
        let step = query.interval.ms();
        let end = match &query.to {
            Some(text) => span::instant(text, true).ok_or(LedgerError::Time("to"))?,
            None => now_ms,
        };
        // Whole lines: part of an hour cannot be told from the rest of it.
        let to_ms = end.saturating_add(step - 1).div_euclid(step) * step;
        let from_ms = match (&query.from, query.interval) {
            (Some(text), _) => {
                let begin = span::instant(text, false).ok_or(LedgerError::Time("from"))?;
                begin.div_euclid(step) * step
            }
            (None, Interval::Hour) => to_ms - DAY_MS,
            (None, Interval::Day) => to_ms - 30 * DAY_MS,
        };
        if from_ms >= to_ms {
            return Err(LedgerError::Backwards);
        }
        if (to_ms - from_ms) / step > MAX_LINES {
            return Err(LedgerError::TooLong(MAX_LINES));
        }
        Ok(Self { from_ms, to_ms })
    }

    /// The hours in it, as rows have them.
    pub(super) fn hours(self) -> std::ops::Range<i64> {
        self.from_ms / 60_000..self.to_ms / 60_000
    }
}

impl FateLine {
    fn add(&mut self, row: &FateRow) {
        let sum = match row.fate.as_str() {
            ACCEPTED => &mut self.accepted,
            "counted" => &mut self.counted,
            "duplicate" => &mut self.duplicate,
            "late" => &mut self.late,
            UNREADABLE => &mut self.unreadable,
            LOST_CORRUPT => &mut self.lost_corrupt,
            LOST_BY_CLIENT => &mut self.lost_by_client,
            other => {
                let reason = other.strip_prefix(REJECTED).unwrap_or(other);
                self.rejected.entry(reason.to_owned()).or_default()
            }
        };
        *sum = sum.saturating_add(row.events);
    }

    fn balance(mut self) -> Self {
        let others = self.rejected.values().chain([&self.lost_corrupt]);
        self.received = others.fold(self.accepted, |sum, count| sum.saturating_add(*count));
        let fates = [self.counted, self.duplicate, self.late, self.unreadable];
        self.unsettled = fates
            .into_iter()
            .fold(self.accepted.cast_signed(), |left, count| {
                left.saturating_sub_unsigned(count)
            });
        self
    }
}

/// Leaves out what clients seem to have lost in hours that are less than `grace_ms` over: it may be on its way.
pub(super) fn forgive(rows: &mut Vec<FateRow>, now_ms: i64, grace_ms: i64) {
    let is_over = |row: &FateRow| {
        let end = row.hour.saturating_mul(60_000).saturating_add(HOUR_MS);
        end.saturating_add(grace_ms) <= now_ms
    };
    rows.retain(|row| row.fate != LOST_BY_CLIENT || is_over(row));
}

/// The lines of rows, and their sum, which begins at `from_ms`.
pub(super) fn lines(
    rows: &[FateRow],
    interval: Interval,
    from_ms: i64,
) -> (Vec<FateLine>, FateLine) {
    let mut by_time: BTreeMap<i64, FateLine> = BTreeMap::new();
    let mut total = FateLine {
        time: span::text(from_ms),
        ..FateLine::default()
    };
    for row in rows {
        let ms = row.hour.saturating_mul(60_000);
        let begin = ms.div_euclid(interval.ms()).saturating_mul(interval.ms());
        by_time.entry(begin).or_default().add(row);
        total.add(row);
    }
    let lines = by_time.into_iter().map(|(ms, line)| {
        let time = span::text(ms);
        FateLine { time, ..line }.balance()
    });
    (lines.collect(), total.balance())
}

#[cfg(test)]
mod tests {
    use super::{HOUR_MS, Interval, LedgerQuery, Span, forgive, lines};
    use crate::ledger::FateRow;

    const NOON: i64 = 20_000 * 86_400_000 + 43_200_000;

    fn row(hour: i64, fate: &str, events: u64) -> FateRow {
        FateRow {
            hour: NOON / 60_000 + hour * 60,
            fate: fate.to_owned(),
            events,
        }
    }

    #[test]
    fn lines_balance_at_each_hop_and_say_what_is_missing() {
        let rows = [
            row(0, "accepted", 10),
            row(0, "counted", 7),
            row(0, "duplicate", 2),
            row(0, "rejected:bot", 4),
            row(13, "accepted", 3),
            row(13, "counted", 3),
            row(13, "rejected:bot", 1),
            row(13, "rejected:no_consent", 6),
            row(14, "lost_corrupt", 2),
        ];
        let (hours, total) = lines(&rows, Interval::Hour, NOON);
        let figures: Vec<_> = hours
            .iter()
            .map(|line| (line.received, line.accepted, line.unsettled))
            .collect();
        assert_eq!(figures, [(14, 10, 1), (10, 3, 0), (2, 0, 0)]);
        assert_eq!((total.received, total.rejected["bot"]), (26, 5));
        assert_eq!(total.lost_corrupt, 2);
        let (days, _) = lines(&rows, Interval::Day, NOON);
        let days: Vec<_> = days.iter().map(|line| line.time.as_str()).collect();
        assert_eq!(days, ["2024-10-04T00:00:00Z", "2024-10-05T00:00:00Z"]);
    }

    #[test]
    fn what_clients_lost_is_told_when_the_grace_is_over_and_was_never_received() {
        let all = [row(0, "accepted", 1), row(0, "lost_by_client", 3)];
        let told = |now_ms| {
            let mut rows = all.to_vec();
            forgive(&mut rows, now_ms, 2 * HOUR_MS);
            let (_, total) = lines(&rows, Interval::Hour, NOON);
            (total.received, total.lost_by_client)
        };
        assert_eq!(told(NOON + 3 * HOUR_MS - 1), (1, 0));
        assert_eq!(told(NOON + 3 * HOUR_MS), (1, 3));
    }

    #[test]
    fn a_span_is_whole_lines_and_never_too_many() {
        let query = |from: &str, to: &str, interval| LedgerQuery {
            from: (!from.is_empty()).then(|| from.to_owned()),
            to: (!to.is_empty()).then(|| to.to_owned()),
            interval,
            ..LedgerQuery::default()
        };
        let day = Span::of(&query("", "", Interval::Hour), NOON + 1).unwrap();
        assert_eq!(
            (day.from_ms, day.to_ms),
            (NOON - 23 * 3_600_000, NOON + 3_600_000)
        );
        let one = Span::of(&query("2024-10-04", "2024-10-04", Interval::Day), NOON).unwrap();
        assert_eq!(one.to_ms - one.from_ms, 86_400_000);
        for (from, to, interval) in [
            ("2024-10-05", "2024-10-03", Interval::Day),
            ("1990-01-01", "", Interval::Hour),
            ("soon", "", Interval::Hour),
        ] {
            assert!(
                Span::of(&query(from, to, interval), NOON).is_err(),
                "{from}"
            );
        }
    }
}
