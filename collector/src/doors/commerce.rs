//! Money and the names of shopping.
//!
//! Clients send amounts in major units, sometimes without a currency. Dialects make thousandths of them; once the site is
//! known, [`settle`] makes minor units.

use serde_json::Value;
use wakeline_proto::v1::EventType;
use wakeline_proto::{Reason, limits, v1};

use super::json::{self, first, number};
use crate::judge::{Draft, Refused};

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

/// What a tracker's clients call amounts, for who has to mend one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// That of an order, a cart or a checkout.
    pub(super) value: &'static str,
    /// That of one piece of a line.
    pub(super) price: &'static str,
}

/// An amount of major units in thousandths; one that is no number is out of every range, so that it is refused.
pub(super) fn thousandths(value: &Value) -> i64 {
    let amount = match value {
        Value::Null => return 0,
        Value::String(text) => major(text),
        other => number(other),
    };
    amount.map_or(i64::MAX, |amount| (amount * 1000.0).round() as i64)
}

/// As [`thousandths`], of a text; an empty one is 0.
pub(super) fn thousandths_of(text: &str) -> i64 {
    if text.is_empty() {
        return 0;
    }
    major(text).map_or(i64::MAX, |amount| (amount * 1000.0).round() as i64)
}

/// An amount as a text: `10.50`, also `10,50`. With three digits behind it a comma may stand for thousands, so it is not
/// guessed what it is.
fn major(text: &str) -> Option<f64> {
    let text = text.trim();
    let amount: Option<f64> = match text.split_once(',') {
        Some((whole, cents)) => {
            let whole_digits = whole.strip_prefix('-').unwrap_or(whole);
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let is_decimal = digits(whole_digits) && digits(cents) && cents.len() <= 2;
            is_decimal
                .then(|| format!("{whole}.{cents}").parse().ok())
                .flatten()
        }
        None => text.parse().ok(),
    };
    amount.filter(|amount| amount.is_finite())
}

/// Refuses amounts that are none, by the tracker's own names for them. Negative ones are refunds.
pub(super) fn check(order: &v1::Order, amounts: Amounts) -> Result<(), Refused> {
    let value = (amounts.value, order.value);
    let prices = order.items.iter().map(|item| (amounts.price, item.price));
    for (name, minor) in std::iter::once(value).chain(prices) {
        let what = match minor {
            i64::MAX => "is no amount: send major units as a number with a point, such as 10.50",
            minor if minor.unsigned_abs() > limits::MAX_MONEY_MINOR as u64 => "is out of range",
            _ => continue,
        };
        return Err(Refused::new(Reason::InvalidMoney, format!("{name} {what}")));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_a_point_or_with_a_comma_that_can_only_be_one() {
        for (text, expected) in [
            ("10.50", 10_500),
            ("10,50", 10_500),
            ("-3,5", -3_500),
            (" 7 ", 7_000),
            ("", 0),
            ("1,000", i64::MAX),
            ("1.000,50", i64::MAX),
            ("1,2,3", i64::MAX),
            (",5", i64::MAX),
            ("EUR 5", i64::MAX),
            ("1e400", i64::MAX),
        ] {
            assert_eq!(thousandths_of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_amount_is_said_in_the_trackers_words() {
        let amounts = Amounts {
            value: "revenue",
            price: "the price in ec_items",
        };
        let order = |value, price| v1::Order {
            value,
            items: vec![v1::Item {
                price,
                ..v1::Item::default()
            }],
            ..v1::Order::default()
        };
        let said =
            |value, price| check(&order(value, price), amounts).map_err(|refused| refused.detail);
        assert_eq!(said(-500, 0), Ok(()));
        assert!(said(i64::MAX, 0).is_err_and(|what| what.starts_with("revenue is no amount")));
        assert!(said(i64::MIN, 0).is_err_and(|what| what.starts_with("revenue is out of range")));
        assert!(said(0, i64::MAX).is_err_and(|what| what.starts_with("the price in ec_items")));
    }
}
