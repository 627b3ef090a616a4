//! The events of a snapshot's frame: those of one identity, in the order of their ids.
//!
//! A text is said once: 0, length and bytes where it first comes, from then on its place among the texts, from 1.
//! Streams and pages are said when they change; numbers and times are differences. Integers are varints.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use alloc::sync::Arc;

use wakeline_proto::EventId;
use wakeline_proto::limits::{MAX_EVENT_BYTES, MAX_ITEMS, MAX_PROPERTIES, MAX_SEQ, MAX_TEXT_BYTES};
use wakeline_proto::v1::{Consent, Engagement, EventType, Exposure, Item, Order};

use crate::config::Now;
use crate::event::{Event, Page, Value};
use crate::queue::{self, Entry, Identity};
use crate::strings::Strings;
use crate::wire::{Reader, sized, unzigzag, varint, zigzag};

// What an event has, said in its first byte.
const STREAM: u8 = 1;
const PAGE: u8 = 2;
const PASSIVE: u8 = 4;
const ORDER: u8 = 8;
const ENGAGEMENT: u8 = 16;
const EXPOSURE: u8 = 32;

/// Bytes that a frame's events may come to, far more than are ever written into one.
const MAX_FRAME_BYTES: usize = 8 << 20;

// Kinds of values.
const TEXT: u8 = 0;
const INTEGER: u8 = 1;
const NUMBER: u8 = 2;
const NO: u8 = 3;
const YES: u8 = 4;
const TIMESTAMP: u8 = 5;

/// Writes `entries`, which are of one identity and sorted [by id](queue::by_id).
pub(super) fn write(out: &mut Vec<u8>, entries: &[&Entry], now: Now) {
    let mut writer = Writer {
        out,
        strings: Strings::default(),
    };
    if let Some(first) = entries.first() {
        let identity = &first.identity;
        writer.text(&identity.visitor);
        writer.text(&identity.user);
        writer.number(u64::from(identity.first_day));
        writer.out.push(identity.consent as u8);
    }
    let (mut before, mut page, mut next_seq, mut time) = (None, None, 0, 0);
    for entry in entries {
        let stream = Some((entry.id.stream, entry.predecessor));
        let event = &entry.event;
        let moved = flag(STREAM, stream != before) | flag(PAGE, entry.page.as_ref() != page);
        writer.out.push(moved | has(event));
        if stream != before {
            let last = entry.predecessor.unwrap_or(EventId { stream: 0, seq: 0 });
            writer.fixed64(entry.id.stream);
            writer.fixed64(last.stream);
            writer.number(last.seq);
            next_seq = 0;
        }
        if entry.page.as_ref() != page {
            let page = entry.page.as_deref();
            for text in page.map_or([""; 3], |page| [&page.url, &page.referrer, &page.title]) {
                writer.text(text);
            }
        }
        let recorded_at = (now.wall_ms as i64)
            .saturating_sub(entry.at.age(now))
            .max(0);
        writer.number(entry.id.seq.wrapping_sub(next_seq));
        writer.number(zigzag(recorded_at.wrapping_sub(time)));
        writer.event(event);
        next_seq = entry.id.seq.wrapping_add(1);
        (before, page, time) = (stream, entry.page.as_ref(), recorded_at);
    }
}

fn flag(flag: u8, set: bool) -> u8 {
    if set { flag } else { 0 }
}

fn has(event: &Event) -> u8 {
    flag(PASSIVE, event.passive)
        | flag(ORDER, event.order.is_some())
        | flag(ENGAGEMENT, event.engagement.is_some())
        | flag(EXPOSURE, event.exposure.is_some())
}

struct Writer<'o, 'a> {
    out: &'o mut Vec<u8>,
    strings: Strings<'a>,
}

impl<'a> Writer<'_, 'a> {
    fn number(&mut self, number: u64) {
        varint(self.out, number);
    }

    fn fixed64(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &'a str) {
        let known = self.strings.list().len();
        let index = self.strings.index(text) as usize;
        if index < known {
            self.number(index as u64 + 1);
        } else {
            self.number(0);
            sized(self.out, text.as_bytes());
        }
    }

    fn event(&mut self, event: &'a Event) {
        self.out.push(event.event_type as u8);
        self.text(&event.name);
        self.number(event.properties.len() as u64);
        for (name, value) in &event.properties {
            self.text(name);
            self.value(value);
        }
        if let Some(order) = &event.order {
            self.text(&order.id);
            self.text(&order.currency);
            self.number(zigzag(order.value));
            self.number(order.items.len() as u64);
            for item in &order.items {
                self.text(&item.sku);
                self.text(&item.name);
                self.number(zigzag(item.price));
                self.number(u64::from(item.quantity));
            }
        }
        if let Some(engagement) = &event.engagement {
            self.number(u64::from(engagement.time_ms));
            self.number(u64::from(engagement.scroll_percent));
        }
        if let Some(exposure) = &event.exposure {
            self.text(&exposure.experiment);
            self.text(&exposure.variant);
        }
    }

    fn value(&mut self, value: &'a Value) {
        let (kind, code) = match value {
            Value::Text(text) => {
                self.out.push(TEXT);
                return self.text(text);
            }
            Value::Number(number) => {
                self.out.push(NUMBER);
                return self.fixed64(number.to_bits());
            }
            Value::Flag(flag) => return self.out.push(if *flag { YES } else { NO }),
            Value::Integer(integer) => (INTEGER, zigzag(*integer)),
            Value::Timestamp(ms) => (TIMESTAMP, zigzag(*ms)),
        };
        self.out.push(kind);
        self.number(code);
    }
}

/// An event as a shell passes it, in the form that a snapshot gives it: a byte that says what it has (4: passive,
/// 8: order, 16: engagement, 32: exposure), the page's URL, referrer and title; the type's number, the name, the number
/// of properties, and each one's name and value; then what the first byte says.
///
/// A text is 0, its length, and its bytes. A value is its kind and what that needs: 0 text, 1 integer, 2 number (eight
/// bytes), 3 no, 4 yes, 5 point in time. Lengths and counts are varints; integers, times and money are zigzag codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// Where it happened.
    pub page: Page,
    /// What happened.
    pub event: Event,
}

impl Passed {
    /// Reads one; `None` if the bytes are something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Events::without_identity(bytes);
        let has = reader.reader.byte()?;
        let page = reader.page()?;
        let event = reader.event(has)?;
        reader.reader.is_empty().then_some(Self { page, event })
    }

    /// What [`read`](Self::read) reads.
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![has(&self.event)];
        let mut writer = Writer {
            out: &mut out,
            strings: Strings::default(),
        };
        for text in [&self.page.url, &self.page.referrer, &self.page.title] {
            writer.text(text);
        }
        writer.event(&self.event);
        out
    }
}

/// An event that was left.
pub(crate) struct Left {
    pub(crate) id: EventId,
    pub(crate) predecessor: Option<EventId>,
    /// By the wall clock.
    pub(crate) recorded_at: u64,
    pub(crate) page: Option<Arc<Page>>,
    pub(crate) event: Event,
}

/// Reads a frame's events until the first that cannot be read. Whatever the bytes are, an event has at most
/// [`MAX_EVENT_BYTES`], and all together have [`MAX_FRAME_BYTES`].
pub(crate) struct Events<'a> {
    reader: Reader<'a>,
    texts: Vec<&'a str>,
    identity: Arc<Identity>,
    corrupt: bool,
    /// Bytes that may still be handed out.
    budget: usize,
    // What the next event's differences are relative to.
    stream: u64,
    predecessor: Option<EventId>,
    page: Option<Arc<Page>>,
    next_seq: u64,
    time: i64,
}

impl<'a> Events<'a> {
    /// `None` if the identity cannot be read.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut events = Self::without_identity(bytes);
        events.identity = Arc::new(Identity {
            visitor: events.text()?,
            user: events.text()?,
            first_day: events.number()?,
            consent: Consent::try_from(i32::from(events.reader.byte()?)).ok()?,
        });
        Some(events)
    }

    fn without_identity(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            texts: Vec::new(),
            identity: Arc::default(),
            corrupt: false,
            budget: MAX_FRAME_BYTES,
            stream: 0,
            predecessor: None,
            page: None,
            next_seq: 0,
            time: 0,
        }
    }

    /// Whose the events are.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether an event could not be read.
    pub(crate) fn corrupt(&self) -> bool {
        self.corrupt
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Left> {
        if self.corrupt || self.reader.is_empty() {
            return None;
        }
        let left = self.read();
        self.corrupt = left.is_none();
        left
    }

    fn read(&mut self) -> Option<Left> {
        let flags = self.reader.byte()?;
        if flags & STREAM != 0 {
            self.stream = self.reader.fixed64()?;
            let last = EventId {
                stream: self.reader.fixed64()?,
                seq: self.reader.varint()?,
            };
            self.predecessor = (last.stream != 0).then_some(last);
            self.next_seq = 0;
        }
        if flags & PAGE != 0 {
            let page = self.page()?;
            self.page = (page != Page::default()).then(|| Arc::new(page));
        }
        let seq = self.next_seq.wrapping_add(self.reader.varint()?);
        if self.stream == 0 || seq > MAX_SEQ {
            return None;
        }
        self.next_seq = seq + 1;
        self.time = self.time.wrapping_add(unzigzag(self.reader.varint()?));
        let event = self.event(flags)?;
        let weight = queue::weight(&event, self.page.as_deref());
        // A page that is shared takes no memory again.
        let page = self.page.as_deref().filter(|_| flags & PAGE != 0);
        self.budget = self.budget.checked_sub(queue::weight(&event, page))?;
        (weight <= MAX_EVENT_BYTES).then(|| Left {
            id: EventId {
                stream: self.stream,
                seq,
            },
            predecessor: self.predecessor,
            recorded_at: self.time.max(0) as u64,
            page: self.page.clone(),
            event,
        })
    }

    fn page(&mut self) -> Option<Page> {
        Some(Page {
            url: self.text()?,
            referrer: self.text()?,
            title: self.text()?,
        })
    }

    fn event(&mut self, flags: u8) -> Option<Event> {
        let event_type = EventType::try_from(i32::from(self.reader.byte()?)).ok()?;
        let mut event = Event::new(event_type);
        event.name = self.text()?;
        event.passive = flags & PASSIVE != 0;
        for _ in 0..self.count(MAX_PROPERTIES)? {
            let name = self.text()?;
            event.properties.push((name, self.value()?));
        }
        if flags & ORDER != 0 {
            let mut order = Order {
                id: self.text()?,
                currency: self.text()?,
                value: unzigzag(self.reader.varint()?),
                items: Vec::new(),
            };
            for _ in 0..self.count(MAX_ITEMS)? {
                order.items.push(Item {
                    sku: self.text()?,
                    name: self.text()?,
                    price: unzigzag(self.reader.varint()?),
                    quantity: self.number()?,
                });
            }
            event.order = Some(order);
        }
        if flags & ENGAGEMENT != 0 {
            event.engagement = Some(Engagement {
                time_ms: self.number()?,
                scroll_percent: self.number()?,
            });
        }
        if flags & EXPOSURE != 0 {
            event.exposure = Some(Exposure {
                experiment: self.text()?,
                variant: self.text()?,
            });
        }
        Some(event)
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.reader.byte()? {
            TEXT => Value::Text(self.text()?),
            INTEGER => Value::Integer(unzigzag(self.reader.varint()?)),
            NUMBER => Value::Number(f64::from_bits(self.reader.fixed64()?)),
            NO => Value::Flag(false),
            YES => Value::Flag(true),
            TIMESTAMP => Value::Timestamp(unzigzag(self.reader.varint()?)),
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<u32> {
        u32::try_from(self.reader.varint()?).ok()
    }

    fn count(&mut self, max: usize) -> Option<usize> {
        let count = usize::try_from(self.reader.varint()?).ok()?;
        (count <= max).then_some(count)
    }

    fn text(&mut self) -> Option<String> {
        let index = usize::try_from(self.reader.varint()?).ok()?;
        let text = if let Some(index) = index.checked_sub(1) {
            *self.texts.get(index)?
        } else {
            let text = str::from_utf8(self.reader.sized()?).ok()?;
            self.texts.push(text);
            text
        };
        (text.len() <= MAX_TEXT_BYTES).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wakeline_proto::EventId;
    use wakeline_proto::v1::{Consent, Engagement, EventType, Exposure, Item, Order};

    use super::{Events, Left, write};
    use crate::config::Now;
    use crate::event::{Event, Page, Value};
    use crate::queue::{At, Entry, Identity};

    const NOW: Now = Now {
        mono_ms: 5_000,
        wall_ms: 1_790_000_000_000,
    };

    fn identity() -> Identity {
        Identity {
            visitor: "install".to_owned(),
            first_day: 20_717,
            user: "user".to_owned(),
            consent: Consent::Granted,
        }
    }

    fn entry(stream: u64, seq: u64, page: Option<&Arc<Page>>, event: Event) -> Entry {
        Entry {
            id: EventId { stream, seq },
            at: At::Wall(1_789_999_990_000 + 7 * seq),
            event,
            page: page.cloned(),
            identity: Arc::new(identity()),
            predecessor: (stream == 2).then_some(EventId {
                stream: 1,
                seq: 300,
            }),
            queued_at: 0,
            held_until: 0,
            suspect: false,
            arrival: 0,
            weight: 0,
        }
    }

    /// Events with everything that one can have.
    fn entries() -> Vec<Entry> {
        let page = Arc::new(Page {
            url: "https://shop.example/".to_owned(),
            referrer: String::new(),
            title: "Shop".to_owned(),
        });
        let values = Event {
            passive: true,
            ..Event::custom("values")
                .with("text", "values")
                .with("empty", "")
                .with("integer", i64::MIN)
                .with("number", -0.1)
                .with("no", false)
                .with("yes", true)
                .with("time", Value::Timestamp(-1))
        };
        let order = Order {
            id: "o1".to_owned(),
            currency: "EUR".to_owned(),
            value: -1999,
            items: vec![Item {
                sku: "tea".to_owned(),
                name: "Tea".to_owned(),
                price: 1999,
                quantity: 3,
            }],
        };
        let engagement = Engagement {
            time_ms: 300,
            scroll_percent: 80,
        };
        let exposure = Exposure {
            experiment: "e".to_owned(),
            variant: "v".to_owned(),
        };
        vec![
            entry(1, 0, None, Event::page_view()),
            entry(1, 300, Some(&page), values),
            entry(2, 4, Some(&page), Event::order(EventType::Order, order)),
            entry(2, 5, Some(&page), Event::engagement(engagement)),
            entry(2, 6, None, Event::exposure(exposure)),
        ]
    }

    fn written() -> Vec<u8> {
        let entries = entries();
        let mut bytes = Vec::new();
        write(&mut bytes, &entries.iter().collect::<Vec<_>>(), NOW);
        bytes
    }

    /// All that can be read, whether it is all that there was, and the identity.
    fn read(bytes: &[u8]) -> Option<(Vec<Left>, bool, Arc<Identity>)> {
        let mut events = Events::new(bytes)?;
        let left = std::iter::from_fn(|| events.next()).collect();
        Some((left, !events.corrupt(), Arc::clone(events.identity())))
    }

    #[test]
    fn events_come_back_with_all_that_they_have() {
        let Some((left, whole, of)) = read(&written()) else {
            panic!("no identity");
        };
        assert!(whole);
        assert_eq!(*of, identity());
        assert_eq!(left.len(), entries().len());
        for (left, entry) in std::iter::zip(left, entries()) {
            assert_eq!(left.id, entry.id);
            assert_eq!(left.predecessor, entry.predecessor);
            assert_eq!(At::Wall(left.recorded_at), entry.at);
            assert_eq!(left.page, entry.page);
            assert_eq!(left.event, entry.event);
        }
    }

    #[test]
    fn a_long_text_that_is_said_again_and_again_takes_no_memory() {
        let text = "x".repeat(4_000);
        let event = (0..7).fold(Event::custom("e"), |event, _| {
            event.with("text", text.as_str())
        });
        let entries: Vec<Entry> = (0..2_000)
            .map(|seq| entry(1, seq, None, event.clone()))
            .collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &entries.iter().collect::<Vec<_>>(), NOW);
        let Some((left, whole, _)) = read(&bytes) else {
            panic!("no identity");
        };
        assert!(!whole && left.len() < 300, "{} events", left.len());
    }

    #[test]
    fn an_end_that_is_cut_off_costs_the_last_event() {
        let mut bytes = written();
        bytes.pop();
        let read = read(&bytes).map(|(left, whole, _)| (left.len(), whole));
        assert_eq!(read, Some((entries().len() - 1, false)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            damage in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            read(&bytes);
            let mut damaged = written();
            let damage = damage.index(damaged.len());
            damaged[damage] = value;
            read(&damaged);
        }
    }
}
