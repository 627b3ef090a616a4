//! Reading loose JSON: what trackers send is seldom of the type that their documents say.

use serde_json::Value;
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{Reason, limits, v1};

use super::entry::put;
use crate::judge::{Claim, Refused};

/// Texts and numbers as text; nothing of other values.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The first of `keys` that has a text.
pub(super) fn first(object: &Value, keys: &[&str]) -> String {
    let mut texts = keys.iter().map(|key| text(&object[key]));
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

/// A number, also one that is written as a text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Ms since 1970-01-01 UTC, of RFC 3339 or of a number of seconds or ms.
pub(super) fn time(value: &Value) -> Option<i64> {
    /// Above, a number is of ms: as seconds it would be in the year 5138.
    const MS: f64 = 1e11;
    if let Value::String(text) = value
        && let Ok(at) = text.parse::<jiff::Timestamp>()
    {
        return Some(at.as_millisecond());
    }
    let number = number(value)?;
    Some(if number.abs() < MS {
        number * 1000.0
    } else {
        number
    } as i64)
}

/// When an event was, by its client's clock, which showed `sent_at` when it was sent.
pub(super) fn claim(at: &Value, sent_at: &Value) -> Result<Claim, Refused> {
    if at.is_null() {
        return Ok(Claim::Now);
    }
    let at = time(at).ok_or_else(|| Refused::new(Reason::InvalidTime, "the time can't be read"))?;
    let sent_at = time(sent_at);
    Ok(Claim::Wall { at, sent_at })
}

/// Adds the members of `object` as properties, but for those in `known`. Objects in it give names with dots; a list is
/// kept as its JSON.
pub(super) fn properties(event: &mut v1::Event, object: &Value, known: &[&str]) {
    let Value::Object(members) = object else {
        return;
    };
    for (name, value) in members {
        if !known.contains(&name.as_str()) {
            add(event, name, value);
        }
    }
}

fn add(event: &mut v1::Event, name: &str, value: &Value) {
    // One more than allowed is enough to be refused.
    if event.properties.len() > limits::MAX_PROPERTIES {
        return;
    }
    let kind = match value {
        Value::Null => return,
        Value::Bool(flag) => Kind::Flag(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Kind::Integer(integer),
            None => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Kind::Text(text.clone()),
        Value::Array(_) => Kind::Text(value.to_string()),
        Value::Object(members) => {
            // Names that are too long already get no longer: the event is refused for them.
            let prefix = if name.len() > limits::MAX_NAME_BYTES {
                ""
            } else {
                name
            };
            for (inner, value) in members {
                add(event, &format!("{prefix}.{inner}"), value);
            }
            return;
        }
    };
    put(event, name, kind);
}
