//! The figures by brute force: all events sorted, cut into visits in one pass, and counted.

use crate::Rows;
use jiff::{Timestamp, civil::Date};
use std::collections::{BTreeMap, BTreeSet};
use wakeline_engine::{Dimension, Event, Grain, Kind, Row, RowKey, SiteRules};

/// What rows must say.
#[derive(Default)]
pub(crate) struct Model {
    /// Without visitors.
    pub(crate) rows: Rows,
    /// Who was there: by series of windows, the windows of each visitor.
    pub(crate) presence: BTreeMap<(Grain, Dimension, u64), Vec<(usize, i64)>>,
}

impl Model {
    /// Counts the events of a visitor, no two of which have the same id.
    pub(crate) fn count(&mut self, visitor: usize, rules: &SiteRules, events: &[Event]) {
        let mut events = events.to_vec();
        events.sort_by_key(|event| (event.time_ms, event.id));
        for event in &events {
            self.count_event(visitor, rules, event);
        }
        let visits = events.chunk_by(|a, b| b.time_ms - a.time_ms <= rules.gap_ms);
        for visit in visits {
            let days: Vec<_> = visit
                .chunk_by(|a, b| day(rules, a.time_ms) == day(rules, b.time_ms))
                .collect();
            if days.len() > 3 {
                for day in days {
                    self.count_visit(visitor, rules, day);
                }
            } else {
                self.count_visit(visitor, rules, visit);
            }
        }
    }

    fn count_event(&mut self, visitor: usize, rules: &SiteRules, event: &Event) {
        let row = of_event(event);
        for (grain, dimension, value) in [
            Some((Grain::Minute, Dimension::Total, 0)),
            Some((Grain::Hour, Dimension::Total, 0)),
            Some((Grain::Day, Dimension::Total, 0)),
            event.page.map(|page| (Grain::Day, Dimension::Page, page)),
            event
                .name
                .map(|name| (Grain::Day, Dimension::EventName, name)),
        ]
        .into_iter()
        .flatten()
        {
            let window = window(rules, grain, event.time_ms);
            self.add(grain, window, dimension, value, &row);
            if event.kind != Kind::Engagement {
                let series = self.presence.entry((grain, dimension, value)).or_default();
                series.push((visitor, window));
            }
        }
    }

    fn count_visit(&mut self, visitor: usize, rules: &SiteRules, events: &[Event]) {
        let views = events.iter().filter(|event| event.kind == Kind::Pageview);
        let interactive = events.iter().any(|event| event.kind == Kind::Interactive);
        let (start, end) = (events[0].time_ms, events[events.len() - 1].time_ms);
        let mut row = Row::default();
        if views.clone().count() > 0 || interactive {
            let bounce = views.clone().count() == 1 && !interactive;
            row.visits = 1;
            row.bounces = bounce.into();
            row.duration_ms = if bounce { 0 } else { end - start };
            for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
                let window = window(rules, grain, start);
                self.add(grain, window, Dimension::Total, 0, &row);
            }
            let touched = Row {
                visits: 1,
                ..Row::default()
            };
            let seen = events.iter().filter(|event| event.kind != Kind::Engagement);
            let pages: BTreeSet<u64> = seen.clone().filter_map(|event| event.page).collect();
            for page in pages {
                self.add_day(rules, start, Dimension::Page, page, &touched);
            }
            let names: BTreeSet<u64> = seen.filter_map(|event| event.name).collect();
            for name in names {
                self.add_day(rules, start, Dimension::EventName, name, &touched);
            }
        }
        let pages: Vec<u64> = views.filter_map(|event| event.page).collect();
        let by = events[0].context;
        for (dimension, value) in [
            (Dimension::EntryPage, pages.first().copied().unwrap_or(0)),
            (Dimension::ExitPage, pages.last().copied().unwrap_or(0)),
            (Dimension::Source, by.source),
            (Dimension::Channel, by.channel.into()),
            (Dimension::UtmMedium, by.utm_medium),
            (Dimension::UtmSource, by.utm_source),
            (Dimension::UtmCampaign, by.utm_campaign),
            (Dimension::UtmContent, by.utm_content),
            (Dimension::UtmTerm, by.utm_term),
            (Dimension::Country, by.country.into()),
            (Dimension::Device, by.device.into()),
            (Dimension::Browser, by.browser.into()),
            (Dimension::Os, by.os.into()),
        ] {
            let counted_at = if dimension == Dimension::ExitPage {
                end
            } else {
                start
            };
            self.add_day(rules, counted_at, dimension, value, &row);
            for event in events {
                self.add_day(rules, event.time_ms, dimension, value, &of_event(event));
                if event.kind != Kind::Engagement {
                    let series = (Grain::Day, dimension, value);
                    let series = self.presence.entry(series).or_default();
                    series.push((visitor, day(rules, event.time_ms)));
                }
            }
        }
    }

    fn add_day(&mut self, rules: &SiteRules, ms: i64, by: Dimension, value: u64, row: &Row) {
        self.add(Grain::Day, day(rules, ms), by, value, row);
    }

    fn add(&mut self, grain: Grain, window: i64, dimension: Dimension, value: u64, row: &Row) {
        let key = RowKey {
            grain,
            window,
            dimension,
            value,
        };
        let sum = self.rows.entry(key).or_default();
        sum.add(row);
        if sum.is_zero() {
            self.rows.remove(&key);
        }
    }
}

/// What an event adds to a row.
fn of_event(event: &Event) -> Row {
    let mut row = Row {
        pageviews: i64::from(event.kind == Kind::Pageview),
        events: i64::from(event.kind != Kind::Engagement),
        engagement_ms: event.engagement_ms.into(),
        ..Row::default()
    };
    if let Some(order) = event.order {
        row.orders = 1;
        row.revenue = vec![(order.currency, order.minor)];
        row.revenue.retain(|(_, minor)| *minor != 0);
    }
    row
}

/// The window of an instant, by the calendar.
pub(crate) fn window(rules: &SiteRules, grain: Grain, ms: i64) -> i64 {
    let minute = ms.div_euclid(60_000);
    match grain {
        Grain::Minute => minute,
        Grain::Hour => {
            // Back to where another local hour, or another offset, was in force.
            let hour = |minute: i64| {
                let local = Timestamp::from_second(minute * 60)
                    .unwrap()
                    .to_zoned(rules.timezone.clone());
                (local.offset(), local.date(), local.hour())
            };
            let local = hour(minute);
            (minute - 60..=minute)
                .find(|minute| hour(*minute) == local)
                .unwrap()
        }
        Grain::Day => day(rules, ms),
    }
}

fn day(rules: &SiteRules, ms: i64) -> i64 {
    let local = Timestamp::from_millisecond(ms)
        .unwrap()
        .to_zoned(rules.timezone.clone());
    i64::from((local.date() - Date::constant(1970, 1, 1)).get_days())
}
