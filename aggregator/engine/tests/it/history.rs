//! Random histories of visitors.

use crate::{ms, rules};
use proptest::{prelude::*, sample::select};
use wakeline_engine::{Context, Event, Id, Kind, Money, SiteRules, country_code, text_id};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;

/// A few days before clocks change somewhere.
const BASES: [&str; 6] = [
    "2026-03-27T00:00:00Z",
    "2026-04-02T00:00:00Z",
    "2026-10-01T00:00:00Z",
    "2026-10-23T05:00:00Z",
    "2026-10-30T00:00:00Z",
    "2025-12-29T00:00:00Z",
];
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "UTC",
];

pub(crate) fn any_rules() -> impl Strategy<Value = SiteRules> {
    (select(&ZONES[..]), 1..=240_i64).prop_map(|(zone, gap)| rules(zone, gap))
}

/// Events of one visitor, each with an id of its own, in no particular order: bursts with pauses around the session gap,
/// over a week, and sometimes months before.
pub(crate) fn history(gap_ms: i64) -> impl Strategy<Value = Vec<Event>> {
    let start = prop_oneof![6 => 0..7 * DAY, 1 => -60 * DAY..0, 1 => Just(2 * DAY)];
    let pause = prop_oneof![
        3 => 0..3 * MINUTE,
        1 => Just(0),
        2 => 0..=gap_ms,
        1 => Just(gap_ms),
        1 => Just(gap_ms + 1),
    ];
    let burst = (start, prop::collection::vec((pause, any_event()), 1..16));
    (
        select(&BASES[..]),
        prop::collection::vec(burst, 1..6),
        any::<u32>(),
    )
        .prop_map(|(base, bursts, salt)| {
            let mut events = Vec::new();
            for (start, burst) in bursts {
                let mut time_ms = ms(base) + start;
                for (pause, event) in burst {
                    time_ms += pause;
                    events.push(Event { time_ms, ..event });
                }
            }
            for (index, event) in (u64::from(salt)..).zip(&mut events) {
                event.id = match event.id {
                    Id::Stream { stream, .. } => Id::Stream { stream, seq: index },
                    Id::Client(_) => Id::Client(text_id(&index.to_string())),
                    Id::Position { edge, .. } => Id::Position {
                        edge,
                        position: index,
                    },
                };
            }
            events
        })
        .prop_shuffle()
}

/// Long visits: events all closer than the gap, for days.
pub(crate) fn marathon(gap_ms: i64) -> impl Strategy<Value = Vec<Event>> {
    let days = 1..5_i64;
    (
        select(&BASES[..]),
        days,
        prop::collection::vec(any_event(), 8),
    )
        .prop_map(move |(base, days, events)| {
            let count = (days * DAY / gap_ms).min(200);
            (0..=count)
                .zip(events.iter().cycle())
                .map(|(index, event)| Event {
                    id: Id::Client(text_id(&index.to_string())),
                    time_ms: ms(base) + index * gap_ms,
                    ..*event
                })
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = prop_oneof![
        4 => (1..4_u64).prop_map(|stream| Id::Stream { stream, seq: 0 }),
        1 => Just(Id::Client(0)),
        1 => (0..2_u64).prop_map(|edge| Id::Position { edge, position: 0 }),
    ];
    let kind = prop_oneof![
        3 => Just(Kind::Pageview),
        1 => Just(Kind::Interactive),
        2 => Just(Kind::Passive),
        2 => Just(Kind::Engagement),
    ];
    let page = prop::option::weighted(0.8, select(&["/", "/a", "/b", "/c", "/d"][..]));
    let order = prop::option::weighted(
        0.1,
        (select(vec![*b"EUR", *b"USD"]), -500..5000_i64)
            .prop_map(|(currency, minor)| Money { currency, minor }),
    );
    let name = prop::option::weighted(0.8, select(&["pageview", "click", "order", "signup"][..]));
    let what = (id, kind, page, name, 0..9_000_u32, order, any_context());
    what.prop_map(
        |(id, kind, page, name, engagement_ms, order, context)| Event {
            id,
            time_ms: 0,
            kind,
            page: page.map(text_id),
            engagement_ms: if kind == Kind::Engagement {
                engagement_ms
            } else {
                0
            },
            order,
            stamp_ms: 0,
            name: name.filter(|_| kind != Kind::Engagement).map(text_id),
            context,
        },
    )
}

fn any_context() -> impl Strategy<Value = Context> {
    let text = || select(&["", "", "a", "b"][..]).prop_map(text_id);
    let texts = (text(), text(), text(), text(), text(), text());
    let country = select(&["", "DE", "US"][..]).prop_map(country_code);
    let codes = (0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8);
    (texts, country, codes).prop_map(|(texts, country, (channel, device, browser, os))| {
        let (source, utm_medium, utm_source, utm_campaign, utm_content, utm_term) = texts;
        Context {
            source,
            utm_medium,
            utm_source,
            utm_campaign,
            utm_content,
            utm_term,
            country,
            channel,
            device,
            browser,
            os,
        }
    })
}
