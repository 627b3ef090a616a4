//! Snowplow, tracker protocol 2: `POST /com.snowplowanalytics.snowplow/tp2`, `GET /i`.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{HeaderValue, SET_COOKIE};
use serde_json::{Map, Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::commerce::{self, Amounts, thousandths, thousandths_of};
use super::entry::{
    Entry, Reading, custom, draft, malformed, put_text, size, title, within_limits,
};
use super::json::{claim, first, number, properties};
use super::request::{Params, Request, base64, gif, text, uuid};
use super::{Dialect, Outcome, door};
use crate::enrich::Sender;
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "snowplow",
    amounts: Amounts {
        value: "revenue, total_value or tr_tt",
        price: "the price of a product (ti_pr)",
    },
    read,
    answer,
    unknown: Some(StatusCode::UNAUTHORIZED),
};

/// Name of the cookie that holds the network user id, for a year.
const COOKIE: &str = "sp";
const YEAR_S: u32 = 365 * 24 * 60 * 60;

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new()
        .route("/com.snowplowanalytics.snowplow/tp2", door(&DIALECT))
        .route("/i", door(&DIALECT))
        .route("/ice.png", door(&DIALECT))
}

fn is_get(request: &Request) -> bool {
    !request.path.ends_with("/tp2")
}

fn anonymous(request: &Request) -> bool {
    request.headers.contains_key("sp-anonymous")
}

/// Whether the browser asks not to be followed: its events are refused, and it gets no id that outlives them.
fn opted_out(request: &Request) -> bool {
    ["sec-gpc", "dnt"]
        .iter()
        .any(|name| request.headers.get(*name).is_some_and(|value| value == "1"))
}

/// The id that the cookie has, else the one drawn for this request; empty for who wants to be anonymous.
fn network_user(request: &Request) -> String {
    if anonymous(request) {
        return String::new();
    }
    let held = request.cookie(COOKIE).filter(|id| {
        id.len() <= 64
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    held.map_or_else(
        || uuid(u128::from_be_bytes(request.random)),
        ToOwned::to_owned,
    )
}

fn answer(request: &Request, _: &Outcome) -> Response {
    let mut response = if is_get(request) { gif() } else { text("ok") };
    let cookie = if anonymous(request) || opted_out(request) {
        format!("{COOKIE}=; Max-Age=0; Path=/; SameSite=None; Secure; HttpOnly")
    } else {
        let id = network_user(request);
        format!("{COOKIE}={id}; Max-Age={YEAR_S}; Path=/; SameSite=None; Secure; HttpOnly")
    };
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let hits: Vec<Result<Params, Value>> = if is_get(request) {
        vec![Ok(request.query.clone())]
    } else {
        let body = request.json()?;
        let schema = body["schema"].as_str().unwrap_or_default();
        if !schema.starts_with("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-") {
            return Err(Refusal::Malformed(
                "the schema is not payload_data 1-0-x".to_owned(),
            ));
        }
        let data = body["data"].as_array().filter(|list| !list.is_empty());
        let data = data.ok_or_else(|| Refusal::Malformed("there is no data".to_owned()))?;
        request.check_hits(data.len())?;
        data.iter().map(|one| event_params(one, request)).collect()
    };
    let first_hit = hits.iter().find_map(|hit| hit.as_ref().ok());
    let device = first_hit.map(device).unwrap_or_default();
    let orders = items_by_order(&hits);
    let entries = hits.iter().map(|hit| match hit {
        Ok(params) => Entry {
            cookieless: true,
            ..Entry::of(
                params.get("aid"),
                event(params, &orders, request),
                &params.to_json(),
            )
        },
        Err(raw) => {
            let site = first(raw, &["aid"]);
            Entry::of(
                &site,
                Err(malformed("the values of an event are texts")),
                raw,
            )
        }
    });
    Ok(Reading {
        client: "snowplow",
        device,
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

/// Texts only; parameters of the query hold for every event and win.
fn event_params(one: &Value, request: &Request) -> Result<Params, Value> {
    let mut params = Params::default();
    for (name, value) in one.as_object().ok_or_else(|| one.clone())? {
        params.put(name, value.as_str().ok_or_else(|| one.clone())?);
    }
    Ok(request.query.over(&params))
}

fn device(params: &Params) -> v1::Device {
    let (screen_width, screen_height) = size(params.get("res")).unwrap_or_default();
    v1::Device {
        language: params.get("lang").to_owned(),
        timezone: params.get("tz").to_owned(),
        screen_width,
        screen_height,
        ..v1::Device::default()
    }
}

/// The lines of orders, which come as events of their own.
fn items_by_order(hits: &[Result<Params, Value>]) -> Vec<(String, v1::Item)> {
    let hits = hits.iter().filter_map(|hit| hit.as_ref().ok());
    hits.filter(|hit| hit.get("e") == "ti")
        .map(|hit| {
            let name = ["ti_nm", "ti_na"].map(|name| hit.get(name));
            let item = v1::Item {
                sku: hit.get("ti_sk").to_owned(),
                name: name
                    .into_iter()
                    .find(|name| !name.is_empty())
                    .unwrap_or_default()
                    .to_owned(),
                price: thousandths_of(hit.get("ti_pr")),
                quantity: hit.get("ti_qu").parse().unwrap_or(1),
            };
            (hit.get("ti_id").to_owned(), item)
        })
        .collect()
}

/// The JSON of a parameter that is plain under one name and base64 under the other.
fn json_of(params: &Params, plain: &str, encoded: &str) -> Result<Value, Refused> {
    let (plain, encoded) = (params.get(plain), params.get(encoded));
    if plain.is_empty() && encoded.is_empty() {
        return Ok(Value::Null);
    }
    let bytes = if plain.is_empty() {
        base64(encoded.as_bytes()).ok_or_else(|| malformed("not base64"))?
    } else {
        plain.as_bytes().to_vec()
    };
    serde_json::from_slice(&bytes).map_err(|_| malformed("a self-describing JSON can't be read"))
}

fn event(
    params: &Params,
    orders: &[(String, v1::Item)],
    request: &Request,
) -> Result<Draft<'static>, Refused> {
    let get = |name| params.get(name);
    let contexts = json_of(params, "co", "cx")?;
    let contexts = contexts["data"].as_array().cloned().unwrap_or_default();
    let mut draft = match get("e") {
        "pv" => draft(EventType::PageView),
        "pp" => page_ping(params),
        "se" | "ev" => structured(params),
        "tr" => transaction(params, orders),
        "ti" => {
            let mut draft = custom("transaction_item");
            draft.event.passive = true;
            for (name, key) in [
                ("order_id", "ti_id"),
                ("sku", "ti_sk"),
                ("name", "ti_nm"),
                ("category", "ti_ca"),
                ("price", "ti_pr"),
                ("quantity", "ti_qu"),
            ] {
                put_text(&mut draft.event, name, get(key));
            }
            draft
        }
        "ue" => {
            let wrapped = json_of(params, "ue_pr", "ue_px")?;
            described(&wrapped["data"], &contexts)?
        }
        "ad" => custom("ad"),
        _ => return Err(malformed("e is none of pv, pp, ue, se, tr, ti")),
    };
    add_contexts(&mut draft, &contexts);
    draft.url = get("url").to_owned().into();
    get("refr").clone_into(&mut draft.event.referrer);
    draft.event.title = title(get("page"));
    get("uid").clone_into(&mut draft.event.user);
    let network = network_user(request);
    let server = get("p") == "srv";
    let ids = [
        get("duid"),
        get("tnuid"),
        get("nuid"),
        if server { get("uid") } else { &network },
    ];
    let visitor = ids.into_iter().find(|id| !id.is_empty());
    draft.visitor = visitor.unwrap_or_default().to_owned().into();
    get("eid").clone_into(&mut draft.event.client_id);
    let text_or_null = |name| {
        if params.has(name) {
            Value::from(get(name))
        } else {
            Value::Null
        }
    };
    draft.claim = match text_or_null("ttm") {
        Value::Null => claim(&text_or_null("dtm"), &text_or_null("stm"))?,
        stated => claim(&stated, &Value::Null)?,
    };
    if server || params.has("ip") || anonymous(request) {
        draft.sender = Some(Sender {
            ip: if anonymous(request) {
                None
            } else {
                get("ip").parse().ok()
            },
            user_agent: match get("ua") {
                "" if !server => request.user_agent().to_owned(),
                given => given.to_owned(),
            },
            ..Sender::default()
        });
    }
    Ok(draft)
}

/// A sign of life: how far the page was scrolled, of the heights that the event has.
fn page_ping(params: &Params) -> Draft<'static> {
    let mut ping = draft(EventType::Engagement);
    let height = |name| size(params.get(name)).map_or(0.0, |(_, height)| f64::from(height));
    let offset: f64 = params.get("pp_may").parse().unwrap_or(0.0);
    let document = height("ds");
    let seen = if document > 0.0 {
        (offset + height("vp")) / document * 100.0
    } else {
        0.0
    };
    ping.event.engagement = Some(v1::Engagement {
        time_ms: 0,
        scroll_percent: seen.min(100.0) as u32,
    });
    ping
}

fn structured(params: &Params) -> Draft<'static> {
    let mut draft = custom(params.get("se_ac"));
    for (name, key) in [
        ("category", "se_ca"),
        ("label", "se_la"),
        ("property", "se_pr"),
    ] {
        put_text(&mut draft.event, name, params.get(key));
    }
    if let Some(value) = number(&params.get("se_va").into()) {
        properties(&mut draft.event, &json!({"value": value}), &[]);
    }
    draft
}

fn transaction(params: &Params, orders: &[(String, v1::Item)]) -> Draft<'static> {
    let id = params.get("tr_id");
    let mut draft = draft(EventType::Order);
    let items = orders.iter().filter(|(order, _)| order == id);
    draft.event.order = Some(v1::Order {
        id: id.to_owned(),
        currency: params.get("tr_cu").to_owned(),
        value: thousandths_of(params.get("tr_tt")),
        items: items.map(|(_, item)| item.clone()).collect(),
    });
    for (name, key) in [
        ("affiliation", "tr_af"),
        ("tax", "tr_tx"),
        ("shipping", "tr_sh"),
        ("city", "tr_ci"),
        ("state", "tr_st"),
        ("country", "tr_co"),
    ] {
        put_text(&mut draft.event, name, params.get(key));
    }
    draft
}

/// Vendor and name of `iglu:VENDOR/NAME/jsonschema/VERSION`.
fn schema(described: &Value) -> (String, String) {
    let schema = first(described, &["schema"]);
    let mut parts = schema.trim_start_matches("iglu:").split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    (part(), part())
}

/// A self-describing event. Its schema is kept by name.
fn described(one: &Value, contexts: &[Value]) -> Result<Draft<'static>, Refused> {
    let (vendor, name) = schema(one);
    if name.is_empty() {
        return Err(malformed("a self-describing event has no schema"));
    }
    let data = &one["data"];
    let mut draft = match (vendor.as_str(), name.as_str()) {
        ("com.snowplowanalytics.snowplow", "link_click" | "button_click") => {
            draft(EventType::Click)
        }
        ("com.snowplowanalytics.snowplow", "submit_form" | "change_form") => draft(EventType::Form),
        ("com.snowplowanalytics.mobile" | "com.snowplowanalytics.snowplow", "screen_view") => {
            let mut draft = draft(EventType::ScreenView);
            draft.event.name = first(data, &["name"]);
            draft
        }
        ("com.snowplowanalytics.snowplow.ecommerce", "snowplow_ecommerce_action") => {
            shopping(&first(data, &["type"]), contexts)
        }
        (_, "web_vitals" | "application_error" | "focus_form") => {
            let mut draft = custom(&name);
            draft.event.passive = true;
            draft
        }
        _ => custom(&name),
    };
    put_text(&mut draft.event, "schema", &first(one, &["schema"]));
    properties(&mut draft.event, data, &[]);
    Ok(draft)
}

/// An action of Snowplow's ecommerce plugin: its amounts and lines are in contexts.
fn shopping(action: &str, contexts: &[Value]) -> Draft<'static> {
    let of = |wanted: &'static str| {
        let found = contexts.iter().filter(move |one| schema(one).1 == wanted);
        found.map(|one| &one["data"])
    };
    let mut draft = match action {
        "transaction" => draft(EventType::Order),
        "product_view" => draft(EventType::ProductView),
        "add_to_cart" | "remove_from_cart" => draft(EventType::Cart),
        "checkout_step" => draft(EventType::Checkout),
        other => custom(other),
    };
    let items: Vec<_> = of("product").map(commerce::item).collect();
    let sum = of("transaction")
        .map(|sale| {
            (
                first(sale, &["transaction_id"]),
                first(sale, &["currency"]),
                thousandths(&sale["revenue"]),
            )
        })
        .chain(of("cart").map(|cart| {
            (
                first(cart, &["cart_id"]),
                first(cart, &["currency"]),
                thousandths(&cart["total_value"]),
            )
        }))
        .next();
    let kind = draft.event.r#type();
    if let Some((id, currency, value)) = sum.filter(|_| kind != EventType::Custom) {
        draft.event.order = Some(v1::Order {
            id,
            currency,
            value,
            items,
        });
    } else if kind == EventType::Order {
        draft.event.r#type = EventType::Custom.into();
        action.clone_into(&mut draft.event.name);
    }
    draft
}

/// Contexts that say nothing of their own become no properties.
const SILENT: [&str; 8] = [
    "web_page",
    "transaction",
    "cart",
    "product",
    "client_session",
    "browser_context",
    "http_client_hints",
    "performance_timing",
];

/// Entities as properties, each under its schema's name.
fn add_contexts(draft: &mut Draft<'_>, contexts: &[Value]) {
    let mut named = Map::new();
    for context in contexts {
        let (_, name) = schema(context);
        if !name.is_empty() && !SILENT.contains(&name.as_str()) {
            named.entry(name).or_insert_with(|| context["data"].clone());
        }
    }
    properties(&mut draft.event, &Value::Object(named), &[]);
}
