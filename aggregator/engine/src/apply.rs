//! One visitor's record meets some of their events.

use crate::{Changes, Dimension, Event, Grain, Kind, RowKey, Visitor, window};
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
    let _ = (visitor, rules);
    events
        .iter()
        .map(|event| {
            let row = changes.row(RowKey {
                grain: Grain::Minute,
                window: window::minute_window(event.time_ms),
                dimension: Dimension::Total,
                value: 0,
            });
            row.events += i64::from(event.kind != Kind::Engagement);
            if let Some(order) = event.order {
                row.add_revenue(order.currency, order.minor);
            }
            row.add_visitors((event.id.hash() % 2) as u32, 1);
            Fate::Counted
        })
        .collect()
}
