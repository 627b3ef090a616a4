//! Events of a native batch.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use wakeline_proto::batch::{ExpandedEvent, ValueRef, expand};
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{EventId, v1};

use super::names::Names;
use super::steps::{fitting_client, fitting_device};
use super::{Claim, Context, Draft, Judge, Refused, Verdict};
use crate::enrich::{Enricher, Sender};
use crate::keys::Pass;
use crate::rules::limits::{Buckets, Payer, Reached};

/// What comes with a request, besides its body.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) pass: Pass,
    /// The collector's clock when the last byte had come, in ms since 1970-01-01 UTC.
    pub(crate) received_at: u64,
    /// The browser says that the person wants no tracking (GPC or DNT).
    pub(crate) opted_out: bool,
    /// Who sent it; of a server nothing is known.
    pub(crate) sender: Sender,
    pub(crate) enricher: Arc<Enricher>,
    /// Those of the site's events so far.
    pub(crate) names: Arc<Names>,
    /// Whose limits its events are of.
    pub(crate) payer: Payer,
    pub(crate) buckets: Arc<Buckets>,
}

/// Judges the events of a batch; refused if a limit of the site is reached.
pub(crate) fn judge(mut batch: v1::Batch, arrival: Arrival) -> Result<Verdict, Reached> {
    let context = Context {
        site: arrival.pass.grant.site,
        received_at: arrival.received_at,
        rules_version: arrival.pass.rules_version,
        opted_out: arrival.opted_out,
        historical: false,
        client: fitting_client(batch.client.take().unwrap_or_default()),
        device: fitting_device(batch.device.take().unwrap_or_default()),
        first_day: batch.first_day,
        rules: arrival.pass.rules,
        trusted: arrival.pass.grant.server,
        payer: arrival.payer,
        buckets: arrival.buckets,
        sender: arrival.sender,
        enricher: arrival.enricher,
        names: arrival.names,
    };
    let consent = batch.consent();
    let events = batch.streams.iter().map(|stream| stream.events.len()).sum();
    let mut judge = Judge::new(context, events)?;
    // One for all of them: its texts keep their room.
    let mut used = v1::Event::default();
    for item in expand(&batch) {
        match item {
            Ok(event) => {
                let payload = |context: &Context| payload(&event, &batch, context);
                used = judge.event(draft(&event, &batch, used), payload);
            }
            Err(event) => {
                let refused = Refused::new(event.reason, event.detail);
                let payload = |_: &Context| {
                    let id = event.id.map(|id| id.to_string());
                    json!({"id": id, "visitor": batch.visitor})
                        .to_string()
                        .into_bytes()
                };
                judge.unreadable(&batch.visitor, consent, refused, event.id, payload);
            }
        }
    }
    Ok(judge.finish())
}

/// The event as it is judged, in the place of one that is not needed any more.
fn draft<'a>(event: &ExpandedEvent<'a>, batch: &'a v1::Batch, used: v1::Event) -> Draft<'a> {
    let v1::Event {
        mut client_id,
        mut name,
        mut hostname,
        mut path,
        mut query,
        mut referrer,
        mut title,
        mut properties,
        mut user,
        acquisition,
        ..
    } = used;
    for text in [&mut client_id, &mut hostname, &mut path, &mut query] {
        text.clear();
    }
    event.name.clone_into(&mut name);
    event.referrer.clone_into(&mut referrer);
    event.title.clone_into(&mut title);
    user.clone_from(&batch.user);
    properties.resize_with(event.properties.len(), v1::Property::default);
    for (property, (name, value)) in properties.iter_mut().zip(&event.properties) {
        (*name).clone_into(&mut property.name);
        match (value, property.value.as_mut()) {
            (
                ValueRef::Text(text),
                Some(v1::Value {
                    kind: Some(Kind::Text(used)),
                }),
            ) => (*text).clone_into(used),
            _ => property.value = Some((*value).into()),
        }
    }
    Draft {
        visitor: Cow::Borrowed(&batch.visitor),
        consent: batch.consent(),
        claim: Claim::of_batch(event.age_ms, event.clock, batch.sent_at),
        url: Cow::Borrowed(event.url),
        sender: None,
        event: v1::Event {
            stream: event.id.stream,
            seq: event.id.seq,
            client_id,
            r#type: event.event_type.into(),
            name,
            hostname,
            path,
            query,
            referrer,
            title,
            properties,
            order: event.order.cloned(),
            engagement: event.engagement.copied(),
            exposure: event.exposure.cloned(),
            passive: event.passive,
            user,
            predecessor: event.predecessor.map_or(0, |id| id.stream),
            predecessor_last_seq: event.predecessor.map_or(0, |id| id.seq),
            acquisition,
            ..v1::Event::default()
        },
    }
}

/// The event as the JSON door would have it, so that it can be sent there again once a fault is mended.
fn payload(event: &ExpandedEvent<'_>, batch: &v1::Batch, context: &Context) -> Vec<u8> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("type", json!(event.event_type.name()));
    put("id", json!(EventId::to_string(&event.id)));
    put("visitor", json!(batch.visitor));
    let claim = Claim::of_batch(event.age_ms, event.clock, batch.sent_at);
    if let Ok(time) = jiff::Timestamp::from_millisecond(claim.time(context.received_at)) {
        put("time", json!(time.to_string()));
    }
    for (key, text) in [
        ("name", event.name),
        ("user", &batch.user),
        ("url", event.url),
        ("referrer", event.referrer),
        ("title", event.title),
    ] {
        if !text.is_empty() {
            put(key, json!(text));
        }
    }
    if event.passive {
        put("interactive", json!(false));
    }
    if batch.consent() == v1::Consent::Granted {
        put("consent", json!("granted"));
    }
    if !event.properties.is_empty() {
        let properties: Map<String, Value> = event
            .properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), property(*value)))
            .collect();
        put("properties", properties.into());
    }
    if let Some(order) = event.order {
        let items: Vec<Value> = order
            .items
            .iter()
            .map(|item| json!({"sku": item.sku, "name": item.name, "price": item.price, "quantity": item.quantity}))
            .collect();
        put(
            "order",
            json!({"id": order.id, "currency": order.currency, "value": order.value, "items": items}),
        );
    }
    if let Some(engagement) = event.engagement {
        put(
            "engagement",
            json!({"time_ms": engagement.time_ms, "scroll_percent": engagement.scroll_percent}),
        );
    }
    if let Some(exposure) = event.exposure {
        put(
            "exposure",
            json!({"experiment": exposure.experiment, "variant": exposure.variant}),
        );
    }
    Value::Object(object).to_string().into_bytes()
}

/// NaN and infinity, which JSON does not have, become null.
fn property(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Text(text) => json!(text),
        ValueRef::Integer(integer) => json!(integer),
        ValueRef::Number(number) => json!(number),
        ValueRef::Flag(flag) => json!(flag),
        ValueRef::Timestamp(ms) => match jiff::Timestamp::from_millisecond(ms) {
            Ok(time) => json!({"timestamp": time.to_string()}),
            Err(_) => json!(ms),
        },
    }
}
