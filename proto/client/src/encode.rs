//! From entries to the bytes of a batch; `batch.proto` says what they mean.

use alloc::vec::Vec;

use wakeline_proto::EventId;
use wakeline_proto::v1;

use crate::config::{Config, Now};
use crate::event::Value;
use crate::queue::{At, Entry, Identity};
use crate::strings::Strings;
use crate::wire::{Message, varint, zigzag};

/// Zigzag codes from here on don't fit beside the three bits of a value's kind.
const MAX_INLINE: u64 = 1 << 61;

/// The beginning of a batch: what it says of all its events.
pub(crate) fn header(config: &Config, identity: &Identity, now: Now) -> Message {
    let mut batch = Message::default();
    batch.bytes(1, config.key.as_bytes());
    batch.bytes(2, identity.visitor.as_bytes());
    batch.number(3, u64::from(identity.first_day));
    batch.part(4, &client(&config.client).bytes);
    batch.part(5, &device(&config.device).bytes);
    batch.number(6, identity.consent as u64);
    batch.number(7, now.wall_ms);
    batch.bytes(8, identity.user.as_bytes());
    batch
}

fn client(client: &v1::Client) -> Message {
    let mut message = Message::default();
    message.bytes(1, client.name.as_bytes());
    message.bytes(2, client.version.as_bytes());
    message
}

fn device(device: &v1::Device) -> Message {
    let mut message = Message::default();
    message.bytes(1, device.language.as_bytes());
    message.bytes(2, device.timezone.as_bytes());
    message.number(3, u64::from(device.screen_width));
    message.number(4, u64::from(device.screen_height));
    message.bytes(5, device.os.as_bytes());
    message.bytes(6, device.os_version.as_bytes());
    message.bytes(7, device.model.as_bytes());
    message.bytes(8, device.app_version.as_bytes());
    message
}

/// Adds `entries`, which are sorted [by id](crate::queue::by_id), to a header.
pub(crate) fn batch(header: Message, entries: &[&Entry], now: Now) -> Vec<u8> {
    let mut tables = Tables::default();
    let mut streams = Message::default();
    for entries in entries.chunk_by(|a, b| a.id.stream == b.id.stream) {
        streams.part(13, &stream(&mut tables, entries, now).bytes);
    }
    let mut batch = header;
    for text in tables.strings.list() {
        batch.part(9, text.as_bytes());
    }
    let numbers: Vec<u8> = tables
        .numbers
        .iter()
        .copied()
        .flat_map(u64::to_le_bytes)
        .collect();
    batch.bytes(10, &numbers);
    batch.bytes(11, &tables.integers);
    for kind in &tables.kinds {
        batch.part(12, kind);
    }
    batch.bytes.extend_from_slice(&streams.bytes);
    batch.bytes
}

fn stream<'a>(tables: &mut Tables<'a>, entries: &[&'a Entry], now: Now) -> Message {
    let mut stream = Message::default();
    if let Some(first) = entries.first() {
        stream.fixed64(1, first.id.stream);
    }
    if let Some(EventId { stream: id, seq }) = entries.iter().find_map(|entry| entry.predecessor) {
        stream.fixed64(2, id);
        stream.number(3, seq);
    }
    if let Some(At::Wall(_)) = entries.first().map(|entry| entry.at) {
        stream.number(4, v1::Clock::Wall as u64);
    }
    let (mut pages, mut events) = (Vec::new(), Message::default());
    let (mut next_seq, mut older, mut shown) = (0, 0, 0);
    for entry in entries {
        let age = entry.at.age(now);
        let page = match &entry.page {
            // After an event with a page, none is an empty one.
            None if shown == 0 => 0,
            _ => index(&mut pages, tables.page(entry)) + 1,
        };
        let mut event = Message::default();
        event.number(1, tables.kind(entry) + 1);
        event.bytes(2, &tables.values(entry));
        event.number(3, zigzag(age - older));
        event.number(4, if page == shown { 0 } else { page });
        event.number(5, entry.id.seq.saturating_sub(next_seq));
        details(&mut event, entry);
        events.part(6, &event.bytes);
        (next_seq, older, shown) = (entry.id.seq + 1, age, page);
    }
    for page in &pages {
        stream.part(5, page);
    }
    stream.bytes.extend_from_slice(&events.bytes);
    stream
}

/// What few events have.
fn details(message: &mut Message, entry: &Entry) {
    if let Some(of_event) = &entry.event.order {
        message.part(6, &order(of_event).bytes);
    }
    if let Some(of_event) = &entry.event.engagement {
        let mut engagement = Message::default();
        engagement.number(1, u64::from(of_event.time_ms));
        engagement.number(2, u64::from(of_event.scroll_percent));
        message.part(7, &engagement.bytes);
    }
    if let Some(of_event) = &entry.event.exposure {
        message.part(8, &exposure(of_event).bytes);
    }
}

/// An encoded order.
pub(crate) fn order(order: &v1::Order) -> Message {
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

/// An encoded exposure.
pub(crate) fn exposure(exposure: &v1::Exposure) -> Message {
    let mut message = Message::default();
    message.bytes(1, exposure.experiment.as_bytes());
    message.bytes(2, exposure.variant.as_bytes());
    message
}

/// Numbers are looked for among this many recent ones only, so that encoding stays linear.
const NUMBER_WINDOW: usize = 64;

#[derive(Default)]
struct Tables<'a> {
    strings: Strings<'a>,
    /// Bits of `f64`s.
    numbers: Vec<u64>,
    /// Varints.
    integers: Vec<u8>,
    integers_len: u64,
    /// Encoded.
    kinds: Vec<Vec<u8>>,
}

impl<'a> Tables<'a> {
    /// 0-based.
    fn kind(&mut self, entry: &'a Entry) -> u64 {
        let event = &entry.event;
        let mut kind = Message::default();
        kind.number(1, event.event_type as u64);
        kind.number(2, self.text(&event.name));
        let mut names = Vec::new();
        for (name, _) in &event.properties {
            varint(&mut names, self.string(name));
        }
        kind.bytes(3, &names);
        kind.number(4, u64::from(event.passive));
        index(&mut self.kinds, kind.bytes)
    }

    /// The page of an entry, encoded.
    fn page(&mut self, entry: &'a Entry) -> Vec<u8> {
        let mut message = Message::default();
        if let Some(page) = &entry.page {
            message.number(1, self.text(&page.url));
            message.number(2, self.text(&page.referrer));
            message.number(3, self.text(&page.title));
        }
        message.bytes
    }

    /// 1-based; 0 for an empty text.
    fn text(&mut self, text: &'a str) -> u64 {
        if text.is_empty() {
            0
        } else {
            self.string(text) + 1
        }
    }

    /// 0-based.
    fn string(&mut self, text: &'a str) -> u64 {
        u64::from(self.strings.index(text))
    }

    /// The values of an entry's properties, packed.
    fn values(&mut self, entry: &'a Entry) -> Vec<u8> {
        let mut values = Vec::new();
        for (_, value) in &entry.event.properties {
            varint(&mut values, self.value(value));
        }
        values
    }

    fn value(&mut self, value: &'a Value) -> u64 {
        match value {
            Value::Text(text) => self.string(text) << 3,
            Value::Integer(integer) => match zigzag(*integer) {
                code if code < MAX_INLINE => code << 3 | 1,
                code => {
                    varint(&mut self.integers, code);
                    self.integers_len += 1;
                    (self.integers_len - 1) << 3 | 5
                }
            },
            Value::Number(number) => self.number(number.to_bits()) << 3 | 2,
            Value::Flag(flag) => u64::from(*flag) << 3 | 3,
            Value::Timestamp(ms) => zigzag(*ms) << 3 | 4,
        }
    }

    fn number(&mut self, bits: u64) -> u64 {
        let start = self.numbers.len().saturating_sub(NUMBER_WINDOW);
        let mut recent = (start..).zip(self.numbers.iter().skip(start));
        if let Some((index, _)) = recent.find(|(_, known)| **known == bits) {
            return index as u64;
        }
        self.numbers.push(bits);
        self.numbers.len() as u64 - 1
    }
}

/// The 0-based index of an encoded message in a list, to which it is added if need be. Lists are short: events are of
/// few kinds, and on few pages.
fn index(list: &mut Vec<Vec<u8>>, message: Vec<u8>) -> u64 {
    let index = list.iter().position(|known| *known == message);
    if index.is_none() {
        list.push(message);
    }
    index.unwrap_or(list.len() - 1) as u64
}
