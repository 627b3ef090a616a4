//! The client's core for browsers, compiled to WebAssembly.
//!
//! [`Core`] is [`wakeline_client::Client`] behind calls that take and give only numbers, texts and bytes: what
//! crosses the border between JavaScript and WebAssembly costs time at each crossing, and glue code for each kind of
//! object. So the browser itself (fetch, beacons, storage, locks, timers) is driven by `loader/src/shell.ts`, and
//! what is queued, sent, kept and given up is decided here.
//!
//! Times are in ms: `mono` by `performance.now()`, `wall` by `Date.now()`.

mod latin1;

use std::num::NonZeroU64;

use wakeline_client::v1::{self, EventType, Item, Order};
use wakeline_client::{
    BatchHandle, Beacon, Client, Config, Event, Fate, Now, Page, Reply, Start, Step, Value,
};
use wasm_bindgen::prelude::wasm_bindgen;

/// What [`Core::step`] gives when [`Core::body`] is to be sent.
const SEND: f64 = -1.0;
/// What [`Core::step`] gives when there is nothing to do before the next call.
const IDLE: f64 = -2.0;
/// Whole numbers up to this size are exact in a JavaScript number.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A client, and the event that is being put together.
#[wasm_bindgen]
pub struct Core {
    client: Client,
    event: Event,
    in_flight: Option<BatchHandle>,
    body: Vec<u8>,
    beacons: Vec<Beacon>,
}

#[wasm_bindgen]
impl Core {
    /// A client with an empty queue. `stream` is 16 hex digits, `first_day` in days since 1970.
    #[expect(
        clippy::too_many_arguments,
        reason = "one crossing; an object would be read field by field"
    )]
    #[wasm_bindgen(constructor)]
    pub fn new(
        key: &str,
        stream: &str,
        install: String,
        first_day: u32,
        language: String,
        timezone: String,
        screen_width: u32,
        screen_height: u32,
        mono: f64,
        wall: f64,
    ) -> Self {
        let stream = u64::from_str_radix(stream, 16)
            .ok()
            .and_then(NonZeroU64::new)
            .unwrap_or(NonZeroU64::MAX);
        let mut config = Config::new(key);
        config.client = v1::Client {
            name: "web".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        config.device = v1::Device {
            language,
            timezone,
            screen_width,
            screen_height,
            ..v1::Device::default()
        };
        let start = Start {
            now: now(mono, wall),
            stream,
            install,
            first_day,
            seed: stream.get(),
        };
        Self {
            client: Client::new(config, start),
            event: Event::new(EventType::Custom),
            in_flight: None,
            body: Vec::new(),
            beacons: Vec::new(),
        }
    }

    /// Takes over what another page stored; gives the number of events. The most recent page first.
    pub fn restore(&mut self, snapshot: &str, mono: f64, wall: f64) -> usize {
        let bytes = latin1::bytes(snapshot);
        self.client.restore(&bytes, now(mono, wall)).events
    }

    /// The page on which the next events happen.
    pub fn page(&mut self, url: String, referrer: String, title: String) {
        self.client.set_page(Page {
            url,
            referrer,
            title,
        });
    }

    /// Adds a text property to the next event.
    pub fn text(&mut self, name: String, value: String) {
        self.event.properties.push((name, Value::Text(value)));
    }

    /// Adds a number to the next event: an integer if it is one.
    pub fn number(&mut self, name: String, value: f64) {
        let value = if value.fract() == 0.0 && value.abs() <= MAX_SAFE_INTEGER {
            Value::Integer(value as i64)
        } else {
            Value::Number(value)
        };
        self.event.properties.push((name, value));
    }

    /// Adds a yes or no to the next event.
    pub fn flag(&mut self, name: String, value: bool) {
        self.event.properties.push((name, Value::Flag(value)));
    }

    /// Adds a point in time to the next event.
    pub fn time(&mut self, name: String, ms: f64) {
        self.event
            .properties
            .push((name, Value::Timestamp(ms as i64)));
    }

    /// Gives the next event an order; `value` in minor units. Items follow.
    pub fn order(&mut self, id: String, currency: String, value: f64) {
        self.event.order = Some(Order {
            id,
            currency,
            value: value as i64,
            items: Vec::new(),
        });
    }

    /// Adds an item to the next event's order; `price` in minor units.
    pub fn item(&mut self, sku: String, name: String, price: f64, quantity: u32) {
        if let Some(order) = &mut self.event.order {
            order.items.push(Item {
                sku,
                name,
                price: price as i64,
                quantity,
            });
        }
    }

    /// Queues the event that was put together. `at` is when it happened, by the monotonic clock. `name` is a custom
    /// event's name, or the user of an `identify`. Gives why it was refused, or an empty text.
    pub fn record(
        &mut self,
        seq: f64,
        at: f64,
        event_type: &str,
        name: String,
        mono: f64,
        wall: f64,
    ) -> String {
        let event_type = EventType::from_name(event_type).unwrap_or(EventType::Custom);
        let mut event = std::mem::replace(&mut self.event, Event::new(EventType::Custom));
        let now = now(mono, wall);
        let result = if event_type == EventType::Identify {
            self.client
                .adopt_identify(seq as u64, &name, at as u64, now)
        } else {
            event.event_type = event_type;
            event.name = name;
            self.client.adopt(seq as u64, event, at as u64, now)
        };
        result.map_or_else(|refused| refused.detail.to_owned(), |_| String::new())
    }

    /// Sends what is queued as soon as the server allows.
    pub fn flush(&mut self) {
        self.client.flush();
    }

    /// What to do now: send [`body`](Self::body) and call [`reply`](Self::reply) (−1), nothing until the next call
    /// (−2), or ask again at the given monotonic time.
    pub fn step(&mut self, mono: f64, wall: f64) -> f64 {
        match self.client.next_step(now(mono, wall)) {
            Step::Send { batch, bytes } => {
                self.in_flight = Some(batch);
                self.body = bytes;
                SEND
            }
            Step::WaitUntil(at) => at as f64,
            Step::Idle => IDLE,
        }
    }

    /// The batch to be sent; gives it once.
    pub fn body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// How the batch was answered: HTTP status, or 0 if it was not; `Retry-After` in ms, or less than 0; the body.
    pub fn reply(&mut self, status: u16, retry_after: f64, body: &[u8], mono: f64, wall: f64) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        let reply = if status == 0 {
            Reply::Unreachable
        } else {
            let retry_after = (retry_after >= 0.0).then_some(retry_after as u64);
            Reply::of_status(status, retry_after, body)
        };
        self.client.on_reply(batch, reply, now(mono, wall));
    }

    /// When the page goes: prepares beacons of at most `max_bytes` together and gives their number.
    pub fn leave(&mut self, max_bytes: usize, mono: f64, wall: f64) -> usize {
        self.beacons = self.client.leave(now(mono, wall), max_bytes);
        self.beacons.len()
    }

    /// The bytes of a beacon that [`leave`](Self::leave) prepared.
    pub fn beacon(&self, index: usize) -> Vec<u8> {
        self.beacons
            .get(index)
            .map_or_else(Vec::new, |beacon| beacon.bytes().to_vec())
    }

    /// The browser took this beacon.
    pub fn beaconed(&mut self, index: usize, mono: f64, wall: f64) {
        if let Some(beacon) = self.beacons.get(index) {
            self.client.beaconed(beacon, now(mono, wall));
        }
    }

    /// What the next page needs, as a text with a character for each byte.
    pub fn snapshot(&self, mono: f64, wall: f64) -> String {
        latin1::text(&self.client.snapshot(now(mono, wall)))
    }

    /// Events that wait or are in flight.
    pub fn waiting(&self) -> usize {
        self.client.len()
    }

    /// How many events were given up or refused by the server, by reason; empty if none was.
    pub fn lost(&self) -> String {
        let mut lost = String::new();
        for (fate, count) in &self.client.counts().fates {
            if *fate != Fate::Accepted {
                lost.push_str(&count.to_string());
                lost.push(' ');
                lost.push_str(fate.as_str());
                lost.push(' ');
            }
        }
        lost
    }

    /// The fates since the last call, a line each: sequence number and name. Events of earlier pages are left out.
    pub fn fates(&mut self) -> String {
        let stream = self.client.stream();
        let mut lines = String::new();
        for (id, fate) in self.client.take_fates() {
            if id.stream == stream {
                lines.push_str(&id.seq.to_string());
                lines.push(' ');
                lines.push_str(Fate::as_str(fate));
                lines.push('\n');
            }
        }
        lines
    }
}

fn now(mono: f64, wall: f64) -> Now {
    Now {
        mono_ms: mono as u64,
        wall_ms: wall as u64,
    }
}
