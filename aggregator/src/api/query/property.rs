//! What an answer can be broken down, or filtered, by beside time.

use wakeline_engine::Dimension;

/// A dimension of questions that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Property {
    /// What questions call it.
    pub(super) name: &'static str,
    /// The rows that answer.
    pub(super) dimension: Dimension,
}

const fn property(name: &'static str, dimension: Dimension) -> Property {
    Property { name, dimension }
}

/// Every property. Goals are event names: each name is a goal.
pub(super) const PROPERTIES: [Property; 16] = [
    property("event:page", Dimension::Page),
    property("event:name", Dimension::EventName),
    property("event:goal", Dimension::EventName),
    property("visit:entry_page", Dimension::EntryPage),
    property("visit:exit_page", Dimension::ExitPage),
    property("visit:source", Dimension::Source),
    property("visit:channel", Dimension::Channel),
    property("visit:utm_medium", Dimension::UtmMedium),
    property("visit:utm_source", Dimension::UtmSource),
    property("visit:utm_campaign", Dimension::UtmCampaign),
    property("visit:utm_content", Dimension::UtmContent),
    property("visit:utm_term", Dimension::UtmTerm),
    property("visit:country", Dimension::Country),
    property("visit:device", Dimension::Device),
    property("visit:browser", Dimension::Browser),
    property("visit:os", Dimension::Os),
];

impl Property {
    pub(super) fn find(name: &str) -> Option<Self> {
        PROPERTIES.into_iter().find(|known| known.name == name)
    }

    /// Whether every visit has one value of it.
    pub(super) fn is_of_visits(self) -> bool {
        !matches!(self.dimension, Dimension::Page | Dimension::EventName)
    }

    /// What answers call a value.
    pub(super) fn label(self, value: String) -> String {
        match (value.is_empty(), self.dimension) {
            (true, Dimension::Source) => "Direct / None".to_owned(),
            (true, _) => "(not set)".to_owned(),
            (false, _) => value,
        }
    }
}

/// The names of all properties, for messages.
pub(super) fn names() -> String {
    PROPERTIES.map(|property| property.name).join(", ")
}

/// Why an answer can't be about both.
pub(super) fn one_only(one: Property, other: Property) -> String {
    format!(
        "{} and {} can't be combined: an answer is about one dimension, alone or with a time dimension of days or \
         longer, and filtered by the same",
        one.name, other.name
    )
}
