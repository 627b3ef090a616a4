use wakeline_client::{Config, DropReason, Event, EventId, Fate, Reason, Reply, Step, v1};

use crate::drive::{
    at, client, config, count, deliver, ids, order, page, record, reply, send, start,
};

#[test]
fn events_wait_for_company_and_leave_together() {
    let mut client = client();
    assert_eq!(client.next_step(at(0)), Step::Idle);
    record(&mut client, Event::page_view(), at(100));
    assert_eq!(client.next_step(at(100)), Step::WaitUntil(2_100));
    record(&mut client, Event::custom("add"), at(1_500));
    assert_eq!(client.next_step(at(2_099)), Step::WaitUntil(2_100));
    let seen = deliver(&mut client, at(2_100));
    assert_eq!(ids(&seen), [(1, 0), (1, 1)]);
    assert_eq!(seen[0].time_ms, at(100).wall_ms as i64);
    assert_eq!(seen[0].clock, v1::Clock::Monotonic);
    assert_eq!(client.next_step(at(9_000)), Step::Idle);
    assert!(client.is_empty());
}

#[test]
fn a_lone_event_leaves_soon_and_a_burst_leaves_as_one() {
    let mut client = crate::drive::start(1, Config::new("key"), at(0));
    record(&mut client, Event::page_view(), at(0));
    assert_eq!(client.next_step(at(0)), Step::WaitUntil(400));
    assert_eq!(deliver(&mut client, at(400)).len(), 1);

    for moment in (1_000..3_000).step_by(100) {
        record(&mut client, Event::custom("add"), at(moment));
        assert_eq!(client.next_step(at(moment)), Step::WaitUntil(moment + 400));
    }
    assert_eq!(deliver(&mut client, at(3_300)).len(), 20);

    // Without a pause the oldest decides.
    for moment in (4_000..6_400).step_by(200) {
        record(&mut client, Event::custom("add"), at(moment));
    }
    assert_eq!(client.next_step(at(6_200)), Step::WaitUntil(6_500));
}

#[test]
fn fifty_events_or_16_kib_or_an_order_or_a_flush_do_not_wait() {
    let mut fifty = client();
    for _ in 0..50 {
        assert!(!matches!(fifty.next_step(at(0)), Step::Send { .. }));
        record(&mut fifty, Event::custom("add"), at(0));
    }
    assert_eq!(send(&mut fifty, at(0)).1.len(), 50);

    let mut large = client();
    for _ in 0..4 {
        assert!(!matches!(large.next_step(at(0)), Step::Send { .. }));
        let text = "x".repeat(4_000);
        record(&mut large, Event::custom("add").with("text", text), at(0));
    }
    record(
        &mut large,
        Event::custom("last").with("text", "x".repeat(400)),
        at(0),
    );
    assert_eq!(send(&mut large, at(0)).1.len(), 5);

    let mut buying = client();
    record(&mut buying, order("o1"), at(0));
    assert_eq!(send(&mut buying, at(0)).1.len(), 1);

    let mut flushed = client();
    record(&mut flushed, Event::page_view(), at(0));
    flushed.flush();
    assert_eq!(deliver(&mut flushed, at(0)).len(), 1);
    record(&mut flushed, Event::page_view(), at(0));
    assert_eq!(flushed.next_step(at(0)), Step::WaitUntil(2_000));
}

#[test]
fn one_batch_is_in_flight_at_a_time() {
    let mut client = client();
    record(&mut client, order("o1"), at(0));
    let (batch, _) = send(&mut client, at(0));
    record(&mut client, order("o2"), at(0));
    assert_eq!(client.next_step(at(60_000)), Step::Idle);
    client.on_reply(batch, reply(1, &[]), at(60_000));
    client.on_reply(batch, reply(1, &[]), at(60_000)); // once more: ignored
    assert_eq!(ids(&deliver(&mut client, at(60_000))), [(1, 1)]);
    assert_eq!(count(&client, Fate::Accepted), 2);
}

#[test]
fn the_reply_gives_each_event_its_fate() {
    let mut client = client();
    for _ in 0..3 {
        record(&mut client, Event::custom("add"), at(0));
    }
    let (batch, _) = send(&mut client, at(2_000));
    let rejected = [(1, "invalid_name"), (2, "a reason of tomorrow")];
    client.on_reply(batch, reply(3, &rejected), at(2_000));
    let fates = [
        Fate::Accepted,
        Fate::Rejected(Some(Reason::InvalidName)),
        Fate::Rejected(None),
    ];
    let expected: Vec<_> = (0..)
        .map(|seq| EventId { stream: 1, seq })
        .zip(fates)
        .collect();
    assert_eq!(client.take_fates(), expected);
    assert!(client.is_empty() && client.take_fates().is_empty());
}

#[test]
fn keeps_batch_and_backs_off_when_server_is_unreachable() {
    let mut client = client();
    record(&mut client, Event::page_view(), at(0));
    let mut now = 2_000;
    for attempt in 0..40 {
        let (batch, seen) = send(&mut client, at(now));
        assert_eq!(ids(&seen), [(1, 0)]);
        client.on_reply(batch, Reply::Unreachable, at(now));
        let longest = (1_000 << attempt.min(20)).min(300_000);
        let retry_at = match client.next_step(at(now)) {
            Step::WaitUntil(retry_at) => retry_at,
            Step::Send { batch, .. } => {
                client.on_reply(batch, Reply::Unreachable, at(now));
                continue;
            }
            Step::Idle => panic!("the event is lost"),
        };
        assert!(retry_at <= now + longest.max(1_000) * 2, "{attempt}");
        client.flush(); // does not push through
        assert_eq!(
            client.next_step(at(retry_at - 1)),
            Step::WaitUntil(retry_at)
        );
        now = retry_at;
    }
    deliver(&mut client, at(now));
}

#[test]
fn a_body_that_is_no_answer_to_the_batch_counts_as_unreachable() {
    for body in [&b"<html>Please sign in</html>"[..], b"", b"\x08\x07"] {
        let mut client = client();
        record(&mut client, Event::page_view(), at(0));
        let (batch, _) = send(&mut client, at(2_000));
        client.on_reply(batch, Reply::of_status(202, None, body), at(2_000));
        assert_eq!(client.len(), 1);
        assert_eq!(ids(&deliver(&mut client, at(400_000))), [(1, 0)]);
    }
}

#[test]
fn what_the_server_asks_for_is_waited_for() {
    let waits = [
        (Reply::of_status(503, Some(30_000), b""), 30_000),
        (Reply::of_status(429, Some(u64::MAX), b""), 3_600_000),
        (Reply::of_status(401, None, b""), 600_000),
        (Reply::of_status(403, None, b""), 600_000),
        (Reply::of_status(415, None, b""), 600_000),
    ];
    for (reply, wait) in waits {
        let mut client = client();
        record(&mut client, order("o1"), at(0));
        let (batch, _) = send(&mut client, at(0));
        client.on_reply(batch, reply.clone(), at(0));
        let Step::WaitUntil(retry_at) = client.next_step(at(0)) else {
            panic!("{reply:?}");
        };
        assert!((wait..=wait + 1_000).contains(&retry_at), "{reply:?}");
        assert_eq!(client.leave(at(retry_at - 1), 60_000), []);
        assert_eq!(deliver(&mut client, at(retry_at)).len(), 1);
    }
}

#[test]
fn a_batch_that_is_too_large_is_split_down_to_the_event() {
    let mut client = client();
    for i in 0..16 {
        let text = "x".repeat(if i == 5 { 4_000 } else { 10 });
        record(&mut client, Event::custom("add").with("text", text), at(0));
    }
    let mut now = 2_000;
    let mut requests = 0;
    while !client.is_empty() {
        match client.next_step(at(now)) {
            Step::Send { batch, bytes } => {
                requests += 1;
                let answer = if bytes.len() > 3_000 {
                    Reply::of_status(413, None, b"")
                } else {
                    reply(crate::drive::read(&bytes).len(), &[])
                };
                client.on_reply(batch, answer, at(now));
            }
            Step::WaitUntil(at) => now = at,
            Step::Idle => panic!("events are left"),
        }
    }
    assert_eq!(count(&client, Fate::Dropped(DropReason::TooLarge)), 1);
    assert_eq!(count(&client, Fate::Accepted), 15);
    assert!(requests < 16, "{requests}");
}

#[test]
fn batches_grow_again_when_the_server_takes_more() {
    let mut client = client();
    for _ in 0..2_000 {
        record(&mut client, Event::custom("add"), at(0));
    }
    let mut now = 2_000;
    let mut requests = 0;
    while !client.is_empty() {
        match client.next_step(at(now)) {
            Step::Send { batch, bytes } => {
                requests += 1;
                let events = crate::drive::read(&bytes).len();
                let answer = if events > 10 && requests <= 20 {
                    Reply::of_status(413, None, b"")
                } else {
                    reply(events, &[])
                };
                client.on_reply(batch, answer, at(now));
            }
            Step::WaitUntil(at) => now = at,
            Step::Idle => panic!("events are left"),
        }
    }
    assert_eq!(count(&client, Fate::Accepted), 2_000);
    assert!(requests < 60, "{requests}: ten events each would be 200");
}

#[test]
fn the_event_that_spoils_batches_is_found_and_dropped() {
    let mut client = client();
    for i in 0..40 {
        let name = if i == 3 || i == 30 { "poison" } else { "add" };
        record(&mut client, Event::custom(name), at(0));
    }
    let mut now = 2_000;
    let mut requests = 0;
    while !client.is_empty() {
        match client.next_step(at(now)) {
            Step::Send { batch, bytes } => {
                requests += 1;
                let seen = crate::drive::read(&bytes);
                let answer = if seen.iter().any(|seen| seen.event.name == "poison") {
                    Reply::of_status(400, None, b"")
                } else {
                    reply(seen.len(), &[])
                };
                client.on_reply(batch, answer, at(now));
            }
            Step::WaitUntil(at) => now = at,
            Step::Idle => panic!("events are left"),
        }
    }
    assert_eq!(count(&client, Fate::Dropped(DropReason::Unreadable)), 2);
    assert_eq!(count(&client, Fate::Accepted), 38);
    assert!(requests <= 20, "{requests}");
}

#[test]
fn a_server_that_refuses_everything_is_not_emptied_into() {
    for status in [400, 413] {
        let mut client = client();
        for _ in 0..64 {
            record(&mut client, Event::custom("add"), at(0));
        }
        let mut now = 0;
        while now < 60_000 {
            match client.next_step(at(now)) {
                Step::Send { batch, .. } => {
                    client.on_reply(batch, Reply::of_status(status, None, b""), at(now));
                }
                Step::WaitUntil(at) => now = at,
                Step::Idle => panic!("no event is left"),
            }
        }
        assert!(
            client.len() > 40,
            "{} after a minute of {status}",
            client.len()
        );
    }
}

#[test]
fn the_loaders_numbers_are_kept() {
    let mut client = client();
    assert!(client.adopt(0, Event::page_view(), 40, at(500)).is_ok());
    assert!(client.adopt(2, Event::custom("add"), 90, at(500)).is_ok());
    let again = client.adopt(2, Event::custom("add"), 90, at(500));
    assert_eq!(
        again.map_err(|refused| refused.reason),
        Err(Reason::Malformed)
    );
    assert!(client.adopt(3, Event::custom(""), 95, at(500)).is_err());
    assert_eq!(record(&mut client, Event::custom("own"), at(500)).seq, 4);
    let seen = deliver(&mut client, at(2_500));
    assert_eq!(ids(&seen), [(1, 0), (1, 2), (1, 3), (1, 4)]);
    assert_eq!(
        seen[2].event,
        Event::refused(Reason::InvalidName),
        "the server hears why the number has no event"
    );
    assert_eq!(seen[0].time_ms, at(40).wall_ms as i64);
}

#[test]
fn events_before_identify_are_not_the_users() {
    let mut client = client();
    client.set_page(page("https://shop.example/"));
    record(&mut client, Event::page_view(), at(0));
    assert!(client.identify("", at(0)).is_err());
    assert!(client.identify("user-1", at(10)).is_ok());
    record(&mut client, Event::custom("add"), at(20));
    client.flush();
    let before = deliver(&mut client, at(20));
    let after = deliver(&mut client, at(20));
    assert_eq!((ids(&before), before[0].user.as_str()), (vec![(1, 0)], ""));
    assert_eq!(ids(&after), [(1, 1), (1, 2)]);
    assert!(after.iter().all(|seen| seen.user == "user-1"));
    assert_eq!(after[0].event.event_type, v1::EventType::Identify);
}

#[test]
fn adopted_identify_keeps_its_number_and_time_and_uses_the_number_up_if_refused() {
    let mut client = client();
    assert!(client.adopt_identify(0, "", 10, at(500)).is_err());
    assert!(client.adopt_identify(1, "user-1", 20, at(500)).is_ok());
    let again = client.adopt_identify(1, "user-1", 20, at(500));
    assert_eq!(
        again.map_err(|refused| refused.reason),
        Err(Reason::Malformed)
    );
    assert_eq!(record(&mut client, Event::custom("own"), at(500)).seq, 2);
    let seen = deliver(&mut client, at(2_500));
    assert_eq!(ids(&seen), [(1, 1), (1, 2)]);
    assert_eq!(seen[0].time_ms, at(20).wall_ms as i64);
    assert!(seen.iter().all(|seen| seen.user == "user-1"));
}

#[test]
fn orders_go_first_from_a_backlog() {
    let config = Config {
        max_batch_events: 2,
        ..config()
    };
    let mut client = start(1, config, at(0));
    for _ in 0..4 {
        record(&mut client, Event::custom("add"), at(0));
    }
    record(&mut client, order("o1"), at(0));
    assert_eq!(ids(&deliver(&mut client, at(2_000))), [(1, 0), (1, 4)]);
    assert_eq!(ids(&deliver(&mut client, at(2_000))), [(1, 1), (1, 2)]);
    assert_eq!(ids(&deliver(&mut client, at(2_000))), [(1, 3)]);
}

#[test]
fn a_client_can_be_driven_from_any_thread() {
    let mut client = client();
    let client = std::thread::spawn(move || {
        record(&mut client, Event::page_view(), at(0));
        client
    });
    assert_eq!(client.join().map(|client| client.len()).ok(), Some(1));
}
