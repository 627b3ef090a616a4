//! Visits as chains of slices, one a local day.
//!
//! A visitor's slices are one list by time; a slice that `continues` belongs to the visit of the one before it. What a
//! visit adds to the rows is a function of its slices: before a visit changes its contribution is taken back, and when
//! all events are placed the contributions of the changed ones are added.

use super::presence;
use crate::{
    Changes, Dimension, Event, Grain, Kind, Row, RowKey,
    window::{Calendar, minute_window},
};
use std::ops::Range;

/// Pages that a slice remembers; of more, those of the smallest ids, whatever came first.
pub(super) const MAX_PAGES: usize = 512;
/// Midnights that one visit may cross; beyond, it is one visit a day.
const MAX_MIDNIGHTS: usize = 2;

/// The part of a visit that lies in one local day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) day: i64,
    /// Time of the first event, in ms.
    pub(super) first: i64,
    pub(super) last: i64,
    /// It belongs to the visit of the slice before it.
    pub(super) continues: bool,
    /// The contribution of its visit is not in the rows. Only while events are applied.
    pub(super) open: bool,
    /// The first and the last pageview that told its page.
    pub(super) views: Option<(View, View)>,
    pub(super) pageviews: u64,
    pub(super) interactive: u64,
    pub(super) engagement_ms: u64,
    /// Pages of its events other than engagement, ascending.
    pub(super) pages: Vec<u64>,
}

/// A pageview. Ordered as events are: by time, then by hash of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) time: i64,
    pub(super) hash: u64,
    pub(super) page: u64,
}

/// What became of a page that was to be remembered.
enum Kept {
    No,
    Yes,
    Instead(u64),
}

impl Slice {
    pub(super) fn has(&self, page: u64) -> bool {
        self.pages.binary_search(&page).is_ok()
    }

    fn keep_page(&mut self, page: u64) -> Kept {
        let Err(at) = self.pages.binary_search(&page) else {
            return Kept::No;
        };
        if at == MAX_PAGES {
            return Kept::No;
        }
        self.pages.insert(at, page);
        if self.pages.len() > MAX_PAGES {
            self.pages.pop().map_or(Kept::Yes, Kept::Instead)
        } else {
            Kept::Yes
        }
    }

    fn add_views(&mut self, (first, last): (View, View)) {
        self.views = Some(
            self.views
                .map_or((first, last), |(a, b)| (a.min(first), b.max(last))),
        );
    }

    fn add(&mut self, event: &Event) {
        self.first = self.first.min(event.time_ms);
        self.last = self.last.max(event.time_ms);
        match event.kind {
            Kind::Pageview => self.pageviews = self.pageviews.wrapping_add(1),
            Kind::Interactive => self.interactive = self.interactive.wrapping_add(1),
            Kind::Passive | Kind::Engagement => {}
        }
        self.engagement_ms = self.engagement_ms.wrapping_add(event.engagement_ms.into());
        if let (Kind::Pageview, Some(page)) = (event.kind, event.page) {
            let view = View {
                time: event.time_ms,
                hash: event.id.hash(),
                page,
            };
            self.add_views((view, view));
        }
    }

    /// Takes in a later slice of the same day; the pages that found no room are returned.
    fn absorb(&mut self, later: Self) -> Vec<u64> {
        self.last = later.last;
        self.pageviews = self.pageviews.wrapping_add(later.pageviews);
        self.interactive = self.interactive.wrapping_add(later.interactive);
        self.engagement_ms = self.engagement_ms.wrapping_add(later.engagement_ms);
        if let Some(views) = later.views {
            self.add_views(views);
        }
        self.pages.extend(later.pages);
        self.pages.sort_unstable();
        self.pages.dedup();
        let kept = self.pages.len().min(MAX_PAGES);
        self.pages.split_off(kept)
    }
}

/// Lets an event, at a clamped time, extend the visits within `gap_ms` of it, join them, or begin one.
pub(super) fn place(
    slices: &mut Vec<Slice>,
    event: &Event,
    gap_ms: i64,
    calendar: &mut Calendar<'_>,
    changes: &mut Changes,
) {
    let time = event.time_ms;
    let day = calendar.day(minute_window(time));
    let next = match slices.last() {
        Some(last) if time < last.first => slices.partition_point(|slice| slice.first <= time),
        _ => slices.len(),
    };
    let inside = slices.get(next).is_some_and(|slice| slice.continues);
    let reached = |from: i64, to: i64| inside || to - from <= gap_ms.max(0);
    let after_one = next > 0 && reached(slices[next - 1].last, time);
    let before_one = next < slices.len() && reached(time, slices[next].first);
    if after_one {
        open(slices, next - 1, calendar, changes);
    }
    if before_one {
        open(slices, next, calendar, changes);
    }

    let (at, join_next) = if after_one && slices[next - 1].day == day {
        (next - 1, before_one)
    } else if before_one && slices[next].day == day {
        slices[next].continues = after_one;
        (next, false)
    } else {
        let slice = Slice {
            day,
            first: time,
            last: time,
            continues: after_one,
            open: true,
            ..Slice::default()
        };
        slices.insert(next, slice);
        (next, before_one)
    };
    slices[at].add(event);
    if let (true, Some(page)) = (event.kind != Kind::Engagement, event.page) {
        let kept = slices[at].keep_page(page);
        if !matches!(kept, Kept::No) {
            presence::add_page(slices, day, page, changes);
        }
        if let Kept::Instead(page) = kept {
            presence::remove_page(slices, day, page, changes);
        }
    }
    if join_next {
        join(slices, at + 1, changes);
    }
}

/// Makes a slice part of the visit of the one before it.
fn join(slices: &mut Vec<Slice>, at: usize, changes: &mut Changes) {
    slices[at].continues = true;
    if slices[at].day != slices[at - 1].day {
        return;
    }
    let later = slices.remove(at);
    let (day, lost) = (later.day, slices[at - 1].absorb(later));
    for page in lost {
        presence::remove_page(slices, day, page, changes);
    }
}

/// Takes back what the visit around a slice contributed.
fn open(slices: &mut [Slice], at: usize, calendar: &mut Calendar<'_>, changes: &mut Changes) {
    if slices[at].open {
        return;
    }
    let mut first = at;
    while first > 0 && slices[first].continues {
        first -= 1;
    }
    let visit = visit_from(slices, first);
    contribute(&slices[visit.clone()], -1, calendar, changes);
    for slice in &mut slices[visit] {
        slice.open = true;
    }
}

/// Adds the contributions of the visits that were opened.
pub(super) fn settle(slices: &mut [Slice], calendar: &mut Calendar<'_>, changes: &mut Changes) {
    let mut at = 0;
    while at < slices.len() {
        let visit = visit_from(slices, at);
        at = visit.end;
        if slices[visit.start].open {
            contribute(&slices[visit.clone()], 1, calendar, changes);
            for slice in &mut slices[visit] {
                slice.open = false;
            }
        }
    }
}

/// The slices of the visit that begins with this one.
fn visit_from(slices: &[Slice], first: usize) -> Range<usize> {
    let more = slices[first + 1..]
        .iter()
        .take_while(|slice| slice.continues)
        .count();
    first..first + 1 + more
}

/// Adds what a visit contributes to the rows (`sign` 1) or takes it back (-1).
fn contribute(visit: &[Slice], sign: i64, calendar: &mut Calendar<'_>, changes: &mut Changes) {
    if visit.len() > MAX_MIDNIGHTS + 1 {
        for day in visit.chunks(1) {
            contribute_one(day, sign, calendar, changes);
        }
    } else {
        contribute_one(visit, sign, calendar, changes);
    }
}

fn contribute_one(visit: &[Slice], sign: i64, calendar: &mut Calendar<'_>, changes: &mut Changes) {
    let [first, others @ ..] = visit else {
        return;
    };
    let sum = |of: fn(&Slice) -> u64| {
        visit
            .iter()
            .fold(0, |sum: u64, slice| sum.wrapping_add(of(slice)))
    };
    let pageviews = sum(|slice| slice.pageviews) as i64;
    let interactive = sum(|slice| slice.interactive);
    if pageviews == 0 && interactive == 0 {
        return;
    }
    let bounce = pageviews == 1 && interactive == 0;
    let duration_ms = if bounce {
        0
    } else {
        others.last().unwrap_or(first).last - first.first
    };
    let mut figures = Row {
        visits: sign,
        bounces: sign * i64::from(bounce),
        duration_ms: sign * duration_ms,
        ..Row::default()
    };
    let minute = minute_window(first.first);
    let mut key = RowKey {
        grain: Grain::Minute,
        window: minute,
        dimension: Dimension::Total,
        value: 0,
    };
    changes.row(key).add(&figures);
    (key.grain, key.window) = (Grain::Hour, calendar.hour(minute));
    changes.row(key).add(&figures);
    (key.grain, key.window) = (Grain::Day, first.day);
    changes.row(key).add(&figures);
    if let Some((entry, _)) = visit.iter().find_map(|slice| slice.views) {
        figures.pageviews = sign.wrapping_mul(pageviews);
        figures.engagement_ms = sign.wrapping_mul(sum(|slice| slice.engagement_ms) as i64);
        (key.dimension, key.value) = (Dimension::EntryPage, entry.page);
        changes.row(key).add(&figures);
    }
    key.dimension = Dimension::Page;
    let mut touch = |page| {
        key.value = page;
        changes.row(key).visits += sign;
    };
    first.pages.iter().copied().for_each(&mut touch);
    if !others.is_empty() {
        let mut pages: Vec<u64> = others
            .iter()
            .flat_map(|slice| slice.pages.iter().copied())
            .filter(|page| !first.has(*page))
            .collect();
        pages.sort_unstable();
        pages.dedup();
        pages.into_iter().for_each(touch);
    }
}
