//! Each rule of the numbers as a sentence.

use crate::{Rows, add_to, ms, rules, run};
use wakeline_engine::{
    Changes, Context, Dimension, Event, Fate, Grain, Id, Kind, Money, Row, RowKey, SEAL_AFTER_MS,
    SiteRules, Visitor, apply, country, country_code, day_window, hour_window, text_id, timezone,
    window,
};

/// An event of its own at that instant.
fn event(seq: u64, time: &str, kind: Kind, page: &str) -> Event {
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
fn views(times: &[&str]) -> Vec<Event> {
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

fn of_day(rows: &Rows, rules: &SiteRules, time: &str, dimension: Dimension, value: u64) -> Row {
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

/// The context of a visitor sent by this site.
fn from(source: &str) -> Context {
    Context {
        source: text_id(source),
        channel: 1,
        country: country_code("DE"),
        ..Context::default()
    }
}

#[test]
fn a_visit_has_what_its_first_event_tells_whenever_that_comes() {
    let rules = rules("UTC", 30);
    let noon = "2026-05-01T12:00:00Z";
    let mut events = views(&["2026-05-01T12:10:00Z", noon, "2026-05-01T13:00:00Z"]);
    events[0].context = from("b");
    events[1].context = from("a");
    events[1].kind = Kind::Passive;
    events[2].context = from("b");
    for sizes in [&[1][..], &[3]] {
        let (_, rows) = run(&rules, &events, sizes);
        let by = |source| {
            let row = of_day(&rows, &rules, noon, Dimension::Source, text_id(source));
            (row.visits, row.events, row.visitors())
        };
        assert_eq!((by("a"), by("b")), ((1, 2, 1), (1, 1, 1)));
        let germany = u64::from(country_code("DE"));
        let row = of_day(&rows, &rules, noon, Dimension::Country, germany);
        assert_eq!((row.visits, row.events, row.visitors()), (2, 3, 1));
    }
}

#[test]
fn of_two_events_of_one_instant_the_ids_settle_whose_context_a_visit_has() {
    let rules = rules("UTC", 30);
    let mut events = views(&["2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"]);
    (events[0].context, events[1].context) = (from("a"), from("b"));
    let first = run(&rules, &events, &[1]);
    events.reverse();
    assert_eq!(first, run(&rules, &events, &[1]));
    // Where even the ids are the same, the contexts themselves do.
    let mut both = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let mut changes = Changes::default();
        let mut visitor = Visitor::default();
        for at in order {
            let place = Id::Position {
                edge: 1,
                position: 1,
            };
            let event = Event {
                id: place,
                ..events[at]
            };
            apply(&mut visitor, &rules, &[event], &mut changes);
        }
        both.push(changes.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(both[0], both[1]);
}

#[test]
fn a_visit_over_three_midnights_has_each_days_own_properties() {
    let rules = rules("UTC", 240);
    let events: Vec<Event> = (0..19)
        .map(|index| Event {
            id: Id::Client(index),
            time_ms: ms("2026-05-01T20:00:00Z") + index as i64 * 4 * 3_600_000,
            page: Some(index),
            context: from(if index < 7 { "early" } else { "late" }),
            ..views(&["2026-05-01T20:00:00Z"])[0]
        })
        .collect();
    let (_, rows) = run(&rules, &events, &[1]);
    let visits = |date: &str, by, value| {
        let noon = format!("{date}T12:00:00Z");
        of_day(&rows, &rules, &noon, by, value).visits
    };
    for (date, source, first, last) in [
        ("2026-05-01", "early", 0, 0),
        ("2026-05-02", "early", 1, 6),
        ("2026-05-03", "late", 7, 12),
        ("2026-05-04", "late", 13, 18),
    ] {
        assert_eq!(
            visits(date, Dimension::Source, text_id(source)),
            1,
            "{date}"
        );
        assert_eq!(visits(date, Dimension::EntryPage, first), 1, "{date}");
        assert_eq!(visits(date, Dimension::ExitPage, last), 1, "{date}");
    }
}

#[test]
fn an_event_counts_by_its_name_and_its_visit_once_by_each_name() {
    let rules = rules("UTC", 30);
    let noon = "2026-05-01T12:00:00Z";
    let mut events = views(&[noon, "2026-05-01T12:01:00Z", "2026-05-01T12:02:00Z"]);
    for (event, name) in events.iter_mut().zip(["signup", "signup", "order"]) {
        event.name = Some(text_id(name));
    }
    events[2].order = Some(Money {
        currency: *b"EUR",
        minor: 1_999,
    });
    let (_, rows) = run(&rules, &events, &[1]);
    let named = |name| of_day(&rows, &rules, noon, Dimension::EventName, text_id(name));
    let signups = named("signup");
    assert_eq!(
        (signups.events, signups.visits, signups.visitors()),
        (2, 1, 1)
    );
    assert_eq!(named("order").revenue, [(*b"EUR", 1_999)]);
    assert_eq!(signups.orders, 0);
}

#[test]
fn a_day_is_sealed_48_hours_after_its_end_by_the_stamps_of_the_log() {
    for (zone, date, sealed) in [
        ("UTC", "2026-05-01", "2026-05-04T00:00:00Z"),
        // A day of 23 hours, and one of 25.
        ("Europe/Berlin", "2026-03-29", "2026-03-31T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-27T23:00:00Z"),
    ] {
        let rules = SiteRules {
            seal_after_ms: Some(SEAL_AFTER_MS),
            ..rules(zone, 30)
        };
        let noon = format!("{date}T12:00:00Z");
        let day = day_window(&rules.timezone, ms(&noon));
        assert_eq!(rules.sealed_from(day), Some(ms(sealed)), "{zone} {date}");
        let mut events = views(&[&noon, &noon]);
        events[0].stamp_ms = ms(sealed) - 1;
        events[1].stamp_ms = ms(sealed);
        let (mut visitor, mut changes) = (Visitor::default(), Changes::default());
        let fates = apply(&mut visitor, &rules, &events, &mut changes);
        assert_eq!(fates, [Fate::Counted, Fate::Late]);
        // Read again, alone, each has the same fate; and what is late leaves no trace.
        let (mut again, mut others) = (Visitor::default(), Changes::default());
        let late = apply(&mut again, &rules, &events[1..], &mut others);
        assert_eq!((late, others.is_empty()), (vec![Fate::Late], true));
        let counted = apply(&mut again, &rules, &events[..1], &mut others);
        assert_eq!((counted, again), (vec![Fate::Counted], visitor));
        // The next day is still open.
        let midnight = window::start_of_day(&rules.timezone, day + 1);
        let next = Event {
            time_ms: midnight,
            stamp_ms: ms(sealed),
            ..events[0]
        };
        let fates = apply(&mut Visitor::default(), &rules, &[next], &mut others);
        assert_eq!(fates, [Fate::Counted]);
    }
    let never = rules("UTC", 30);
    assert_eq!(never.sealed_from(0), None);
}

#[test]
fn countries_are_two_letters_and_nothing_else() {
    assert_eq!(country(country_code("DE")), "DE");
    for none in ["", "D", "de", "DEU", "Ä", "D1"] {
        assert_eq!(country_code(none), 0, "{none}");
    }
    assert_eq!(country(0), "");
    assert_eq!(country(1), "");
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
