//! From entries to the bytes of a batch; `batch.proto` says what they mean.

use alloc::vec::Vec;

use wakeline_proto::EventId;
use wakeline_proto::v1;

use crate::config::{Config, Now};
use crate::packed::{LARGE, NUMBER, Packed, TEXT};
use crate::queue::{At, Entry, Identity};
use crate::strings::Strings;
use crate::wire::{Message, Reader, varint, zigzag};

/// Who sends: the parts of a batch that are the same in all of a client's.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The write key.
    pub(crate) key: Vec<u8>,
    /// The fields `client` and `device`, encoded.
    pub(crate) about: Vec<u8>,
}

impl Sender {
    pub(crate) fn of(config: &Config) -> Self {
        let mut about = Message::default();
        about.part(4, &client(&config.client).bytes);
        about.part(5, &device(&config.device).bytes);
        Self {
            key: config.key.as_bytes().to_vec(),
            about: about.bytes,
        }
    }
}

/// The beginning of a batch: what it says of all its events.
pub(crate) fn header(sender: &Sender, identity: &Identity, now: Now) -> Message {
    let mut batch = Message::default();
    batch.bytes(1, &sender.key);
    batch.bytes(2, &identity.visitor);
    batch.number(3, u64::from(identity.first_day));
    batch.bytes.extend_from_slice(&sender.about);
    batch.number(6, identity.consent as u64);
    batch.number(7, now.wall_ms);
    batch.bytes(8, &identity.user);
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
        batch.part(9, text);
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
    let mut newest = entries.iter().rev();
    if let Some(EventId { stream: id, seq }) = newest.find_map(|entry| entry.predecessor) {
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
        let page = match entry.packed.page() {
            // After an event with a page, none is an empty one.
            [0, 0, 0] if shown == 0 => 0,
            page => index(&mut pages, tables.page(page)) + 1,
        };
        let (kind, values, details) = tables.event(&entry.packed);
        let mut event = Message::default();
        event.number(1, kind + 1);
        event.bytes(2, &values);
        event.number(3, zigzag(age - older));
        event.number(4, if page == shown { 0 } else { page });
        event.number(5, entry.id.seq.saturating_sub(next_seq));
        event.bytes.extend_from_slice(details);
        events.part(6, &event.bytes);
        (next_seq, older, shown) = (entry.id.seq + 1, age, page);
    }
    for page in &pages {
        stream.part(5, page);
    }
    stream.bytes.extend_from_slice(&events.bytes);
    stream
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
    /// The 0-based index of an event's kind, its values, packed, and what few events have. What [`Packed`] has checked can
    /// be read: nothing is 0 here for want of bytes.
    fn event(&mut self, packed: &'a Packed) -> (u64, Vec<u8>, &'a [u8]) {
        let mut reader = packed.event();
        let mut kind = Message::default();
        kind.number(1, u64::from(packed.event_type()));
        kind.number(2, self.text(reader.sized()));
        let count = reader.varint().unwrap_or(0);
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for _ in 0..count {
            varint(&mut names, self.string(reader.sized()));
        }
        kind.bytes(3, &names);
        kind.number(4, u64::from(packed.is_passive()));
        for _ in 0..count {
            varint(&mut values, self.value(&mut reader));
        }
        (index(&mut self.kinds, kind.bytes), values, reader.rest())
    }

    /// An encoded page, of its three texts.
    fn page(&mut self, texts: &'a [u8]) -> Vec<u8> {
        let mut reader = Reader::new(texts);
        let mut message = Message::default();
        for field in 1..=3 {
            message.number(field, self.text(reader.sized()));
        }
        message.bytes
    }

    /// 1-based; 0 for an empty text.
    fn text(&mut self, text: Option<&'a [u8]>) -> u64 {
        match text {
            None | Some([]) => 0,
            text => self.string(text) + 1,
        }
    }

    /// 0-based.
    fn string(&mut self, text: Option<&'a [u8]>) -> u64 {
        u64::from(self.strings.index(text.unwrap_or(&[])))
    }

    fn value(&mut self, reader: &mut Reader<'a>) -> u64 {
        match reader.varint().unwrap_or(0) {
            TEXT => self.string(reader.sized()) << 3 | TEXT,
            NUMBER => self.number(reader.fixed64().unwrap_or(0)) << 3 | NUMBER,
            LARGE => {
                varint(&mut self.integers, reader.varint().unwrap_or(0));
                self.integers_len += 1;
                (self.integers_len - 1) << 3 | LARGE
            }
            inline => inline,
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
