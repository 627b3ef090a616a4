//! Visitors: pages that run the SDK's core, and servers that post events without ids.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use wakeline_client::{Client, Config, Event, EventId, Fate, Now, Page, Reply, Start, Step, v1};

use crate::net::Post;
use crate::{machine, trace};

/// Longest time that an event is older than its recording, in ms: a page that was without network.
const LONGEST_AGE_MS: u64 = 5 * 60 * 60 * 1000;
/// The time of an event that is refused for it.
const TOO_OLD: &str = r#""time":"2020-01-01T00:00:00Z","#;

/// What clients know of what they sent.
#[derive(Default)]
pub(crate) struct Known {
    /// Events that were recorded, with their sites.
    pub(crate) sent: BTreeMap<(u64, u64), u64>,
    /// Numbers of events that their client refused, and says so.
    pub(crate) refused: BTreeSet<(u64, u64)>,
    /// Those that a collector said to have.
    pub(crate) acked: BTreeSet<(u64, u64)>,
    /// Events without an id, by their names, of which no two are equal.
    pub(crate) named: BTreeMap<String, Named>,
    /// Requests with a key that no site has.
    pub(crate) strangers: i64,
    /// Clients that have something to send yet.
    pub(crate) busy: usize,
}

/// What is known of an event without an id.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    /// It is too old to be counted.
    pub(crate) refused: bool,
    /// A collector said to have it.
    pub(crate) acked: bool,
}

/// A visitor.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    pub(crate) site: u64,
    pub(crate) key: String,
    pub(crate) server_key: String,
    /// Not all its own: some visitors have two pages open.
    pub(crate) visitor: String,
    pub(crate) events: usize,
    /// All events are recorded by then.
    pub(crate) until_ms: u64,
    pub(crate) collectors: Vec<String>,
    pub(crate) seed: u64,
}

/// A page and those after it, until all is sent.
pub(crate) async fn visit(plan: Plan, known: Rc<RefCell<Known>>) -> turmoil::Result {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut times: Vec<u64> = (0..plan.events)
        .map(|_| random.u64(..plan.until_ms))
        .collect();
    times.sort_unstable();
    times.reverse();
    let mut visit = Visit::new(plan, &mut random);
    loop {
        let now = visit.now();
        while times.last().is_some_and(|at| *at <= visit.elapsed()) {
            times.pop();
            visit.happen(&mut random, &known);
        }
        let next = times.last().copied();
        match visit.client.next_step(now) {
            Step::Send { batch, bytes } => {
                let post = visit.post(&mut random, bytes);
                if random.f32() < 0.15 {
                    repeat(post.clone(), random.u64(..5_000));
                }
                let reply = post.send().await;
                let number = visit.plan.number;
                let what = match &reply {
                    Reply::Accepted(_) => "accepted".to_owned(),
                    other => format!("{other:?}"),
                };
                trace::event(format_args!("client {number}: {what}"));
                let now = visit.now();
                visit.client.on_reply(batch, reply, now);
                visit.learn(&known);
                if times.is_empty() && visit.client.is_empty() {
                    break;
                }
            }
            Step::WaitUntil(at) => {
                let wait = at - now.mono_ms;
                let next = next.map(|at| at.saturating_sub(visit.elapsed()).max(1));
                sleep_ms(next.map_or(wait, |next| next.min(wait))).await;
            }
            Step::Idle => match next {
                Some(at) => sleep_ms(at.saturating_sub(visit.elapsed()).max(1)).await,
                None => break,
            },
        }
    }
    // What a host has begun ends with its program.
    while visit.posting.get() > 0 {
        sleep_ms(100).await;
    }
    known.borrow_mut().busy -= 1;
    Ok(())
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Something on the way sends a request once more, and nobody waits for the answer.
fn repeat(post: Post, after_ms: u64) {
    tokio::task::spawn_local(async move {
        sleep_ms(after_ms).await;
        post.send().await;
    });
}

struct Visit {
    plan: Plan,
    client: Client,
    begun: Instant,
    /// The wall clock is off by this.
    skew_ms: i64,
    pages: u64,
    seq: u64,
    names: u64,
    /// Events without ids that wait for their answers.
    posting: Rc<Cell<usize>>,
}

impl Visit {
    fn new(plan: Plan, random: &mut fastrand::Rng) -> Self {
        let now = Now {
            mono_ms: LONGEST_AGE_MS,
            wall_ms: machine::EPOCH_MS,
        };
        Self {
            client: open_page(&plan, 0, now),
            plan,
            begun: Instant::now(),
            skew_ms: random.i64(-100_000_000..100_000_000),
            pages: 0,
            seq: 0,
            names: 0,
            posting: Rc::default(),
        }
    }

    fn elapsed(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn now(&self) -> Now {
        let wall = machine::EPOCH_MS.saturating_add_signed(self.skew_ms);
        Now {
            mono_ms: LONGEST_AGE_MS + self.elapsed(),
            wall_ms: wall + self.elapsed(),
        }
    }

    /// What a person does.
    fn happen(&mut self, random: &mut fastrand::Rng, known: &Rc<RefCell<Known>>) {
        match random.u32(..100) {
            0..5 => self.turn_page(random, true),
            5..8 => self.turn_page(random, false),
            8..18 => self.name(random, known),
            18..25 => self.client.flush(),
            25..28 => self.intrude(random, known),
            _ => {}
        }
        let event = match random.u32(..10) {
            0..6 => {
                self.client.set_page(Page {
                    url: format!("https://shop.example/{}", random.u32(..6)),
                    ..Page::default()
                });
                Event::page_view()
            }
            6..8 => Event::custom("click"),
            8 => Event::engagement(v1::Engagement {
                time_ms: random.u32(..20_000),
                scroll_percent: random.u32(..100),
            }),
            _ if random.u32(..4) == 0 => Event::custom(""), // which has no name
            _ => Event {
                passive: true,
                ..Event::custom("seen")
            },
        };
        let now = self.now();
        // Events of a page that was long without network; time runs on from one to the next all the same.
        let age = random.u64(..LONGEST_AGE_MS) * u64::from(random.bool());
        let at = now.mono_ms - age;
        let seq = self.seq;
        self.seq += 1;
        let mut known = known.borrow_mut();
        match self.client.adopt(seq, event, at, now) {
            Ok(EventId { stream, seq }) => {
                known.sent.insert((stream, seq), self.plan.site);
            }
            Err(_) => {
                known.refused.insert((self.stream(), seq));
            }
        }
    }

    fn stream(&self) -> u64 {
        stream_of(&self.plan, self.pages)
    }

    /// The page goes; what it did not send, the next one does, if it was stored.
    fn turn_page(&mut self, random: &mut fastrand::Rng, stored: bool) {
        let now = self.now();
        for beacon in self.client.leave(now, 60 << 10) {
            let post = self.post(random, beacon.bytes().to_vec());
            self.client.beaconed(&beacon, now);
            repeat(post, 0);
        }
        let snapshot = self.client.snapshot(now);
        self.pages += 1;
        self.seq = 0;
        self.client = open_page(&self.plan, self.pages, now);
        if stored {
            self.client.restore(&snapshot, now);
        }
    }

    /// A server posts an event without an id, once, and looks at the answer.
    fn name(&mut self, random: &mut fastrand::Rng, known: &Rc<RefCell<Known>>) {
        self.names += 1;
        let name = format!("n{}-{}", self.plan.number, self.names);
        let refused = random.u32(..4) == 0;
        let time = if refused { TOO_OLD } else { "" };
        let post = self.post_json(random, &self.plan.server_key, &name, time);
        let event = Named {
            refused,
            acked: false,
        };
        known.borrow_mut().named.insert(name.clone(), event);
        self.posting.set(self.posting.get() + 1);
        let (known, posting) = (Rc::clone(known), Rc::clone(&self.posting));
        tokio::task::spawn_local(async move {
            let acked = matches!(post.send().await, Reply::Accepted(_));
            trace::event(format_args!("{name}: {acked}"));
            let event = Named { refused, acked };
            known.borrow_mut().named.insert(name, event);
            posting.set(posting.get() - 1);
        });
    }

    /// Somebody posts with a key that no site has.
    fn intrude(&mut self, random: &mut fastrand::Rng, known: &Rc<RefCell<Known>>) {
        known.borrow_mut().strangers += 1;
        repeat(self.post_json(random, "nobody's", "intruder", ""), 0);
    }

    /// An event without an id; `time`: a member that tells its time.
    fn post_json(&self, random: &mut fastrand::Rng, key: &str, name: &str, time: &str) -> Post {
        let visitor = &self.plan.visitor;
        let body = format!(r#"{{"type":"custom","name":"{name}",{time}"visitor":"{visitor}"}}"#);
        Post {
            host: self.collector(random),
            path: "/w/1/events",
            content_type: "application/json",
            key: Some(key.to_owned()),
            body: body.into_bytes().into(),
        }
    }

    fn post(&self, random: &mut fastrand::Rng, bytes: Vec<u8>) -> Post {
        Post {
            host: self.collector(random),
            path: "/w/1/batch",
            content_type: "application/x-protobuf",
            key: None,
            body: bytes.into(),
        }
    }

    fn collector(&self, random: &mut fastrand::Rng) -> String {
        let collectors = &self.plan.collectors;
        collectors[random.usize(..collectors.len())].clone()
    }

    fn learn(&mut self, known: &Rc<RefCell<Known>>) {
        let mut known = known.borrow_mut();
        for (id, fate) in self.client.take_fates() {
            if fate == Fate::Accepted {
                known.acked.insert((id.stream, id.seq));
            }
        }
    }
}

/// The stream of a page.
fn stream_of(plan: &Plan, page: u64) -> u64 {
    plan.number * 1000 + page + 1
}

/// A page, with a stream of its own and nothing to send.
fn open_page(plan: &Plan, page: u64, now: Now) -> Client {
    let config = Config {
        batch_quiet_ms: 100,
        batch_wait_ms: 400,
        backoff_base_ms: 200,
        backoff_cap_ms: 2_000,
        pause_ms: 2_000,
        retry_after_cap_ms: 2_000,
        beacon_grace_ms: 2_000,
        keep_fates: usize::MAX,
        ..Config::new(plan.key.clone())
    };
    let start = Start {
        now,
        stream: NonZeroU64::new(stream_of(plan, page)).unwrap_or(NonZeroU64::MIN),
        install: plan.visitor.clone(),
        first_day: 0,
        seed: plan.seed ^ page,
    };
    Client::new(config, start)
}
