//! Google Analytics 4: gtag's `/g/collect` and the Measurement Protocol's `/mp/collect`.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use wakeline_proto::v1::EventType;
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{Reason, v1};

use super::commerce::{self, Amounts};
use super::entry::{
    Entry, Reading, custom, draft, malformed, put, put_text, size, title, within_limits,
};
use super::json::{first, number, properties, text};
use super::request::{self, Params, Request, empty};
use super::{Dialect, Outcome, door, fixed};
use crate::enrich::Sender;
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Claim, Draft, Refused};

pub(super) const GTAG: Dialect = Dialect {
    tracker: "ga4",
    amounts: Amounts {
        value: "value",
        price: "the price of an item (pr of prN)",
    },
    read: read_gtag,
    answer,
    unknown: None,
};

pub(super) const MEASUREMENT: Dialect = Dialect {
    tracker: "ga4",
    amounts: Amounts {
        value: "value",
        price: "the price of an item (pr of prN)",
    },
    read: read_measurement,
    answer,
    unknown: None,
};

/// Parts of an item in `prN=id…~nm…`, by their two letters.
const ITEM_PARTS: [(&str, &str); 4] = [
    ("id", "item_id"),
    ("nm", "item_name"),
    ("pr", "price"),
    ("qt", "quantity"),
];

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new()
        .route("/g/collect", door(&GTAG))
        .route("/mp/collect", door(&MEASUREMENT))
        .route(
            "/debug/mp/collect",
            fixed(|_| request::json(&json!({"validationMessages": []}))),
        )
}

fn answer(_: &Request, _: &Outcome) -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// Each line of the body is an event, of which the query says what is common; without a body the query is the event.
fn read_gtag(request: &Request) -> Result<Reading, Refusal> {
    let body = std::str::from_utf8(&request.body)
        .map_err(|_| Refusal::Malformed("the body is not UTF-8".to_owned()))?;
    let lines = || body.lines().filter(|line| !line.trim().is_empty());
    request.check_hits(lines().count())?;
    let lines: Vec<Params> = lines()
        .map(|line| Params::parse(line.as_bytes()).over(&request.query))
        .collect();
    let hits = if lines.is_empty() {
        vec![request.query.clone()]
    } else {
        lines
    };
    let query = hits.first().unwrap_or(&request.query);
    let (screen_width, screen_height) = size(query.get("sr")).unwrap_or_default();
    let device = v1::Device {
        language: query.get("ul").to_owned(),
        screen_width,
        screen_height,
        ..v1::Device::default()
    };
    let entries = hits.iter().map(|hit| Entry {
        cookieless: true,
        ..Entry::of(hit.get("tid"), hit_event(hit), &hit.to_json())
    });
    Ok(Reading {
        client: "gtag",
        device,
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn hit_event(hit: &Params) -> Result<Draft<'static>, Refused> {
    let get = |name| hit.get(name);
    let mut params = Map::new();
    let mut user = Map::new();
    let mut items = Vec::new();
    for (name, value) in hit.iter() {
        let numeric = || number(&value.into()).map_or(Value::from(value), Value::from);
        if let Some(name) = name.strip_prefix("ep.") {
            params.entry(name).or_insert_with(|| value.into());
        } else if let Some(name) = name.strip_prefix("epn.") {
            params.entry(name).or_insert_with(numeric);
        } else if let Some(name) = name.strip_prefix("up.") {
            user.entry(name).or_insert_with(|| value.into());
        } else if let Some(name) = name.strip_prefix("upn.") {
            user.entry(name).or_insert_with(numeric);
        } else if name
            .strip_prefix("pr")
            .is_some_and(|at| at.parse::<u32>().is_ok())
        {
            items.push(item(value));
        }
    }
    if !items.is_empty() {
        params.insert("items".to_owned(), items.into());
    }
    if !get("cu").is_empty() {
        params.insert("currency".to_owned(), get("cu").into());
    }
    let time = get("_et").parse().unwrap_or(0);
    let mut draft = event(get("en"), params, time)?;
    if !user.is_empty() {
        properties(&mut draft.event, &json!({"user": user}), &[]);
    }
    draft.url = get("dl").to_owned().into();
    get("dr").clone_into(&mut draft.event.referrer);
    draft.event.title = title(get("dt"));
    draft.visitor = get("cid").to_owned().into();
    get("uid").clone_into(&mut draft.event.user);
    for (name, key) in [("content_group", "cg"), ("page_id", "dp")] {
        put_text(&mut draft.event, name, get(key));
    }
    // G1, then what is allowed: ads, then analytics.
    draft.consent = match get("gcs").as_bytes() {
        [b'G', b'1', _, b'0', ..] => v1::Consent::Denied,
        [b'G', b'1', _, b'1', ..] => v1::Consent::Granted,
        _ => v1::Consent::Unspecified,
    };
    Ok(draft)
}

fn item(text: &str) -> Value {
    let mut item = Map::new();
    for part in text.split('~') {
        for (letters, name) in ITEM_PARTS {
            if let Some(value) = part.strip_prefix(letters) {
                item.insert(name.to_owned(), value.into());
            }
        }
    }
    Value::Object(item)
}

fn read_measurement(request: &Request) -> Result<Reading, Refusal> {
    let body = request.json()?;
    let site = ["measurement_id", "firebase_app_id"]
        .map(|name| request.query.get(name))
        .into_iter()
        .find(|id| !id.is_empty())
        .unwrap_or_default();
    let Value::Array(events) = &body["events"] else {
        return Err(Refusal::Malformed("there are no events".to_owned()));
    };
    let entries = events
        .iter()
        .map(|event| Entry::of(site, measured(event, &body), event));
    Ok(Reading {
        client: "measurement-protocol",
        device: v1::Device {
            language: first(&body["device"], &["language"]),
            ..v1::Device::default()
        },
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn measured(one: &Value, body: &Value) -> Result<Draft<'static>, Refused> {
    let params = one["params"].as_object().cloned().unwrap_or_default();
    let time = params.get("engagement_time_msec").and_then(number);
    let page = |name: &str| params.get(name).map(text).unwrap_or_default();
    let (url, referrer) = (page("page_location"), page("page_referrer"));
    let page_title = page("page_title");
    let mut draft = event(&first(one, &["name"]), params, time.unwrap_or(0.0) as u32)?;
    draft.url = url.into();
    draft.event.referrer = referrer;
    draft.event.title = title(&page_title);
    draft.visitor = first(body, &["client_id", "app_instance_id"]).into();
    draft.event.user = first(body, &["user_id"]);
    let micros = [&one["timestamp_micros"], &body["timestamp_micros"]];
    if let Some(at) = micros.into_iter().find(|at| !at.is_null()) {
        let micros = number(at)
            .ok_or_else(|| Refused::new(Reason::InvalidTime, "timestamp_micros is no number"))?;
        draft.claim = Claim::Wall {
            at: (micros / 1000.0) as i64,
            sent_at: None,
        };
    }
    if let Some(user) = body["user_properties"].as_object() {
        let values = user
            .iter()
            .map(|(name, held)| (name.clone(), held["value"].clone()));
        let user: Map<String, Value> = values.collect();
        properties(&mut draft.event, &json!({"user": user}), &[]);
    }
    // A server speaks: of its visitor only what it says is known.
    draft.sender = Some(Sender {
        ip: first(body, &["ip_override"]).parse().ok(),
        user_agent: first(body, &["user_agent"]),
        ..Sender::default()
    });
    Ok(draft)
}

/// Parameters that have a place of their own in the event model.
const PLACED: [&str; 7] = [
    "page_location",
    "page_referrer",
    "page_title",
    "session_id",
    "engagement_time_msec",
    "debug_mode",
    "ignore_referrer",
];

fn event(name: &str, params: Map<String, Value>, time_ms: u32) -> Result<Draft<'static>, Refused> {
    let mut params: Map<String, Value> = params;
    params.retain(|name, _| !PLACED.contains(&name.as_str()));
    let params = Value::Object(params);
    let mut draft = match name {
        "" => return Err(malformed("an event has no name")),
        "page_view" => draft(EventType::PageView),
        "user_engagement" => draft(EventType::Engagement),
        "scroll" => draft(EventType::Scroll),
        "click" => draft(EventType::Click),
        "form_start" | "form_submit" => draft(EventType::Form),
        "screen_view" => {
            let mut draft = draft(EventType::ScreenView);
            draft.event.name = first(&params, &["screen_name", "firebase_screen", "screen_class"]);
            draft
        }
        "session_start" | "first_visit" | "first_open" => {
            let mut draft = custom(name);
            draft.event.passive = true;
            draft
        }
        _ => {
            let mut draft = commerce::event(name, &params);
            if time_ms > 0 {
                draft.event.engagement = Some(v1::Engagement {
                    time_ms,
                    scroll_percent: 0,
                });
            }
            return Ok(draft);
        }
    };
    if time_ms > 0 || name == "scroll" {
        draft.event.engagement = Some(v1::Engagement {
            time_ms,
            scroll_percent: number(&params["percent_scrolled"]).unwrap_or(0.0) as u32,
        });
    }
    if name == "click" || name.starts_with("form_") {
        put(&mut draft.event, "event", Kind::Text(name.to_owned()));
    }
    properties(&mut draft.event, &params, &[]);
    Ok(draft)
}
