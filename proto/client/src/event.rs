use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use wakeline_proto::Reason;
use wakeline_proto::batch::{ExpandedEvent, ValueRef};
use wakeline_proto::v1::{Engagement, EventType, Exposure, Order};

/// What happened, as the caller says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `Unspecified`: see [`Event::refused`].
    pub event_type: EventType,
    /// Name of a custom event; of others optional.
    pub name: String,
    /// Names and typed values, in order.
    pub properties: Vec<(String, Value)>,
    /// A cart, checkout or order.
    pub order: Option<Order>,
    /// Attention.
    pub engagement: Option<Engagement>,
    /// An experiment's variant.
    pub exposure: Option<Exposure>,
    /// The person did nothing: the event does not end a bounce.
    pub passive: bool,
}

impl Event {
    /// An event of that type, with nothing else in it.
    pub fn new(event_type: EventType) -> Self {
        Self {
            event_type,
            name: String::new(),
            properties: Vec::new(),
            order: None,
            engagement: None,
            exposure: None,
            passive: false,
        }
    }

    /// In place of an event that was refused where it happened, so that servers count it: without a type, and with the
    /// reason as its name.
    pub fn refused(reason: Reason) -> Self {
        Self {
            name: reason.as_str().to_owned(),
            ..Self::new(EventType::Unspecified)
        }
    }

    /// A custom event.
    pub fn custom(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::new(EventType::Custom)
        }
    }

    /// A view of the current page.
    pub fn page_view() -> Self {
        Self::new(EventType::PageView)
    }

    /// A cart, checkout or order, by `event_type`.
    pub fn order(event_type: EventType, order: Order) -> Self {
        Self {
            order: Some(order),
            ..Self::new(event_type)
        }
    }

    /// Attention since the last engagement event of the page.
    pub fn engagement(engagement: Engagement) -> Self {
        Self {
            engagement: Some(engagement),
            ..Self::new(EventType::Engagement)
        }
    }

    /// The visitor was shown a variant.
    pub fn exposure(exposure: Exposure) -> Self {
        Self {
            exposure: Some(exposure),
            ..Self::new(EventType::Exposure)
        }
    }

    /// The same event with one more property.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }
}

/// A property's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any number but NaN and the infinities.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// Milliseconds since 1970-01-01 UTC, within ± 2^53.
    Timestamp(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Where events happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The URL of a web page, or the name of an app's screen.
    pub url: String,
    /// Empty: none.
    pub referrer: String,
    /// Empty: none.
    pub title: String,
}

impl From<&ExpandedEvent<'_>> for Event {
    fn from(event: &ExpandedEvent<'_>) -> Self {
        Self {
            event_type: event.event_type,
            name: event.name.to_owned(),
            properties: event
                .properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect(),
            order: event.order.cloned(),
            engagement: event.engagement.copied(),
            exposure: event.exposure.cloned(),
            passive: event.passive,
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Number(number) => Self::Number(number),
            ValueRef::Flag(flag) => Self::Flag(flag),
            ValueRef::Timestamp(ms) => Self::Timestamp(ms),
        }
    }
}
