//! Plausible: `POST /api/event`, with the short names of its script or the long ones of its API.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::commerce::{Amounts, thousandths};
use super::entry::{Entry, Reading, custom, draft, malformed, within_limits};
use super::json::{first, number, properties};
use super::request::{Request, text};
use super::{Dialect, Outcome, door};
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "plausible",
    amounts: Amounts {
        value: "revenue.amount",
        price: "price",
    },
    read,
    answer,
    unknown: None,
};

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new().route("/api/event", door(&DIALECT))
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let body = request.json()?;
    // A page may be counted by several sites, by each once.
    let domains = first(&body, &["d", "domain"]);
    let mut seen = HashSet::new();
    let domains = domains.split(',').map(str::trim);
    let entries = domains
        .filter(|domain| seen.insert(*domain))
        .map(|domain| Entry {
            cookieless: true,
            ..Entry::of(domain, event(&body), &body)
        });
    Ok(Reading {
        client: "plausible",
        copies: true,
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn event(body: &Value) -> Result<Draft<'static>, Refused> {
    let name = first(body, &["n", "name"]);
    if name.is_empty() {
        return Err(malformed("there is no name"));
    }
    let either = |short: &str, long: &str| {
        let value = &body[short];
        if value.is_null() {
            body[long].clone()
        } else {
            value.clone()
        }
    };
    let mut draft = match name.as_str() {
        "pageview" => draft(EventType::PageView),
        "engagement" => {
            let mut draft = draft(EventType::Engagement);
            draft.event.engagement = Some(v1::Engagement {
                time_ms: number(&body["e"]).unwrap_or(0.0) as u32,
                // 255 is the script's "unknown".
                scroll_percent: number(&body["sd"])
                    .filter(|percent| *percent <= 100.0)
                    .unwrap_or(0.0) as u32,
            });
            draft
        }
        _ => custom(&name),
    };
    let revenue = either("$", "revenue");
    // The script sends it as a text of JSON where a page's markup says it.
    let revenue = match &revenue {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    if revenue.is_object() && !revenue["amount"].is_null() {
        // Who set up a goal looks for its name: it stays a custom event.
        draft.event.order = Some(v1::Order {
            currency: first(&revenue, &["currency"]),
            value: thousandths(&revenue["amount"]),
            ..v1::Order::default()
        });
    }
    let mut url = first(body, &["u", "url"]);
    if number(&body["h"]).is_some_and(|hash| hash > 0.0) || body["h"] == true {
        // The page's path is in its fragment.
        url = url.replacen('#', "%23", 1);
    }
    draft.url = url.into();
    draft.event.referrer = first(body, &["r", "referrer"]);
    draft.event.passive = either("i", "interactive") == false;
    let props = match either("p", "props") {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    };
    properties(&mut draft.event, &props, &[]);
    Ok(draft)
}

fn answer(_: &Request, outcome: &Outcome) -> Response {
    let mut response = text("ok");
    *response.status_mut() = StatusCode::ACCEPTED;
    if outcome.refused > 0 {
        response.headers_mut().insert(
            HeaderName::from_static("x-plausible-dropped"),
            HeaderValue::from_static("1"),
        );
    }
    response
}
