//! Money and the names of shopping.
//!
//! Clients send amounts in major units, sometimes without a currency. Dialects make thousandths of them; once the site is
//! known, [`settle`] makes minor units.

use serde_json::Value;
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::json::{self, first, number};
use crate::judge::Draft;

/// Currencies of ISO 4217 whose minor unit is not a hundredth, with its digits.
const DIGITS: [(&str, u32); 23] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// An amount of major units in thousandths; one that is no number is out of every range, so that it is refused.
pub(super) fn thousandths(value: &Value) -> i64 {
    match number(value) {
        Some(amount) => (amount * 1000.0).round() as i64,
        None if value.is_null() => 0,
        None => i64::MAX,
    }
}

/// As [`thousandths`], of a text.
pub(super) fn thousandths_of(text: &str) -> i64 {
    if text.is_empty() {
        return 0;
    }
    let amount: Option<f64> = text.trim().parse().ok();
    let amount = amount.filter(|amount| amount.is_finite());
    amount.map_or(i64::MAX, |amount| (amount * 1000.0).round() as i64)
}

/// Makes minor units of thousandths; `currency` is the site's, for an order that has none.
pub(super) fn settle(order: &mut v1::Order, currency: &str) {
    if order.currency.is_empty() {
        currency.clone_into(&mut order.currency);
    }
    order.currency.make_ascii_uppercase();
    let digits = DIGITS
        .iter()
        .find(|(code, _)| *code == order.currency)
        .map_or(2, |(_, digits)| *digits);
    let unit = 10_i64.pow(3 - digits.min(3));
    let minor = |thousandths: &mut i64| {
        if *thousandths != i64::MAX {
            // Half a unit goes away from zero.
            let half = unit / 2 * thousandths.signum();
            *thousandths = thousandths.saturating_add(half) / unit;
        }
    };
    minor(&mut order.value);
    order
        .items
        .iter_mut()
        .for_each(|item| minor(&mut item.price));
}

/// A line of an order, under the names that trackers have for its parts.
pub(super) fn item(object: &Value) -> v1::Item {
    let quantity = ["quantity", "qty"]
        .iter()
        .find_map(|key| number(&object[key]));
    v1::Item {
        sku: first(object, &["sku", "product_id", "item_id", "id", "productId"]),
        name: first(object, &["name", "item_name", "title"]),
        price: thousandths(&object["price"]),
        quantity: quantity.map_or(1, |quantity| quantity.max(0.0) as u32),
    }
}

fn items(list: &Value) -> Vec<v1::Item> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(item).collect()
}

/// Members that an order is made of, besides its lines.
const PARTS: [&str; 11] = [
    "order_id",
    "orderId",
    "transaction_id",
    "currency",
    "revenue",
    "total",
    "value",
    "products",
    "items",
    "checkout_id",
    "cart_id",
];

/// An event of a shop under the name that Segment's ecommerce specification or GA4 has for it; with all of `object`
/// else as properties. A name that is none of these makes a custom event.
pub(super) fn event(name: &str, object: &Value) -> Draft<'static> {
    let plain = name.to_ascii_lowercase().replace(['_', '-'], " ");
    let kind = match plain.as_str() {
        "order completed" | "completed order" | "purchase" => EventType::Order,
        "product viewed" | "viewed product" | "view item" => EventType::ProductView,
        "product added" | "added product" | "product removed" | "removed product"
        | "cart viewed" | "viewed cart" | "add to cart" | "remove from cart" | "view cart" => {
            EventType::Cart
        }
        "checkout started"
        | "started checkout"
        | "checkout step viewed"
        | "checkout step completed"
        | "payment info entered"
        | "begin checkout"
        | "add shipping info"
        | "add payment info" => EventType::Checkout,
        _ => EventType::Custom,
    };
    let amount = ["revenue", "total", "value"]
        .iter()
        .map(|key| &object[key])
        .find(|value| !value.is_null());
    let lines = [&object["products"], &object["items"]]
        .into_iter()
        .find(|list| list.is_array());
    let mut draft = super::entry::custom(name);
    let mut known: &[&str] = &[];
    if kind != EventType::Custom && (amount.is_some() || lines.is_some()) {
        let items = lines.map(items).unwrap_or_default();
        let sum = || {
            let prices = items.iter();
            prices.fold(0_i64, |sum, item| {
                sum.saturating_add(item.price.saturating_mul(i64::from(item.quantity)))
            })
        };
        draft.event.order = Some(v1::Order {
            id: first(
                object,
                &[
                    "order_id",
                    "orderId",
                    "transaction_id",
                    "checkout_id",
                    "cart_id",
                ],
            ),
            currency: first(object, &["currency"]),
            value: amount.map_or_else(sum, thousandths),
            items,
        });
        known = &PARTS;
    }
    // An order of which no amount is known counts as an event, not as revenue.
    if kind != EventType::Order || draft.event.order.is_some() {
        draft.event.r#type = kind.into();
    }
    json::properties(&mut draft.event, object, known);
    draft
}
