//! For shells that keep events in a store of their own, and hand the client those that it may send next.
//!
//! A stored event is a batch of one, without a key: the format on disk is that of the wire, and changes by its rules.

use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use alloc::vec::Vec;

use wakeline_proto::batch::{decode, expand};
use wakeline_proto::{EventId, v1};

use super::Client;
use crate::check;
use crate::config::{Config, Now, Person};
use crate::encode::{self, Sender};
use crate::event::{Event, Page};
use crate::fate::Refused;
use crate::packed::Packed;
use crate::queue::{At, Entry};

/// An event with all that it takes to send it, in this process or a later one, except for the time when it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Given once, never changed.
    pub id: EventId,
    /// The stream that this install had before, and the last number given in it.
    pub predecessor: Option<EventId>,
    /// What happened.
    pub event: Event,
    /// Where it happened.
    pub page: Option<Arc<Page>>,
    /// Whose it is.
    pub person: Arc<Person>,
    /// The device, and the app's version, of that time.
    pub device: Arc<v1::Device>,
}

/// When a stored event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedAt {
    /// By the monotonic clock of [`Now`], which ran ever since: its age is exact.
    Mono(u64),
    /// By the wall clock, which may have been set since.
    Wall(u64),
}

impl Stored {
    /// Refuses what a collector would, as [`Client::record`] does, but for consent.
    pub fn check(&self) -> Result<(), Refused> {
        check::event(&self.event)?;
        let fine = self.packed().weight() <= wakeline_proto::limits::MAX_EVENT_BYTES;
        check::ensure(fine, crate::Reason::TooLarge, "the event is too large")
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let config = Config {
            device: self.device.as_ref().clone(),
            ..Config::new("")
        };
        let now = Now {
            mono_ms: 0,
            wall_ms: 0,
        };
        let entry = self.clone().entry(At::Mono(0), now);
        encode::batch(
            encode::header(&Sender::of(&config), &entry.identity, now),
            &[&entry],
            now,
        )
    }

    /// Reads an event; `None` if the bytes are not one's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let batch = decode(bytes).ok()?;
        let (id, predecessor, event, page) = match expand(&batch).next()? {
            Ok(event) => {
                let page = Page {
                    url: event.url.to_owned(),
                    referrer: event.referrer.to_owned(),
                    title: event.title.to_owned(),
                };
                let page = (page != Page::default()).then(|| Arc::new(page));
                (event.id, event.predecessor, Event::from(&event), page)
            }
            // What stands in place of a refused event.
            Err(refused) => (refused.id?, None, Event::refused(refused.reason), None),
        };
        let consent = batch.consent();
        Some(Self {
            id,
            predecessor,
            event,
            page,
            person: Arc::new(Person {
                install: batch.visitor,
                first_day: batch.first_day,
                user: batch.user,
                consent,
            }),
            device: Arc::new(batch.device.unwrap_or_default()),
        })
    }

    fn packed(&self) -> Packed {
        let none = Page::default();
        Packed::new(self.page.as_deref().unwrap_or(&none), &self.event)
    }

    fn entry(self, at: At, now: Now) -> Entry {
        let queued_at = match at {
            At::Mono(at) => at.min(now.mono_ms),
            At::Wall(_) => now.mono_ms,
        };
        let packed = self.packed();
        Entry {
            at,
            identity: Arc::new(Arc::unwrap_or_clone(self.person).into()),
            predecessor: self.predecessor,
            queued_at,
            ..Entry::new(self.id, packed)
        }
    }
}

impl Client {
    /// Queues an event of a store, under its own id. The store must not hand out one twice before it has its fate.
    pub fn load(&mut self, stored: Stored, at: RecordedAt, now: Now) {
        let at = match at {
            RecordedAt::Mono(at) => At::Mono(at),
            RecordedAt::Wall(at) => At::Wall(at),
        };
        self.queue.push(stored.entry(at, now));
    }

    /// Takes an event back out of the queue; false if it is not in it, or in flight.
    pub fn withdraw(&mut self, id: EventId) -> bool {
        self.queue.give_up(&|entry| entry.id == id).is_some()
    }

    /// What the next batches say of the device.
    pub fn set_device(&mut self, device: v1::Device) {
        self.config.device = device;
        self.sender = Sender::of(&self.config);
    }

    /// How long events wait for company from now on: see [`Config::batch_quiet_ms`] and [`Config::batch_wait_ms`].
    pub fn set_patience(&mut self, quiet_ms: u64, wait_ms: u64) {
        self.config.batch_quiet_ms = quiet_ms;
        self.config.batch_wait_ms = wait_ms;
    }

    /// The network is back: what failed for want of it is tried at once. A wait that the server asked for goes on.
    pub fn network_is_back(&mut self, now: Now) {
        if self.retry.asked_wait(now.mono_ms).is_none() {
            self.retry.forgive();
        }
    }

    /// Until when, by the monotonic clock, the server asked to wait; a later process is told by
    /// [`inherit_wait`](Self::inherit_wait).
    pub fn asked_wait(&self, now: Now) -> Option<u64> {
        self.retry.asked_wait(now.mono_ms)
    }

    /// An earlier process was asked to wait until then.
    pub fn inherit_wait(&mut self, until_mono_ms: u64) {
        self.retry.inherit(until_mono_ms);
    }
}
