//! The naive model: all distinct events, sorted, cut into visits in one pass, and counted; and what became of each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use wakeline_aggregator::control::Site;
use wakeline_aggregator::metrics::MetricStore;
use wakeline_engine::{Grain, LOST_BY_CLIENT, Row, window};
use wakeline_proto::LOST_CORRUPT;
use wakeline_proto::v1::{Event, EventType, Group};

use crate::store::Fates;

const HOUR_MS: u64 = 3_600_000;

/// What tells events of a visitor apart: stream and number, or edge and position.
type Id = (bool, u64, u64);

/// The events of all visitors; of several copies the first logged.
#[derive(Default)]
pub(crate) struct Model {
    visitors: BTreeMap<(u64, String), BTreeMap<Id, Seen>>,
    /// The numbers of each stream, by site, visitor and stream.
    numbers: BTreeMap<(u64, String, u64), Numbers>,
    /// What became of everything that came, by site, hour and fate.
    pub(crate) fates: Fates,
}

/// What is known of the numbers of a stream.
#[derive(Default)]
struct Numbers {
    came: BTreeSet<u64>,
    /// The last one given.
    last: u64,
    /// When the last one came.
    hour: i64,
}

/// Of an event what numbers depend on.
#[derive(Clone, Copy)]
struct Seen {
    time_ms: i64,
    engagement_ms: i64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    View,
    Action,
    Engagement,
    Passive,
}

/// Figures of a window.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    pageviews: i64,
    events: i64,
    visits: i64,
    bounces: i64,
    duration_ms: i64,
    engagement_ms: i64,
    visitors: i64,
}

impl From<&Row> for Figures {
    fn from(row: &Row) -> Self {
        Self {
            pageviews: row.pageviews,
            events: row.events,
            visits: row.visits,
            bounces: row.bounces,
            duration_ms: row.duration_ms,
            engagement_ms: row.engagement_ms,
            visitors: row.visitors(),
        }
    }
}

impl Model {
    /// A group is in the log, from an edge and position. Of one that is `repeated`, since its position is not above all
    /// before it of its edge and partition, only events count that are known by their ids, and were not there before.
    pub(crate) fn take(&mut self, group: &Group, edge: u64, position: u64, repeated: bool) {
        let hour = (group.received_at / HOUR_MS * 60).cast_signed();
        let mut add = |fate: &str, count: u64| {
            let fate = (group.site, hour, fate.to_owned());
            *self.fates.entry(fate).or_default() += count.cast_signed();
        };
        if !repeated {
            for rejected in &group.rejected {
                add(&format!("rejected:{}", rejected.reason), 1);
                if rejected.stream != 0 {
                    Self::hear(&mut self.numbers, group, rejected.stream, rejected.seq);
                }
            }
            for tally in &group.tallies {
                match tally.reason.as_str() {
                    LOST_CORRUPT => add(LOST_CORRUPT, tally.count),
                    reason => add(&format!("rejected:{reason}"), tally.count),
                }
            }
        }
        for (position, event) in (position..).zip(&group.events) {
            let id = if event.stream == 0 {
                (false, edge, position)
            } else {
                (true, event.stream, event.seq)
            };
            if repeated && event.stream == 0 {
                continue;
            }
            if event.stream != 0 {
                Self::hear(&mut self.numbers, group, event.stream, event.seq);
            }
            if event.predecessor != 0 {
                let of = (group.site, group.visitor.clone(), event.predecessor);
                let numbers = self.numbers.entry(of).or_default();
                numbers.last = numbers.last.max(event.predecessor_last_seq);
            }
            let new = Self::count(&mut self.visitors, group, event, id);
            if new || !repeated {
                add("accepted", 1);
                add(if new { "counted" } else { "duplicate" }, 1);
            }
        }
    }

    /// Records of the log are damaged, which partition 0 is told of; its last record before them was appended at `stamp_ms`.
    pub(crate) fn lose(&mut self, records: u64, stamp_ms: u64) {
        let hour = (stamp_ms / HOUR_MS * 60).cast_signed();
        let fate = (0, hour, LOST_CORRUPT.to_owned());
        *self.fates.entry(fate).or_default() += records.cast_signed();
    }

    /// A number came, whatever becomes of its event.
    fn hear(all: &mut BTreeMap<(u64, String, u64), Numbers>, group: &Group, stream: u64, seq: u64) {
        let of = (group.site, group.visitor.clone(), stream);
        let numbers = all.entry(of).or_default();
        numbers.came.insert(seq);
        numbers.last = numbers.last.max(seq);
        let hour = (group.received_at / HOUR_MS * 60).cast_signed();
        numbers.hour = numbers.hour.max(hour);
    }

    /// What became of everything, and what never came.
    pub(crate) fn ledger(&self) -> Fates {
        let mut fates = self.fates.clone();
        for ((site, ..), numbers) in &self.numbers {
            let missing = (0..=numbers.last).filter(|seq| !numbers.came.contains(seq));
            let missing = missing.count() as i64;
            if missing > 0 && !numbers.came.is_empty() {
                let fate = (*site, numbers.hour, LOST_BY_CLIENT.to_owned());
                *fates.entry(fate).or_default() += missing;
            }
        }
        fates
    }

    /// Whether the event is new.
    fn count(
        visitors: &mut BTreeMap<(u64, String), BTreeMap<Id, Seen>>,
        group: &Group,
        event: &Event,
        id: Id,
    ) -> bool {
        let visitor = visitors
            .entry((group.site, group.visitor.clone()))
            .or_default();
        let Entry::Vacant(new) = visitor.entry(id) else {
            return false;
        };
        new.insert(Seen {
            time_ms: event.time as i64,
            engagement_ms: event.engagement.map_or(0, |seen| seen.time_ms.into()),
            kind: match event.r#type() {
                EventType::PageView => Kind::View,
                EventType::Engagement => Kind::Engagement,
                _ if event.passive => Kind::Passive,
                _ => Kind::Action,
            },
        });
        true
    }

    /// The figures of a site.
    fn figures(&self, site: &Site, grain: Grain) -> BTreeMap<i64, Figures> {
        let of = |ms| match grain {
            Grain::Minute => window::minute_window(ms),
            Grain::Hour => window::hour_window(&site.tz, ms),
            Grain::Day => window::day_window(&site.tz, ms),
        };
        let gap_ms = i64::from(site.session_gap_minutes) * 60_000;
        let mut figures: BTreeMap<i64, Figures> = BTreeMap::new();
        let visitors = self.visitors.iter().filter(|((id, _), _)| *id == site.id);
        for events in visitors.map(|(_, events)| events) {
            let mut events: Vec<Seen> = events.values().copied().collect();
            events.sort_by_key(|event| event.time_ms);
            let mut present = BTreeSet::new();
            for event in &events {
                let window = figures.entry(of(event.time_ms)).or_default();
                window.pageviews += i64::from(event.kind == Kind::View);
                window.engagement_ms += event.engagement_ms;
                if event.kind != Kind::Engagement {
                    window.events += 1;
                    window.visitors += i64::from(present.insert(of(event.time_ms)));
                }
            }
            for visit in events.chunk_by(|a, b| b.time_ms - a.time_ms <= gap_ms) {
                let (start, end) = (visit[0].time_ms, visit[visit.len() - 1].time_ms);
                let views = visit
                    .iter()
                    .filter(|event| event.kind == Kind::View)
                    .count();
                let acts = visit.iter().any(|event| event.kind == Kind::Action);
                if views == 0 && !acts {
                    continue;
                }
                let bounce = views == 1 && !acts;
                let window = figures.entry(of(start)).or_default();
                window.visits += 1;
                window.bounces += i64::from(bounce);
                window.duration_ms += if bounce { 0 } else { end - start };
            }
        }
        figures.retain(|_, figures| *figures != Figures::default());
        figures
    }
}

/// Compares all totals of a site with the model's.
pub(crate) async fn compare(
    model: &Model,
    site: &Site,
    metrics: &dyn MetricStore,
) -> anyhow::Result<()> {
    for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
        let rows = metrics.totals(site.id, grain, i64::MIN..i64::MAX).await?;
        let counted: BTreeMap<i64, Figures> = rows
            .iter()
            .map(|(window, row)| (*window, Figures::from(row)))
            .collect();
        let expected = model.figures(site, grain);
        let windows = counted.keys().chain(expected.keys());
        let mut wrong = windows.filter(|window| counted.get(window) != expected.get(window));
        if let Some(window) = wrong.next() {
            bail!(
                "{grain:?} {window} of {} is {:?}, not {:?}",
                site.domain,
                counted.get(window),
                expected.get(window)
            );
        }
    }
    Ok(())
}
