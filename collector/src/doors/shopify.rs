//! Shopify's web pixels: `POST /shopify`, the events of `analytics.subscribe("all_events", …)` as they are, one or a list.
//!
//! The site is `?k=` of the URL, else the host of the page.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::commerce::{Amounts, thousandths};
use super::entry::{Entry, Reading, custom, draft, malformed, put_text, title, within_limits};
use super::json::{claim, first, number, properties};
use super::request::{self, Request};
use super::{Dialect, Outcome, door};
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "shopify",
    amounts: Amounts {
        value: "totalPrice.amount",
        price: "price.amount",
    },
    read,
    answer,
    unknown: Some(StatusCode::UNAUTHORIZED),
};

pub(super) fn routes() -> Router<Arc<Doors>> {
    Router::new().route("/shopify", door(&DIALECT))
}

fn answer(_: &Request, outcome: &Outcome) -> Response {
    let (accepted, rejected) = (outcome.accepted, outcome.refused);
    request::json(&json!({"accepted": accepted, "rejected": rejected}))
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let body = request.json()?;
    let list = match &body {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let key = request.query.get("k");
    let entries = list.iter().map(|one| {
        let host = first(
            &one["context"]["document"]["location"],
            &["host", "hostname"],
        );
        let site = if key.is_empty() { &host } else { key };
        Entry::of(site, event(one), one)
    });
    let seen = list.first().map_or(&Value::Null, |one| &one["context"]);
    let pixels = |key: &str| number(&seen["window"]["screen"][key]).unwrap_or(0.0) as u32;
    Ok(Reading {
        client: "shopify",
        device: v1::Device {
            language: first(&seen["navigator"], &["language"]),
            screen_width: pixels("width"),
            screen_height: pixels("height"),
            ..v1::Device::default()
        },
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn event(one: &Value) -> Result<Draft<'static>, Refused> {
    let name = first(one, &["name"]);
    let data = if one["data"].is_null() {
        &one["customData"]
    } else {
        &one["data"]
    };
    let mut draft = match name.as_str() {
        "" => return Err(malformed("an event has no name")),
        "page_viewed" => draft(EventType::PageView),
        "product_viewed" => {
            let mut draft = draft(EventType::ProductView);
            variant(&mut draft.event, &data["productVariant"]);
            draft
        }
        "product_added_to_cart" | "product_removed_from_cart" => {
            let mut draft = draft(EventType::Cart);
            let line = &data["cartLine"];
            draft.event.order = Some(order(
                &line["cost"]["totalAmount"],
                "",
                vec![cart_line(line)],
            ));
            draft
        }
        "cart_viewed" => {
            let mut draft = draft(EventType::Cart);
            let cart = &data["cart"];
            let lines = list(&cart["lines"]).iter().map(cart_line);
            let id = first(cart, &["id"]);
            draft.event.order = Some(order(&cart["cost"]["totalAmount"], &id, lines.collect()));
            draft
        }
        "checkout_started"
        | "checkout_contact_info_submitted"
        | "checkout_address_info_submitted"
        | "checkout_shipping_info_submitted"
        | "payment_info_submitted" => checkout(EventType::Checkout, &data["checkout"]),
        "checkout_completed" => checkout(EventType::Order, &data["checkout"]),
        "clicked" => draft(EventType::Click),
        "form_submitted" => draft(EventType::Form),
        "search_submitted" => {
            let mut draft = custom(&name);
            put_text(
                &mut draft.event,
                "query",
                &first(&data["searchResult"], &["query"]),
            );
            draft
        }
        "collection_viewed" => {
            let mut draft = custom(&name);
            draft.event.passive = true;
            put_text(
                &mut draft.event,
                "collection",
                &first(&data["collection"], &["title"]),
            );
            draft
        }
        _ => {
            let mut draft = custom(&name);
            properties(&mut draft.event, data, &[]);
            draft
        }
    };
    if draft.event.r#type() != EventType::Custom && name != "page_viewed" {
        draft.event.name.clone_from(&name);
    }
    let page = &one["context"]["document"];
    draft.url = first(&page["location"], &["href"]).into();
    draft.event.referrer = first(page, &["referrer"]);
    draft.event.title = title(&first(page, &["title"]));
    draft.visitor = first(one, &["clientId"]).into();
    draft.event.client_id = first(one, &["id"]);
    draft.event.user = first(&data["checkout"]["order"]["customer"], &["id"]);
    draft.claim = claim(&one["timestamp"], &Value::Null)?;
    Ok(draft)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn variant(event: &mut v1::Event, variant: &Value) {
    put_text(event, "sku", &first(variant, &["sku", "id"]));
    put_text(event, "name", &first(&variant["product"], &["title"]));
    put_text(event, "vendor", &first(&variant["product"], &["vendor"]));
    put_text(
        event,
        "currency",
        &first(&variant["price"], &["currencyCode"]),
    );
    if let Some(price) = number(&variant["price"]["amount"]) {
        properties(event, &json!({"price": price}), &[]);
    }
}

fn cart_line(line: &Value) -> v1::Item {
    let merchandise = &line["merchandise"];
    v1::Item {
        sku: first(merchandise, &["sku", "id"]),
        name: first(&merchandise["product"], &["title"]),
        price: thousandths(&merchandise["price"]["amount"]),
        quantity: quantity(line),
    }
}

fn quantity(line: &Value) -> u32 {
    number(&line["quantity"]).map_or(1, |quantity| quantity.max(0.0) as u32)
}

fn order(total: &Value, id: &str, items: Vec<v1::Item>) -> v1::Order {
    v1::Order {
        id: id.to_owned(),
        currency: first(total, &["currencyCode"]),
        value: thousandths(&total["amount"]),
        items,
    }
}

fn checkout(kind: EventType, checkout: &Value) -> Draft<'static> {
    let mut draft = draft(kind);
    let items = list(&checkout["lineItems"]).iter().map(|line| v1::Item {
        sku: first(&line["variant"], &["sku", "id"]),
        name: first(line, &["title"]),
        price: thousandths(&line["variant"]["price"]["amount"]),
        quantity: quantity(line),
    });
    let id = match first(&checkout["order"], &["id"]) {
        none if none.is_empty() => first(checkout, &["token"]),
        id => id,
    };
    let mut order = order(&checkout["totalPrice"], &id, items.collect());
    if order.currency.is_empty() {
        order.currency = first(checkout, &["currencyCode"]);
    }
    draft.event.order = Some(order);
    for (name, key) in [("tax", "totalTax"), ("shipping", "shippingLine")] {
        let amount = if name == "tax" {
            &checkout[key]
        } else {
            &checkout[key]["price"]
        };
        if let Some(amount) = number(&amount["amount"]) {
            properties(&mut draft.event, &json!({name: amount}), &[]);
        }
    }
    draft
}
