use proptest::prelude::*;
use wakeline_client::{Client, Event, EventId, Now, Reply, Restored, Step, v1};

use crate::drive::{
    at, client, config, deliver, ids, order, page, read, record, reply, send, start,
};

/// A client that restored a snapshot; its monotonic clock is at 0 when the wall clock is at `now`.
fn next_page(snapshot: &[u8], now: Now) -> (Client, Restored) {
    let now = Now { mono_ms: 0, ..now };
    let mut client = start(2, config(), now);
    let restored = client.restore(snapshot, now);
    (client, restored)
}

fn left_behind() -> Client {
    let mut client = client();
    client.set_page(page("https://shop.example/"));
    record(&mut client, Event::page_view(), at(1_000));
    client.set_page(page("https://shop.example/cart"));
    record(
        &mut client,
        Event::custom("add").with("n", 1).with("price", 0.5),
        at(1_500),
    );
    client
}

#[test]
fn the_next_page_sends_what_is_left_with_its_ids_times_and_pages() {
    let mut old = left_behind();
    send(&mut old, at(4_000)); // in flight counts as left
    record(&mut old, order("o1"), at(4_500));
    let snapshot = old.snapshot(at(5_000));

    let later = at(60_000);
    let (mut client, restored) = next_page(&snapshot, later);
    assert_eq!(
        restored,
        Restored {
            events: 3,
            corrupt: false
        }
    );
    assert_eq!(client.counts().restored, 3);
    let now = |ms| Now {
        mono_ms: ms,
        wall_ms: later.wall_ms + ms,
    };
    record(&mut client, Event::page_view(), now(100));
    let seen = deliver(&mut client, now(2_000));

    assert_eq!(ids(&seen), [(1, 0), (1, 1), (1, 2), (2, 0)]);
    let times: Vec<i64> = seen.iter().map(|seen| seen.time_ms).collect();
    let wall = |ms| at(ms).wall_ms as i64;
    assert_eq!(times, [wall(1_000), wall(1_500), wall(4_500), wall(60_100)]);
    assert_eq!(seen[0].page.url, "https://shop.example/");
    assert_eq!(seen[1].page.url, "https://shop.example/cart");
    assert_eq!(
        seen[1].event,
        Event::custom("add").with("n", 1).with("price", 0.5)
    );
    assert_eq!(
        (seen[0].clock, seen[3].clock),
        (v1::Clock::Wall, v1::Clock::Monotonic)
    );
    assert_eq!(seen[3].predecessor, Some(EventId { stream: 1, seq: 2 }));
}

#[test]
fn the_next_page_waits_for_no_beacon_to_a_server_that_failed() {
    let mut old = left_behind();
    let (batch, _) = send(&mut old, at(4_000));
    old.on_reply(batch, Reply::RetryAfter(None), at(4_100));
    for beacon in &old.leave(at(4_200), 60_000) {
        old.beaconed(beacon, at(4_200));
    }
    let (mut next, _) = next_page(&old.snapshot(at(4_300)), at(5_000));
    assert_eq!(ids(&deliver(&mut next, at(7_000))), [(1, 0), (1, 1)]);
}

#[test]
fn a_store_with_little_room_gets_the_newest_events() {
    let mut old = client();
    for seq in 0..100 {
        record(&mut old, Event::custom("e").with("n", seq), at(1_000));
    }
    send(&mut old, at(4_000)); // what is in flight is older
    record(&mut old, order("o1"), at(4_500));
    let (all, whole) = old.snapshot_of_newest(usize::MAX, at(5_000));
    assert!(whole);
    assert_eq!(all, old.snapshot(at(5_000)));
    for room in [0, 300, 5_000] {
        let (newest, whole) = old.snapshot_of_newest(room, at(5_000));
        assert!(!whole && newest.len() <= room + 100, "{}", newest.len());
        let (mut next, restored) = next_page(&newest, at(6_000));
        assert_eq!(restored.events > 0, room > 0);
        if room == 0 {
            continue;
        }
        let seen = deliver(&mut next, at(10_000));
        let first = 101 - restored.events as u64;
        let expected: Vec<_> = (first..101).map(|seq| (1, seq)).collect();
        assert_eq!(ids(&seen), expected);
    }
}

#[test]
fn a_stream_names_its_predecessor_even_if_that_left_no_event_and_one_in_between_gave_no_number() {
    let mut first = left_behind();
    deliver(&mut first, at(4_000));
    let (second, restored) = next_page(&first.snapshot(at(5_000)), at(5_000));
    assert_eq!(restored, Restored::default());
    let mut third = start(3, config(), at(0));
    third.restore(&second.snapshot(at(0)), at(0));
    record(&mut third, Event::page_view(), at(0));
    let seen = deliver(&mut third, at(2_000));
    assert_eq!(seen[0].predecessor, Some(EventId { stream: 1, seq: 1 }));
}

#[test]
fn another_install_names_the_last_number_that_was_not_its_own() {
    let mut client = start(1, config(), at(0));
    client.follow(Some(EventId { stream: 9, seq: 4 }), 0, at(0));
    let install = |client: &mut wakeline_client::Client, install: &[u8]| {
        client.set_person_of(install, b"", 0, v1::Consent::Unspecified);
        record(client, Event::custom("seen"), at(0));
        record(client, Event::custom("seen"), at(0));
        deliver(client, at(4_000))[0].predecessor
    };
    let before = |stream, seq| Some(EventId { stream, seq });
    assert_eq!(install(&mut client, b"install"), before(9, 4));
    assert_eq!(install(&mut client, b"install"), before(9, 4));
    assert_eq!(install(&mut client, b"another"), before(1, 3));
}

#[test]
fn snapshots_of_several_pages_are_restored_each_event_once() {
    let snapshot = left_behind().snapshot(at(2_000));
    let mut other = start(7, config(), at(0));
    assert!(other.identify("user-7", at(0)).is_ok());
    let (mut client, _) = next_page(&snapshot, at(3_000));
    let now = Now {
        mono_ms: 0,
        ..at(3_000)
    };
    assert_eq!(client.restore(&other.snapshot(at(2_000)), now).events, 1);
    assert_eq!(client.restore(&snapshot, now).events, 0);
    assert_eq!(
        client.restore(&client.snapshot(now), now).events,
        0,
        "its own"
    );

    // And across one more page.
    let mut last = start(9, config(), now);
    assert_eq!(last.restore(&client.snapshot(now), now).events, 3);
    last.flush();
    let first = deliver(&mut last, now);
    let second = deliver(&mut last, now);
    assert_eq!(ids(&first), [(1, 0), (1, 1)]);
    assert_eq!(
        (ids(&second), second[0].user.as_str()),
        (vec![(7, 0)], "user-7")
    );
}

#[test]
fn the_wall_clock_may_have_been_set_back() {
    let snapshot = left_behind().snapshot(at(2_000));
    let (mut client, _) = next_page(&snapshot, at(0));
    client.flush();
    let now = Now {
        mono_ms: 0,
        ..at(0)
    };
    let seen = deliver(&mut client, now);
    assert_eq!(
        seen[0].time_ms,
        at(1_000).wall_ms as i64,
        "a second in the future"
    );
}

#[test]
fn the_next_page_waits_as_the_server_asked() {
    let mut old = left_behind();
    let (batch, _) = send(&mut old, at(4_000));
    old.on_reply(batch, Reply::RetryAfter(Some(60_000)), at(4_000));
    let (mut client, _) = next_page(&old.snapshot(at(5_000)), at(10_000));
    client.flush();
    let Step::WaitUntil(retry_at) = client.next_step(Now {
        mono_ms: 0,
        ..at(10_000)
    }) else {
        panic!("it does not wait");
    };
    assert!((54_000..=55_000).contains(&retry_at), "{retry_at}");
}

#[test]
fn a_leaving_page_hands_out_what_fits_orders_first_and_keeps_it() {
    let mut client = client();
    for _ in 0..30 {
        record(
            &mut client,
            Event::custom("add").with("text", "x".repeat(4_000)),
            at(0),
        );
    }
    let (batch, in_flight) = send(&mut client, at(0));
    record(&mut client, order("o1"), at(0));
    let beacons = client.leave(at(10), 64 << 10);
    assert!(
        beacons
            .iter()
            .map(|beacon| beacon.bytes().len())
            .sum::<usize>()
            <= 64 << 10
    );
    let seen: Vec<_> = beacons
        .iter()
        .flat_map(|beacon| read(beacon.bytes()))
        .collect();
    assert!(seen.len() >= 14, "{}", seen.len());
    assert!(seen.iter().any(|seen| seen.event.order.is_some()));
    assert_eq!(client.len(), 31);
    assert_eq!(client.leave(at(10), 50), []);

    // A beacon that was taken is not sent again at once, by this page or the next.
    for beacon in &beacons {
        client.beaconed(beacon, at(10));
    }
    let again = client.leave(at(20), 64 << 10);
    assert!(
        again
            .iter()
            .flat_map(|beacon| read(beacon.bytes()))
            .all(|other| !ids(&seen).contains(&(1, other.id.seq)))
    );
    let (mut next, restored) = next_page(&client.snapshot(at(20)), at(5_000));
    assert_eq!(restored.events, 31);
    next.flush();
    let now = |ms| Now {
        mono_ms: ms,
        wall_ms: at(5_000).wall_ms + ms,
    };
    let mut resent = Vec::new();
    let mut clock = 0;
    while !next.is_empty() {
        match next.next_step(now(clock)) {
            Step::Send { batch, bytes } => {
                let batch_of = read(&bytes);
                next.on_reply(batch, reply(batch_of.len(), &[]), now(clock));
                resent.extend(batch_of.into_iter().map(|seen| (clock, seen.id)));
            }
            Step::WaitUntil(at) => clock = at,
            Step::Idle => panic!("events are left"),
        }
    }
    for (clock, id) in resent {
        let held = seen.iter().any(|seen| seen.id == id);
        assert_eq!(clock >= 25_010, held, "{id} at {clock}");
    }
    client.on_reply(batch, reply(in_flight.len(), &[]), at(30));
}

#[test]
fn a_damaged_snapshot_costs_what_is_damaged() {
    let snapshot = {
        let mut client = left_behind();
        assert!(client.identify("user", at(1_600)).is_ok()); // a frame of its own
        client.snapshot(at(2_000))
    };
    let mut damaged = snapshot.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let (client, restored) = next_page(&damaged, at(3_000));
    assert!(restored.corrupt && restored.events == 1, "{restored:?}");
    assert_eq!(client.counts().corrupt_snapshots, 1);

    let cut = &snapshot[..snapshot.len() - 1];
    assert_eq!(
        next_page(cut, at(3_000)).1,
        Restored {
            events: 2,
            corrupt: true
        }
    );
    for nonsense in [&b""[..], b"\x01", b"\x02", b"\x03", b"{\"version\":1}"] {
        assert_eq!(
            next_page(nonsense, at(0)).1,
            Restored {
                events: 0,
                corrupt: true
            }
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_restoring_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        damage in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        next_page(&bytes, at(0));
        let mut snapshot = left_behind().snapshot(at(2_000));
        let damage = damage.index(snapshot.len());
        snapshot[damage] = value;
        next_page(&snapshot, at(0));
    }
}
