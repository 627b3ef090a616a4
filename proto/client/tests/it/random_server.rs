//! Whatever a server, a network and a browser do: nothing is lost unnoticed, and nothing changes its id.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wakeline_client::{
    Client, Config, DropReason, Event, EventId, Fate, Now, Page, Reason, Reply, Step, Value, v1,
};

use crate::drive::{Seen, at, config, order, page, read, record, reply, start};

#[derive(Clone, Debug)]
enum Op {
    Record(Event),
    Page(String),
    Identify(String),
    Flush,
    /// Time passes; whatever is due is sent, and answered one after the other.
    Pass(u64, Vec<Answer>),
    /// The page goes, with or without beacons (that arrive or don't), and the next one begins.
    Reload {
        beacons: bool,
        arrive: bool,
        restore_twice: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Accept,
    /// Stored, but the reply is lost.
    LoseReply,
    Unreachable,
    RetryAfter(Option<u64>),
    TooLarge,
    Status(u16),
    Portal,
    /// The page goes before the reply comes.
    Never,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-c]{0,3}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        (-3..3_i64).prop_map(Value::Integer),
        (-1e9..1e9).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Flag),
        (0..1_i64 << 53).prop_map(Value::Timestamp),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let properties = || prop::collection::vec(("[a-e]", value()), 0..4);
    let custom = |names: &'static str| {
        (names, properties(), any::<bool>()).prop_map(|(name, properties, passive)| Event {
            properties,
            passive,
            ..Event::custom(name)
        })
    };
    let engagement = (any::<u32>(), 0..=100_u32).prop_map(|(time_ms, scroll_percent)| {
        Event::engagement(v1::Engagement {
            time_ms,
            scroll_percent,
        })
    });
    let exposure = "[ab]".prop_map(|variant| {
        Event::exposure(v1::Exposure {
            experiment: "e".to_owned(),
            variant,
        })
    });
    prop_oneof![
        4 => Just(Event::page_view()),
        8 => custom("[a-c]"),
        2 => custom("large").prop_map(|event| event.with("text", "x".repeat(1_500))),
        1 => custom("poison"),
        1 => custom("unwanted"),
        2 => "[a-z]{2}".prop_map(|id| order(&id)),
        1 => engagement,
        1 => exposure,
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Accept),
        2 => Just(Answer::LoseReply),
        2 => Just(Answer::Unreachable),
        1 => prop::option::of(0..100_000_u64).prop_map(Answer::RetryAfter),
        1 => Just(Answer::TooLarge),
        1 => prop::sample::select(vec![200, 302, 401, 403, 404, 415, 500]).prop_map(Answer::Status),
        1 => Just(Answer::Portal),
        1 => Just(Answer::Never),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let ms = prop_oneof![0..500_u64, 0..5_000_u64, 0..400_000_u64];
    prop_oneof![
        12 => event().prop_map(Op::Record),
        2 => "[a-c]{0,2}".prop_map(Op::Page),
        1 => Just(Op::Page("x".repeat(900))),
        1 => "[uv]".prop_map(Op::Identify),
        1 => Just(Op::Flush),
        6 => (ms, prop::collection::vec(answer(), 0..6)).prop_map(|(ms, answers)| Op::Pass(ms, answers)),
        2 => any::<[bool; 3]>().prop_map(|[beacons, arrive, restore_twice]| Op::Reload {
            beacons, arrive, restore_twice,
        }),
    ]
}

struct World {
    config: Config,
    client: Client,
    /// Wall-clock ms since the beginning; each page's monotonic clock begins with it at 0.
    elapsed: u64,
    page_began: u64,
    pages: u64,
    /// What the caller did, by id.
    recorded: BTreeMap<EventId, Seen>,
    shown: Page,
    user: String,
    /// What the server stored, by id.
    stored: BTreeMap<EventId, Seen>,
    refused: BTreeSet<EventId>,
    fates: BTreeMap<EventId, Fate>,
    /// No request may come before.
    asked_to_wait: u64,
}

impl World {
    fn new(config: Config) -> Self {
        Self {
            client: start(1, config.clone(), at(0)),
            config,
            elapsed: 0,
            page_began: 0,
            pages: 1,
            recorded: BTreeMap::new(),
            shown: Page::default(),
            user: String::new(),
            stored: BTreeMap::new(),
            refused: BTreeSet::new(),
            fates: BTreeMap::new(),
            asked_to_wait: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.elapsed - self.page_began,
            wall_ms: at(self.elapsed).wall_ms,
        }
    }

    fn record(&mut self, event: Event) {
        let now = self.now();
        let id = record(&mut self.client, event.clone(), now);
        self.remember(id, event);
    }

    fn remember(&mut self, id: EventId, event: Event) {
        let seen = Seen {
            id,
            event,
            page: self.shown.clone(),
            user: self.user.clone(),
            time_ms: self.now().wall_ms as i64,
            clock: v1::Clock::Monotonic,
            predecessor: None,
        };
        assert!(
            self.recorded.insert(id, seen).is_none(),
            "{id} was given twice"
        );
    }

    /// What a request carries is what was recorded, and not too much of it.
    fn check_request(&self, bytes: &[u8]) -> Vec<Seen> {
        assert!(self.elapsed >= self.asked_to_wait, "sent too early");
        let seen = read(bytes);
        assert!(!seen.is_empty() && seen.len() <= self.config.max_batch_events);
        for seen in &seen {
            let recorded = Seen {
                clock: seen.clock,
                predecessor: seen.predecessor,
                ..self.recorded[&seen.id].clone()
            };
            assert_eq!(seen, &recorded);
            assert_eq!(
                seen.clock == v1::Clock::Monotonic,
                seen.id.stream == self.client.stream()
            );
        }
        seen
    }

    /// The server reads a batch; the reply it gives.
    fn store(&mut self, seen: Vec<Seen>) -> Reply {
        if seen.iter().any(|seen| seen.event.name == "poison") {
            return Reply::of_status(400, None, b"");
        }
        let mut rejected = Vec::new();
        let events = seen.len();
        for (index, seen) in (0..).zip(seen) {
            if seen.event.name == "unwanted" {
                rejected.push((index, Reason::InvalidName.as_str()));
                self.refused.insert(seen.id);
            } else {
                self.stored.insert(seen.id, seen);
            }
        }
        reply(events, &rejected)
    }

    /// Sends what is due and answers it, until nothing is or the answers are used up.
    fn exchange(&mut self, mut answers: impl Iterator<Item = Answer>) {
        while let Step::Send { batch, bytes } = self.client.next_step(self.now()) {
            let seen = self.check_request(&bytes);
            assert!(bytes.len() <= self.config.max_batch_bytes || seen.len() == 1);
            let (reply, wait) = match answers.next() {
                None | Some(Answer::Never) => return,
                Some(Answer::Accept) => (self.store(seen), 0),
                Some(Answer::LoseReply) => {
                    self.store(seen);
                    (Reply::Unreachable, 0)
                }
                Some(Answer::Unreachable) => (Reply::Unreachable, 0),
                Some(Answer::RetryAfter(wait)) => {
                    (Reply::of_status(503, wait, b""), wait.unwrap_or(0))
                }
                Some(Answer::TooLarge) => (Reply::of_status(413, None, b""), 0),
                Some(Answer::Status(status)) => {
                    let pause = if status == 500 {
                        0
                    } else {
                        self.config.pause_ms
                    };
                    (Reply::of_status(status, None, b""), pause)
                }
                Some(Answer::Portal) => (Reply::of_status(202, None, b"<html>"), 0),
            };
            self.asked_to_wait = self.asked_to_wait.max(self.elapsed + wait);
            let now = self.now();
            self.client.on_reply(batch, reply, now);
            self.check_memory();
        }
    }

    fn check_memory(&self) {
        let in_flight = self.config.max_batch_events;
        assert!(self.client.len() <= self.config.queue_events + in_flight);
        let snapshot = self.client.snapshot(self.now()).len();
        // Beside the events: a head, and a frame around each change of user.
        let frames = 200 + 100 * self.client.len();
        assert!(snapshot <= self.config.queue_bytes + 2 * self.config.max_batch_bytes + frames);
    }

    fn take_fates(&mut self) {
        for (id, fate) in self.client.take_fates() {
            assert!(self.recorded.contains_key(&id));
            assert_eq!(self.fates.insert(id, fate), None, "{id} has two fates");
        }
    }

    fn reload(&mut self, beacons: bool, arrive: bool, restore_twice: bool) {
        let now = self.now();
        if beacons {
            let beacons = self.client.leave(now, 4_000);
            assert!(
                beacons
                    .iter()
                    .map(|beacon| beacon.bytes().len())
                    .sum::<usize>()
                    <= 4_000
            );
            for beacon in beacons {
                let seen = self.check_request(beacon.bytes());
                self.client.beaconed(&beacon, now);
                if arrive {
                    self.store(seen);
                }
            }
        }
        self.take_fates();
        let snapshot = self.client.snapshot(now);
        self.pages += 1;
        self.page_began = self.elapsed;
        self.client = start(self.pages, self.config.clone(), self.now());
        let now = self.now();
        let restored = self.client.restore(&snapshot, now);
        assert!(!restored.corrupt);
        // What was dropped in between for want of room would be taken again.
        if restore_twice && self.client.len() == restored.events {
            assert_eq!(self.client.restore(&snapshot, now).events, 0);
        }
        self.client.set_page(self.shown.clone());
        self.user.clear();
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Record(event) => self.record(event),
            Op::Page(url) => {
                self.shown = page(&url);
                self.client.set_page(self.shown.clone());
            }
            Op::Identify(user) => {
                let now = self.now();
                let Ok(id) = self.client.identify(&user, now) else {
                    panic!("{user} is refused");
                };
                self.user = user;
                self.remember(id, Event::new(v1::EventType::Identify));
            }
            Op::Flush => self.client.flush(),
            Op::Pass(ms, answers) => {
                self.elapsed += ms;
                let lost = self.client.len();
                self.exchange(answers.into_iter());
                assert!(self.client.len() <= lost);
            }
            Op::Reload {
                beacons,
                arrive,
                restore_twice,
            } => {
                self.reload(beacons, arrive, restore_twice);
            }
        }
        self.check_memory();
    }

    /// The world gets better; in the end each event has its one fate.
    fn finish(mut self) {
        // A batch may be in flight whose reply never comes: a page has an end.
        self.reload(false, false, false);
        for _ in 0..10_000 {
            match self.client.next_step(self.now()) {
                Step::Send { batch, bytes } => {
                    let seen = self.check_request(&bytes);
                    let reply = self.store(seen);
                    let now = self.now();
                    self.client.on_reply(batch, reply, now);
                }
                Step::WaitUntil(mono_ms) => self.elapsed = self.page_began + mono_ms,
                Step::Idle => break,
            }
        }
        self.take_fates();
        assert!(self.client.is_empty());
        assert!(
            self.fates.keys().eq(self.recorded.keys()),
            "an event has no fate"
        );
        for (id, fate) in &self.fates {
            match fate {
                Fate::Accepted => assert!(self.stored.contains_key(id)),
                Fate::Rejected(reason) => {
                    assert_eq!(*reason, Some(Reason::InvalidName));
                    assert!(self.refused.contains(id));
                }
                Fate::Dropped(DropReason::Unreadable) => {
                    assert_eq!(self.recorded[id].event.name, "poison");
                }
                Fate::Dropped(DropReason::QueueAge) => panic!("nothing here is that old"),
                Fate::Dropped(_) => {}
            }
        }
    }
}

fn run(config: Config, ops: Vec<Op>) {
    let mut world = World::new(config);
    for op in ops {
        world.apply(op);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_accepted_under_its_one_id_or_dropped_with_a_reason(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        run(config(), ops);
    }

    #[test]
    fn and_so_it_is_in_a_small_queue(
        ops in prop::collection::vec(op(), 1..80),
        queue_events in 1..20_usize,
        queue_bytes in 500..8_000_usize,
        max_batch_events in 1..10_usize,
        max_batch_bytes in 300..4_000_usize,
    ) {
        let config = Config {
            queue_events, queue_bytes, max_batch_events, max_batch_bytes, ..config()
        };
        run(config, ops);
    }
}
