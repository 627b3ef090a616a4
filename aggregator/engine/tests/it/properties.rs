//! What visits have in common, event names, and late events, each rule as a sentence.

use crate::{
    ms, rules,
    rules::{of_day, views},
    run,
};
use wakeline_engine::{
    Changes, Context, Dimension, Event, Fate, Id, Kind, Money, SEAL_AFTER_MS, SiteRules, Visitor,
    apply, country, country_code, day_window, text_id, window,
};

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
fn of_events_of_one_instant_those_of_a_stream_are_in_the_order_of_their_numbers() {
    let rules = rules("UTC", 30);
    let noon = "2026-05-01T12:00:00Z";
    for stream in 0..20 {
        let mut events = views(&[noon; 12]);
        for (page, event) in (0..).zip(&mut events) {
            event.id = Id::Stream { stream, seq: page };
            event.page = Some(page);
            event.context = from(if page == 0 { "first" } else { "later" });
        }
        events.reverse();
        let (_, rows) = run(&rules, &events, &[5]);
        let visits = |by, value| of_day(&rows, &rules, noon, by, value).visits;
        assert_eq!(visits(Dimension::EntryPage, 0), 1, "stream {stream}");
        assert_eq!(visits(Dimension::ExitPage, 11), 1, "stream {stream}");
        assert_eq!(
            visits(Dimension::Source, text_id("first")),
            1,
            "stream {stream}"
        );
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
