//! From judged events to a [`SpoolRecord`](v1::SpoolRecord).
//!
//! Events of one visitor stand in one group, in order; a group that grows beyond [`MAX_GROUP_BYTES`] is followed by
//! another of the same visitor. An event is encoded when it is accepted; the fields of a message may come in any order, so
//! its group's other ones are put before them in the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use wakeline_proto::{EventId, Reason, limits, partition_hash, v1};

use super::{Context, Refused};
use crate::enrich::Origin;

/// Bytes of an encoded group, so that a few fit a block.
pub(crate) const MAX_GROUP_BYTES: usize = 512 << 10;
/// Bytes of a group besides its events: what is common, with tags and lengths.
const COMMON_BYTES: usize = 4 << 10;
/// Tag and length of an event in its group.
const ENTRY_BYTES: usize = 6;
/// Number of a group's field `events`.
const EVENTS: u32 = 9;
/// Longest payload of a refused event that is kept whole.
const MAX_PAYLOAD_BYTES: usize = 256 << 10;
/// What is kept of a longer one.
const CUT_PAYLOAD_BYTES: usize = 4 << 10;
/// Bytes of all payloads of a request. Texts that a batch says once are in the payload of each event.
const MAX_PAYLOADS_BYTES: usize = limits::MAX_DECODED_BYTES;

#[derive(Debug)]
pub(super) struct Groups {
    common: v1::Group,
    /// Of the request.
    origin: Arc<Origin>,
    all: Vec<Open>,
    /// The group that takes the next event of a visitor, consent and origin; empty while there is only one group.
    open: HashMap<Key, usize>,
    /// The group of the event before: mostly the next one's as well.
    last: usize,
    payload_bytes: usize,
    /// Events that are not kept, by reason.
    tallies: BTreeMap<Reason, u64>,
}

/// Whose events are in one group.
type Key = (String, v1::Consent, Arc<Origin>);

#[derive(Debug)]
struct Open {
    /// Without its events.
    group: v1::Group,
    /// The field `events`, encoded, and how many there are.
    events: Vec<u8>,
    accepted: u32,
    origin: Arc<Origin>,
    bytes: usize,
}

impl Open {
    fn key(&self) -> Key {
        let group = &self.group;
        let origin = Arc::clone(&self.origin);
        (group.visitor.clone(), group.consent(), origin)
    }

    fn encoded(self) -> (v1::GroupHeader, Vec<u8>) {
        let (mut header, mut bytes) = encoded(&self.group);
        header.events = self.accepted;
        bytes.extend_from_slice(&self.events);
        (header, bytes)
    }
}

impl Groups {
    pub(super) fn new(context: &Context, origin: &Arc<Origin>) -> Self {
        Self {
            common: v1::Group {
                site: context.site,
                received_at: context.received_at,
                first_day: context.first_day,
                client: Some(context.client.clone())
                    .filter(|client| *client != v1::Client::default()),
                device: Some(context.device.clone())
                    .filter(|device| *device != v1::Device::default()),
                rules_version: context.rules_version,
                ..v1::Group::default()
            },
            origin: Arc::clone(origin),
            all: Vec::new(),
            open: HashMap::new(),
            last: 0,
            payload_bytes: 0,
            tallies: BTreeMap::new(),
        }
    }

    /// Takes an event, as it is encoded.
    pub(super) fn accept(
        &mut self,
        visitor: &str,
        consent: v1::Consent,
        origin: &Arc<Origin>,
        event: &[u8],
    ) {
        let open = self.group(visitor, consent, origin, event.len());
        open.accepted += 1;
        encode_key(EVENTS, WireType::LengthDelimited, &mut open.events);
        encode_varint(event.len() as u64, &mut open.events);
        open.events.extend_from_slice(event);
    }

    /// Keeps a refused event. A visitor that is too long is left out: there is no group for it.
    pub(super) fn reject(
        &mut self,
        visitor: &str,
        consent: v1::Consent,
        refused: &Refused,
        id: Option<EventId>,
        payload: Vec<u8>,
    ) {
        let visitor = if visitor.len() > limits::MAX_VISITOR_BYTES {
            ""
        } else {
            visitor
        };
        let rejected = v1::Rejected {
            reason: refused.reason.as_str().to_owned(),
            detail: refused.detail.clone().into_owned(),
            payload: self.kept(payload).into(),
            stream: id.map_or(0, |id| id.stream),
            seq: id.map_or(0, |id| id.seq),
        };
        let bytes = rejected.encoded_len();
        let origin = Arc::clone(&self.origin);
        let open = self.group(visitor, consent, &origin, bytes);
        open.group.rejected.push(rejected);
    }

    /// Counts a refused event of which nothing else may stay.
    pub(super) fn tally(&mut self, reason: Reason) {
        *self.tallies.entry(reason).or_default() += 1;
    }

    /// `payload`, or a JSON object with its beginning if it is too long.
    fn kept(&mut self, payload: Vec<u8>) -> Vec<u8> {
        let payload = if payload.len() > MAX_PAYLOAD_BYTES
            || self.payload_bytes + payload.len() > MAX_PAYLOADS_BYTES
        {
            let room = MAX_PAYLOADS_BYTES.saturating_sub(self.payload_bytes);
            let beginning = &payload[..payload.len().min(CUT_PAYLOAD_BYTES).min(room)];
            let cut = serde_json::json!({
                "cut": String::from_utf8_lossy(beginning),
                "bytes": payload.len(),
            });
            cut.to_string().into_bytes()
        } else {
            payload
        };
        self.payload_bytes += payload.len();
        payload
    }

    fn group(
        &mut self,
        visitor: &str,
        consent: v1::Consent,
        origin: &Arc<Origin>,
        bytes: usize,
    ) -> &mut Open {
        let bytes = bytes + ENTRY_BYTES;
        let is_last = self.all.get(self.last).is_some_and(|open| {
            open.group.visitor == visitor
                && open.group.consent() == consent
                && open.origin == *origin
        });
        let known = if is_last {
            Some(self.last)
        } else {
            self.open
                .get(&(visitor.to_owned(), consent, Arc::clone(origin)))
                .copied()
        };
        let at = match known {
            Some(at) if self.all[at].bytes + bytes <= MAX_GROUP_BYTES => at,
            _ => {
                self.all.push(Open {
                    group: v1::Group {
                        visitor: visitor.to_owned(),
                        consent: consent.into(),
                        agent: Some(origin.agent.clone())
                            .filter(|agent| *agent != v1::Agent::default()),
                        location: Some(origin.location.clone())
                            .filter(|location| *location != v1::Location::default()),
                        ..self.common.clone()
                    },
                    events: Vec::new(),
                    accepted: 0,
                    origin: Arc::clone(origin),
                    bytes: COMMON_BYTES,
                });
                let at = self.all.len() - 1;
                if at > 0 {
                    // With the second one the first is put in, too.
                    let listed = self.open.len();
                    for (at, open) in self.all.iter().enumerate().skip(listed) {
                        self.open.insert(open.key(), at);
                    }
                }
                at
            }
        };
        self.last = at;
        let open = &mut self.all[at];
        open.bytes += bytes;
        open
    }

    /// The record and how many positions it takes; `None` if there is nothing to keep.
    pub(super) fn into_record(self) -> Option<(Bytes, u32)> {
        // Nothing of the visitor is in the group of those that are only counted.
        let counted = v1::Group {
            rules_version: self.common.rules_version,
            ..tallied(self.common.site, self.common.received_at, self.tallies)
        };
        let groups = self.all.into_iter().map(Open::encoded);
        let counted = (!counted.tallies.is_empty()).then(|| encoded(&counted));
        record(groups.chain(counted))
    }
}

/// A group that only counts events that are not kept.
pub(crate) fn tallied(
    site: u64,
    received_at: u64,
    tallies: impl IntoIterator<Item = (Reason, u64)>,
) -> v1::Group {
    let tallies = tallies.into_iter().map(|(reason, count)| v1::Tally {
        reason: reason.as_str().to_owned(),
        count,
    });
    v1::Group {
        site,
        received_at,
        tallies: tallies.collect(),
        ..v1::Group::default()
    }
}

/// A group as it stands in a record.
pub(crate) fn encoded(group: &v1::Group) -> (v1::GroupHeader, Vec<u8>) {
    let hash = partition_hash(group.site, &group.visitor);
    (header(group, hash), group.encode_to_vec())
}

/// A record of these groups, and how many positions it takes; `None` without groups.
pub(crate) fn record(
    groups: impl Iterator<Item = (v1::GroupHeader, Vec<u8>)>,
) -> Option<(Bytes, u32)> {
    let mut record = v1::SpoolRecord::default();
    let mut span = 0;
    for (header, group) in groups {
        span += header.events + header.rejected + header.tallies;
        record.headers.push(header);
        record.groups.push(group.into());
    }
    (span > 0).then(|| (record.encode_to_vec().into(), span))
}

/// What is to be known of a group without decoding it.
pub(crate) fn header(group: &v1::Group, partition_hash: u64) -> v1::GroupHeader {
    v1::GroupHeader {
        partition_hash,
        events: group.events.len() as u32,
        rejected: group.rejected.len() as u32,
        tallies: group.tallies.len() as u32,
        tallied: group
            .tallies
            .iter()
            .fold(0, |sum, tally| sum.saturating_add(tally.count)),
    }
}
