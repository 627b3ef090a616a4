//! The client half of the protocol: queue, batch, retry. No clock, no network, no storage, no threads.
//!
//! A shell (browser, app, simulator) drives a [`Client`]: it reports what happens ([`record`](Client::record),
//! [`set_page`](Client::set_page), [`identify`](Client::identify)), asks for the [next step](Client::next_step)
//! after each call and when a wait is over, sends the bytes it is handed as they are (it may compress them), and
//! reports each [reply](Client::on_reply). It stores a [snapshot](Client::snapshot) when the page may go, and hands
//! what earlier pages stored to [`restore`](Client::restore).
//!
//! Promises:
//! - An event's id, (stream, seq), is given once and never changes: not by retries, not by a restart.
//! - An event leaves the queue only when the server answered for it, or with a [`DropReason`] that is counted.
//! - At most one batch is in flight. Nothing is sent before a time that the server asked for.
//! - Memory is bounded by the queue's limits and one batch. Over a limit the oldest go first, orders last.
//! - Snapshots may be lost, cut or damaged: what can't be read is counted, never fatal. Restoring one twice, or while
//!   the page that wrote it lives, only sends copies, which servers recognise.
//!
//! ```
//! use std::num::NonZeroU64;
//! use wakeline_client::{Client, Config, Event, Now, Page, Reply, Start, Step};
//!
//! let now = Now { mono_ms: 0, wall_ms: 1_790_000_000_000 };
//! let mut client = Client::new(Config::new("key"), Start {
//!     now,
//!     stream: NonZeroU64::MIN, // 64 random bits
//!     install: "f3a9".to_owned(),
//!     first_day: 20_717,
//!     seed: 1,
//! });
//! client.set_page(Page { url: "https://shop.example/".to_owned(), ..Page::default() });
//! let id = client.record(Event::page_view(), now)?;
//! assert_eq!(id.seq, 0);
//!
//! let Step::WaitUntil(at) = client.next_step(now) else { panic!("a batch waits for company") };
//! let now = Now { mono_ms: at, wall_ms: now.wall_ms + at };
//! let Step::Send { batch, bytes } = client.next_step(now) else { panic!("it is time") };
//! // POST `bytes`; then:
//! # let _ = bytes;
//! client.on_reply(batch, Reply::of_status(503, Some(10_000), &[]), now);
//! # Ok::<(), wakeline_client::Refused>(())
//! ```

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod check;
mod client;
mod config;
mod encode;
mod event;
mod fate;
mod packed;
mod queue;
mod reply;
mod retry;
mod snapshot;
mod step;
mod strings;
mod wire;

pub use client::Client;
#[cfg(feature = "store")]
pub use client::store::{RecordedAt, Stored};
pub use config::{Config, Now, Person, Start};
pub use event::{Event, Page, Value};
pub use fate::{Counts, DropReason, Fate, Refused};
pub use packed::Packed;
pub use snapshot::Left;
pub use step::{BatchHandle, Beacon, Reply, Restored, Step};
pub use wakeline_proto::{EventId, Reason, v1};
