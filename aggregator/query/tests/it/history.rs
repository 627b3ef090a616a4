//! What happened on a site, at random, and what the engine and a scan are told of it.

use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use wakeline_engine::{
    Changes, Context, Dimension, Event as EngineEvent, Grain, Id, Kind, Money, Row, RowKey,
    SiteRules, Visitor, country, country_code, text_id,
};
use wakeline_query::{Batch, BatchEvent, Field, NO_SCROLL, Texts};

/// 2026-11-10T20:00:00Z.
pub(crate) const ORIGIN: i64 = 1_794_340_800_000;

/// An event with all its texts.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) visitor: usize,
    pub(crate) seq: u64,
    pub(crate) time_ms: i64,
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) page: &'static str,
    pub(crate) hostname: &'static str,
    pub(crate) plan: &'static str,
    pub(crate) source: &'static str,
    pub(crate) campaign: &'static str,
    pub(crate) version: &'static str,
    pub(crate) device: u8,
    pub(crate) channel: u8,
    pub(crate) country: &'static str,
    pub(crate) engagement_ms: u32,
    pub(crate) scroll: u8,
    pub(crate) order: Option<Money>,
}

/// A site and all that happened.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) zone: &'static str,
    pub(crate) gap_ms: i64,
    pub(crate) events: Vec<Event>,
}

impl History {
    pub(crate) fn timezone(&self) -> TimeZone {
        wakeline_engine::timezone(self.zone).unwrap()
    }
}

impl Event {
    pub(crate) fn id(&self) -> Id {
        Id::Stream {
            stream: self.visitor as u64 + 1,
            seq: self.seq,
        }
    }

    /// A text as it is stored: empty for none.
    pub(crate) fn text(&self, field: &Field) -> String {
        match field {
            Field::Page => self.page.to_owned(),
            Field::Name => self.name.to_owned(),
            Field::Hostname => self.hostname.to_owned(),
            Field::Custom(name) if name == "plan" => self.plan.to_owned(),
            Field::Source => self.source.to_owned(),
            Field::UtmCampaign => self.campaign.to_owned(),
            Field::BrowserVersion => self.version.to_owned(),
            Field::Device => device(self.device),
            Field::Channel => channel(self.channel),
            Field::Country => self.country.to_owned(),
            _ => String::new(),
        }
    }

    fn for_engine(&self) -> EngineEvent {
        EngineEvent {
            id: self.id(),
            time_ms: self.time_ms,
            stamp_ms: self.time_ms,
            kind: self.kind,
            page: (!self.page.is_empty()).then(|| text_id(self.page)),
            name: (!self.name.is_empty()).then(|| text_id(self.name)),
            engagement_ms: self.engagement_ms,
            order: self.order,
            context: Context {
                source: text_id(self.source),
                utm_campaign: text_id(self.campaign),
                country: country_code(self.country),
                channel: self.channel,
                device: self.device,
                ..Context::default()
            },
        }
    }
}

fn device(code: u8) -> String {
    ["", "Desktop", "Mobile"][usize::from(code)].to_owned()
}

fn channel(code: u8) -> String {
    ["Direct", "Email", "Paid"][usize::from(code)].to_owned()
}

/// The rows that the engine makes of a history, and what values are called.
pub(crate) struct Rollups {
    rows: BTreeMap<RowKey, Row>,
    names: HashMap<u64, &'static str>,
}

impl Rollups {
    pub(crate) fn of(history: &History) -> Self {
        let rules = SiteRules {
            timezone: history.timezone(),
            gap_ms: history.gap_ms,
            seal_after_ms: None,
        };
        let mut by_visitor: BTreeMap<usize, Vec<EngineEvent>> = BTreeMap::new();
        let mut names = HashMap::new();
        for event in &history.events {
            for text in [event.page, event.name, event.source, event.campaign] {
                names.insert(text_id(text), text);
            }
            let events = by_visitor.entry(event.visitor).or_default();
            events.push(event.for_engine());
        }
        let mut rows: BTreeMap<RowKey, Row> = BTreeMap::new();
        for events in by_visitor.values() {
            let mut changes = Changes::default();
            wakeline_engine::apply(&mut Visitor::default(), &rules, events, &mut changes);
            for (key, row) in changes.rows() {
                rows.entry(*key).or_default().add(row);
            }
        }
        Self { rows, names }
    }

    pub(crate) fn totals(&self, grain: Grain, windows: &std::ops::Range<i64>) -> Vec<(i64, Row)> {
        let rows = self.read(grain, Dimension::Total, windows);
        rows.map(|(key, row)| (key.window, row.clone())).collect()
    }

    pub(crate) fn values(
        &self,
        dimension: Dimension,
        days: &std::ops::Range<i64>,
    ) -> Vec<(i64, String, Row)> {
        let name = |value: u64| match dimension {
            Dimension::Channel => channel(value as u8),
            Dimension::Device => device(value as u8),
            Dimension::Country => country(value as u16),
            _ => self
                .names
                .get(&value)
                .copied()
                .unwrap_or_default()
                .to_owned(),
        };
        let rows = self.read(Grain::Day, dimension, days);
        rows.map(|(key, row)| (key.window, name(key.value), row.clone()))
            .collect()
    }

    fn read(
        &self,
        grain: Grain,
        dimension: Dimension,
        windows: &std::ops::Range<i64>,
    ) -> impl Iterator<Item = (&RowKey, &Row)> {
        let rows = self.rows.iter();
        let windows = windows.clone();
        rows.filter(move |(key, row)| {
            key.grain == grain
                && key.dimension == dimension
                && windows.contains(&key.window)
                && !row.is_zero()
        })
    }
}

/// The events that a scan asks for, visitor by visitor, in two batches.
pub(crate) fn batches(
    history: &History,
    fields: &[Field],
    reads: &std::ops::Range<i64>,
) -> (Vec<Batch>, Texts) {
    let mut texts = Texts::default();
    let visitors = 1 + history
        .events
        .iter()
        .map(|event| event.visitor)
        .max()
        .unwrap_or(0);
    let batches = [0, 1].map(|half| {
        let mut batch = Batch::new(fields.len());
        for visitor in (0..visitors).filter(|visitor| visitor % 2 == half) {
            let events = history
                .events
                .iter()
                .filter(|event| event.visitor == visitor);
            for event in events.filter(|event| reads.contains(&event.time_ms)) {
                let numbers: Vec<u32> = fields
                    .iter()
                    .map(|field| texts.id(&event.text(field)))
                    .collect();
                let event = BatchEvent {
                    time_ms: event.time_ms,
                    id: event.id(),
                    kind: event.kind,
                    engagement_ms: event.engagement_ms,
                    scroll: event.scroll,
                    order_value: event.order,
                };
                batch.push(&event, numbers);
            }
            batch.end_visitor();
        }
        batch
    });
    (batches.into(), texts)
}

const MINUTE: i64 = 60_000;

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

fn event() -> impl Strategy<Value = (i64, Event)> {
    // Since the event before it: within a visit, at its very end, just beyond, hours and days later.
    let since = prop::sample::select(vec![
        0,
        1,
        1_000,
        MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        30 * MINUTE + 1,
        45 * MINUTE,
        200 * MINUTE,
        239 * MINUTE,
        240 * MINUTE,
        241 * MINUTE,
        17 * 60 * MINUTE,
        30 * 60 * MINUTE,
    ]);
    let what = prop::sample::select(vec![
        (Kind::Pageview, "pageview"),
        (Kind::Pageview, "pageview"),
        (Kind::Interactive, "order"),
        (Kind::Interactive, "signup"),
        (Kind::Passive, "scroll"),
        (Kind::Engagement, ""),
    ]);
    let on = (
        pick(&["/", "/a", "/b", "/b2", ""]),
        pick(&["x.example", "y.example", ""]),
        pick(&["pro", "free", ""]),
    );
    let by = (
        pick(&["Google", "News", ""]),
        pick(&["spring", ""]),
        pick(&["1", "2"]),
        0..3_u8,
        0..3_u8,
        pick(&["DE", "FR", ""]),
    );
    let amounts = (
        0..90_000_u32,
        0..120_u8,
        prop::option::of((prop::sample::select(vec![*b"EUR", *b"USD"]), 0..9_i64)),
    );
    (since, what, on, by, amounts).prop_map(
        |(since, (kind, name), (page, hostname, plan), by, amounts)| {
            let (source, campaign, version, device, channel, country) = by;
            let (engagement_ms, scroll, order) = amounts;
            let is_engagement = kind == Kind::Engagement;
            let event = Event {
                visitor: 0,
                seq: 0,
                time_ms: since,
                kind,
                name,
                page,
                hostname,
                plan,
                source,
                campaign,
                version,
                device,
                channel,
                country,
                engagement_ms: if is_engagement { engagement_ms } else { 0 },
                scroll: if is_engagement { scroll } else { NO_SCROLL },
                order: order
                    .filter(|_| name == "order")
                    .map(|(currency, minor)| Money { currency, minor }),
            };
            (since, event)
        },
    )
}

/// Some visitors, each with some events.
pub(crate) fn histories() -> impl Strategy<Value = History> {
    let visitor = (0..3 * 1_440_i64, prop::collection::vec(event(), 1..30));
    let zone = pick(&["UTC", "Europe/Berlin", "Asia/Kathmandu"]);
    let gap = prop::sample::select(vec![30 * MINUTE, 240 * MINUTE]);
    (zone, gap, prop::collection::vec(visitor, 1..5)).prop_map(|(zone, gap_ms, visitors)| {
        let mut events = Vec::new();
        for (visitor, (start, theirs)) in visitors.into_iter().enumerate() {
            let mut time_ms = ORIGIN + start * MINUTE;
            for (seq, (since, event)) in theirs.into_iter().enumerate() {
                time_ms += since;
                events.push(Event {
                    visitor,
                    seq: seq as u64,
                    time_ms,
                    ..event
                });
            }
        }
        // No order is promised.
        events.reverse();
        History {
            zone,
            gap_ms,
            events,
        }
    })
}
