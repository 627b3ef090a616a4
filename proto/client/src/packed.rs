//! Events as they wait: bytes that a batch is made of, whoever wrote them.
//!
//! In this order: 1 if the person did nothing, else 0; the number of the type; the page's URL, referrer and title; the
//! name; the number of properties, their names, their values; to the end what few events have, which is the fields 6 to 8
//! of a `BatchEvent` as they are sent. A text is its length and its bytes. A value is the number that
//! `BatchEvent.values` has for it; where that is an index, it is 0, and what is meant follows: a text, the eight bytes of
//! a number (little endian), a large integer's zigzag code. Numbers are varints.

use alloc::vec::Vec;

use wakeline_proto::Reason;
use wakeline_proto::limits::{MAX_EVENT_BYTES, MAX_PROPERTIES};
use wakeline_proto::v1::{self, EventType};

use crate::event::{Event, Page, Value};
use crate::wire::{Message, Reader, sized, varint, zigzag};

/// Zigzag codes from here on don't fit beside the three bits of a value's kind.
const MAX_INLINE: u64 = 1 << 61;

// Kinds of values.
pub(crate) const TEXT: u64 = 0;
const INTEGER: u64 = 1;
pub(crate) const NUMBER: u64 = 2;
const FLAG: u64 = 3;
const TIMESTAMP: u64 = 4;
pub(crate) const LARGE: u64 = 5;

/// Where the page begins.
const PAGE: usize = 2;
/// What a text adds to an encoded batch besides its bytes: a tag, a length, an index.
const ADDED_BY_TEXT: usize = 8;
/// What a value adds besides.
const ADDED_BY_VALUE: usize = 12;
/// A stream with tags and lengths 56, event 48, kind 16, page 16, texts of page and event.
const ADDED_BY_EVENT: usize = 136 + 4 * ADDED_BY_TEXT;

/// An event and the page on which it happened, [packed](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    bytes: Vec<u8>,
    page_end: usize,
    weight: usize,
}

impl Packed {
    /// Packs an event.
    pub fn new(page: &Page, event: &Event) -> Self {
        let mut bytes = Vec::new();
        bytes.push(u8::from(event.passive));
        bytes.push(event.event_type as u8);
        for text in [&page.url, &page.referrer, &page.title, &event.name] {
            sized(&mut bytes, text.as_bytes());
        }
        varint(&mut bytes, event.properties.len() as u64);
        for (name, _) in &event.properties {
            sized(&mut bytes, name.as_bytes());
        }
        for (_, of_property) in &event.properties {
            value(&mut bytes, of_property);
        }
        bytes.extend(details(event).bytes);
        Self::measured(bytes)
    }

    /// What stands in the place of an event that was refused for this reason.
    pub(crate) fn refused(reason: &str) -> Self {
        let mut bytes = [0; PAGE + 3].to_vec();
        sized(&mut bytes, reason.as_bytes());
        bytes.push(0);
        Self::measured(bytes)
    }

    /// Takes bytes that [are](self) an event; `None` if they are something else. What the event says is for servers to
    /// judge, but one that is larger than any server takes is replaced by the refusal.
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        const TOO_LARGE: &str = Reason::TooLarge.as_str();
        let (page_end, weight) = measure(&bytes)?;
        Some(if weight > MAX_EVENT_BYTES {
            Self::refused(TOO_LARGE)
        } else {
            Self {
                bytes,
                page_end,
                weight,
            }
        })
    }

    fn measured(bytes: Vec<u8>) -> Self {
        let (page_end, weight) = measure(&bytes).unwrap_or_default();
        Self {
            bytes,
            page_end,
            weight,
        }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes but for the page.
    pub(crate) fn without_page(&self) -> Vec<u8> {
        let before = self.bytes.get(..PAGE).unwrap_or(&[]);
        let after = self.bytes.get(self.page_end..).unwrap_or(&[]);
        [before, after].concat()
    }

    /// Reads what [`without_page`](Self::without_page) gave, with that page.
    pub(crate) fn read_with_page(bytes: &[u8], page: &[u8]) -> Option<Self> {
        let (before, after) = bytes.split_at_checked(PAGE)?;
        Self::read([before, page, after].concat())
    }

    /// More than the event can add to an encoded batch, were it the only one with its stream, page, names and texts.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn event_type(&self) -> u8 {
        self.bytes.get(1).copied().unwrap_or(0)
    }

    pub(crate) fn is_passive(&self) -> bool {
        self.bytes.first() == Some(&1)
    }

    pub(crate) fn is_order(&self) -> bool {
        self.event_type() == EventType::Order as u8
    }

    /// The page's three texts.
    pub(crate) fn page(&self) -> &[u8] {
        self.bytes.get(PAGE..self.page_end).unwrap_or(&[])
    }

    /// What follows the page.
    pub(crate) fn event(&self) -> Reader<'_> {
        Reader::new(self.bytes.get(self.page_end..).unwrap_or(&[]))
    }
}

/// Where the page ends, and the weight.
fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut reader = Reader::new(bytes);
    let sane = reader.byte()? <= 1 && u32::from(reader.byte()?) <= EventType::Custom as u32;
    for _ in 0..3 {
        reader.sized()?;
    }
    let page_end = bytes.len() - reader.len();
    reader.sized()?;
    let count = reader.varint()?;
    if !sane || count > MAX_PROPERTIES as u64 {
        return None;
    }
    for _ in 0..count {
        reader.sized()?;
    }
    for _ in 0..count {
        match reader.varint()? & 7 {
            TEXT => reader.sized().map(drop)?,
            NUMBER => reader.take(8).map(drop)?,
            LARGE => reader.varint().map(drop)?,
            kind => (kind < LARGE).then_some(())?,
        }
    }
    let properties = count as usize * (2 * ADDED_BY_TEXT + ADDED_BY_VALUE);
    Some((page_end, ADDED_BY_EVENT + properties + bytes.len()))
}

fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            varint(out, TEXT);
            sized(out, text.as_bytes());
        }
        Value::Number(number) => {
            varint(out, NUMBER);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Integer(integer) => match zigzag(*integer) {
            code if code < MAX_INLINE => varint(out, code << 3 | INTEGER),
            code => {
                varint(out, LARGE);
                varint(out, code);
            }
        },
        Value::Flag(flag) => varint(out, u64::from(*flag) << 3 | FLAG),
        Value::Timestamp(ms) => varint(out, zigzag(*ms) << 3 | TIMESTAMP),
    }
}

/// What few events have.
fn details(event: &Event) -> Message {
    let mut message = Message::default();
    if let Some(of_event) = &event.order {
        message.part(6, &order(of_event).bytes);
    }
    if let Some(of_event) = &event.engagement {
        let mut engagement = Message::default();
        engagement.number(1, u64::from(of_event.time_ms));
        engagement.number(2, u64::from(of_event.scroll_percent));
        message.part(7, &engagement.bytes);
    }
    if let Some(of_event) = &event.exposure {
        let mut exposure = Message::default();
        exposure.bytes(1, of_event.experiment.as_bytes());
        exposure.bytes(2, of_event.variant.as_bytes());
        message.part(8, &exposure.bytes);
    }
    message
}

fn order(order: &v1::Order) -> Message {
    let mut message = Message::default();
    message.bytes(1, order.id.as_bytes());
    message.bytes(2, order.currency.as_bytes());
    message.number(3, zigzag(order.value));
    for of_order in &order.items {
        let mut item = Message::default();
        item.bytes(1, of_order.sku.as_bytes());
        item.bytes(2, of_order.name.as_bytes());
        item.number(3, zigzag(of_order.price));
        item.number(4, u64::from(of_order.quantity));
        message.part(4, &item.bytes);
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wakeline_proto::Reason;

    use super::Packed;
    use crate::event::{Event, Page, Value};

    fn packed() -> Packed {
        let page = Page {
            url: "https://shop.example/".to_owned(),
            ..Page::default()
        };
        let event = Event::custom("values")
            .with("text", "x")
            .with("integer", i64::MIN)
            .with("number", -0.1)
            .with("flag", true)
            .with("time", Value::Timestamp(-1));
        Packed::new(&page, &event)
    }

    #[test]
    fn what_is_packed_can_be_read() {
        let packed = packed();
        assert_eq!(Packed::read(packed.bytes().to_vec()), Some(packed));
        let refused = Packed::refused(Reason::Malformed.as_str());
        let event = Event::refused(Reason::Malformed);
        assert_eq!(refused, Packed::new(&Page::default(), &event));
    }

    #[test]
    fn what_is_too_large_is_only_counted() {
        let mut bytes = packed().bytes().to_vec();
        bytes.resize(40_000, 0);
        let refused = Packed::refused("too_large");
        assert_eq!(Packed::read(bytes), Some(refused));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            damage in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            Packed::read(bytes);
            let mut damaged = packed().bytes().to_vec();
            let damage = damage.index(damaged.len());
            damaged[damage] = value;
            Packed::read(damaged);
        }
    }
}
