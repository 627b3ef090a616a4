//! From what an app says, as JSON, to events that a collector takes. What can be mended is: an app's slip costs a property,
//! not the event. Pure; runs on the caller's thread.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use wakeline_client::v1::{EventType, Exposure, Item, Order};
use wakeline_client::{Event, Page, Reason, Value};
use wakeline_proto::limits::{
    MAX_ITEMS, MAX_MONEY_MINOR, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES, MAX_URL_BYTES,
};

/// Bytes of JSON that are read.
pub(crate) const MAX_JSON_BYTES: usize = 1 << 20;
/// Bytes that the texts of an event's properties may come to: with the [default](MAX_DEFAULTS) ones and a page it stays
/// below what a collector takes.
const MAX_TEXTS: usize = 16 << 10;
/// The same of the default properties.
pub(crate) const MAX_DEFAULTS: usize = 4 << 10;
const MAX_TIMESTAMP_MS: i64 = 1 << 53;

/// What an app did wrong, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misuse(BTreeMap<Problem, u32>);

/// A closed set; the names stand in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    /// A text was longer than its limit, and cut.
    TextCut,
    /// A property's value was NaN, infinite, null, a list or an object; it was left out.
    ValueLeftOut,
    /// Properties beyond the limit were left out.
    TooManyProperties,
    /// A control character in a name was replaced, or a property without a name left out.
    NameMended,
    /// An event was refused.
    EventRefused,
    /// A call had a word that it does not know, or came after the end.
    WrongCall,
    /// Events came faster than they could be written, and were left out.
    Overrun,
}

impl Problem {
    const fn as_str(self) -> &'static str {
        match self {
            Self::TextCut => "text_cut",
            Self::ValueLeftOut => "value_left_out",
            Self::TooManyProperties => "too_many_properties",
            Self::NameMended => "name_mended",
            Self::EventRefused => "event_refused",
            Self::WrongCall => "wrong_call",
            Self::Overrun => "overrun",
        }
    }
}

impl Misuse {
    pub(crate) fn add(&mut self, problem: Problem, times: u32) {
        let count = self.0.entry(problem).or_default();
        *count = count.saturating_add(times);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (problem, times) in other.0 {
            self.add(problem, times);
        }
    }

    /// By name.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.0
            .iter()
            .map(|(problem, times)| (problem.as_str(), *times))
    }
}

/// An event as an app said it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) event: Event,
    /// Where it happened, if the event says so itself.
    pub(crate) page: Option<Page>,
    /// How far a scroll went.
    pub(crate) percent: Option<u32>,
}

/// Reads an event. What is mended is counted in `misuse`.
pub(crate) fn event(json: &str, misuse: &mut Misuse) -> Result<Said, Reason> {
    if json.len() > MAX_JSON_BYTES {
        return Err(Reason::TooLarge);
    }
    let Ok(Json::Object(mut said)) = serde_json::from_str(json) else {
        return Err(Reason::Malformed);
    };
    let event_type = match said.get("type") {
        None => EventType::Custom,
        Some(name) => name
            .as_str()
            .and_then(EventType::from_name)
            .ok_or(Reason::InvalidType)?,
    };
    if matches!(event_type, EventType::Engagement | EventType::Identify) {
        return Err(Reason::InvalidType); // the core makes these
    }
    let mut event = Event::new(event_type);
    event.name = name(text(&mut said, "name")?, misuse);
    if event_type == EventType::Custom && event.name.trim().is_empty() {
        return Err(Reason::InvalidName);
    }
    event.passive = match said.remove("interactive") {
        None => false,
        Some(Json::Bool(interactive)) => !interactive,
        Some(_) => return Err(Reason::Malformed),
    };
    let page = Page {
        url: cut(text(&mut said, "url")?, MAX_URL_BYTES, misuse),
        referrer: cut(text(&mut said, "referrer")?, MAX_URL_BYTES, misuse),
        title: cut(text(&mut said, "title")?, MAX_URL_BYTES, misuse),
    };
    event.order = match said.remove("order") {
        None => None,
        Some(said) => Some(order(said)?),
    };
    event.exposure = match said.remove("exposure") {
        None => None,
        Some(Json::Object(mut said)) => Some(Exposure {
            experiment: name(text(&mut said, "experiment")?, misuse),
            variant: name(text(&mut said, "variant")?, misuse),
        }),
        Some(_) => return Err(Reason::Malformed),
    };
    event.properties = match said.remove("properties") {
        None => Vec::new(),
        Some(Json::Object(said)) => properties(said, MAX_TEXTS, misuse),
        Some(_) => return Err(Reason::Malformed),
    };
    said.remove("type");
    if !said.is_empty() {
        return Err(Reason::Malformed); // misspelt
    }
    complete(&event, &page)?;
    let percent = event
        .properties
        .iter()
        .find_map(|(name, value)| match value {
            Value::Integer(percent) if name == "percent" => Some((*percent).clamp(0, 100) as u32),
            Value::Number(percent) if name == "percent" => Some(percent.clamp(0.0, 100.0) as u32),
            _ => None,
        });
    Ok(Said {
        percent: percent.filter(|_| event_type == EventType::Scroll),
        page: (page != Page::default()).then_some(page),
        event,
    })
}

/// Refuses an event without what its type needs, as a collector would.
fn complete(event: &Event, page: &Page) -> Result<(), Reason> {
    let missing = match event.event_type {
        EventType::Order if event.order.is_none() => Reason::Malformed,
        EventType::Exposure if event.exposure.is_none() => Reason::Malformed,
        EventType::PageView if !page.url.contains("://") => Reason::InvalidUrl,
        EventType::ScreenView if page.url.trim().is_empty() && event.name.trim().is_empty() => {
            Reason::InvalidName
        }
        _ => return Ok(()),
    };
    Err(missing)
}

/// Reads properties. What can't be kept is left out.
pub(crate) fn properties(
    said: Map<String, Json>,
    max_texts: usize,
    misuse: &mut Misuse,
) -> Vec<(String, Value)> {
    let mut properties = Vec::with_capacity(said.len().min(MAX_PROPERTIES));
    let mut left = max_texts;
    for (key, value) in said {
        if properties.len() == MAX_PROPERTIES {
            misuse.add(Problem::TooManyProperties, 1);
            break;
        }
        let key = name(key, misuse);
        if key.is_empty() {
            misuse.add(Problem::NameMended, 1);
            continue;
        }
        if key.len() > left {
            misuse.add(Problem::TooManyProperties, 1);
            break;
        }
        let value = match value {
            Json::String(text) => {
                let room = left.saturating_sub(key.len()).min(MAX_TEXT_BYTES);
                Some(Value::Text(cut(text, room, misuse)))
            }
            Json::Bool(flag) => Some(Value::Flag(flag)),
            Json::Number(number) => number.as_i64().map(Value::Integer).or_else(|| {
                let number = number.as_f64().filter(|number| number.is_finite());
                number.map(Value::Number)
            }),
            Json::Object(object) => timestamp(&object),
            Json::Null | Json::Array(_) => None,
        };
        let Some(value) = value else {
            misuse.add(Problem::ValueLeftOut, 1);
            continue;
        };
        let text = match &value {
            Value::Text(text) => text.len(),
            _ => 0,
        };
        left = left.saturating_sub(key.len() + text);
        properties.push((key, value));
    }
    properties
}

fn timestamp(object: &Map<String, Json>) -> Option<Value> {
    let ms = object.get("timestamp")?.as_i64()?;
    let fine = object.len() == 1 && (-MAX_TIMESTAMP_MS..=MAX_TIMESTAMP_MS).contains(&ms);
    fine.then_some(Value::Timestamp(ms))
}

/// Money is not mended: a wrong amount is worse than none.
fn order(said: Json) -> Result<Order, Reason> {
    let Json::Object(mut said) = said else {
        return Err(Reason::Malformed);
    };
    let items = match said.remove("items") {
        None => Vec::new(),
        Some(Json::Array(items)) => items,
        Some(_) => return Err(Reason::Malformed),
    };
    let order = Order {
        id: text(&mut said, "id")?,
        currency: text(&mut said, "currency")?,
        value: money(said.remove("value"))?,
        items: items.into_iter().map(item).collect::<Result<_, _>>()?,
    };
    let currency =
        order.currency.len() == 3 && order.currency.bytes().all(|b| b.is_ascii_uppercase());
    if !currency {
        return Err(Reason::InvalidMoney);
    }
    if order.items.len() > MAX_ITEMS || order.id.len() > MAX_NAME_BYTES {
        return Err(Reason::TooLarge);
    }
    said.is_empty().then_some(order).ok_or(Reason::Malformed)
}

fn item(said: Json) -> Result<Item, Reason> {
    let Json::Object(mut said) = said else {
        return Err(Reason::Malformed);
    };
    let quantity = match said.remove("quantity") {
        None => 1,
        Some(quantity) => quantity
            .as_u64()
            .and_then(|quantity| u32::try_from(quantity).ok())
            .ok_or(Reason::InvalidMoney)?,
    };
    let mut cuts = Misuse::default();
    let item = Item {
        sku: cut(text(&mut said, "sku")?, MAX_NAME_BYTES, &mut cuts),
        name: cut(text(&mut said, "name")?, MAX_NAME_BYTES, &mut cuts),
        price: money(said.remove("price"))?,
        quantity,
    };
    said.is_empty().then_some(item).ok_or(Reason::Malformed)
}

/// Minor units.
fn money(said: Option<Json>) -> Result<i64, Reason> {
    let minor = match said {
        None => Some(0),
        Some(minor) => minor.as_i64(),
    };
    minor
        .filter(|minor| (-MAX_MONEY_MINOR..=MAX_MONEY_MINOR).contains(minor))
        .ok_or(Reason::InvalidMoney)
}

/// A text, or an empty one.
fn text(said: &mut Map<String, Json>, key: &str) -> Result<String, Reason> {
    match said.remove(key) {
        None => Ok(String::new()),
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(Reason::Malformed),
    }
}

/// A name without control characters, cut.
pub(crate) fn name(mut name: String, misuse: &mut Misuse) -> String {
    if name.contains(char::is_control) {
        name = name.replace(char::is_control, " ");
        misuse.add(Problem::NameMended, 1);
    }
    cut(name, MAX_NAME_BYTES, misuse)
}

/// The end of the last whole character within `max` bytes.
pub(crate) fn boundary(text: &str, max: usize) -> usize {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// `text`, cut to at most `max` bytes between characters.
pub(crate) fn cut(mut text: String, max: usize, misuse: &mut Misuse) -> String {
    if text.len() > max {
        text.truncate(boundary(&text, max));
        misuse.add(Problem::TextCut, 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use wakeline_client::{EventId, Person, Stored};

    use super::*;

    fn read(json: &Json) -> (Result<Said, Reason>, Vec<(&'static str, u32)>) {
        let mut misuse = Misuse::default();
        let said = event(&json.to_string(), &mut misuse);
        let counts = misuse.counts().collect();
        (said, counts)
    }

    fn stored(said: Said) -> Stored {
        Stored {
            id: EventId { stream: 1, seq: 0 },
            predecessor: None,
            event: said.event,
            page: said.page.map(std::sync::Arc::new),
            person: std::sync::Arc::new(Person::default()),
            device: std::sync::Arc::default(),
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_said() {
        let (said, misuse) = read(&json!({
            "type": "custom", "name": "tap 🫖", "interactive": false, "url": "Cart",
            "properties": {"a": "x", "b": 1, "c": 1.5, "d": true, "e": {"timestamp": 5}},
        }));
        let said = said.unwrap();
        assert_eq!(misuse, []);
        let expected = Event::custom("tap 🫖")
            .with("a", "x")
            .with("b", 1)
            .with("c", 1.5)
            .with("d", true);
        let mut expected = expected.with("e", Value::Timestamp(5));
        expected.passive = true;
        assert_eq!(said.event, expected);
        assert_eq!(said.page.unwrap().url, "Cart");
    }

    #[test]
    fn slips_cost_a_property_not_the_event() {
        let many: Map<String, Json> = (0..10_000).map(|n| (format!("p{n}"), json!(n))).collect();
        for (properties, kept, counted) in [
            (json!({"nan": null, "fine": 1}), 1, "value_left_out"),
            (
                json!({"list": [1], "object": {"a": 1}, "fine": 1}),
                1,
                "value_left_out",
            ),
            (json!({"": 1, "fine": 1}), 1, "name_mended"),
            (json!({"a\u{0}b": 1}), 1, "name_mended"),
            (json!({"long": "ä".repeat(100_000)}), 1, "text_cut"),
            (json!({"x".repeat(200): 1}), 1, "text_cut"),
            (Json::Object(many), 128, "too_many_properties"),
        ] {
            let (said, misuse) = read(&json!({"name": "n", "properties": properties}));
            let said = said.unwrap();
            assert_eq!(said.event.properties.len(), kept, "{counted}");
            assert!(
                misuse.iter().any(|(problem, _)| *problem == counted),
                "{counted}: {misuse:?}"
            );
            assert_eq!(stored(said).check(), Ok(()), "{counted}");
        }
    }

    #[test]
    fn a_text_with_a_null_character_is_kept_whole() {
        let (said, misuse) = read(&json!({"name": "n", "properties": {"a": "x\u{0}y"}}));
        assert_eq!(
            said.unwrap().event.properties,
            [("a".to_owned(), Value::from("x\u{0}y"))]
        );
        assert_eq!(misuse, []);
    }

    #[test]
    fn what_can_not_be_mended_is_refused_with_its_reason() {
        for (said, reason) in [
            (json!([]), Reason::Malformed),
            (json!({"name": 7}), Reason::Malformed),
            (json!({"name": "n", "propertys": {}}), Reason::Malformed),
            (json!({}), Reason::InvalidName),
            (json!({"type": "jump"}), Reason::InvalidType),
            (json!({"type": "engagement"}), Reason::InvalidType),
            (
                json!({"type": "order", "order": {"id": "1", "currency": "eur", "value": 1}}),
                Reason::InvalidMoney,
            ),
            (
                json!({"type": "order", "order": {"id": "1", "currency": "EUR", "value": 1.5}}),
                Reason::InvalidMoney,
            ),
            (
                json!({"type": "order", "order": {"id": "1", "currency": "EUR", "value": null}}),
                Reason::InvalidMoney,
            ),
            (
                json!({"type": "order", "order": {"id": "1", "currency": "EUR", "items": [{"quantity": -1}]}}),
                Reason::InvalidMoney,
            ),
            (
                json!({"name": "x".repeat(MAX_JSON_BYTES)}),
                Reason::TooLarge,
            ),
        ] {
            assert_eq!(read(&said).0.err(), Some(reason));
        }
        assert_eq!(
            event(
                r#"{"name":"n","properties":{"a":NaN}}"#,
                &mut Misuse::default()
            ),
            Err(Reason::Malformed)
        );
    }

    #[test]
    fn a_scroll_says_how_far_it_went() {
        let (said, _) = read(&json!({"type": "scroll", "properties": {"percent": 180}}));
        assert_eq!(said.unwrap().percent, Some(100));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,300}".prop_map(Json::from),
        ];
        leaf.prop_recursive(2, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(".{0,200}", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_taken_a_collector_takes(
            name in ".{0,200}",
            kind in prop::sample::select(vec!["custom", "screen_view", "scroll", "click", "order"]),
            url in ".{0,40}",
            properties in prop::collection::btree_map(".{0,200}", any_json(), 0..200),
        ) {
            let properties: Map<String, Json> = properties.into_iter().collect();
            let (said, _) = read(&json!({"type": kind, "name": name, "url": url, "properties": properties}));
            if let Ok(said) = said {
                prop_assert_eq!(stored(said).check(), Ok(()));
            } else {
                let nameless = name.trim().is_empty();
                prop_assert!(kind == "order" || nameless && (kind == "custom" || kind == "screen_view"));
            }
        }

        #[test]
        fn arbitrary_texts_are_read_or_refused(text in ".{0,200}") {
            let _ = event(&text, &mut Misuse::default());
        }
    }
}
