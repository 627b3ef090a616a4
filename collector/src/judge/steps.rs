//! The steps of judging, one function each. See [`super::STEPS`] for their order.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use prost::Message as _;
use serde_json::{Value, json};
use wakeline_proto::limits::{
    MAX_EVENT_BYTES, MAX_ITEMS, MAX_MONEY_MINOR, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES,
    MAX_URL_BYTES, MAX_VISITOR_BYTES,
};
use wakeline_proto::v1::value::Kind;
use wakeline_proto::v1::{Consent, EventType};
use wakeline_proto::{Reason, v1};

use super::{Claim, Context, Draft, Judge, Refused, time};
use crate::rules::place::without_userinfo;
use crate::rules::redact::Redactions;
use crate::rules::{Fit, SiteRules};

type Outcome = Result<(), Refused>;

/// The least number with as many digits as a card has.
const FEWEST_CARD: i64 = 10_000_000_000_000;

/// Without consent nothing is kept. A browser's general signal holds unless the person agreed to this site.
pub(super) fn check_consent(context: &Context, consent: Consent) -> Outcome {
    let detail = match consent {
        Consent::Denied => "consent is denied",
        Consent::Pending => "consent is pending",
        Consent::Unspecified if context.opted_out => {
            "the browser asks not to be tracked (GPC or DNT)"
        }
        Consent::Granted | Consent::Unspecified => return Ok(()),
    };
    Err(Refused::new(Reason::NoConsent, detail))
}

pub(super) fn consent(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    check_consent(&judge.context, draft.consent)
}

pub(super) fn visitor(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let detail = match draft.visitor.len() {
        0 => "there is no visitor",
        1..=MAX_VISITOR_BYTES => return Ok(()),
        _ => "the visitor is longer than 128 bytes",
    };
    Err(Refused::new(Reason::InvalidVisitor, detail))
}

/// Before the origin: the same visitors at all collectors, bots or not.
pub(super) fn sample(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    judge.context.rules.check_visitor(&draft.visitor)
}

/// Whose software it is. Once for a request, and for an event only where a server passes its sender on.
pub(super) fn origin(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    judge.current = match &draft.sender {
        Some(sender) => judge.context.enricher.origin(sender),
        None => Arc::clone(&judge.origin),
    };
    judge.context.rules.check_bot(judge.current.bot)?;
    // The connection's address too: what a public key says of another one anybody could say.
    let event = draft.sender.as_ref().and_then(|sender| sender.ip);
    let mut addresses = [judge.context.sender.ip, event].into_iter().flatten();
    let enricher = &judge.context.enricher;
    judge
        .context
        .rules
        .check_network(|| addresses.any(|ip| enricher.is_datacentre(ip)))
}

/// What its URL and referrer say, once for all events of a page; without personal data.
#[expect(clippy::unnecessary_wraps, reason = "a step")]
pub(super) fn page(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let Judge {
        context, last_page, ..
    } = judge;
    let (url, referrer) = (&*draft.url, &*draft.event.referrer);
    judge.page = last_page.or_else(url, referrer, || {
        context.enricher.page(url, referrer, &context.rules)
    });
    Ok(())
}

pub(super) fn spam(judge: &mut Judge, _: &mut Draft<'_>) -> Outcome {
    let rules = &judge.context.rules;
    rules.check_referrer(|| judge.page.is_spam)
}

/// What brought the visitor, by URL and referrer as they came: what is kept of them says less.
#[expect(clippy::unnecessary_wraps, reason = "a step")]
pub(super) fn source(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let found = &mut draft.event.acquisition;
    // Mostly that of the event before, whose place this one has.
    if *found != judge.page.acquisition {
        found.clone_from(&judge.page.acquisition);
    }
    Ok(())
}

/// Before redaction: a schema is of what was sent.
pub(super) fn schema(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    match judge.context.rules.fit(&draft.event) {
        Fit::Fits => Ok(()),
        Fit::Warn => {
            judge.warned += 1;
            Ok(())
        }
        Fit::Reject(what) => Err(Refused::new(Reason::SchemaMismatch, what)),
    }
}

/// Personal data, everywhere but in the ids of visitor and user, which are the site's choice, and the page, which has none
/// any more.
#[expect(clippy::unnecessary_wraps, reason = "a step")]
pub(super) fn redact(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let redactions = &judge.context.rules.redactions;
    if redactions.are_off() {
        return Ok(());
    }
    let event = &mut draft.event;
    let redact = |text: &mut String| {
        if let Cow::Owned(redacted) = redactions.redact(text) {
            *text = redacted;
        }
    };
    let redact_id = |id: &mut String| {
        if let Cow::Owned(redacted) = redactions.redact_id(id) {
            *id = redacted;
        }
    };
    redact(&mut event.title);
    redact(&mut event.name);
    redact_id(&mut event.client_id);
    if let Some(exposure) = &mut event.exposure {
        redact_id(&mut exposure.experiment);
        redact_id(&mut exposure.variant);
    }
    if let Some(order) = &mut event.order {
        redact_id(&mut order.id);
        for item in &mut order.items {
            redact_id(&mut item.sku);
            redact(&mut item.name);
        }
    }
    redact_properties(&mut event.properties, redactions);
    Ok(())
}

fn redact_properties(properties: &mut Vec<v1::Property>, redactions: &Redactions) {
    let mut renamed = false;
    properties.retain_mut(|property| {
        if redactions.drops(&property.name) {
            return false;
        }
        if let Cow::Owned(name) = redactions.redact(&property.name) {
            property.name = name;
            renamed = true;
        }
        let value = property.value.as_mut();
        value.is_none_or(|value| redact_value(value, redactions))
    });
    if renamed {
        // Names that were told apart by what was taken out are one now: the first stays.
        let mut names = HashSet::new();
        properties.retain(|property| names.insert(property.name.clone()));
    }
}

/// Takes out of a property's value what must not be in it; whether the property stays.
fn redact_value(value: &mut v1::Value, redactions: &Redactions) -> bool {
    let text = match &value.kind {
        Some(Kind::Text(text)) => Cow::Borrowed(text.as_str()),
        // Shorter ones are amounts and ids.
        Some(Kind::Integer(integer)) if *integer >= FEWEST_CARD => Cow::Owned(integer.to_string()),
        _ => return true,
    };
    let redacted = match json_in(&text) {
        // A list stays one: what is found is taken out of its texts, not out of how they are written.
        Some(json) => {
            let written = json.to_string();
            if redactions.drops(&written) {
                return false;
            }
            let redacted = redactions.redact_json(json).to_string();
            (redacted != written).then_some(redacted)
        }
        None if redactions.drops(&text) => return false,
        None => match redactions.redact(&text) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        },
    };
    if let Some(redacted) = redacted {
        value.kind = Some(Kind::Text(redacted));
    }
    true
}

/// The list or object that a text is, if it is one.
fn json_in(text: &str) -> Option<Value> {
    let is_json = text.starts_with(['[', '{']);
    is_json.then(|| serde_json::from_str(text).ok()).flatten()
}

/// The payload of a refused event, by the same rules: its texts, names and numbers. Sent again, it is to be the same
/// event of the same person as before, so its ids are what those of an accepted event are. What can't be read is left out.
pub(super) fn redacted(payload: Vec<u8>, rules: &SiteRules) -> Vec<u8> {
    if rules.redactions.are_off() {
        return payload;
    }
    let value = serde_json::from_slice(&payload).map(|mut value: Value| {
        for name in ["/url", "/referrer"] {
            if let Some(Value::String(url)) = value.pointer_mut(name) {
                *url = without_userinfo(url).into_owned();
            }
        }
        let ids = ids_of(&mut value, &rules.redactions);
        let mut value = rules.redactions.redact_json(value);
        for (name, id) in ids {
            if let Some(place) = value.pointer_mut(&name) {
                *place = id.into();
            }
        }
        value
    });
    let value = value.unwrap_or_else(|_| json!({"cut": "", "bytes": payload.len()}));
    value.to_string().into_bytes()
}

/// Takes the ids out of an event as the JSON door has it, each with its place and as it is kept.
fn ids_of(event: &mut Value, redactions: &Redactions) -> Vec<(String, String)> {
    let items = event.pointer("/order/items").and_then(Value::as_array);
    let skus = (0..items.map_or(0, Vec::len)).map(|index| format!("/order/items/{index}/sku"));
    let hashed = [
        "/id",
        "/order/id",
        "/exposure/experiment",
        "/exposure/variant",
    ];
    let hashed: Vec<_> = hashed.into_iter().map(str::to_owned).chain(skus).collect();
    let mut take = |name: &str| match event.pointer_mut(name) {
        Some(Value::String(id)) => Some(std::mem::take(id)),
        _ => None,
    };
    let mut ids = Vec::new();
    for name in ["/visitor", "/user"] {
        ids.extend(take(name).map(|id| (name.to_owned(), id)));
    }
    for name in hashed {
        let id = take(&name).map(|id| redactions.redact_id(&id).into_owned());
        ids.extend(id.map(|id| (name, id)));
    }
    ids
}

pub(super) fn lengths(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let event = &draft.event;
    let texts = [
        ("url", draft.url.len(), MAX_URL_BYTES),
        ("referrer", event.referrer.len(), MAX_URL_BYTES),
        ("title", event.title.len(), MAX_URL_BYTES),
        ("user", event.user.len(), MAX_VISITOR_BYTES),
        ("name", event.name.len(), MAX_NAME_BYTES),
        ("id", event.client_id.len(), MAX_NAME_BYTES),
    ];
    for (what, length, limit) in texts {
        within(what, length, limit)?;
    }
    Ok(())
}

pub(super) fn name(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let name = &draft.event.name;
    if draft.event.r#type() == EventType::Custom && name.trim().is_empty() {
        return Err(Refused::new(
            Reason::InvalidName,
            "a custom event needs a name",
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Refused::new(
            Reason::InvalidName,
            "the name has control characters",
        ));
    }
    Ok(())
}

pub(super) fn properties(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let properties = &draft.event.properties;
    within("properties", properties.len(), MAX_PROPERTIES)?;
    for property in properties {
        if property.name.is_empty() {
            return Err(Refused::new(
                Reason::InvalidProperty,
                "a property without a name",
            ));
        }
        within("a property's name", property.name.len(), MAX_NAME_BYTES)?;
        match property
            .value
            .as_ref()
            .and_then(|value| value.kind.as_ref())
        {
            Some(Kind::Text(text)) => within("a property's text", text.len(), MAX_TEXT_BYTES)?,
            Some(Kind::Number(number)) if !number.is_finite() => {
                return Err(invalid_property(&property.name, "is not a finite number"));
            }
            Some(Kind::Number(_) | Kind::Integer(_) | Kind::Flag(_) | Kind::Timestamp(_)) => {}
            None => {
                return Err(invalid_property(
                    &property.name,
                    "is not a text, a number, a boolean or a timestamp",
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn order(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let Some(order) = &draft.event.order else {
        return if draft.event.r#type() == EventType::Order {
            Err(Refused::new(
                Reason::Malformed,
                "an order event needs its order",
            ))
        } else {
            Ok(())
        };
    };
    within("order.id", order.id.len(), MAX_NAME_BYTES)?;
    within("order.items", order.items.len(), MAX_ITEMS)?;
    let currency = order.currency.as_bytes();
    if currency.len() != 3 || !currency.iter().all(u8::is_ascii_uppercase) {
        return Err(Refused::new(
            Reason::InvalidMoney,
            "the currency is not three upper-case letters",
        ));
    }
    money("order.value", order.value)?;
    for item in &order.items {
        within("an item's sku", item.sku.len(), MAX_NAME_BYTES)?;
        within("an item's name", item.name.len(), MAX_TEXT_BYTES)?;
        money("an item's price", item.price)?;
    }
    Ok(())
}

/// What belongs to one type of event.
pub(super) fn details(_: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    draft.event.passive |= draft.event.r#type().is_passive();
    if let Some(engagement) = &mut draft.event.engagement {
        // Pages that spring back scroll by more than 100 %.
        engagement.scroll_percent = engagement.scroll_percent.min(100);
    }
    match &draft.event.exposure {
        Some(exposure) => {
            within("the experiment", exposure.experiment.len(), MAX_NAME_BYTES)?;
            within("the variant", exposure.variant.len(), MAX_NAME_BYTES)
        }
        None if draft.event.r#type() == EventType::Exposure => Err(Refused::new(
            Reason::Malformed,
            "an exposure event needs its exposure",
        )),
        None => Ok(()),
    }
}

pub(super) fn time(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let claim = match draft.claim {
        Claim::Wall { at, .. } if !judge.context.enricher.corrects_clocks() => {
            Claim::Wall { at, sent_at: None }
        }
        claim => claim,
    };
    let corrected = time::correct(claim, judge.context.received_at, judge.context.historical)?;
    draft.event.time = corrected.time;
    draft.event.time_clamped = corrected.clamped;
    Ok(())
}

pub(super) fn place(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let kind = draft.event.r#type();
    let event = &mut draft.event;
    let Judge { context, page, .. } = judge;
    event.referrer.clone_from(&page.referrer);
    match &page.place {
        Some(Ok(_)) if kind == EventType::PageView && !page.is_absolute => {
            return Err(Refused::new(Reason::InvalidUrl, "the URL is not absolute"));
        }
        Some(Ok(place)) => {
            let rules = &context.rules;
            rules.check_page(&place.hostname, &place.path, context.trusted)?;
            event.hostname.clone_from(&place.hostname);
            event.path.clone_from(&place.path);
            event.query.clone_from(&place.query);
            return Ok(());
        }
        Some(Err(refused)) => return Err(refused.clone()),
        None => {}
    }
    match kind {
        EventType::PageView => Err(Refused::new(Reason::InvalidUrl, "a page view needs a URL")),
        EventType::ScreenView if event.name.is_empty() => Err(Refused::new(
            Reason::InvalidName,
            "a screen view needs a name",
        )),
        EventType::ScreenView => {
            event.path.clone_from(&event.name);
            let trusted = context.trusted;
            context.rules.check_page("", &event.path, trusted)
        }
        _ => Ok(()),
    }
}

/// Last: only accepted events have names that count.
pub(super) fn names(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    let Judge {
        context, passed, ..
    } = judge;
    let (site, now) = (context.site, context.received_at);
    context.names.check(site, now, &draft.event, passed)
}

/// Encodes the event, which no later step changes.
pub(super) fn size(judge: &mut Judge, draft: &mut Draft<'_>) -> Outcome {
    judge.encoded.clear();
    let encoded = draft.event.encode(&mut judge.encoded);
    encoded.map_err(|error| Refused::new(Reason::TooLarge, error.to_string()))?;
    within("the event", judge.encoded.len(), MAX_EVENT_BYTES)
}

fn within(what: &'static str, length: usize, limit: usize) -> Outcome {
    if length <= limit {
        return Ok(());
    }
    let detail = format!("{what}: {length}, the limit is {limit}");
    Err(Refused::new(Reason::TooLarge, detail))
}

fn money(what: &'static str, minor: i64) -> Outcome {
    if minor.unsigned_abs() <= MAX_MONEY_MINOR as u64 {
        return Ok(());
    }
    Err(Refused::new(
        Reason::InvalidMoney,
        format!("{what} is out of range"),
    ))
}

fn invalid_property(name: &str, what: &str) -> Refused {
    Refused::new(Reason::InvalidProperty, format!("property {name:?} {what}"))
}

/// The device's texts are decoration: one that is too long is left out.
pub(crate) fn fitting_device(mut device: v1::Device) -> v1::Device {
    for text in [
        &mut device.language,
        &mut device.timezone,
        &mut device.os,
        &mut device.os_version,
        &mut device.model,
        &mut device.app_version,
    ] {
        clear_if_long(text);
    }
    device
}

/// As [`fitting_device`], of the client.
pub(crate) fn fitting_client(mut client: v1::Client) -> v1::Client {
    clear_if_long(&mut client.name);
    clear_if_long(&mut client.version);
    client
}

fn clear_if_long(text: &mut String) {
    if text.len() > MAX_NAME_BYTES {
        text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_redacted_of_a_payload_leaves_json_however_it_was_written() {
        let rules = SiteRules::from(&v1::Site {
            rules: Some(v1::SiteRules {
                email: v1::Redaction::Mask.into(),
                card: v1::Redaction::Mask.into(),
                ..v1::SiteRules::default()
            }),
            ..v1::Site::default()
        });
        let payload = r#"{"a":4111111111111111,"b":"a\u0040b.example","c@d.example":[{"n":-4111111111111111}],"e":1.5}"#;
        let redacted = redacted(payload.as_bytes().to_vec(), &rules);
        let redacted: Value = serde_json::from_slice(&redacted).unwrap();
        assert_eq!(
            redacted,
            json!({"a":"[card]","b":"[email]","[email]":[{"n":"-[card]"}],"e":1.5})
        );
        let sent = r#"{"id":"order.a@b.example","url":"https://me@shop.example/?m=a@b.example"}"#;
        let kept = super::redacted(sent.as_bytes().to_vec(), &rules);
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["url"], "https://shop.example/?m=[email]");
        let id = kept["id"].as_str().unwrap();
        assert!(id.starts_with("email-"), "{id}");
        let broken = super::redacted(b"a@b.example".to_vec(), &rules);
        assert_eq!(broken, br#"{"bytes":11,"cut":""}"#);
    }
}
