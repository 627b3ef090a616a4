//! Fates as they come up while records of the log are applied.

use std::borrow::Cow;
use std::collections::HashMap;

use wakeline_engine::{Dimension, Fate, Grain, Row, RowKey, text_id};
use wakeline_proto::LOST_CORRUPT;
use wakeline_proto::v1::{Block, Group};

use super::UNKNOWN_SITE;

/// An event as the log has it.
pub(super) const ACCEPTED: &str = "accepted";
/// An event of a record of the log that can't be read.
pub(super) const UNREADABLE: &str = "unreadable";
/// Before the reason of those that were refused.
pub(super) const REJECTED: &str = "rejected:";

const HOUR_MS: u64 = 3_600_000;
const HOUR_MINUTES: i64 = 60;
/// The end of the year 9999: no clock is ahead of it.
const MAX_MS: u64 = 253_402_300_799_999;
/// Longest name of a reason that this version does not know.
const MAX_REASON_BYTES: usize = 40;

/// Name of an engine's fate: in the ledger, and for those who watch.
pub(crate) const fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Counted => "counted",
        Fate::Duplicate => "duplicate",
        Fate::Late => "late",
    }
}

/// Counts of fates, to be committed together with what they are counts of.
#[derive(Debug, Default)]
pub(crate) struct Book(HashMap<Entry, u64>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Entry {
    site: u64,
    /// The unix minute at which the hour begins.
    hour: i64,
    fate: Cow<'static, str>,
}

impl Book {
    /// What a collector decided on a group.
    pub(crate) fn judged(&mut self, group: &Group) {
        let hour = hour(group.received_at);
        self.add(group.site, hour, ACCEPTED.into(), group.events.len() as u64);
        for rejected in &group.rejected {
            self.add(group.site, hour, refused(&rejected.reason), 1);
        }
        for tally in &group.tallies {
            let fate = match tally.reason.as_str() {
                LOST_CORRUPT => LOST_CORRUPT.into(),
                reason => refused(reason),
            };
            self.add(group.site, hour, fate, tally.count);
        }
    }

    /// What the engine decided on a group's events.
    pub(crate) fn applied(&mut self, group: &Group, fates: &[Fate]) {
        let hour = hour(group.received_at);
        for fate in [Fate::Counted, Fate::Duplicate, Fate::Late] {
            let count = fates.iter().filter(|other| **other == fate).count();
            self.add(group.site, hour, name(fate).into(), count as u64);
        }
    }

    /// A block whose sites nobody can tell, from a record with that append stamp.
    pub(crate) fn unreadable(&mut self, block: &Block, appended_at: u64) {
        let hour = hour(appended_at);
        let events = u64::from(block.events);
        self.add(UNKNOWN_SITE, hour, ACCEPTED.into(), events);
        self.add(UNKNOWN_SITE, hour, UNREADABLE.into(), events);
        let refusals = u64::from(block.rejected).saturating_add(block.tallied);
        self.add(UNKNOWN_SITE, hour, refused(UNREADABLE), refusals);
    }

    /// Records of the log that are damaged, appended at about that time. Each had one event at least; whose is lost, too.
    pub(crate) fn lost(&mut self, records: u64, appended_at: u64) {
        self.add(
            UNKNOWN_SITE,
            hour(appended_at),
            LOST_CORRUPT.into(),
            records,
        );
    }

    fn add(&mut self, site: u64, hour: i64, fate: Cow<'static, str>, count: u64) {
        if count > 0 {
            let sum = self.0.entry(Entry { site, hour, fate }).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds the counts to the rows of their sites, and calls `named` with each fate's id and name.
    pub(crate) fn post<'a>(
        &'a self,
        mut rows: impl FnMut(u64, RowKey, &Row),
        mut named: impl FnMut(u64, u64, &'a str),
    ) {
        for (entry, count) in &self.0 {
            let id = text_id(&entry.fate);
            let key = RowKey {
                grain: Grain::Hour,
                window: entry.hour,
                dimension: Dimension::Fate,
                value: id,
            };
            let row = Row {
                events: i64::try_from(*count).unwrap_or(i64::MAX),
                ..Row::default()
            };
            rows(entry.site, key, &row);
            named(entry.site, id, &entry.fate);
        }
    }
}

/// The UTC hour of an instant: the unix minute at which it begins.
pub(super) fn hour(ms: u64) -> i64 {
    (ms.min(MAX_MS) / HOUR_MS).cast_signed() * HOUR_MINUTES
}

/// The fate of a refused event. Reasons of later versions keep their names, as long as they look like names.
fn refused(reason: &str) -> Cow<'static, str> {
    let is_name = !reason.is_empty()
        && reason.len() <= MAX_REASON_BYTES
        && reason
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let reason = if is_name { reason } else { "other" };
    format!("{REJECTED}{reason}").into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wakeline_engine::Fate;
    use wakeline_proto::v1::{Block, Event, Group, Rejected, Tally};

    use super::Book;

    fn posted(book: &Book) -> BTreeMap<(u64, i64, String), i64> {
        let mut rows = Vec::new();
        let mut names = BTreeMap::new();
        book.post(
            |site, key, row| rows.push((site, key, row.events)),
            |_, id, name| {
                names.insert(id, name.to_owned());
            },
        );
        rows.into_iter()
            .map(|(site, key, events)| ((site, key.window, names[&key.value].clone()), events))
            .collect()
    }

    #[test]
    fn each_event_is_in_the_book_once_at_each_hop() {
        let rejected = |reason: &str| Rejected {
            reason: reason.into(),
            ..Rejected::default()
        };
        let group = Group {
            site: 7,
            received_at: 3 * 3_600_000 + 5,
            events: vec![Event::default(); 3],
            rejected: vec![
                rejected("too_old"),
                rejected("of_the_future"),
                rejected("<script>"),
            ],
            tallies: vec![Tally {
                reason: "no_consent".into(),
                count: 4,
            }],
            ..Group::default()
        };
        let mut book = Book::default();
        book.judged(&group);
        book.applied(&group, &[Fate::Counted, Fate::Duplicate, Fate::Counted]);
        let found = posted(&book);
        let expected = [
            ("accepted", 3),
            ("counted", 2),
            ("duplicate", 1),
            ("rejected:no_consent", 4),
            ("rejected:of_the_future", 1),
            ("rejected:other", 1),
            ("rejected:too_old", 1),
        ];
        let expected = expected.map(|(name, count)| ((7, 180, name.to_owned()), count));
        assert_eq!(found, expected.into());
    }

    #[test]
    fn what_cannot_be_read_is_nobodys_and_still_counted() {
        let mut book = Book::default();
        let block = Block {
            events: 5,
            rejected: 1,
            tallied: 2,
            ..Block::default()
        };
        book.unreadable(&block, u64::MAX);
        let found: Vec<_> = posted(&book)
            .into_iter()
            .map(|((site, _, name), count)| (site, name, count))
            .collect();
        let expected = [
            (0, "accepted".to_owned(), 5),
            (0, "rejected:unreadable".to_owned(), 3),
            (0, "unreadable".to_owned(), 5),
        ];
        assert_eq!(found, expected);
    }
}
