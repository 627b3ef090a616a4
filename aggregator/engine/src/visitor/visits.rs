//! Visits as chains of slices, one a local day.
//!
//! A visitor's slices are one list by time; a slice that `continues` belongs to the visit of the one before it. What a
//! visit adds to the rows is a function of its slices: before a visit changes its contribution is taken back, and when
//! all events are placed the contributions of the changed ones are added.

use super::{
    presence,
    slice::{Kept, LISTED, Slice},
};
use crate::{
    Changes, Dimension, Event, Grain, Kind, Row, RowKey,
    window::{Calendar, minute_window},
};
use std::ops::Range;

/// Midnights that one visit may cross; beyond, it is one visit a day.
const MAX_MIDNIGHTS: usize = 2;

/// Properties of visits.
pub(super) const PROPERTIES: [Dimension; 13] = [
    Dimension::EntryPage,
    Dimension::ExitPage,
    Dimension::Source,
    Dimension::Channel,
    Dimension::UtmMedium,
    Dimension::UtmSource,
    Dimension::UtmCampaign,
    Dimension::UtmContent,
    Dimension::UtmTerm,
    Dimension::Country,
    Dimension::Device,
    Dimension::Browser,
    Dimension::Os,
];

/// The values of a visit's [`PROPERTIES`].
pub(super) type Values = [u64; PROPERTIES.len()];

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
        slices[next - 1].add(event);
        (next - 1, before_one)
    } else if before_one && slices[next].day == day {
        slices[next].continues = after_one;
        slices[next].add(event);
        (next, false)
    } else {
        slices.insert(next, Slice::new(event, day, after_one));
        (next, before_one)
    };
    if event.kind != Kind::Engagement {
        for (list, id) in [event.page, event.name].into_iter().enumerate() {
            let Some(id) = id else {
                continue;
            };
            let kept = slices[at].keep(list, id);
            if !matches!(kept, Kept::No) {
                presence::add_listed(slices, day, list, id, changes);
            }
            if let Kept::Instead(id) = kept {
                presence::remove_listed(slices, day, list, id, changes);
            }
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
    for (list, ids) in lost.into_iter().enumerate() {
        for id in ids {
            presence::remove_listed(slices, day, list, id, changes);
        }
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
    for visit in counted(chain_from(slices, first)) {
        contribute(&slices[visit.clone()], -1, calendar, changes);
        let values = values(&slices[visit.clone()]);
        for at in visit {
            slices[at].open = true;
            presence::count_values(slices, at, &values, -1, changes);
        }
    }
}

/// Adds the contributions of the visits that were opened.
pub(super) fn settle(slices: &mut [Slice], calendar: &mut Calendar<'_>, changes: &mut Changes) {
    let mut next = 0;
    while next < slices.len() {
        let chain = chain_from(slices, next);
        next = chain.end;
        if !slices[chain.start].open {
            continue;
        }
        for visit in counted(chain) {
            contribute(&slices[visit.clone()], 1, calendar, changes);
            let values = values(&slices[visit.clone()]);
            for at in visit {
                presence::count_values(slices, at, &values, 1, changes);
                slices[at].open = false;
            }
        }
    }
}

/// The slices that belong together, from the first of them.
fn chain_from(slices: &[Slice], first: usize) -> Range<usize> {
    let more = slices[first + 1..]
        .iter()
        .take_while(|slice| slice.continues)
        .count();
    first..first + 1 + more
}

/// The visits that a chain counts as.
fn counted(chain: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let length = if chain.len() > MAX_MIDNIGHTS + 1 {
        1
    } else {
        chain.len()
    };
    chain
        .step_by(length)
        .map(move |first| first..first + length)
}

/// The values of the visit that a slice counts to, without looking along all of a long chain.
pub(super) fn values_at(slices: &[Slice], at: usize) -> Values {
    let (mut first, mut end) = (at, at + 1);
    while end - first <= MAX_MIDNIGHTS + 1 {
        if first > 0 && slices[first].continues {
            first -= 1;
        } else if slices.get(end).is_some_and(|next| next.continues) {
            end += 1;
        } else {
            return values(&slices[first..end]);
        }
    }
    values(&slices[at..=at])
}

fn values(visit: &[Slice]) -> Values {
    let context = visit.first().map(|slice| slice.context);
    let context = context.unwrap_or_default();
    let mut views = visit.iter().filter_map(|slice| slice.views);
    let entry = views.next();
    let exit = views.next_back().or(entry);
    [
        entry.map_or(0, |(first, _)| first.page),
        exit.map_or(0, |(_, last)| last.page),
        context.source,
        context.channel.into(),
        context.utm_medium,
        context.utm_source,
        context.utm_campaign,
        context.utm_content,
        context.utm_term,
        context.country.into(),
        context.device.into(),
        context.browser.into(),
        context.os.into(),
    ]
}

/// Adds what a visit contributes to the rows (`sign` 1) or takes it back (-1), but for the visitor.
fn contribute(visit: &[Slice], sign: i64, calendar: &mut Calendar<'_>, changes: &mut Changes) {
    let (Some(first), Some(last)) = (visit.first(), visit.last()) else {
        return;
    };
    let sum = |of: fn(&Slice) -> u64| {
        visit
            .iter()
            .fold(0, |sum: u64, slice| sum.wrapping_add(of(slice)))
    };
    let (pageviews, interactive) = (sum(|slice| slice.pageviews), sum(|slice| slice.interactive));
    let is_visit = pageviews > 0 || interactive > 0;
    let mut as_visit = Row::default();
    if is_visit {
        let bounce = pageviews == 1 && interactive == 0;
        as_visit.visits = sign;
        as_visit.bounces = sign * i64::from(bounce);
        as_visit.duration_ms = sign * if bounce { 0 } else { last.last - first.first };
        let minute = minute_window(first.first);
        for (grain, window) in [
            (Grain::Minute, minute),
            (Grain::Hour, calendar.hour(minute)),
            (Grain::Day, first.day),
        ] {
            let total = RowKey {
                grain,
                window,
                dimension: Dimension::Total,
                value: 0,
            };
            changes.row(total).add(&as_visit);
        }
        for list in 0..LISTED.len() {
            touch(visit, list, sign, changes);
        }
    }
    let values = values(visit);
    for (number, slice) in visit.iter().enumerate() {
        let of_events = slice.figures(sign);
        let (begins, ends) = (number == 0, number + 1 == visit.len());
        for (dimension, value) in PROPERTIES.into_iter().zip(values) {
            let row = changes.row(of_day(dimension, slice.day, value));
            row.add(&of_events);
            if (dimension == Dimension::ExitPage && ends)
                || (dimension != Dimension::ExitPage && begins)
            {
                row.add(&as_visit);
            }
        }
    }
}

/// Counts a visit for each page, or name, that it had, on the day on which it began.
fn touch(visit: &[Slice], list: usize, sign: i64, changes: &mut Changes) {
    let [first, others @ ..] = visit else {
        return;
    };
    let mut touch = |id| changes.row(of_day(LISTED[list], first.day, id)).visits += sign;
    first.lists[list].iter().copied().for_each(&mut touch);
    if !others.is_empty() {
        let mut ids: Vec<u64> = others
            .iter()
            .flat_map(|slice| slice.lists[list].iter().copied())
            .filter(|id| !first.has(list, *id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(touch);
    }
}

/// The row of a day.
pub(super) fn of_day(dimension: Dimension, day: i64, value: u64) -> RowKey {
    RowKey {
        grain: Grain::Day,
        window: day,
        dimension,
        value,
    }
}
