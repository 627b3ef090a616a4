use wakeline_client::{Client, Config, DropReason, Event, Fate, Page, Reason, Reply, Value, v1};
use wakeline_proto::limits::{
    MAX_AGE_MS, MAX_ITEMS, MAX_MONEY_MINOR, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES,
    MAX_URL_BYTES,
};

use crate::drive::{at, client, config, count, deliver, ids, order, record, send, start};

fn changed(change: impl FnOnce(&mut v1::Order)) -> Event {
    let mut event = order("o1");
    event.order.as_mut().map(change);
    event
}

#[test]
fn what_a_collector_would_refuse_is_refused_at_once() {
    use Reason::{InvalidMoney, InvalidName, InvalidProperty, InvalidType, TooLarge};

    let name = || "x".repeat(MAX_NAME_BYTES + 1);
    let many = |event: Event| {
        (0..=MAX_PROPERTIES).fold(event, |event, i| event.with(format!("p{i}"), true))
    };
    let large = (0..9).fold(Event::custom("a"), |event, i| {
        event.with(format!("p{i}"), "x".repeat(MAX_TEXT_BYTES))
    });
    let exposure = v1::Exposure {
        experiment: name(),
        variant: String::new(),
    };
    let cases = [
        (Event::new(v1::EventType::Unspecified), InvalidType),
        (Event::custom(""), InvalidName),
        (Event::custom("a\nb"), InvalidName),
        (Event::custom(name()), TooLarge),
        (Event::custom("a").with("", true), InvalidProperty),
        (Event::custom("a").with(name(), true), TooLarge),
        (Event::custom("a").with("p", f64::NAN), InvalidProperty),
        (Event::custom("a").with("p", f64::INFINITY), InvalidProperty),
        (
            Event::custom("a").with("p", Value::Timestamp(i64::MAX)),
            InvalidProperty,
        ),
        (
            Event::custom("a").with("p", "x".repeat(MAX_TEXT_BYTES + 1)),
            TooLarge,
        ),
        (many(Event::custom("a")), TooLarge),
        (large, TooLarge),
        (Event::exposure(exposure), TooLarge),
        (
            changed(|order| order.currency = "eur".to_owned()),
            InvalidMoney,
        ),
        (
            changed(|order| order.value = MAX_MONEY_MINOR + 1),
            InvalidMoney,
        ),
        (
            changed(|order| order.items[0].price = i64::MIN),
            InvalidMoney,
        ),
        (changed(|order| order.id = name()), TooLarge),
        (changed(|order| order.items[0].sku = name()), TooLarge),
        (
            changed(|order| order.items = vec![v1::Item::default(); MAX_ITEMS + 1]),
            TooLarge,
        ),
    ];
    let mut client = client();
    let total = cases.len() as u64;
    for (event, reason) in cases {
        let refused = client
            .record(event.clone(), at(0))
            .map_err(|refused| refused.reason);
        assert_eq!(refused, Err(reason), "{event:?}");
    }
    assert!(client.is_empty());
    assert_eq!(
        client
            .counts()
            .refused
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>(),
        total
    );
    assert_eq!(
        record(&mut client, Event::page_view(), at(0)).seq,
        0,
        "no number is used up"
    );
}

#[test]
fn without_consent_nothing_is_recorded() {
    let mut client = client();
    for consent in [v1::Consent::Denied, v1::Consent::Pending] {
        client.set_consent(consent);
        let refused = client
            .record(Event::page_view(), at(0))
            .map_err(|refused| refused.reason);
        assert_eq!(refused, Err(Reason::NoConsent));
    }
    client.set_consent(v1::Consent::Granted);
    record(&mut client, Event::page_view(), at(0));
}

#[test]
fn a_pages_texts_are_cut_between_characters() {
    let mut client = client();
    client.set_page(Page {
        url: format!("https://a.example/?q={}", "x".repeat(MAX_URL_BYTES)),
        referrer: String::new(),
        title: "ü".repeat(MAX_URL_BYTES),
    });
    record(&mut client, Event::page_view(), at(0));
    let seen = deliver(&mut client, at(2_000));
    assert_eq!(seen[0].page.url.len(), MAX_URL_BYTES);
    assert_eq!(seen[0].page.title, "ü".repeat(MAX_URL_BYTES / 2));
}

fn limited(queue_events: usize, queue_bytes: usize) -> Client {
    let config = Config {
        queue_events,
        queue_bytes,
        ..config()
    };
    start(1, config, at(0))
}

#[test]
fn over_the_limit_of_events_the_oldest_go_first_and_orders_last() {
    let mut client = limited(3, usize::MAX);
    record(&mut client, order("o0"), at(0));
    for _ in 1..5 {
        record(&mut client, Event::custom("add"), at(0));
    }
    let dropped = Fate::Dropped(DropReason::QueueEvents);
    let fates: Vec<_> = client
        .take_fates()
        .iter()
        .map(|(id, fate)| (id.seq, *fate))
        .collect();
    assert_eq!(fates, [(1, dropped), (2, dropped)]);
    for i in 5..8 {
        record(&mut client, order(&format!("o{i}")), at(0));
    }
    // Orders only: now their oldest goes.
    assert_eq!(ids(&deliver(&mut client, at(0))), [(1, 5), (1, 6), (1, 7)]);
    assert_eq!(count(&client, dropped), 5);
}

#[test]
fn the_queue_is_limited_by_bytes() {
    let mut client = limited(usize::MAX, 20_000);
    for _ in 0..20 {
        record(
            &mut client,
            Event::custom("add").with("text", "x".repeat(4_000)),
            at(0),
        );
        assert!(client.snapshot(at(0)).len() < 20_500);
    }
    assert_eq!(client.len(), 4);
    assert_eq!(count(&client, Fate::Dropped(DropReason::QueueBytes)), 16);
}

#[test]
fn a_batch_in_flight_is_not_dropped_for_want_of_room() {
    let mut client = limited(2, usize::MAX);
    record(&mut client, order("o0"), at(0));
    record(&mut client, order("o1"), at(0));
    let (batch, seen) = send(&mut client, at(0));
    assert_eq!(seen.len(), 2);
    record(&mut client, Event::custom("add"), at(0));
    record(&mut client, Event::custom("add"), at(0));
    assert_eq!((client.len(), client.take_fates()), (4, vec![]));
    client.on_reply(batch, Reply::Unreachable, at(0));
    assert_eq!(client.len(), 2);
    assert_eq!(ids(&deliver(&mut client, at(10_000))), [(1, 0), (1, 1)]);
}

#[test]
fn events_that_no_server_would_take_any_more_are_given_up() {
    let mut client = client();
    record(&mut client, Event::page_view(), at(0));
    record(&mut client, Event::page_view(), at(5_000));
    let now = at(MAX_AGE_MS + 1);
    assert_eq!(ids(&deliver(&mut client, now)), [(1, 1)]);
    assert_eq!(count(&client, Fate::Dropped(DropReason::QueueAge)), 1);
}

#[test]
fn fates_that_nobody_takes_are_forgotten_but_counted() {
    let config = Config {
        keep_fates: 2,
        ..config()
    };
    let mut client = start(1, config, at(0));
    for _ in 0..5 {
        record(&mut client, Event::page_view(), at(0));
    }
    deliver(&mut client, at(2_000));
    assert_eq!(client.take_fates().len(), 2);
    assert_eq!(count(&client, Fate::Accepted), 5);
}
