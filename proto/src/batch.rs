//! Reading a [`Batch`]: from bytes, and from its compact form to events one by one.
//!
//! - [`decode`] fails as a whole, before it allocates more than a small multiple of the bytes it was given.
//! - [`expand`] never does: an event that cannot be read is an [`UnreadableEvent`] in its place, and those after it
//!   are read as if it had been fine. Events come in the order, and thus with the indexes, that
//!   [`BatchReply`](crate::v1::BatchReply) speaks of.
//! - Expanding is lazy and borrows; what it hands out is bounded by [`MAX_EVENT_BYTES`] an event and by
//!   [`MAX_DECODED_BYTES`] a batch, however often the same long string is referred to.
//! - Whether a readable event is *acceptable* (name, URL, money, age, NaN, lengths of single texts) is for the caller.
//!
//! Fields that this version does not know are skipped, and lost if the message is encoded again. So nobody between
//! the one who judges and the one who reads encodes again: a collector's groups travel as opaque bytes in
//! `SpoolRecord`, `Block` and `LogRecord`, and what a newer collector adds reaches a newer reader through anything old.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use core::fmt;

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::limits::{
    MAX_DECODED_BYTES, MAX_EVENT_BYTES, MAX_EVENTS_PER_BATCH, MAX_PROPERTIES, MAX_SEQ,
};
use crate::v1::{
    Batch, BatchEvent, Clock, Engagement, EventType, Exposure, Kind, Order, Stream, Value, value,
};
use crate::{EventId, Reason};

/// Repeated parts of a batch (strings, kinds, streams, pages, events, items) that [`decode`] accepts.
const MAX_PARTS: usize = 1 << 17;
/// Counted against the limits for each property besides its texts.
const PROPERTY_OVERHEAD: usize = 16;
/// Ages are clamped to ± this many ms, which arithmetic on times cannot overflow.
const MAX_ABS_AGE_MS: i64 = 1 << 53;

/// Why bytes are not a batch.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not protobuf, or a text that is not UTF-8: answer 400.
    Malformed(prost::DecodeError),
    /// More than [`MAX_EVENTS_PER_BATCH`] events: answer 413.
    TooManyEvents,
    /// More strings, kinds, streams, pages or items than any batch of that many events needs: answer 413.
    TooManyParts,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not a batch: {error}"),
            Self::TooManyEvents => write!(f, "more than {MAX_EVENTS_PER_BATCH} events"),
            Self::TooManyParts => write!(f, "more than {MAX_PARTS} parts"),
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::TooManyEvents | Self::TooManyParts => None,
        }
    }
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// Decodes a batch. Its parts are counted first: decoded, an empty event is a hundred times its two bytes.
pub fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let mut counts = Counts::default();
    counts.add(bytes, Level::Batch)?;
    Ok(Batch::decode(bytes)?)
}

/// The messages on the way to the parts that are counted.
#[derive(Clone, Copy)]
enum Level {
    Batch,
    Stream,
    Event,
    Order,
}

#[derive(Default)]
struct Counts {
    parts: usize,
    events: usize,
}

impl Counts {
    /// Counts until something is wrong: decoding stops there too and says what it is.
    fn add(&mut self, mut bytes: &[u8], level: Level) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let Ok((field, wire_type)) = decode_key(&mut bytes) else {
                return Ok(());
            };
            if wire_type != WireType::LengthDelimited {
                match skip_field(wire_type, field, &mut bytes, DecodeContext::default()) {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                }
            }
            let Some((inner, rest)) = decode_varint(&mut bytes)
                .ok()
                .and_then(|length| bytes.split_at_checked(usize::try_from(length).ok()?))
            else {
                return Ok(());
            };
            bytes = rest;
            let (counted, below) = match (level, field) {
                (Level::Batch, 9 | 12) | (Level::Stream, 5) | (Level::Order, 4) => (true, None),
                (Level::Batch, 13) => (true, Some(Level::Stream)),
                (Level::Stream, 6) => {
                    self.events += 1;
                    (true, Some(Level::Event))
                }
                (Level::Event, 6) => (false, Some(Level::Order)),
                _ => (false, None),
            };
            self.parts += usize::from(counted);
            if self.events > MAX_EVENTS_PER_BATCH {
                return Err(DecodeError::TooManyEvents);
            }
            if self.parts > MAX_PARTS {
                return Err(DecodeError::TooManyParts);
            }
            if let Some(below) = below {
                self.add(inner, below)?;
            }
        }
        Ok(())
    }
}

/// A property's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// Any number; may be NaN or infinite, which is for the caller to refuse.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// Milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        let kind = match value {
            ValueRef::Text(text) => value::Kind::Text(text.to_owned()),
            ValueRef::Integer(integer) => value::Kind::Integer(integer),
            ValueRef::Number(number) => value::Kind::Number(number),
            ValueRef::Flag(flag) => value::Kind::Flag(flag),
            ValueRef::Timestamp(ms) => value::Kind::Timestamp(ms),
        };
        Self { kind: Some(kind) }
    }
}

/// An event of a batch, with what the batch says once for many. Texts that are absent are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpandedEvent<'a> {
    /// The stream is not 0, the number at most [`MAX_SEQ`].
    pub id: EventId,
    /// The stream that this install had before, with the last number given in it.
    pub predecessor: Option<EventId>,
    /// How `age_ms` was measured.
    pub clock: Clock,
    /// Age when the batch was sent, in ms, within ± 2^53; negative if a wall clock was set back in between.
    pub age_ms: i64,
    /// Never `Unspecified`; a number that is not known comes as `Custom`.
    pub event_type: EventType,
    /// Name of a custom event.
    pub name: &'a str,
    /// The page's URL, or the name of an app's screen.
    pub url: &'a str,
    /// The page's referrer.
    pub referrer: &'a str,
    /// The page's title.
    pub title: &'a str,
    /// In the order in which they were given; at most [`MAX_PROPERTIES`].
    pub properties: Vec<(&'a str, ValueRef<'a>)>,
    /// A cart, checkout or order.
    pub order: Option<&'a Order>,
    /// Attention.
    pub engagement: Option<&'a Engagement>,
    /// An experiment's variant.
    pub exposure: Option<&'a Exposure>,
    /// The client says that the person did nothing; see also [`EventType::is_passive`].
    pub passive: bool,
}

/// An event of a batch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// Its id, if that could be read.
    pub id: Option<EventId>,
    /// `Malformed`, `TooLarge`, `InvalidType` or `InvalidProperty`, or what the client refused it for.
    pub reason: Reason,
    /// For people, in English.
    pub detail: &'static str,
}

/// The events of a batch, in order.
pub fn expand(batch: &Batch) -> Expand<'_> {
    Expand {
        batch,
        stream: 0,
        event: 0,
        next_seq: 0,
        age: 0,
        page: 0,
        budget: MAX_DECODED_BYTES,
    }
}

/// Iterator of [`expand`].
#[derive(Clone, Debug)]
pub struct Expand<'a> {
    batch: &'a Batch,
    /// Where the iterator stands.
    stream: usize,
    event: usize,
    /// What the next event's differences are relative to.
    next_seq: u64,
    age: i64,
    page: u32,
    /// Bytes that may still be handed out.
    budget: usize,
}

impl<'a> Iterator for Expand<'a> {
    type Item = Result<ExpandedEvent<'a>, UnreadableEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let stream = self.batch.streams.get(self.stream)?;
            if let Some(event) = stream.events.get(self.event) {
                self.event += 1;
                return Some(self.read(stream, event));
            }
            self.stream += 1;
            (self.event, self.next_seq, self.age, self.page) = (0, 0, 0, 0);
        }
    }
}

type Failure = (Reason, &'static str);

impl<'a> Expand<'a> {
    fn read(
        &mut self,
        stream: &'a Stream,
        event: &'a BatchEvent,
    ) -> Result<ExpandedEvent<'a>, UnreadableEvent> {
        // What the next event is relative to moves on whatever is wrong with this one.
        let seq = self.next_seq.saturating_add(event.skip);
        self.next_seq = seq.saturating_add(1);
        self.age = self
            .age
            .saturating_add(event.age_delta)
            .clamp(-MAX_ABS_AGE_MS, MAX_ABS_AGE_MS);
        if event.page != 0 {
            self.page = event.page;
        }
        let id = (stream.id != 0 && seq <= MAX_SEQ).then_some(EventId {
            stream: stream.id,
            seq,
        });
        self.readable(stream, event, id)
            .map_err(|(reason, detail)| UnreadableEvent { id, reason, detail })
    }

    fn readable(
        &mut self,
        stream: &'a Stream,
        event: &'a BatchEvent,
        id: Option<EventId>,
    ) -> Result<ExpandedEvent<'a>, Failure> {
        let id = id.ok_or((Reason::Malformed, "no stream, or a number beyond all"))?;
        let kind = one_based(&self.batch.kinds, event.kind)?
            .ok_or((Reason::InvalidType, "an event without a kind"))?;
        let event_type = match EventType::try_from(kind.r#type) {
            Ok(EventType::Unspecified) => {
                return Err(match Reason::from_name(self.text(kind.name)?) {
                    Some(reason) => (reason, "refused by the client"),
                    None => (Reason::InvalidType, "a kind without a type"),
                });
            }
            Ok(event_type) => event_type,
            Err(_) => EventType::Custom,
        };
        let page = one_based(&stream.pages, self.page)?;
        let [url, referrer, title] = match page {
            Some(page) => [
                self.text(page.url)?,
                self.text(page.referrer)?,
                self.text(page.title)?,
            ],
            None => [""; 3],
        };
        let expanded = ExpandedEvent {
            id,
            predecessor: (stream.predecessor != 0).then_some(EventId {
                stream: stream.predecessor,
                seq: stream.predecessor_last_seq,
            }),
            clock: stream.clock(),
            age_ms: self.age,
            event_type,
            name: self.text(kind.name)?,
            url,
            referrer,
            title,
            properties: self.properties(kind, event)?,
            order: event.order.as_ref(),
            engagement: event.engagement.as_ref(),
            exposure: event.exposure.as_ref(),
            passive: kind.passive,
        };
        let size = expanded.size();
        if size > MAX_EVENT_BYTES {
            return Err((Reason::TooLarge, "the event is too large"));
        }
        self.budget = self.budget.checked_sub(size).ok_or((
            Reason::TooLarge,
            "the events of the batch are too large together",
        ))?;
        Ok(expanded)
    }

    fn properties(
        &self,
        kind: &Kind,
        event: &BatchEvent,
    ) -> Result<Vec<(&'a str, ValueRef<'a>)>, Failure> {
        if kind.properties.len() != event.values.len() {
            return Err((Reason::Malformed, "more or fewer values than properties"));
        }
        if event.values.len() > MAX_PROPERTIES {
            return Err((Reason::TooLarge, "too many properties"));
        }
        core::iter::zip(&kind.properties, &event.values)
            .map(|(name, value)| {
                Ok((
                    at(&self.batch.strings, u64::from(*name))?.as_str(),
                    self.value(*value)?,
                ))
            })
            .collect()
    }

    fn value(&self, code: u64) -> Result<ValueRef<'a>, Failure> {
        let payload = code >> 3;
        Ok(match code & 7 {
            0 => ValueRef::Text(at(&self.batch.strings, payload)?),
            1 => ValueRef::Integer(zigzag(payload)),
            2 => ValueRef::Number(*at(&self.batch.numbers, payload)?),
            3 if payload <= 1 => ValueRef::Flag(payload == 1),
            4 => ValueRef::Timestamp(zigzag(payload)),
            5 => ValueRef::Integer(*at(&self.batch.integers, payload)?),
            _ => return Err((Reason::InvalidProperty, "a value of an unknown kind")),
        })
    }

    fn text(&self, index: u32) -> Result<&'a str, Failure> {
        Ok(one_based(&self.batch.strings, index)?.map_or("", String::as_str))
    }
}

impl ExpandedEvent<'_> {
    /// Bytes, roughly as an encoded [`Event`](crate::v1::Event).
    fn size(&self) -> usize {
        let properties = self.properties.iter().map(|(name, value)| {
            let text = match value {
                ValueRef::Text(text) => text.len(),
                _ => 0,
            };
            PROPERTY_OVERHEAD + name.len() + text
        });
        [self.name, self.url, self.referrer, self.title]
            .map(str::len)
            .into_iter()
            .chain(properties)
            .chain(self.order.map(prost::Message::encoded_len))
            .chain(self.exposure.map(prost::Message::encoded_len))
            .sum()
    }
}

fn at<T>(table: &[T], index: u64) -> Result<&T, Failure> {
    usize::try_from(index)
        .ok()
        .and_then(|index| table.get(index))
        .ok_or((Reason::Malformed, "an index outside its table"))
}

fn one_based<T>(table: &[T], index: u32) -> Result<Option<&T>, Failure> {
    match index.checked_sub(1) {
        Some(index) => at(table, u64::from(index)).map(Some),
        None => Ok(None),
    }
}

fn zigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}
