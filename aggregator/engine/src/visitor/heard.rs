//! The numbers that clients gave in their streams, so that it shows which of them never came.
//!
//! Whether an event counts does not matter here: what was refused has come, too. So these numbers are kept apart from those
//! by which copies are told ([`Seen`](super::seen::Seen)), although mostly they are the same.

use super::Visitor;
use crate::{Changes, Dimension, Grain, Row, RowKey, text_id};

/// The fate, by [`Dimension::Fate`], of events that clients gave a number and that never came. Its rows are of the hour of
/// UTC in which the last event of the stream came.
pub const LOST_BY_CLIENT: &str = "lost_by_client";

/// No client gives more numbers in a stream: what says so does not spoil the sum of all others.
const MAX_LOST: u64 = 1 << 32;
const HOUR_MS: i64 = 3_600_000;
const HOUR_MINUTES: i64 = 60;
/// The end of the year 9999: no clock is ahead of it.
const MAX_MS: i64 = 253_402_300_799_999;

/// A number that a client gave, of which the event has come, or why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The stream.
    pub stream: u64,
    /// The number in it, from 0.
    pub seq: u64,
    /// When it came, in ms since 1970-01-01 UTC.
    pub received_ms: i64,
    /// The stream that the client had before, and the last number that it gave in it. If it is the same stream, the numbers
    /// up to that one are other visitors'.
    pub before: Option<(u64, u64)>,
}

/// What is known of the numbers of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) stream: u64,
    /// The last hour in which one came, in hours since 1970-01-01 UTC; 0: none did.
    pub(super) hour: i64,
    /// The last number that was given, as far as is known.
    pub(super) last: u64,
    /// Those that came, or are not this visitor's: both ends included; ascending, neither touching nor overlapping.
    pub(super) runs: Vec<(u64, u64)>,
}

impl Heard {
    /// Numbers that were given and did not come. A stream of which none came is another visitor's, as far as is known.
    fn lost(&self) -> i64 {
        if self.runs.is_empty() {
            return 0;
        }
        let came = self.runs.iter().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        });
        let given = self.last.saturating_add(1);
        given.saturating_sub(came).min(MAX_LOST) as i64
    }

    fn add(&mut self, first: u64, last: u64) {
        self.last = self.last.max(last);
        let runs = &mut self.runs;
        let from = runs.partition_point(|run| run.1.saturating_add(1) < first);
        let to = runs.partition_point(|run| run.0 <= last.saturating_add(1));
        let run = runs[from..to].iter().fold((first, last), |all, run| {
            (all.0.min(run.0), all.1.max(run.1))
        });
        runs.splice(from..to, [run]);
    }

    fn contribute(&self, sign: i64, changes: &mut Changes) {
        let key = RowKey {
            grain: Grain::Hour,
            window: self.hour * HOUR_MINUTES,
            dimension: Dimension::Fate,
            value: text_id(LOST_BY_CLIENT),
        };
        let row = Row {
            events: sign.wrapping_mul(self.lost()),
            ..Row::default()
        };
        if !row.is_zero() {
            changes.add(key, &row);
        }
    }
}

impl Visitor {
    /// Takes note of numbers that came, and adds to `changes` how many are missing by now, as rows of [`LOST_BY_CLIENT`].
    /// By how many more than before; `None` if nothing was new.
    ///
    /// The record, and the sum of all changes, are a function of the set of numbers.
    pub fn hear(&mut self, numbers: &[Number], changes: &mut Changes) -> Option<i64> {
        let of = |number: &Number| [Some(number.stream), number.before.map(|(stream, _)| stream)];
        let mut streams: Vec<u64> = numbers.iter().flat_map(of).flatten().collect();
        streams.sort_unstable();
        streams.dedup();
        let before: Vec<Heard> = streams.iter().map(|at| self.heard(*at).clone()).collect();
        for number in numbers {
            let heard = self.heard(number.stream);
            heard.add(number.seq, number.seq);
            let hour = number.received_ms.clamp(0, MAX_MS) / HOUR_MS;
            heard.hour = heard.hour.max(hour);
            match number.before {
                Some((stream, last)) if stream == number.stream => heard.add(0, last),
                Some((stream, last)) => {
                    let heard = self.heard(stream);
                    heard.last = heard.last.max(last);
                }
                None => {}
            }
        }
        let mut more = None;
        for before in before {
            let now = self.heard(before.stream);
            if *now != before {
                before.contribute(-1, changes);
                now.contribute(1, changes);
                let lost = now.lost().wrapping_sub(before.lost());
                more = Some(lost.wrapping_add(more.unwrap_or(0)));
            }
        }
        more
    }

    fn heard(&mut self, stream: u64) -> &mut Heard {
        let found = self
            .heard
            .binary_search_by_key(&stream, |heard| heard.stream);
        let at = found.unwrap_or_else(|at| {
            let heard = Heard {
                stream,
                ..Heard::default()
            };
            self.heard.insert(at, heard);
            at
        });
        &mut self.heard[at]
    }
}
