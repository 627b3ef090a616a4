//! From entries to the bytes of a batch.

use std::collections::BTreeMap;

use prost::Message as _;
use wakeline_proto::EventId;
use wakeline_proto::v1;

use crate::config::{Config, Now};
use crate::event::{Page, Value};
use crate::queue::{At, Entry, Identity};

/// Zigzag codes from here on don't fit beside the three bits of a value's kind.
const MAX_INLINE: u64 = 1 << 61;

/// What a batch says of all its events. Without a config, only what differs within an install.
pub(crate) fn header(config: Option<&Config>, identity: &Identity, now: Now) -> v1::Batch {
    v1::Batch {
        key: config.map(|config| config.key.clone()).unwrap_or_default(),
        visitor: identity.visitor.clone(),
        first_day: identity.first_day,
        client: config.map(|config| config.client.clone()),
        device: config.map(|config| config.device.clone()),
        consent: identity.consent.into(),
        sent_at: now.wall_ms,
        user: identity.user.clone(),
        ..v1::Batch::default()
    }
}

/// Adds `entries`, which are sorted [by id](crate::queue::by_id), to a header, and encodes the batch.
pub(crate) fn batch(header: v1::Batch, entries: &[&Entry], now: Now) -> Vec<u8> {
    let mut tables = Tables::default();
    let streams = entries
        .chunk_by(|a, b| a.id.stream == b.id.stream)
        .map(|entries| stream(&mut tables, entries, now))
        .collect();
    v1::Batch {
        strings: tables.strings.into_iter().map(str::to_owned).collect(),
        numbers: tables.numbers,
        integers: tables.integers,
        kinds: tables.kinds,
        streams,
        ..header
    }
    .encode_to_vec()
}

fn stream<'a>(tables: &mut Tables<'a>, entries: &[&'a Entry], now: Now) -> v1::Stream {
    let mut stream = v1::Stream::default();
    if let Some(first) = entries.first() {
        stream.id = first.id.stream;
        if matches!(first.at, At::Wall(_)) {
            stream.set_clock(v1::Clock::Wall);
        }
    }
    if let Some(EventId { stream: id, seq }) = entries.iter().find_map(|entry| entry.predecessor) {
        (stream.predecessor, stream.predecessor_last_seq) = (id, seq);
    }
    let (mut next_seq, mut older, mut shown) = (0, 0, 0);
    for entry in entries {
        let event = &entry.event;
        let age = entry.at.age(now);
        let page = match &entry.page {
            Some(page) => index(&mut stream.pages, tables.page(page)) + 1,
            // After an event with a page, none is an empty one.
            None if shown == 0 => 0,
            None => index(&mut stream.pages, v1::Page::default()) + 1,
        };
        stream.events.push(v1::BatchEvent {
            kind: tables.kind(entry) + 1,
            values: event
                .properties
                .iter()
                .map(|(_, value)| tables.value(value))
                .collect(),
            age_delta: age - older,
            page: if page == shown { 0 } else { page },
            skip: entry.id.seq.saturating_sub(next_seq),
            order: event.order.clone(),
            engagement: event.engagement,
            exposure: event.exposure.clone(),
        });
        (next_seq, older, shown) = (entry.id.seq + 1, age, page);
    }
    stream
}

/// Numbers are looked for among this many recent ones only, so that encoding stays linear.
const NUMBER_WINDOW: usize = 64;

#[derive(Default)]
struct Tables<'a> {
    strings: Vec<&'a str>,
    string_indexes: BTreeMap<&'a str, u32>,
    numbers: Vec<f64>,
    integers: Vec<i64>,
    kinds: Vec<v1::Kind>,
}

impl<'a> Tables<'a> {
    fn kind(&mut self, entry: &'a Entry) -> u32 {
        let event = &entry.event;
        let kind = v1::Kind {
            r#type: event.event_type.into(),
            name: self.text(&event.name),
            properties: event
                .properties
                .iter()
                .map(|(name, _)| self.string(name))
                .collect(),
            passive: event.passive,
        };
        index(&mut self.kinds, kind)
    }

    fn page(&mut self, page: &'a Page) -> v1::Page {
        v1::Page {
            url: self.text(&page.url),
            referrer: self.text(&page.referrer),
            title: self.text(&page.title),
        }
    }

    /// 1-based; 0 for an empty text.
    fn text(&mut self, text: &'a str) -> u32 {
        if text.is_empty() {
            0
        } else {
            self.string(text) + 1
        }
    }

    /// 0-based.
    fn string(&mut self, text: &'a str) -> u32 {
        *self.string_indexes.entry(text).or_insert_with(|| {
            self.strings.push(text);
            self.strings.len() as u32 - 1
        })
    }

    fn value(&mut self, value: &'a Value) -> u64 {
        match value {
            Value::Text(text) => u64::from(self.string(text)) << 3,
            Value::Integer(integer) => match zigzag(*integer) {
                code if code < MAX_INLINE => code << 3 | 1,
                _ => {
                    self.integers.push(*integer);
                    (self.integers.len() as u64 - 1) << 3 | 5
                }
            },
            Value::Number(number) => self.number(*number) << 3 | 2,
            Value::Flag(flag) => u64::from(*flag) << 3 | 3,
            Value::Timestamp(ms) => zigzag(*ms) << 3 | 4,
        }
    }

    fn number(&mut self, number: f64) -> u64 {
        let start = self.numbers.len().saturating_sub(NUMBER_WINDOW);
        let known = self.numbers[start..]
            .iter()
            .position(|known| known.to_bits() == number.to_bits());
        let index = known.map_or(self.numbers.len(), |known| start + known);
        if known.is_none() {
            self.numbers.push(number);
        }
        index as u64
    }
}

/// The 0-based index of a value in a list, to which it is added if need be. Lists are short: events are of few kinds.
fn index<T: PartialEq>(list: &mut Vec<T>, value: T) -> u32 {
    let index = list.iter().position(|known| *known == value);
    if index.is_none() {
        list.push(value);
    }
    index.unwrap_or(list.len() - 1) as u32
}

fn zigzag(integer: i64) -> u64 {
    ((integer << 1) ^ (integer >> 63)) as u64
}
