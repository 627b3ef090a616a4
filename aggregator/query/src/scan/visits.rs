//! A visitor's events, cut into visits by the engine's rules.

use std::ops::Range;

use jiff::tz::TimeZone;
use wakeline_engine::{
    Kind,
    window::{day_window, start_of_day},
};

use crate::batch::Batch;

/// Midnights that one visit may cross; beyond, it is one visit a day.
const MAX_MIDNIGHTS: usize = 2;

/// A visit, or what no visit is: a session of passive events only.
pub(super) struct Visit<'a> {
    /// Places in the batch, in order; at least one.
    pub(super) events: &'a [usize],
    pub(super) pageviews: u64,
    pub(super) interactive: bool,
    /// It is more than passive events.
    pub(super) counts: bool,
    /// The first and the last pageview that told its page.
    pub(super) entry: Option<usize>,
    pub(super) exit: Option<usize>,
}

impl<'a> Visit<'a> {
    fn of(batch: &Batch, page: Option<usize>, events: &'a [usize]) -> Self {
        let has = |kind: Kind| events.iter().filter(move |at| batch.kind[**at] == kind);
        let pageviews = has(Kind::Pageview).count() as u64;
        let interactive = has(Kind::Interactive).next().is_some();
        let told = page.and_then(|page| batch.texts.get(page));
        let mut views = has(Kind::Pageview).copied();
        let mut told = |at: &usize| told.is_some_and(|pages| pages[*at] != 0);
        let entry = views.by_ref().find(&mut told);
        let exit = views.rfind(&mut told).or(entry);
        Self {
            events,
            pageviews,
            interactive,
            counts: pageviews > 0 || interactive,
            entry,
            exit,
        }
    }

    /// When its first and its last event were.
    pub(super) fn span(&self, batch: &Batch) -> (i64, i64) {
        let time = |at: Option<&usize>| at.map_or(0, |at| batch.time_ms[*at]);
        (time(self.events.first()), time(self.events.last()))
    }

    /// Its events, engagement aside.
    pub(super) fn counted<'b>(
        &self,
        batch: &'b Batch,
    ) -> impl Iterator<Item = usize> + use<'a, 'b> {
        let events = self.events.iter().copied();
        events.filter(|at| batch.kind[*at] != Kind::Engagement)
    }
}

/// Cuts a visitor's events, places in the batch in order, into visits. `page` is the column of pages, if there is one.
pub(super) fn cut<'a>(
    batch: &Batch,
    page: Option<usize>,
    events: &'a [usize],
    gap_ms: i64,
    days: &mut Days<'_>,
) -> Vec<Visit<'a>> {
    let time = |at: &usize| batch.time_ms[*at];
    let mut visits = Vec::new();
    for session in events.chunk_by(|a, b| time(b) - time(a) <= gap_ms.max(0)) {
        let mut slices: Vec<&[usize]> = Vec::new();
        let mut rest = session;
        while let Some(first) = rest.first() {
            let day = days.of(time(first));
            let (slice, later) = rest.split_at(rest.partition_point(|at| time(at) < day.end));
            slices.push(slice);
            rest = later;
        }
        if slices.len() > MAX_MIDNIGHTS + 1 {
            visits.extend(
                slices
                    .into_iter()
                    .map(|slice| Visit::of(batch, page, slice)),
            );
        } else {
            visits.push(Visit::of(batch, page, session));
        }
    }
    visits
}

/// Finds local days, quickly for instants of one day.
pub(super) struct Days<'a> {
    zone: &'a TimeZone,
    day: Range<i64>,
}

impl<'a> Days<'a> {
    pub(super) const fn new(zone: &'a TimeZone) -> Self {
        Self { zone, day: 0..0 }
    }

    /// The local day of an instant, in Unix milliseconds. Not empty.
    fn of(&mut self, ms: i64) -> Range<i64> {
        if !self.day.contains(&ms) {
            let day = day_window(self.zone, ms);
            let (start, end) = (
                start_of_day(self.zone, day),
                start_of_day(self.zone, day + 1),
            );
            self.day = start.min(ms)..end.max(ms + 1);
        }
        self.day.clone()
    }
}
