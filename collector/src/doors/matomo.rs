//! Matomo: `matomo.php` by GET, by POST, by a beacon that has all in its URL, and in bulk.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;
use wakeline_proto::v1::value::Kind;

use super::commerce::{Amounts, thousandths, thousandths_of};
use super::entry::{
    Entry, Reading, custom, draft, malformed, put, put_text, size, title, within_limits,
};
use super::json::{number, text};
use super::request::{Params, Request, empty, gif, json as answer_json};
use super::{Dialect, Outcome, door};
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Claim, Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "matomo",
    amounts: Amounts {
        value: "revenue",
        price: "the price in ec_items",
    },
    read,
    answer,
    unknown: Some(StatusCode::BAD_REQUEST),
};

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new()
        .route("/matomo.php", door(&DIALECT))
        .route("/piwik.php", door(&DIALECT))
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let hits = if is_bulk(request) {
        bulk(request)?
    } else {
        let form = Params::parse(&request.body);
        vec![Ok(form.over(&request.query))]
    };
    // What can't be read is the site's of its neighbours.
    let neighbour = hits
        .iter()
        .find_map(|hit| Some(hit.as_ref().ok()?.get("idsite")));
    let neighbour = neighbour.unwrap_or_default();
    let entries = hits.iter().map(|hit| {
        let (site, event, raw) = match hit {
            Ok(params) => (
                params.get("idsite"),
                event(params, request),
                params.to_json(),
            ),
            Err(raw) => (
                neighbour,
                Err(malformed("a request is a query")),
                raw.clone(),
            ),
        };
        Entry {
            cookieless: true,
            ..Entry::of(site, event, &raw)
        }
    });
    let first = hits.first().and_then(|hit| hit.as_ref().ok());
    Ok(Reading {
        client: "matomo",
        device: first.map(device).unwrap_or_default(),
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn is_bulk(request: &Request) -> bool {
    request.body.trim_ascii_start().starts_with(b"{")
}

/// The requests of a bulk request: queries, or objects of their parameters; what is neither as it came.
fn bulk(request: &Request) -> Result<Vec<Result<Params, Value>>, Refusal> {
    let body = request.json()?;
    let Value::Array(list) = &body["requests"] else {
        return Err(Refusal::Malformed("there are no requests".to_owned()));
    };
    let parsed = list.iter().map(|one| match one {
        Value::String(query) => {
            let query = query
                .split_once('?')
                .map_or(query.as_str(), |(_, query)| query);
            Ok(Params::parse(query.as_bytes()))
        }
        Value::Object(members) => {
            let mut params = Params::default();
            members
                .iter()
                .for_each(|(name, value)| params.put(name, &text(value)));
            Ok(params)
        }
        other => Err(other.clone()),
    });
    Ok(parsed.collect())
}

fn device(params: &Params) -> v1::Device {
    let (screen_width, screen_height) = size(params.get("res")).unwrap_or_default();
    v1::Device {
        language: params.get("lang").to_owned(),
        screen_width,
        screen_height,
        ..v1::Device::default()
    }
}

fn event(params: &Params, request: &Request) -> Result<Draft<'static>, Refused> {
    if params.get("rec") != "1" {
        return Err(malformed("rec=1 is missing"));
    }
    let get = |name| params.get(name);
    let mut draft = kind(params);
    let event = &mut draft.event;
    get("urlref").clone_into(&mut event.referrer);
    get("uid").clone_into(&mut event.user);
    put_text(event, "campaign_name", get("_rcn"));
    put_text(event, "campaign_keyword", get("_rck"));
    for (name, value) in params.iter() {
        if name
            .strip_prefix("dimension")
            .is_some_and(|at| at.parse::<u32>().is_ok())
        {
            put_text(event, name, value);
        }
    }
    for custom in ["_cvar", "cvar"] {
        let variables: Value = serde_json::from_str(get(custom)).unwrap_or(Value::Null);
        let variables = variables.as_object().into_iter().flatten();
        for (_, pair) in variables {
            if let Some(name) = pair[0].as_str().filter(|name| !name.is_empty()) {
                put_text(event, name, &text(&pair[1]));
            }
        }
    }
    let visitor = ["cid", "_id", "uid"]
        .into_iter()
        .map(get)
        .find(|id| !id.is_empty());
    draft.visitor = visitor.unwrap_or_default().to_owned().into();
    draft.url = get("url").to_owned().into();
    if !get("cdt").is_empty() {
        draft.claim = stated(get("cdt"), request.received_at)?;
    }
    Ok(draft)
}

/// What happened, by the parameters that only this kind of hit has.
fn kind(params: &Params) -> Draft<'static> {
    let get = |name| params.get(name);
    if get("ping") == "1" {
        return draft(EventType::Engagement);
    }
    if params.has("idgoal") {
        return goal(params);
    }
    for link in ["link", "download"] {
        if !get(link).is_empty() {
            let mut draft = draft(EventType::Click);
            link.clone_into(&mut draft.event.name);
            put_text(&mut draft.event, "href", get(link));
            return draft;
        }
    }
    if !get("e_c").is_empty() || !get("e_a").is_empty() {
        let mut draft = custom(get("e_a"));
        put_text(&mut draft.event, "category", get("e_c"));
        put_text(&mut draft.event, "name", get("e_n"));
        if let Some(value) = number(&Value::from(get("e_v"))) {
            put(&mut draft.event, "value", Kind::Number(value));
        }
        return draft;
    }
    for (named, parts) in [
        ("site_search", &["search", "search_cat", "search_count"][..]),
        ("crash", &["cra", "cra_tp", "cra_ru", "cra_rl"]),
        ("media", &["ma_id", "ma_ti", "ma_re", "ma_mt", "ma_st"]),
        ("content", &["c_n", "c_p", "c_t", "c_i"]),
    ] {
        if get(parts[0]).is_empty() {
            continue;
        }
        let mut draft = custom(named);
        for part in parts {
            put_text(&mut draft.event, part, get(part));
        }
        // A search and an interaction are the person's doing.
        draft.event.passive = named != "site_search" && get("c_i").is_empty();
        return draft;
    }
    if get("ca") == "1" {
        return custom("custom");
    }
    let mut draft = draft(EventType::PageView);
    draft.event.title = title(get("action_name"));
    draft
}

/// A goal; that of number 0 is an order, or without an order's id a cart.
fn goal(params: &Params) -> Draft<'static> {
    let get = |name| params.get(name);
    let mut draft = match (get("idgoal"), get("ec_id")) {
        ("0", "") => draft(EventType::Cart),
        ("0", _) => draft(EventType::Order),
        (goal, _) => custom(&format!("goal {goal}")),
    };
    let list: Value = serde_json::from_str(get("ec_items")).unwrap_or(Value::Null);
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let items = list.iter().map(|item| v1::Item {
        sku: text(&item[0]),
        name: text(&item[1]),
        price: thousandths(&item[3]),
        quantity: number(&item[4]).map_or(1, |quantity| quantity.max(0.0) as u32),
    });
    if get("idgoal") == "0" || !get("revenue").is_empty() {
        draft.event.order = Some(v1::Order {
            id: get("ec_id").to_owned(),
            currency: String::new(),
            value: thousandths_of(get("revenue")),
            items: items.collect(),
        });
    }
    let parts = [
        ("tax", "ec_tx"),
        ("shipping", "ec_sh"),
        ("discount", "ec_dt"),
    ];
    for (name, key) in parts {
        if let Some(amount) = number(&Value::from(get(key))) {
            put(&mut draft.event, name, Kind::Number(amount));
        }
    }
    // An order's id is the one id that a hit has: Matomo too counts it once.
    if draft.event.r#type() == EventType::Order {
        draft.event.client_id = format!("order.{}", get("ec_id"));
    }
    draft
}

/// A time that the client states: in seconds, as `2026-01-31 12:00:00` in UTC, or as RFC 3339 has it.
fn stated(text: &str, received_at: u64) -> Result<Claim, Refused> {
    let at = match text.parse::<i64>() {
        Ok(seconds) => Some(seconds.saturating_mul(1000)),
        Err(_) => text
            .parse::<jiff::Timestamp>()
            .or_else(|_| format!("{}Z", text.replacen(' ', "T", 1)).parse())
            .ok()
            .map(jiff::Timestamp::as_millisecond),
    };
    let refused = |detail| Refused::new(wakeline_proto::Reason::InvalidTime, detail);
    let at = at.ok_or_else(|| refused("cdt can't be read"))?;
    if at > received_at as i64 {
        return Ok(Claim::Now);
    }
    Ok(Claim::Wall { at, sent_at: None })
}

fn answer(request: &Request, outcome: &Outcome) -> Response {
    if is_bulk(request) {
        return answer_json(&json!({
            "status": "success",
            "tracked": outcome.accepted,
            "invalid": outcome.refused,
        }));
    }
    let form = Params::parse(&request.body);
    if form.over(&request.query).get("send_image") == "0" {
        return empty(StatusCode::NO_CONTENT);
    }
    gif()
}
