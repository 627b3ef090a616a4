//! Refused events as rules look at them, from the JSON that is kept of them.

use serde_json::{Map, Value as Json};
use wakeline_proto::v1::value::Kind;
use wakeline_proto::{Reason, v1};
use wakeline_rules::place::{Cleaning, split};

/// Whether what is kept of an event tells if it would be refused for that reason again.
pub(super) const fn tells(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ForeignHost | Reason::BlockedPath | Reason::Spam | Reason::SchemaMismatch
    )
}

/// What rules look at of a refused event; `None` if it was cut or is none.
pub(super) fn event(payload: &[u8], cleaning: &Cleaning) -> Option<v1::Event> {
    let kept: Map<String, Json> = serde_json::from_slice(payload).ok()?;
    let text = |key: &str| kept.get(key).and_then(Json::as_str).unwrap_or_default();
    let kind = v1::EventType::from_name(text("type"))?;
    let place = match text("url") {
        "" => None,
        url => Some(split(url, cleaning).ok()?),
    };
    let place = place.unwrap_or_default();
    let properties = kept.get("properties").and_then(Json::as_object);
    Some(v1::Event {
        r#type: kind.into(),
        name: text("name").to_owned(),
        hostname: place.hostname,
        path: place.path,
        referrer: text("referrer").to_owned(),
        properties: properties
            .into_iter()
            .flatten()
            .map(|(name, value)| property(name, value))
            .collect(),
        ..v1::Event::default()
    })
}

fn property(name: &str, value: &Json) -> v1::Property {
    let timestamp = |value: &Json| {
        let time: jiff::Timestamp = value.get("timestamp")?.as_str()?.parse().ok()?;
        Some(Kind::Timestamp(time.as_millisecond()))
    };
    let kind = match value {
        Json::String(text) => Some(Kind::Text(text.clone())),
        Json::Bool(flag) => Some(Kind::Flag(*flag)),
        Json::Number(number) => number
            .as_i64()
            .map(Kind::Integer)
            .or_else(|| number.as_f64().map(Kind::Number)),
        other => timestamp(other),
    };
    v1::Property {
        name: name.to_owned(),
        value: Some(v1::Value { kind }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use wakeline_proto::v1::value::Kind;
    use wakeline_rules::place::Cleaning;

    use super::event;

    #[test]
    fn a_refused_event_has_its_page_and_its_properties_again() {
        let payload = json!({
            "type": "custom", "name": "signup", "url": "https://Shop.example/A?x=1", "visitor": "v",
            "properties": {"plan": "a", "seats": 2, "share": 0.5, "yes": true, "at": {"timestamp": "1970-01-01T00:00:01Z"}},
        });
        let found = event(payload.to_string().as_bytes(), &Cleaning::default()).unwrap();
        assert_eq!(
            (
                found.name.as_str(),
                found.hostname.as_str(),
                found.path.as_str()
            ),
            ("signup", "shop.example", "/A")
        );
        let kinds = found.properties.into_iter().map(|property| {
            let value = property.value.unwrap();
            (property.name, value.kind.unwrap())
        });
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort_by(|(a, _), (b, _)| a.cmp(b));
        let expected = [
            ("at", Kind::Timestamp(1_000)),
            ("plan", Kind::Text("a".to_owned())),
            ("seats", Kind::Integer(2)),
            ("share", Kind::Number(0.5)),
            ("yes", Kind::Flag(true)),
        ];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(kinds, expected);
        assert_eq!(
            event(br#"{"cut":"{","bytes":9}"#, &Cleaning::default()),
            None
        );
    }

    proptest! {
        #[test]
        fn any_payload_is_an_event_or_none(payload in prop::collection::vec(any::<u8>(), 0..100)) {
            event(&payload, &Cleaning::default());
        }
    }
}
