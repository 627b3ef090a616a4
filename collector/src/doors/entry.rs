//! What dialects make of a request: events of the event model, each of a site.

use prost::Message as _;
use serde_json::{Map, Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{Reason, limits};

use super::request::Request;
use crate::http::problem::Refusal;
use crate::judge::{Claim, Draft, Refused};

/// The events of a request.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Name of the client, as it is kept.
    pub(super) client: &'static str,
    pub(super) device: v1::Device,
    pub(super) entries: Vec<Entry>,
    /// All entries are the same event: a site gets one, though it be called by several names.
    pub(super) copies: bool,
}

/// One event.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the client calls the site.
    pub(super) site: String,
    /// Without a visitor the event gets one for the day; else it is refused.
    pub(super) cookieless: bool,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Amounts of its order are in thousandths of the currency, which may be empty: [`super::commerce::settle`].
    Event(Box<Draft<'static>>),
    /// Nothing that the event model has.
    Unreadable {
        visitor: String,
        refused: Refused,
        /// As it came.
        payload: Value,
    },
}

impl Entry {
    /// About as many bytes as it has.
    fn bytes(&self) -> usize {
        let what = match &self.what {
            What::Event(draft) => draft.event.encoded_len() + draft.url.len() + draft.visitor.len(),
            What::Unreadable { payload, .. } => payload.to_string().len(),
        };
        self.site.len() + what
    }

    /// What a dialect made of one event; `raw` is how it came.
    pub(super) fn of(site: &str, read: Result<Draft<'static>, Refused>, raw: &Value) -> Self {
        Self {
            site: site.to_owned(),
            cookieless: false,
            what: match read {
                Ok(draft) => What::Event(Box::new(draft)),
                Err(refused) => What::Unreadable {
                    visitor: String::new(),
                    refused,
                    payload: raw.clone(),
                },
            },
        }
    }

    /// Whether it may come again without being counted again: its client gave it an id, or it is refused anyway.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.what {
            What::Event(draft) => !draft.event.client_id.is_empty(),
            What::Unreadable { .. } => true,
        }
    }

    /// Whether it is an event that does not say when it was.
    pub(super) fn is_now(&self) -> bool {
        matches!(&self.what, What::Event(draft) if matches!(draft.claim, Claim::Now))
    }
}

/// The entries of a request, refused as soon as they are too many or too large.
pub(super) fn within_limits(
    request: &Request,
    entries: impl Iterator<Item = Entry>,
) -> Result<Vec<Entry>, Refusal> {
    let mut all = Vec::new();
    let mut bytes = 0_usize;
    for entry in entries {
        bytes += entry.bytes();
        all.push(entry);
        request.check_size(all.len(), bytes)?;
    }
    Ok(all)
}

/// An event of that type, of which nothing else is known.
pub(super) fn draft(kind: v1::EventType) -> Draft<'static> {
    Draft {
        visitor: "".into(),
        consent: v1::Consent::Unspecified,
        claim: Claim::Now,
        url: "".into(),
        sender: None,
        event: v1::Event {
            r#type: kind.into(),
            ..v1::Event::default()
        },
    }
}

/// A custom event.
pub(super) fn custom(name: &str) -> Draft<'static> {
    let mut draft = draft(v1::EventType::Custom);
    name.clone_into(&mut draft.event.name);
    draft
}

pub(super) fn malformed(detail: &'static str) -> Refused {
    Refused::new(Reason::Malformed, detail)
}

/// A title is decoration: a long one is cut.
pub(super) fn title(text: &str) -> String {
    let mut end = text.len().min(limits::MAX_URL_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Adds a property, unless it is empty.
pub(super) fn put_text(event: &mut v1::Event, name: &str, text: &str) {
    if !text.is_empty() {
        put(event, name, Kind::Text(text.to_owned()));
    }
}

pub(super) fn put(event: &mut v1::Event, name: &str, kind: Kind) {
    event.properties.push(v1::Property {
        name: name.to_owned(),
        value: Some(v1::Value { kind: Some(kind) }),
    });
}

/// `1920x1080` as width and height.
pub(super) fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(['x', 'X'])?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// The event as the JSON door would have it, so that it can be sent there again once a fault is mended.
pub(super) fn payload(draft: &Draft<'_>, received_at: u64) -> Vec<u8> {
    let event = &draft.event;
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("type", event.r#type().name().into());
    if let Ok(time) = jiff::Timestamp::from_millisecond(draft.claim.time(received_at)) {
        put("time", time.to_string().into());
    }
    for (key, text) in [
        ("name", event.name.as_str()),
        ("id", &event.client_id),
        ("visitor", &draft.visitor),
        ("user", &event.user),
        ("url", &draft.url),
        ("referrer", &event.referrer),
        ("title", &event.title),
    ] {
        if !text.is_empty() {
            put(key, text.into());
        }
    }
    if event.passive {
        put("interactive", false.into());
    }
    if draft.consent == v1::Consent::Granted {
        put("consent", "granted".into());
    }
    if !event.properties.is_empty() {
        let pairs = event.properties.iter();
        let properties: Map<String, Value> = pairs
            .map(|property| (property.name.clone(), plain(property.value.as_ref())))
            .collect();
        put("properties", properties.into());
    }
    if let Some(seen) = event.engagement {
        let value = json!({"time_ms": seen.time_ms, "scroll_percent": seen.scroll_percent});
        put("engagement", value);
    }
    if let Some(seen) = &event.exposure {
        let value = json!({"experiment": seen.experiment, "variant": seen.variant});
        put("exposure", value);
    }
    if let Some(order) = &event.order {
        let items: Vec<Value> = order
            .items
            .iter()
            .map(|item| json!({"sku": item.sku, "name": item.name, "price": item.price, "quantity": item.quantity}))
            .collect();
        let value = json!({"id": order.id, "currency": order.currency, "value": order.value, "items": items});
        put("order", value);
    }
    Value::Object(object).to_string().into_bytes()
}

fn plain(value: Option<&v1::Value>) -> Value {
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::Text(text)) => text.as_str().into(),
        Some(Kind::Integer(integer)) => (*integer).into(),
        Some(Kind::Number(number)) => (*number).into(),
        Some(Kind::Flag(flag)) => (*flag).into(),
        Some(Kind::Timestamp(at)) => jiff::Timestamp::from_millisecond(*at)
            .map_or(Value::Null, |at| json!({"timestamp": at.to_string()})),
        None => Value::Null,
    }
}
