//! The limits that a collector checks, checked where the caller still hears of it.

use alloc::borrow::ToOwned;
use alloc::string::String;

use wakeline_proto::Reason;
use wakeline_proto::limits::{
    MAX_ITEMS, MAX_MONEY_MINOR, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES,
};
use wakeline_proto::v1::{EventType, Order};

use crate::event::{Event, Value};
use crate::fate::Refused;

const MAX_TIMESTAMP_MS: i64 = 1 << 53;

pub(crate) fn event(event: &Event) -> Result<(), Refused> {
    use Reason::{InvalidName, InvalidProperty, InvalidType, TooLarge};

    let typed = event.event_type != EventType::Unspecified;
    ensure(
        typed || Reason::from_name(&event.name).is_some(),
        InvalidType,
        "an event without a type",
    )?;
    let named = event.event_type != EventType::Custom || !event.name.is_empty();
    ensure(named, InvalidName, "a custom event without a name")?;
    ensure(
        event.name.len() <= MAX_NAME_BYTES,
        TooLarge,
        "the name is too long",
    )?;
    ensure(
        !event.name.contains(char::is_control),
        InvalidName,
        "a control character in the name",
    )?;
    ensure(
        event.properties.len() <= MAX_PROPERTIES,
        TooLarge,
        "too many properties",
    )?;
    for (name, value) in &event.properties {
        ensure(
            !name.is_empty(),
            InvalidProperty,
            "a property without a name",
        )?;
        ensure(
            name.len() <= MAX_NAME_BYTES,
            TooLarge,
            "a property's name is too long",
        )?;
        match value {
            Value::Text(text) => {
                ensure(
                    text.len() <= MAX_TEXT_BYTES,
                    TooLarge,
                    "a property's text is too long",
                )?;
            }
            Value::Number(number) => {
                ensure(number.is_finite(), InvalidProperty, "NaN or infinite")?;
            }
            Value::Timestamp(ms) => {
                let sane = (-MAX_TIMESTAMP_MS..=MAX_TIMESTAMP_MS).contains(ms);
                ensure(sane, InvalidProperty, "a timestamp beyond all calendars")?;
            }
            Value::Integer(_) | Value::Flag(_) => {}
        }
    }
    if let Some(exposure) = &event.exposure {
        let longest = exposure.experiment.len().max(exposure.variant.len());
        ensure(
            longest <= MAX_NAME_BYTES,
            TooLarge,
            "experiment or variant is too long",
        )?;
    }
    event.order.as_ref().map_or(Ok(()), order)
}

fn order(order: &Order) -> Result<(), Refused> {
    use Reason::{InvalidMoney, TooLarge};

    let money = |minor: i64| (-MAX_MONEY_MINOR..=MAX_MONEY_MINOR).contains(&minor);
    let currency =
        order.currency.len() == 3 && order.currency.bytes().all(|b| b.is_ascii_uppercase());
    ensure(
        currency,
        InvalidMoney,
        "the currency is not three upper-case letters",
    )?;
    ensure(
        money(order.value),
        InvalidMoney,
        "the value is out of range",
    )?;
    ensure(
        order.id.len() <= MAX_NAME_BYTES,
        TooLarge,
        "the order's id is too long",
    )?;
    ensure(order.items.len() <= MAX_ITEMS, TooLarge, "too many items")?;
    for item in &order.items {
        let longest = item.sku.len().max(item.name.len());
        ensure(
            longest <= MAX_NAME_BYTES,
            TooLarge,
            "an item's SKU or name is too long",
        )?;
        ensure(money(item.price), InvalidMoney, "a price is out of range")?;
    }
    Ok(())
}

pub(crate) fn ensure(fine: bool, reason: Reason, detail: &'static str) -> Result<(), Refused> {
    if fine {
        return Ok(());
    }
    // A browser's console says the reason only, and its users download no more.
    let detail = if cfg!(target_arch = "wasm32") {
        ""
    } else {
        detail
    };
    Err(Refused { reason, detail })
}

/// `text`, cut to at most `max` bytes between characters.
pub(crate) fn cut(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let mut starts = (0..=max).rev().filter_map(|end| text.get(..end));
    starts.next().unwrap_or("").to_owned()
}
