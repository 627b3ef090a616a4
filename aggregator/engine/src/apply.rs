//! One visitor's record meets some of their events.

use crate::{
    Changes, Dimension, Event, Grain, Kind, RowKey, Visitor,
    window::{self, Calendar, minute_window},
};
use jiff::tz::TimeZone;

/// How a site counts. To change it is to start the site's records and rows anew.
#[derive(Clone, Debug)]
pub struct SiteRules {
    /// Where its hours and days begin.
    pub timezone: TimeZone,
    /// A visit ends when nothing happens for longer than this, in ms.
    pub gap_ms: i64,
    /// How long after its end a local day is open to events, by the stamps of the log, in ms; `None`: for ever.
    pub seal_after_ms: Option<i64>,
}

/// What [`SiteRules::seal_after_ms`] is where days are sealed: 48 hours.
pub const SEAL_AFTER_MS: i64 = 48 * 3_600_000;

impl SiteRules {
    /// The append stamp from which on a local day is sealed, in ms; `None`: it never is.
    ///
    /// Stamps alone decide, never a clock, so whoever reads the log again decides alike.
    pub fn sealed_from(&self, day: i64) -> Option<i64> {
        let end = window::start_of_day(&self.timezone, day.saturating_add(1));
        self.seal_after_ms.map(|after| end.saturating_add(after))
    }

    fn is_late(&self, event: &Event, calendar: &mut Calendar<'_>) -> bool {
        // Its day has not ended before it: most events need not ask the calendar.
        let after = self
            .seal_after_ms
            .filter(|after| event.stamp_ms.saturating_sub(event.time_ms) >= *after);
        after.is_some() && {
            let day = calendar.day(minute_window(event.time_ms));
            self.sealed_from(day)
                .is_some_and(|from| event.stamp_ms >= from)
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is in the figures now.
    Counted,
    /// It was in them already.
    Duplicate,
    /// Its day was sealed when it came. The record does not know it, so neither do the figures.
    Late,
}

/// Lets `visitor` know these events, adds to `changes` what that does to the site's rows, and tells the fate of each
/// event, in their order.
pub fn apply(
    visitor: &mut Visitor,
    rules: &SiteRules,
    events: &[Event],
    changes: &mut Changes,
) -> Vec<Fate> {
    let mut calendar = Calendar::new(&rules.timezone);
    let fates = events
        .iter()
        .map(|event| {
            if rules.is_late(event, &mut calendar) {
                return Fate::Late;
            }
            if !visitor.learn(event) {
                return Fate::Duplicate;
            }
            let event = Event {
                time_ms: window::clamp(event.time_ms),
                ..*event
            };
            count(&event, &mut calendar, changes);
            visitor.place(&event, rules.gap_ms, &mut calendar, changes);
            Fate::Counted
        })
        .collect();
    visitor.settle(&mut calendar, changes);
    fates
}

/// Adds what an event adds whatever else happened.
fn count(event: &Event, calendar: &mut Calendar<'_>, changes: &mut Changes) {
    let mut add = |grain, window, dimension, value| {
        let row = changes.row(RowKey {
            grain,
            window,
            dimension,
            value,
        });
        row.pageviews += i64::from(event.kind == Kind::Pageview);
        row.events += i64::from(event.kind != Kind::Engagement);
        row.engagement_ms = row.engagement_ms.wrapping_add(event.engagement_ms.into());
        if let Some(order) = event.order {
            row.orders += 1;
            row.add_revenue(order.currency, order.minor);
        }
    };
    let minute = minute_window(event.time_ms);
    let day = calendar.day(minute);
    add(Grain::Minute, minute, Dimension::Total, 0);
    add(Grain::Hour, calendar.hour(minute), Dimension::Total, 0);
    add(Grain::Day, day, Dimension::Total, 0);
    if let Some(page) = event.page {
        add(Grain::Day, day, Dimension::Page, page);
    }
    if let Some(name) = event.name {
        add(Grain::Day, day, Dimension::EventName, name);
    }
}
