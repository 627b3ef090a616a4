//! What is remembered of a visitor.

mod heard;
mod presence;
mod record;
mod seen;
mod slice;
mod visits;

use crate::{Changes, Event, Kind, window::Calendar};
use heard::Heard;
pub use heard::{LOST_BY_CLIENT, Number};
use seen::Seen;
use slice::Slice;

/// Everything that is needed to judge a visitor's next event and to take back what the visitor contributed to rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    seen: Seen,
    /// By stream.
    heard: Vec<Heard>,
    /// By time.
    slices: Vec<Slice>,
    /// Unix minutes with an event other than engagement, ascending.
    minutes: Vec<i64>,
}

impl Visitor {
    /// Remembers the event's id; false if it was known.
    pub(crate) fn learn(&mut self, event: &Event) -> bool {
        self.seen.insert(event.id)
    }

    /// Lets a new event, at a clamped time, take effect on visits and presence. [`settle`](Self::settle) must follow
    /// the last one.
    pub(crate) fn place(
        &mut self,
        event: &Event,
        gap_ms: i64,
        calendar: &mut Calendar<'_>,
        changes: &mut Changes,
    ) {
        visits::place(&mut self.slices, event, gap_ms, calendar, changes);
        if event.kind != Kind::Engagement {
            let minute = crate::window::minute_window(event.time_ms);
            presence::add_minute(&mut self.minutes, minute, calendar, changes);
        }
    }

    /// Adds the contributions of the visits that changed.
    pub(crate) fn settle(&mut self, calendar: &mut Calendar<'_>, changes: &mut Changes) {
        visits::settle(&mut self.slices, calendar, changes);
    }
}
