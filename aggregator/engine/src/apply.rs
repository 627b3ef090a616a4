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
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is in the figures now.
    Counted,
    /// It was in them already.
    Duplicate,
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
}
