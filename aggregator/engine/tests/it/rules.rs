//! Each rule of the numbers as a sentence.

use crate::{Rows, add_to, ms, rules, run};
use wakeline_engine::{
    Changes, Context, Dimension, Event, Fate, Grain, Id, Kind, Money, Row, RowKey, SiteRules,
    Visitor, apply, day_window, hour_window, text_id, timezone,
};

/// An event of its own at that instant.
pub(crate) fn event(seq: u64, time: &str, kind: Kind, page: &str) -> Event {
    Event {
        id: Id::Stream { stream: 1, seq },
        time_ms: ms(time),
        kind,
        page: Some(text_id(page)),
        engagement_ms: 0,
        order: None,
        stamp_ms: 0,
        name: None,
        context: Context::default(),
    }
}

/// Pageviews of `/` at these instants.
pub(crate) fn views(times: &[&str]) -> Vec<Event> {
    (0..)
        .zip(times)
        .map(|(seq, time)| event(seq, time, Kind::Pageview, "/"))
        .collect()
}

fn rows(rules: &SiteRules, events: &[Event]) -> Rows {
    run(rules, events, &[]).1
}

fn sum(rows: &Rows, grain: Grain) -> Row {
    let mut sum = Row::default();
    for (key, row) in rows {
        if (key.grain, key.dimension) == (grain, Dimension::Total) {
            sum.add(row);
        }
    }
    sum
}

/// The site's row of the local day of an instant.
fn day(rows: &Rows, rules: &SiteRules, time: &str) -> Row {
    of_day(rows, rules, time, Dimension::Total, 0)
}

pub(crate) fn of_day(
    rows: &Rows,
    rules: &SiteRules,
    time: &str,
    dimension: Dimension,
    value: u64,
) -> Row {
    let key = RowKey {
        grain: Grain::Day,
        window: day_window(&rules.timezone, ms(time)),
        dimension,
        value,
    };
    rows.get(&key).cloned().unwrap_or_default()
}

#[test]
fn a_visit_ends_after_more_than_the_gap_without_an_event() {
    let rules = rules("UTC", 30);
    let just = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:30:00Z"]);
    assert_eq!(sum(&rows(&rules, &just), Grain::Day).visits, 1);
    let over = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:30:00.001Z"]);
    let over = sum(&rows(&rules, &over), Grain::Day);
    assert_eq!((over.visits, over.bounces, over.visitors()), (2, 2, 1));
}

#[test]
fn a_visit_over_midnight_is_one_visit_of_the_day_it_began_on() {
    let rules = rules("Europe/Berlin", 30);
    let events = views(&["2026-05-01T21:50:00Z", "2026-05-01T22:10:00Z"]);
    let rows = rows(&rules, &events);
    let first = day(&rows, &rules, "2026-05-01T12:00:00Z");
    let second = day(&rows, &rules, "2026-05-02T12:00:00Z");
    assert_eq!((first.visits, first.pageviews), (1, 1));
    assert_eq!(first.duration_ms, 20 * 60_000);
    assert_eq!((second.visits, second.pageviews), (0, 1));
    assert_eq!(second.visitors_by_gap, [(1, 1)]);
    let page = text_id("/");
    let seen = |time| of_day(&rows, &rules, time, Dimension::Page, page);
    assert_eq!(seen("2026-05-01T12:00:00Z").visits, 1);
    assert_eq!(seen("2026-05-02T12:00:00Z").visits, 0);
    assert_eq!(seen("2026-05-02T12:00:00Z").visitors_by_gap, [(1, 1)]);
}

#[test]
fn a_visit_over_two_midnights_is_one_and_over_three_it_is_one_a_day() {
    let rules = rules("UTC", 240);
    let every_four_hours = |hours: i64| -> Vec<Event> {
        (0..=hours / 4)
            .map(|index| Event {
                id: Id::Client(index as u64),
                time_ms: ms("2026-05-01T20:00:00Z") + index * 4 * 3_600_000,
                ..views(&["2026-05-01T20:00:00Z"])[0]
            })
            .collect()
    };
    let two = rows(&rules, &every_four_hours(48));
    assert_eq!(sum(&two, Grain::Day).visits, 1);
    assert_eq!(sum(&two, Grain::Day).duration_ms, 48 * 3_600_000);
    let three = rows(&rules, &every_four_hours(52));
    assert_eq!(sum(&three, Grain::Day).visits, 4);
    // The first and the last day have one event each.
    assert_eq!(sum(&three, Grain::Day).bounces, 2);
    assert_eq!(sum(&three, Grain::Day).duration_ms, 2 * 20 * 3_600_000);
    let last = day(&three, &rules, "2026-05-04T00:00:00Z");
    assert_eq!((last.visits, last.bounces), (1, 1));
}

#[test]
fn one_pageview_is_a_bounce_without_duration_even_with_passive_events() {
    let rules = rules("UTC", 30);
    let events = [
        event(0, "2026-05-01T10:00:00Z", Kind::Pageview, "/"),
        event(1, "2026-05-01T10:01:00Z", Kind::Passive, "/"),
        event(2, "2026-05-01T10:02:00Z", Kind::Engagement, "/"),
    ];
    let day = sum(&rows(&rules, &events), Grain::Day);
    assert_eq!((day.visits, day.bounces, day.duration_ms), (1, 1, 0));
    assert_eq!((day.pageviews, day.events), (1, 2));
}

#[test]
fn an_interactive_event_makes_a_visit_no_bounce() {
    let rules = rules("UTC", 30);
    let events = [
        event(0, "2026-05-01T10:00:00Z", Kind::Pageview, "/"),
        event(1, "2026-05-01T10:01:00Z", Kind::Interactive, "/"),
    ];
    let day = sum(&rows(&rules, &events), Grain::Day);
    assert_eq!((day.visits, day.bounces, day.duration_ms), (1, 0, 60_000));
}

#[test]
fn interactive_events_alone_are_a_visit_without_an_entry_page() {
    let rules = rules("UTC", 30);
    let rows = rows(
        &rules,
        &[event(0, "2026-05-01T10:00:00Z", Kind::Interactive, "/")],
    );
    let day = sum(&rows, Grain::Day);
    assert_eq!((day.visits, day.bounces), (1, 0));
    for dimension in [Dimension::EntryPage, Dimension::ExitPage] {
        let none = of_day(&rows, &rules, "2026-05-01T10:00:00Z", dimension, 0);
        assert_eq!((none.visits, none.events), (1, 1));
    }
}

#[test]
fn passive_events_alone_are_events_of_a_visitor_but_no_visit() {
    let rules = rules("UTC", 30);
    let events = [
        event(0, "2026-05-01T10:00:00Z", Kind::Passive, "/"),
        event(1, "2026-05-01T10:05:00Z", Kind::Passive, "/"),
    ];
    let day = sum(&rows(&rules, &events), Grain::Day);
    assert_eq!((day.visits, day.events, day.visitors()), (0, 2, 1));
}

#[test]
fn engagement_is_no_event_and_shows_no_visitor_but_keeps_a_visit_going() {
    let rules = rules("UTC", 30);
    let mut engagement = event(1, "2026-05-01T10:25:00Z", Kind::Engagement, "/");
    engagement.engagement_ms = 5_000;
    let alone = rows(&rules, &[engagement]);
    let day = sum(&alone, Grain::Day);
    assert_eq!((day.events, day.visits, day.visitors()), (0, 0, 0));
    assert_eq!(day.engagement_ms, 5_000);
    let events = [
        event(0, "2026-05-01T10:00:00Z", Kind::Pageview, "/"),
        engagement,
        event(2, "2026-05-01T10:50:00Z", Kind::Pageview, "/"),
    ];
    assert_eq!(sum(&rows(&rules, &events), Grain::Day).visits, 1);
}

#[test]
fn a_late_event_merges_two_visits() {
    let rules = rules("UTC", 30);
    let apart = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:50:00Z"]);
    let (mut visitor, mut kept) = (Visitor::default(), Rows::new());
    let mut changes = Changes::default();
    apply(&mut visitor, &rules, &apart, &mut changes);
    add_to(&mut kept, changes);
    assert_eq!(sum(&kept, Grain::Day).visits, 2);

    let late = event(9, "2026-05-01T10:25:00Z", Kind::Passive, "/b");
    let mut changes = Changes::default();
    apply(&mut visitor, &rules, &[late], &mut changes);
    add_to(&mut kept, changes);
    let day = sum(&kept, Grain::Day);
    assert_eq!((day.visits, day.bounces), (1, 0));
    assert_eq!(day.duration_ms, 50 * 60_000);
}

#[test]
fn an_earlier_event_moves_a_visit_to_its_window_and_entry_page() {
    let rules = rules("UTC", 30);
    let events = [
        event(1, "2026-05-02T00:10:00Z", Kind::Pageview, "/b"),
        event(0, "2026-05-01T23:55:00Z", Kind::Pageview, "/a"),
    ];
    let (_, rows) = run(&rules, &events, &[1]);
    assert_eq!(day(&rows, &rules, "2026-05-02T12:00:00Z").visits, 0);
    let entry = |page| {
        let dimension = Dimension::EntryPage;
        of_day(
            &rows,
            &rules,
            "2026-05-01T12:00:00Z",
            dimension,
            text_id(page),
        )
    };
    assert_eq!((entry("/a").visits, entry("/a").pageviews), (1, 1));
    assert!(entry("/b").is_zero());
    let next_day = |dimension, page| {
        let noon = "2026-05-02T12:00:00Z";
        of_day(&rows, &rules, noon, dimension, text_id(page))
    };
    // What happens after midnight counts on its day, still for the visit's first page.
    let after = next_day(Dimension::EntryPage, "/a");
    assert_eq!((after.visits, after.pageviews), (0, 1));
    let exit = next_day(Dimension::ExitPage, "/b");
    assert_eq!((exit.visits, exit.pageviews), (1, 1));
    assert_eq!(exit.duration_ms, 15 * 60_000);
}

#[test]
fn the_ids_of_two_pageviews_of_one_instant_settle_which_was_first() {
    let rules = rules("UTC", 30);
    let entry = |pages: [&str; 2]| {
        let mut events = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"]);
        for (event, page) in events.iter_mut().zip(pages) {
            event.page = Some(text_id(page));
        }
        let rows = rows(&rules, &events);
        let entries = rows
            .into_keys()
            .filter(|key| key.dimension == Dimension::EntryPage);
        entries.map(|key| key.value).collect::<Vec<_>>()
    };
    assert_eq!(entry(["/a", "/b"]).len(), 1);
    assert_ne!(entry(["/a", "/b"]), entry(["/b", "/a"]));
}

#[test]
fn an_event_sent_again_is_a_duplicate_and_changes_nothing() {
    let rules = rules("UTC", 30);
    let mut events = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:01:00Z"]);
    events[1].id = Id::Client(7);
    let mut visitor = Visitor::default();
    let first = apply(&mut visitor, &rules, &events, &mut Changes::default());
    assert_eq!(first, [Fate::Counted, Fate::Counted]);
    let (before, mut changes) = (visitor.clone(), Changes::default());
    let again = apply(&mut visitor, &rules, &events, &mut changes);
    assert_eq!(again, [Fate::Duplicate, Fate::Duplicate]);
    assert!(changes.is_empty());
    assert_eq!(visitor, before);
}

#[test]
fn events_without_ids_are_always_new() {
    let rules = rules("UTC", 30);
    let mut events = views(&["2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"]);
    for event in &mut events {
        event.id = Id::Position {
            edge: 1,
            position: 1,
        };
    }
    assert_eq!(sum(&rows(&rules, &events), Grain::Day).pageviews, 2);
}

#[test]
fn orders_and_revenue_add_up_by_currency_and_page() {
    let rules = rules("UTC", 30);
    let mut events = views(&[
        "2026-05-01T10:00:00Z",
        "2026-05-01T10:01:00Z",
        "2026-05-01T10:02:00Z",
    ]);
    for (event, (currency, minor)) in
        events
            .iter_mut()
            .zip([(*b"USD", 500), (*b"EUR", 1_999), (*b"USD", -100)])
    {
        event.order = Some(Money { currency, minor });
    }
    let rows = rows(&rules, &events);
    let page = of_day(
        &rows,
        &rules,
        "2026-05-01T12:00:00Z",
        Dimension::Page,
        text_id("/"),
    );
    for row in [sum(&rows, Grain::Minute), sum(&rows, Grain::Day), page] {
        assert_eq!(row.orders, 3);
        assert_eq!(row.revenue, [(*b"EUR", 1_999), (*b"USD", 400)]);
    }
}

#[test]
fn a_visitor_is_counted_by_the_distance_to_the_time_before() {
    let rules = rules("UTC", 30);
    let events = views(&[
        "2026-05-01T10:00:00Z",
        "2026-05-03T10:00:00Z",
        "2026-05-02T23:59:00Z",
    ]);
    for sizes in [&[3][..], &[1]] {
        let (_, rows) = run(&rules, &events, sizes);
        let gaps = |time| day(&rows, &rules, time).visitors_by_gap;
        assert_eq!(gaps("2026-05-01T00:00:00Z"), [(0, 1)]);
        assert_eq!(gaps("2026-05-02T00:00:00Z"), [(1, 1)]);
        assert_eq!(gaps("2026-05-03T00:00:00Z"), [(1, 1)]);
        // 40 days are kept in hours, a day in minutes: beyond, it is as if for the first time.
        let key = |grain, window| RowKey {
            grain,
            window,
            dimension: Dimension::Total,
            value: 0,
        };
        let at = ms("2026-05-02T23:59:00Z");
        let hour = &rows[&key(Grain::Hour, hour_window(&rules.timezone, at))];
        assert_eq!(hour.visitors_by_gap, [(37, 1)]);
        let minute = &rows[&key(Grain::Minute, at / 60_000)];
        assert_eq!(minute.visitors_by_gap, [(0, 1)]);
    }
}

#[test]
fn visitors_of_a_range_are_those_not_seen_earlier_in_it() {
    let row = Row {
        visitors_by_gap: vec![(0, 5), (1, 3), (2, 2), (9, 1)],
        ..Row::default()
    };
    assert_eq!(row.visitors(), 11);
    assert_eq!(row.visitors_since(0), 11);
    assert_eq!(row.visitors_since(1), 8);
    assert_eq!(row.visitors_since(2), 6);
    assert_eq!(row.visitors_since(9), 5);
}

#[test]
fn the_day_with_a_repeated_hour_counts_a_visitor_in_both() {
    let rules = rules("Europe/Berlin", 30);
    // 02:30 summer time, and 02:30 winter time an hour later.
    let events = views(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
    let rows = rows(&rules, &events);
    let hours: Vec<_> = rows
        .iter()
        .filter(|(key, _)| key.grain == Grain::Hour)
        .map(|(key, row)| (key.window * 60_000, row.visitors_by_gap.clone()))
        .collect();
    assert_eq!(
        hours,
        [
            (ms("2026-10-25T00:00:00Z"), vec![(0, 1)]),
            (ms("2026-10-25T01:00:00Z"), vec![(1, 1)]),
        ]
    );
    assert_eq!(day(&rows, &rules, "2026-10-25T12:00:00Z").visitors(), 1);
}

#[test]
fn of_too_many_pages_those_of_the_smallest_ids_are_remembered() {
    let rules = rules("UTC", 30);
    let events: Vec<Event> = (0..600)
        .map(|index| {
            let mut event = event(index, "2026-05-01T10:00:00Z", Kind::Pageview, "/");
            event.time_ms += (index as i64 * 7_919 % 600) * 12_000;
            event.page = Some(text_id(&index.to_string()));
            event
        })
        .collect();
    let mut sorted = events.clone();
    sorted.sort_by_key(|event| event.time_ms);
    let scattered = run(&rules, &events, &[1, 40]);
    assert_eq!(scattered, run(&rules, &sorted, &[]));
    assert_eq!(sum(&scattered.1, Grain::Day).visits, 1);

    let mut pages: Vec<u64> = events.iter().filter_map(|event| event.page).collect();
    pages.sort_unstable();
    for (at, page) in pages.into_iter().enumerate() {
        let row = of_day(
            &scattered.1,
            &rules,
            "2026-05-01T12:00:00Z",
            Dimension::Page,
            page,
        );
        let kept = i64::from(at < 512);
        assert_eq!((row.visits, row.visitors(), row.pageviews), (kept, kept, 1));
    }
}

#[test]
fn zones_are_known_by_name_and_nothing_else_is() {
    assert!(timezone("Asia/Kathmandu").is_some());
    assert!(timezone("UTC").is_some());
    for name in ["", "Europe/Atlantis", "../../etc/passwd", "Etc/Unknown"] {
        assert!(timezone(name).is_none(), "{name}");
    }
}
