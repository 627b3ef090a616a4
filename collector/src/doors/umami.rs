//! Umami: `POST /api/send`.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::commerce::{Amounts, thousandths};
use super::entry::{Entry, Reading, custom, draft, malformed, put_text, size, title};
use super::json::{claim, first, properties};
use super::request::{self, Request, uuid};
use super::{Dialect, Outcome, door};
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "umami",
    amounts: Amounts {
        value: "data.revenue",
        price: "price",
    },
    read,
    answer,
    unknown: Some(StatusCode::BAD_REQUEST),
};

/// A visit's id is of the visitor and the half hour: the client shows it to nobody and keeps it nowhere.
const VISIT_MS: u64 = 30 * 60 * 1000;

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new().route("/api/send", door(&DIALECT))
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let body = request.json()?;
    let payload = &body["payload"];
    let (screen_width, screen_height) = size(&first(payload, &["screen"])).unwrap_or_default();
    let website = first(payload, &["website", "link", "pixel"]);
    Ok(Reading {
        client: "umami",
        device: v1::Device {
            language: first(payload, &["language"]),
            screen_width,
            screen_height,
            ..v1::Device::default()
        },
        entries: vec![Entry {
            cookieless: true,
            ..Entry::of(&website, event(&body), &body)
        }],
        ..Reading::default()
    })
}

fn event(body: &Value) -> Result<Draft<'static>, Refused> {
    let payload = &body["payload"];
    let name = first(payload, &["name"]);
    let data = &payload["data"];
    let mut known: &[&str] = &[];
    let mut draft = match (body["type"].as_str(), name.as_str()) {
        (Some("event"), "") => draft(EventType::PageView),
        (Some("event"), name) => custom(name),
        (Some("identify"), _) => draft(EventType::Identify),
        (Some("performance"), _) => {
            let mut draft = custom("performance");
            draft.event.passive = true;
            let timings = ["lcp", "inp", "cls", "fcp", "ttfb"].iter();
            let timings = timings.map(|key| ((*key).to_owned(), payload[*key].clone()));
            properties(&mut draft.event, &Value::Object(timings.collect()), &[]);
            draft
        }
        _ => return Err(malformed("type is event, identify or performance")),
    };
    if draft.event.r#type() == EventType::Custom && !data["revenue"].is_null() {
        // It stays a custom event, so that reports have its name.
        draft.event.order = Some(v1::Order {
            currency: first(data, &["currency"]),
            value: thousandths(&data["revenue"]),
            ..v1::Order::default()
        });
        known = &["revenue", "currency"];
    }
    properties(&mut draft.event, data, known);
    put_text(&mut draft.event, "tag", &first(payload, &["tag"]));
    let url = first(payload, &["url"]);
    let host = first(payload, &["hostname"]);
    draft.url = if url.contains("://") || host.is_empty() {
        url
    } else {
        format!("https://{host}/{}", url.trim_start_matches('/'))
    }
    .into();
    draft.event.referrer = first(payload, &["referrer"]);
    draft.event.title = title(&first(payload, &["title"]));
    let id = first(payload, &["id"]);
    draft.event.user.clone_from(&id);
    draft.visitor = id.into();
    draft.claim = claim(&payload["timestamp"], &Value::Null)?;
    Ok(draft)
}

fn answer(request: &Request, outcome: &Outcome) -> Response {
    if outcome.bot {
        return request::json(&json!({"beep": "boop"}));
    }
    let id = |seed| uuid(xxh3_128_with_seed(outcome.visitor.as_bytes(), seed));
    request::json(&json!({
        "cache": "",
        "sessionId": id(0),
        "visitId": id(1 + request.received_at / VISIT_MS),
    }))
}
