//! From a record of the log to what the engine takes in.

use bytes::Bytes;
use prost::Message as _;
use wakeline_engine::{Context, Event, Id, Kind, Money, country_code, text_id};
use wakeline_proto::limits::MAX_BLOCK_DECODED_BYTES;
use wakeline_proto::v1::{self, Block, BlockPayload, EventType, Group};
use xxhash_rust::xxh3::xxh3_64;

/// The last millisecond of the year 9999: no clock is ahead of it.
const MAX_TIME_MS: u64 = 253_402_300_799_999;
/// No closed list is as long: this stands for every code beyond.
const MAX_CODE: u32 = u8::MAX as u32;

/// Why a record can't be read although its checksums are right: whoever wrote it was wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the block can't be decompressed")]
    Zstd(#[source] std::io::Error),
    #[error("the block can't be decoded")]
    Block(#[source] prost::DecodeError),
    #[error("a group can't be decoded")]
    Group(#[source] prost::DecodeError),
}

/// A group and where it was in its edge's spool.
pub(crate) struct Positioned {
    pub(crate) position: u64,
    pub(crate) group: Group,
    /// Of each of the group's events its place among all events of the block.
    pub(crate) places: Vec<u32>,
    /// Groups of this position or a later one came before: it was applied, or was in a record that the log lost.
    pub(crate) repeated: bool,
}

/// What a block holds.
#[derive(Default)]
pub(crate) struct Decoded {
    pub(crate) groups: Vec<Positioned>,
    /// All events of the block, those left out of `groups` included.
    pub(crate) events: u32,
}

/// Keeps those of `all` for which `kept` is true.
fn keep<T>(all: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    all.retain(|_| kept.next().copied().unwrap_or_default());
}

/// Decompresses blocks.
pub(crate) struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
    /// Room for a whole payload: made once, since only what is used of it takes memory.
    buffer: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: zstd::bulk::Decompressor::new()?,
            buffer: Vec::with_capacity(MAX_BLOCK_DECODED_BYTES),
        })
    }

    /// The groups of a block. Those up to `highest`, the highest position applied of its edge and partition, have only
    /// those events that can be told from the ones applied, by ids of their own.
    pub(crate) fn groups(
        &mut self,
        block: &Block,
        highest: Option<u64>,
    ) -> Result<Decoded, Unreadable> {
        self.buffer.clear();
        self.zstd
            .decompress_to_buffer(&block.payload[..], &mut self.buffer)
            .map_err(Unreadable::Zstd)?;
        let payload = Bytes::copy_from_slice(&self.buffer);
        let payload = BlockPayload::decode(payload).map_err(Unreadable::Block)?;
        let mut events = 0;
        let groups = payload
            .groups
            .into_iter()
            .map(|positioned| {
                let position = positioned.position;
                let mut group = Group::decode(positioned.group).map_err(Unreadable::Group)?;
                let first = events;
                events += group.events.len() as u32;
                let repeated = highest.is_some_and(|highest| position <= highest);
                let mut places: Vec<u32> = (first..events).collect();
                if repeated {
                    let known = group.events.iter().map(has_id);
                    let known: Vec<bool> = known.collect();
                    keep(&mut places, &known);
                    keep(&mut group.events, &known);
                    group.rejected.clear();
                    group.tallies.clear();
                }
                Ok(Positioned {
                    position,
                    group,
                    places,
                    repeated,
                })
            })
            .filter(|read| {
                let empty = |at: &Positioned| at.repeated && at.group.events.is_empty();
                !read.as_ref().is_ok_and(empty)
            })
            .collect::<Result<_, Unreadable>>()?;
        Ok(Decoded { groups, events })
    }
}

/// Whether copies of an event are known by its id, wherever they are.
fn has_id(event: &v1::Event) -> bool {
    event.stream != 0 || !event.client_id.is_empty()
}

/// What the events of a group have in common.
pub(crate) struct Origin {
    edge: u64,
    stamp_ms: u64,
    /// Without what brought the visitor, which each event tells.
    context: Context,
}

impl Origin {
    /// Of a group of `edge`, from a record of the log with that append stamp.
    pub(crate) fn of(group: &Group, edge: u64, stamp_ms: u64) -> Self {
        let agent = group.agent.as_ref();
        let code = |code: fn(&v1::Agent) -> u32| agent.map_or(0, code).min(MAX_CODE) as u8;
        let country = group.location.as_ref().map(|at| at.country.as_str());
        Self {
            edge,
            stamp_ms,
            context: Context {
                country: country_code(country.unwrap_or_default()),
                device: code(|agent| agent.device),
                browser: code(|agent| agent.browser),
                os: code(|agent| agent.os),
                ..Context::default()
            },
        }
    }

    /// What numbers depend on of an event at `position` of the edge's spool.
    pub(crate) fn event(&self, event: &v1::Event, position: u64) -> Event {
        let id = if event.stream != 0 {
            Id::Stream {
                stream: event.stream,
                seq: event.seq,
            }
        } else if event.client_id.is_empty() {
            Id::Position {
                edge: self.edge,
                position,
            }
        } else {
            Id::Client(xxh3_64(event.client_id.as_bytes()))
        };
        let event_type = event_type(event);
        let kind = match event_type {
            EventType::Engagement => Kind::Engagement,
            seen if seen.is_pageview() => Kind::Pageview,
            passive if event.passive || passive.is_passive() => Kind::Passive,
            _ => Kind::Interactive,
        };
        // A cart has an order, too, of which nothing is sold yet.
        let order = event
            .order
            .as_ref()
            .filter(|_| matches!(event_type, EventType::Order | EventType::Custom));
        Event {
            id,
            time_ms: event.time.min(MAX_TIME_MS) as i64,
            stamp_ms: self.stamp_ms.min(MAX_TIME_MS) as i64,
            kind,
            page: (!event.path.is_empty()).then(|| text_id(&event.path)),
            name: report_name(event).map(text_id),
            engagement_ms: event.engagement.as_ref().map_or(0, |seen| seen.time_ms),
            order: order.and_then(|order| {
                Some(Money {
                    currency: order.currency.as_bytes().try_into().ok()?,
                    minor: order.value,
                })
            }),
            context: self.context(event),
        }
    }

    fn context(&self, event: &v1::Event) -> Context {
        let Some(by) = &event.acquisition else {
            return self.context;
        };
        Context {
            channel: by.channel.min(MAX_CODE) as u8,
            source: text_id(&by.source),
            utm_medium: text_id(&by.utm_medium),
            utm_source: text_id(&by.utm_source),
            utm_campaign: text_id(&by.utm_campaign),
            utm_content: text_id(&by.utm_content),
            utm_term: text_id(&by.utm_term),
            ..self.context
        }
    }
}

/// Calls `name` with every id of `seen` and the text of `event` that it stands for.
pub(super) fn texts<'a>(event: &'a v1::Event, seen: &Event, mut name: impl FnMut(u64, &'a str)) {
    if let Some(page) = seen.page {
        name(page, &event.path);
    }
    if let (Some(id), Some(text)) = (seen.name, report_name(event)) {
        name(id, text);
    }
    if let Some(by) = &event.acquisition {
        let context = &seen.context;
        for (id, text) in [
            (context.source, &by.source),
            (context.utm_medium, &by.utm_medium),
            (context.utm_source, &by.utm_source),
            (context.utm_campaign, &by.utm_campaign),
            (context.utm_content, &by.utm_content),
            (context.utm_term, &by.utm_term),
        ] {
            if id != 0 {
                name(id, text);
            }
        }
    }
}

/// What an event is called in reports: a custom one by its own name, others by their type's. `None` for engagement.
pub(crate) fn report_name(event: &v1::Event) -> Option<&str> {
    match event_type(event) {
        EventType::Engagement => None,
        EventType::PageView => Some("pageview"),
        EventType::Custom if !event.name.is_empty() => Some(&event.name),
        known => Some(known.name()),
    }
}

/// A type that this version does not know is a custom one.
pub(crate) fn event_type(event: &v1::Event) -> EventType {
    match event.r#type() {
        EventType::Unspecified => EventType::Custom,
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use wakeline_engine::{Id, Kind};
    use wakeline_proto::v1::{self, Block, BlockPayload, EventType, Group, PositionedGroup};

    use super::{Decoder, Origin};

    /// Of an event without a group of note, at position 2 of edge 1.
    fn engine_event(event: &v1::Event) -> wakeline_engine::Event {
        Origin::of(&Group::default(), 1, 0).event(event, 2)
    }

    fn block(payload: &[u8]) -> Block {
        Block {
            payload: zstd::bulk::compress(payload, 1).unwrap().into(),
            ..Block::default()
        }
    }

    #[test]
    fn of_groups_that_were_applied_only_events_with_ids_are_left() {
        let group = Group {
            site: 1,
            visitor: "v".into(),
            events: vec![v1::Event::default()],
            rejected: vec![v1::Rejected::default()],
            tallies: vec![v1::Tally::default()],
            ..Group::default()
        };
        let with_ids = Group {
            events: [(0, ""), (7, ""), (0, "c")]
                .map(|(stream, client_id)| v1::Event {
                    stream,
                    client_id: client_id.into(),
                    ..v1::Event::default()
                })
                .into(),
            ..group.clone()
        };
        let payload = BlockPayload {
            groups: [(10, &group), (11, &with_ids), (20, &group)]
                .map(|(position, group)| PositionedGroup {
                    position,
                    group: group.encode_to_vec().into(),
                })
                .into(),
        };
        let block = block(&payload.encode_to_vec());
        let read = |highest| -> Vec<_> {
            let decoded = Decoder::new().unwrap().groups(&block, highest).unwrap();
            assert_eq!(decoded.events, 5);
            let read = decoded.groups.iter().map(|at| {
                let refused = at.group.rejected.len() + at.group.tallies.len();
                (at.position, at.repeated, at.group.events.len(), refused)
            });
            read.collect()
        };
        let (first, second, third) = ((10, false, 1, 2), (11, false, 3, 2), (20, false, 1, 2));
        assert_eq!(read(None), [first, second, third]);
        assert_eq!(read(Some(10)), [second, third]);
        assert_eq!(read(Some(11)), [(11, true, 2, 0), third]);
        assert_eq!(read(Some(20)), [(11, true, 2, 0)]);
    }

    #[test]
    fn what_is_left_of_a_group_keeps_its_place_in_the_block() {
        let event = |stream| v1::Event {
            stream,
            ..v1::Event::default()
        };
        let group = |streams: &[u64]| Group {
            events: streams.iter().map(|stream| event(*stream)).collect(),
            ..Group::default()
        };
        let payload = BlockPayload {
            groups: [(10, group(&[0, 1])), (12, group(&[0, 2, 0, 3]))]
                .map(|(position, group)| PositionedGroup {
                    position,
                    group: group.encode_to_vec().into(),
                })
                .into(),
        };
        let block = block(&payload.encode_to_vec());
        let places = |highest| -> Vec<Vec<u32>> {
            let decoded = Decoder::new().unwrap().groups(&block, highest).unwrap();
            decoded.groups.into_iter().map(|at| at.places).collect()
        };
        assert_eq!(places(None), [vec![0, 1], vec![2, 3, 4, 5]]);
        assert_eq!(places(Some(10)), [vec![1], vec![2, 3, 4, 5]]);
        assert_eq!(places(Some(12)), [vec![1], vec![3, 5]]);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = block(&vec![0; super::MAX_BLOCK_DECODED_BYTES + 1]);
        assert!(Decoder::new().unwrap().groups(&bomb, None).is_err());
    }

    #[test]
    fn kinds_follow_type_and_passiveness() {
        let kind = |event_type: i32, passive| {
            let event = v1::Event {
                r#type: event_type,
                passive,
                ..v1::Event::default()
            };
            engine_event(&event).kind
        };
        assert_eq!(kind(EventType::PageView as i32, false), Kind::Pageview);
        assert_eq!(kind(EventType::ScreenView as i32, true), Kind::Pageview);
        assert_eq!(kind(EventType::Engagement as i32, false), Kind::Engagement);
        assert_eq!(kind(EventType::Scroll as i32, false), Kind::Passive);
        assert_eq!(kind(EventType::Click as i32, true), Kind::Passive);
        assert_eq!(kind(EventType::Click as i32, false), Kind::Interactive);
        assert_eq!(kind(4711, false), Kind::Interactive, "from a later version");
    }

    #[test]
    fn ids_are_the_sdks_else_the_clients_else_the_place_in_the_spool() {
        let mut event = v1::Event {
            stream: 5,
            seq: 6,
            client_id: "x".into(),
            ..v1::Event::default()
        };
        assert_eq!(engine_event(&event).id, Id::Stream { stream: 5, seq: 6 });
        event.stream = 0;
        assert!(matches!(engine_event(&event).id, Id::Client(_)));
        event.client_id.clear();
        let place = Id::Position {
            edge: 1,
            position: 2,
        };
        assert_eq!(engine_event(&event).id, place);
    }

    #[test]
    fn orders_and_custom_events_bring_revenue_and_carts_do_not() {
        let mut event = v1::Event {
            r#type: EventType::Cart as i32,
            order: Some(v1::Order {
                currency: "EUR".into(),
                value: 99,
                ..v1::Order::default()
            }),
            ..v1::Event::default()
        };
        assert_eq!(engine_event(&event).order, None);
        for sold in [EventType::Order, EventType::Custom] {
            event.r#type = sold.into();
            assert_eq!(engine_event(&event).order.unwrap().minor, 99);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let mut decoder = Decoder::new().unwrap();
            let raw = Block { payload: bytes.clone().into(), ..Block::default() };
            let _ = decoder.groups(&raw, None);
            if let Ok(decoded) = decoder.groups(&block(&bytes), None) {
                for group in decoded.groups {
                    let origin = Origin::of(&group.group, 1, u64::MAX);
                    for event in &group.group.events {
                        let _ = origin.event(event, group.position);
                    }
                }
            }
        }
    }
}
