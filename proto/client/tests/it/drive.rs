//! A client's shell and server, reduced to function calls.

use std::num::NonZeroU64;

use prost::Message as _;
use wakeline_client::{
    BatchHandle, Client, Config, Event, EventId, Fate, Now, Page, Reply, Start, Step, v1,
};
use wakeline_proto::batch;

const EPOCH_MS: u64 = 1_790_000_000_000;

/// Both clocks, `ms` after the test began.
pub(crate) fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_ms: EPOCH_MS + ms,
    }
}

pub(crate) fn config() -> Config {
    Config {
        keep_fates: usize::MAX,
        batch_quiet_ms: 2_000,
        batch_wait_ms: 2_000,
        ..Config::new("key")
    }
}

pub(crate) fn start(stream: u64, config: Config, now: Now) -> Client {
    let stream = NonZeroU64::new(stream).unwrap_or(NonZeroU64::MIN);
    Client::new(
        config,
        Start {
            now,
            stream,
            install: "install".to_owned(),
            first_day: 20_717,
            seed: stream.get(),
        },
    )
}

pub(crate) fn client() -> Client {
    start(1, config(), at(0))
}

pub(crate) fn record(client: &mut Client, event: Event, now: Now) -> EventId {
    match client.record(event, now) {
        Ok(id) => id,
        Err(refused) => panic!("{refused}"),
    }
}

pub(crate) fn page(url: &str) -> Page {
    Page {
        url: url.to_owned(),
        ..Page::default()
    }
}

pub(crate) fn order(id: &str) -> Event {
    let order = v1::Order {
        id: id.to_owned(),
        currency: "EUR".to_owned(),
        value: 1999,
        items: vec![v1::Item {
            sku: "tea".to_owned(),
            name: "Tea".to_owned(),
            price: 1999,
            quantity: 1,
        }],
    };
    Event::order(v1::EventType::Order, order)
}

/// An event as a server reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: EventId,
    pub(crate) event: Event,
    pub(crate) page: Page,
    pub(crate) user: String,
    /// By the client's wall clock.
    pub(crate) time_ms: i64,
    pub(crate) clock: v1::Clock,
    pub(crate) predecessor: Option<EventId>,
}

pub(crate) fn read(bytes: &[u8]) -> Vec<Seen> {
    let batch = match batch::decode(bytes) {
        Ok(batch) => batch,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(batch.encode_to_vec(), bytes, "not as prost writes it");
    assert_eq!(batch.key, "key");
    let known = ["install", "another"].contains(&batch.visitor.as_str());
    assert!(known, "{}", batch.visitor);
    batch::expand(&batch)
        .map(|event| match event {
            Ok(event) => Seen {
                id: event.id,
                page: Page {
                    url: event.url.to_owned(),
                    referrer: event.referrer.to_owned(),
                    title: event.title.to_owned(),
                },
                user: batch.user.clone(),
                time_ms: batch.sent_at as i64 - event.age_ms,
                clock: event.clock,
                predecessor: event.predecessor,
                event: Event::from(&event),
            },
            Err(refused) if refused.detail == "refused by the client" => Seen {
                id: refused.id.unwrap_or_else(|| panic!("no id: {refused:?}")),
                page: Page::default(),
                user: batch.user.clone(),
                time_ms: 0,
                clock: v1::Clock::Monotonic,
                predecessor: None,
                event: Event::refused(refused.reason),
            },
            Err(unreadable) => panic!("{unreadable:?}"),
        })
        .collect()
}

/// The batch that the client sends now.
#[track_caller]
pub(crate) fn send(client: &mut Client, now: Now) -> (BatchHandle, Vec<Seen>) {
    match client.next_step(now) {
        Step::Send { batch, bytes } => (batch, read(&bytes)),
        step => panic!("{step:?}"),
    }
}

/// A 202 that refuses these.
pub(crate) fn reply(events: usize, rejected: &[(u32, &str)]) -> Reply {
    let reply = v1::BatchReply {
        accepted: (events - rejected.len()) as u32,
        rejected: rejected
            .iter()
            .map(|(index, reason)| v1::BatchRejection {
                index: *index,
                reason: (*reason).to_owned(),
                detail: String::new(),
            })
            .collect(),
        settings: String::new(),
    };
    Reply::Accepted(reply.encode_to_vec())
}

/// Sends and has accepted what is due now.
#[track_caller]
pub(crate) fn deliver(client: &mut Client, now: Now) -> Vec<Seen> {
    let (batch, seen) = send(client, now);
    client.on_reply(batch, reply(seen.len(), &[]), now);
    seen
}

pub(crate) fn ids(seen: &[Seen]) -> Vec<(u64, u64)> {
    seen.iter()
        .map(|seen| (seen.id.stream, seen.id.seq))
        .collect()
}

pub(crate) fn count(client: &Client, fate: Fate) -> u64 {
    let fates = &client.counts().fates;
    fates
        .iter()
        .find(|(known, _)| *known == fate)
        .map_or(0, |(_, count)| *count)
}
