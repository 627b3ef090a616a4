//! Events as JSON: the model of `POST /w/1/events`.
//!
//! An event is an object with the keys of [`JsonEvent`]; others refuse it, as do keys given twice. `null` means absent.
//!
//! Values of `properties` are
//! - a string: text, also if it reads like a date;
//! - a number: an integer if it is written as one and fits 64 bits signed, else a double;
//! - `true` or `false`;
//! - `{"timestamp": "2026-01-31T12:00:00Z"}`: a timestamp (RFC 3339).
//!
//! Anything else (`null`, arrays, other objects) refuses the event as `invalid_property`, and so does a name that is
//! given twice.
//!
//! When an event happened is said by one of two keys, or by none if it happened just now:
//! - `age`: integer ms between the event and sending it, by a clock that only runs forwards. Its time is that much before
//!   it was received, however wrong the client's wall clock is. As in native batches, a negative one is taken as 0 and
//!   flagged.
//! - `time`: by the wall clock (RFC 3339).
//!
//! Both at once make the event `malformed`.
//!
//! Deep nesting costs no stack: an event is found in its array without recursion, and reading it stops at a depth of
//! 128, which makes it `malformed`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{EventId, Reason, limits, v1};

use super::native::Arrival;
use super::{Claim, Context, Draft, Judge, Refused, Verdict};
use crate::enrich::Sender;
use crate::rules::limits::Reached;

/// The name of the client in events that came as JSON.
const CLIENT: &str = "json";

/// The type of what the SDK refused itself, with the reason as its name.
const REFUSED: &str = "refused";

/// Why a body is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("the body is not UTF-8")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("more than {0} events")]
    TooMany(usize),
    #[error("only a server key may send historical events")]
    HistoricalByWriteKey,
    #[error("a limit is reached")]
    Limited(Reached),
}

impl From<Reached> for BodyError {
    fn from(reached: Reached) -> Self {
        Self::Limited(reached)
    }
}

/// The events of a body, each as its text.
#[derive(Debug)]
pub(crate) struct JsonBody<'a> {
    events: Vec<&'a RawValue>,
    historical: bool,
}

#[derive(Deserialize)]
#[serde(expecting = "an event")]
struct Probe<'a> {
    #[serde(borrow)]
    events: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with events")]
struct Envelope<'a> {
    #[serde(borrow)]
    events: &'a RawValue,
    #[serde(default)]
    historical: bool,
}

impl<'a> JsonBody<'a> {
    /// Finds the events: one object, an array of them, or `{"historical": …, "events": […]}`.
    pub(crate) fn parse(body: &'a [u8], max_events: usize) -> Result<Self, BodyError> {
        let text = std::str::from_utf8(body)?;
        let whole: &RawValue = serde_json::from_str(text)?;
        if !whole.get().starts_with('{') {
            return Ok(Self {
                events: list(whole, max_events)?,
                historical: false,
            });
        }
        let probe: Probe<'_> = serde_json::from_str(text)?;
        if probe.events.is_none() {
            return Ok(Self {
                events: vec![whole],
                historical: false,
            });
        }
        let envelope: Envelope<'_> = serde_json::from_str(text)?;
        Ok(Self {
            events: list(envelope.events, max_events)?,
            historical: envelope.historical,
        })
    }

    /// How many events there are.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Judges the events. `idempotency_key` gives an id to those that have none; `of_day` is the visitor of those whose
    /// own is an empty text.
    pub(crate) fn judge(
        &self,
        arrival: Arrival,
        idempotency_key: Option<&[u8]>,
        of_day: &str,
    ) -> Result<Verdict, BodyError> {
        let server = arrival.pass.grant.server;
        if self.historical && !server {
            return Err(BodyError::HistoricalByWriteKey);
        }
        let request = idempotency_key.map(xxhash_rust::xxh3::xxh3_128);
        let mut judge = Judge::new(context(arrival, self.historical), self.events.len())?;
        for (index, raw) in self.events.iter().enumerate() {
            let text = raw.get();
            match read(text, server) {
                Ok(mut draft) => {
                    // What this request alone knows: whoever sends the event again can't.
                    let mut known = Vec::new();
                    if draft.visitor.is_empty() && is_cookieless(text) {
                        draft.visitor = Cow::Owned(of_day.to_owned());
                        known.push(("visitor", of_day.to_owned()));
                    }
                    if let (0, "", Some(request)) =
                        (draft.event.stream, draft.event.client_id.as_str(), request)
                    {
                        let id = format!("{request:032x}.{index}");
                        draft.event.client_id.clone_from(&id);
                        known.push(("id", id));
                    }
                    judge.event(draft, |_| kept(text, known));
                }
                Err(refused) => {
                    let (visitor, consent, id) = glimpse(text);
                    judge.unreadable(&visitor, consent, refused, id, |_| kept(text, Vec::new()));
                }
            }
        }
        Ok(judge.finish())
    }
}

/// The context of events that come one by one, not in a native batch.
pub(crate) fn context(arrival: Arrival, historical: bool) -> Context {
    Context {
        site: arrival.pass.grant.site,
        received_at: arrival.received_at,
        rules_version: arrival.pass.rules_version,
        opted_out: arrival.opted_out,
        rules: arrival.pass.rules,
        trusted: arrival.pass.grant.server,
        payer: arrival.payer,
        buckets: arrival.buckets,
        sender: arrival.sender,
        enricher: arrival.enricher,
        names: arrival.names,
        historical,
        client: v1::Client {
            name: CLIENT.to_owned(),
            version: String::new(),
        },
        device: v1::Device::default(),
        first_day: 0,
    }
}

/// The elements of an array, without reading them.
fn list(array: &RawValue, max_events: usize) -> Result<Vec<&RawValue>, BodyError> {
    struct Elements(usize);

    impl<'de> Visitor<'de> for Elements {
        /// `None`: too many.
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an event or an array of events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element::<&RawValue>()? {
                if elements.len() == self.0 {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                elements.push(element);
            }
            Ok(Some(elements))
        }
    }

    let mut reader = serde_json::Deserializer::from_str(array.get());
    reader
        .deserialize_seq(Elements(max_events))?
        .ok_or(BodyError::TooMany(max_events))
}

/// An event's keys. Texts are at most as long as [`limits`] say; money is in minor units.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event")]
struct JsonEvent {
    r#type: Option<String>,
    name: Option<String>,
    id: Option<String>,
    time: Option<String>,
    age: Option<i64>,
    visitor: Option<String>,
    user: Option<String>,
    url: Option<String>,
    referrer: Option<String>,
    title: Option<String>,
    properties: Option<Properties>,
    interactive: Option<bool>,
    consent: Option<String>,
    engagement: Option<JsonEngagement>,
    exposure: Option<JsonExposure>,
    order: Option<JsonOrder>,
    /// Of the visitor; from servers only. Never stored.
    ip: Option<String>,
    /// Of the visitor's browser; from servers only. Never stored.
    user_agent: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an engagement")]
struct JsonEngagement {
    #[serde(default)]
    time_ms: u32,
    #[serde(default)]
    scroll_percent: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an exposure")]
struct JsonExposure {
    experiment: String,
    variant: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an order")]
struct JsonOrder {
    #[serde(default)]
    id: String,
    currency: String,
    value: i64,
    #[serde(default)]
    items: Vec<JsonItem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an item")]
struct JsonItem {
    sku: String,
    #[serde(default)]
    name: String,
    price: i64,
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

/// Properties in the order in which they were given; a value that is none has no kind.
struct Properties(Vec<v1::Property>);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<v1::Property>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    // One more than allowed is enough to be refused.
                    if list.len() <= limits::MAX_PROPERTIES {
                        let value = Some(v1::Value {
                            kind: property(value.get()),
                        });
                        list.push(v1::Property { name, value });
                    }
                }
                Ok(list)
            }
        }

        deserializer.deserialize_map(Pairs).map(Self)
    }
}

/// A property's value, by what it begins with; `None` if it is of no kind.
fn property(text: &str) -> Option<Kind> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Stamp {
        timestamp: String,
    }

    match text.bytes().next()? {
        b'"' => serde_json::from_str(text).ok().map(Kind::Text),
        b't' | b'f' => serde_json::from_str(text).ok().map(Kind::Flag),
        b'-' | b'0'..=b'9' => match serde_json::from_str::<i64>(text) {
            Ok(integer) => Some(Kind::Integer(integer)),
            Err(_) => serde_json::from_str(text).ok().map(Kind::Number),
        },
        b'{' => {
            let stamp: Stamp = serde_json::from_str(text).ok()?;
            let time: Timestamp = stamp.timestamp.parse().ok()?;
            Some(Kind::Timestamp(time.as_millisecond()))
        }
        _ => None,
    }
}

/// Reads an event; the steps judge what it says.
fn read(text: &str, server: bool) -> Result<Draft<'static>, Refused> {
    if text.len() > limits::MAX_EVENT_BYTES {
        let detail = format!(
            "the event has {} bytes, the limit is {}",
            text.len(),
            limits::MAX_EVENT_BYTES
        );
        return Err(Refused::new(Reason::TooLarge, detail));
    }
    let malformed = |detail: String| Refused::new(Reason::Malformed, detail);
    if !text.starts_with('{') {
        return Err(malformed("an event is an object".to_owned()));
    }
    let event: JsonEvent =
        serde_json::from_str(text).map_err(|error| malformed(for_people(&error)))?;
    if !server && (event.ip.is_some() || event.user_agent.is_some()) {
        return Err(Refused::new(
            Reason::Malformed,
            "only a server key may give ip and user_agent",
        ));
    }
    let kind = kind_of(&event)?;
    complete(kind, &event)?;
    let claim = match (&event.time, event.age) {
        (None, None) => Claim::Now,
        (None, Some(age)) => Claim::Age(age),
        (Some(_), Some(_)) => return Err(malformed("there are time and age".to_owned())),
        (Some(text), None) => {
            let time: Timestamp = text
                .parse()
                .map_err(|_| Refused::new(Reason::InvalidTime, "the time is not RFC 3339"))?;
            Claim::Wall {
                at: time.as_millisecond(),
                sent_at: None,
            }
        }
    };
    let consent = match event.consent.as_deref() {
        None => v1::Consent::Unspecified,
        Some(text) => consent_of(text)
            .ok_or_else(|| malformed("consent is granted, denied or pending".to_owned()))?,
    };
    let id = event.id.as_deref().and_then(EventId::parse);
    let client_id = match (id, event.id) {
        (None, Some(text)) if text.is_empty() => {
            return Err(malformed("the id is empty".to_owned()));
        }
        (None, Some(text)) => text,
        _ => String::new(),
    };
    let sender = match (event.ip, event.user_agent) {
        (None, None) => None,
        (ip, user_agent) => Some(Sender {
            ip: match ip {
                None => None,
                Some(ip) => Some(
                    ip.parse()
                        .map_err(|_| malformed("ip is not an address".to_owned()))?,
                ),
            },
            user_agent: user_agent.unwrap_or_default(),
            ..Sender::default()
        }),
    };
    Ok(Draft {
        sender,
        visitor: Cow::Owned(event.visitor.unwrap_or_default()),
        consent,
        claim,
        url: Cow::Owned(event.url.unwrap_or_default()),
        event: v1::Event {
            stream: id.map_or(0, |id| id.stream),
            seq: id.map_or(0, |id| id.seq),
            client_id,
            r#type: kind.into(),
            name: event.name.unwrap_or_default(),
            referrer: event.referrer.unwrap_or_default(),
            title: event.title.unwrap_or_default(),
            properties: event
                .properties
                .map(|properties| properties.0)
                .unwrap_or_default(),
            order: event.order.map(order),
            engagement: event.engagement.map(|engagement| v1::Engagement {
                time_ms: engagement.time_ms,
                scroll_percent: engagement.scroll_percent,
            }),
            exposure: event.exposure.map(|exposure| v1::Exposure {
                experiment: exposure.experiment,
                variant: exposure.variant,
            }),
            passive: event.interactive == Some(false),
            user: event.user.unwrap_or_default(),
            ..v1::Event::default()
        },
    })
}

/// What happened; of what the SDK refused, why it did.
fn kind_of(event: &JsonEvent) -> Result<v1::EventType, Refused> {
    match event.r#type.as_deref() {
        Some(REFUSED) => {
            let reason = event.name.as_deref().and_then(Reason::from_name);
            Err(Refused::new(
                reason.unwrap_or(Reason::Malformed),
                "refused by the client",
            ))
        }
        None => Err(Refused::new(Reason::InvalidType, "there is no type")),
        Some(name) => v1::EventType::from_name(name)
            .ok_or_else(|| Refused::new(Reason::InvalidType, format!("there is no type {name:?}"))),
    }
}

/// Checks that there is what the type can't do without, and nothing twice.
fn complete(kind: v1::EventType, event: &JsonEvent) -> Result<(), Refused> {
    let missing = match kind {
        v1::EventType::Identify if event.user.as_deref().is_none_or(str::is_empty) => {
            Some("an identify event needs its user")
        }
        v1::EventType::Engagement if event.engagement.is_none() => {
            Some("an engagement event needs its engagement")
        }
        _ => None,
    };
    if let Some(detail) = missing {
        return Err(Refused::new(Reason::Malformed, detail));
    }
    let properties = event.properties.as_ref().map_or(&[][..], |list| &list.0);
    for (index, one) in properties.iter().enumerate() {
        if properties
            .iter()
            .take(index)
            .any(|other| other.name == one.name)
        {
            let detail = format!("property {:?} is given twice", one.name);
            return Err(Refused::new(Reason::InvalidProperty, detail));
        }
    }
    Ok(())
}

/// What is wrong with an event's JSON, without the names that types have in this program.
fn for_people(error: &serde_json::Error) -> String {
    error
        .to_string()
        .replace("expected u32", "expected an integer from 0 to 4294967295")
        .replace("expected i64", "expected an integer")
}

fn order(order: JsonOrder) -> v1::Order {
    v1::Order {
        id: order.id,
        currency: order.currency,
        value: order.value,
        items: order
            .items
            .into_iter()
            .map(|item| v1::Item {
                sku: item.sku,
                name: item.name,
                price: item.price,
                quantity: item.quantity,
            })
            .collect(),
    }
}

fn consent_of(text: &str) -> Option<v1::Consent> {
    match text {
        "granted" => Some(v1::Consent::Granted),
        "denied" => Some(v1::Consent::Denied),
        "pending" => Some(v1::Consent::Pending),
        _ => None,
    }
}

/// Whether the visitor is there and empty: that of a page that keeps no id. One that is left out was forgotten.
fn is_cookieless(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Glimpse {
        visitor: Option<String>,
    }
    serde_json::from_str(text).is_ok_and(|Glimpse { visitor }| visitor.is_some())
}

/// Visitor, consent and an SDK's id of an event that can't be read, as far as they can. A consent that is not understood
/// is none.
fn glimpse(text: &str) -> (String, v1::Consent, Option<EventId>) {
    #[derive(Deserialize)]
    struct Glimpse<'a> {
        #[serde(borrow, default)]
        visitor: Option<&'a RawValue>,
        #[serde(borrow, default)]
        consent: Option<&'a RawValue>,
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }

    let Ok(glimpse) = serde_json::from_str::<Glimpse<'_>>(text) else {
        return (String::new(), v1::Consent::Unspecified, None);
    };
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let visitor = glimpse.visitor.and_then(text).unwrap_or_default();
    let consent = match glimpse.consent {
        None => v1::Consent::Unspecified,
        Some(raw) => text(raw)
            .and_then(|text| consent_of(&text))
            .unwrap_or(v1::Consent::Denied),
    };
    let id = glimpse.id.and_then(text);
    (visitor, consent, id.and_then(|id| EventId::parse(&id)))
}

/// The event as it came, with the texts that are `known` of it, and without the visitor's address, which is never stored.
fn kept(text: &str, known: Vec<(&str, String)>) -> Vec<u8> {
    // The key might be written with escapes.
    if known.is_empty() && !text.contains("\"ip\"") && !text.contains("\\u") {
        return text.as_bytes().to_vec();
    }
    match serde_json::from_str::<BTreeMap<Cow<'_, str>, Cow<'_, RawValue>>>(text) {
        Ok(mut entries) => {
            entries.remove("ip");
            for (name, value) in known {
                if let Ok(value) = serde_json::value::to_raw_value(&value) {
                    entries.insert(name.into(), Cow::Owned(value));
                }
            }
            serde_json::to_vec(&entries).unwrap_or_default()
        }
        // Keys that can't be read may hide an address.
        Err(_) if text.starts_with('{') => serde_json::json!({"cut": "", "bytes": text.len()})
            .to_string()
            .into_bytes(),
        Err(_) => text.as_bytes().to_vec(),
    }
}
