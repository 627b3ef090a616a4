//! What an answer can be broken down, or filtered, by beside time.

use std::{borrow::Cow, fmt};

use wakeline_engine::Dimension as RollupDimension;

/// Characters of the name of a property of events.
const MAX_PROPERTY_NAME: usize = 300;
/// What stands for no value.
pub(crate) const NOT_SET: &str = "(not set)";
const PROPERTY_PREFIX: &str = "event:props:";

/// A dimension of questions that is no time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// The path of the page that an event happened on.
    Page,
    /// What an event is called.
    Name,
    /// The goals that an event reaches.
    Goal,
    /// The host of the page that an event happened on.
    Hostname,
    /// A property that an event was sent with, by its name.
    Custom(String),
    /// Something that every visit has one value of.
    Visit(VisitProperty),
}

/// Something that every visit has one value of: where it entered and left, and what its first event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is what its name in the table says")]
pub enum VisitProperty {
    EntryPage,
    ExitPage,
    EntryHostname,
    ExitHostname,
    Source,
    Referrer,
    Channel,
    UtmMedium,
    UtmSource,
    UtmCampaign,
    UtmContent,
    UtmTerm,
    Device,
    Browser,
    BrowserVersion,
    Os,
    OsVersion,
    Country,
    CountryName,
    Region,
    RegionName,
    City,
    CityName,
}

use VisitProperty as V;

/// Every property of visits under the name it has in questions.
pub(crate) const VISIT_PROPERTIES: [(&str, VisitProperty); 23] = [
    ("visit:entry_page", V::EntryPage),
    ("visit:exit_page", V::ExitPage),
    ("visit:entry_page_hostname", V::EntryHostname),
    ("visit:exit_page_hostname", V::ExitHostname),
    ("visit:source", V::Source),
    ("visit:referrer", V::Referrer),
    ("visit:channel", V::Channel),
    ("visit:utm_medium", V::UtmMedium),
    ("visit:utm_source", V::UtmSource),
    ("visit:utm_campaign", V::UtmCampaign),
    ("visit:utm_content", V::UtmContent),
    ("visit:utm_term", V::UtmTerm),
    ("visit:device", V::Device),
    ("visit:browser", V::Browser),
    ("visit:browser_version", V::BrowserVersion),
    ("visit:os", V::Os),
    ("visit:os_version", V::OsVersion),
    ("visit:country", V::Country),
    ("visit:country_name", V::CountryName),
    ("visit:region", V::Region),
    ("visit:region_name", V::RegionName),
    ("visit:city", V::City),
    ("visit:city_name", V::CityName),
];

const EVENT_PROPERTIES: [(&str, Property); 4] = [
    ("event:page", Property::Page),
    ("event:name", Property::Name),
    ("event:goal", Property::Goal),
    ("event:hostname", Property::Hostname),
];

/// A text that every event comes with, for whoever reads events to fill in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Path of the page.
    Page,
    /// What the event is called in reports; empty for engagement.
    Name,
    /// Host of the page.
    Hostname,
    /// The value of the event's property of that name, as text; empty without one.
    Custom(String),
    /// Name of what referred the visitor.
    Source,
    /// Address of what referred the visitor.
    Referrer,
    /// Name of the channel.
    Channel,
    /// That parameter.
    UtmMedium,
    /// That parameter.
    UtmSource,
    /// That parameter.
    UtmCampaign,
    /// That parameter.
    UtmContent,
    /// That parameter.
    UtmTerm,
    /// Name of the class of device.
    Device,
    /// Name of the browser.
    Browser,
    /// Its version.
    BrowserVersion,
    /// Name of the operating system.
    Os,
    /// Its version.
    OsVersion,
    /// ISO 3166-1 alpha-2.
    Country,
    /// ISO 3166-2.
    Region,
    /// English name.
    City,
}

/// Of which event of a visit a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Each event has its own.
    Event,
    /// The first event's.
    First,
    /// The first pageview's that told its page.
    Entry,
    /// The last pageview's that told its page.
    Exit,
}

impl Property {
    /// The property of that name.
    pub fn find(name: &str) -> Option<Self> {
        if let Some(custom) = name.strip_prefix(PROPERTY_PREFIX) {
            let fits = (1..=MAX_PROPERTY_NAME).contains(&custom.chars().count());
            return fits.then(|| Self::Custom(custom.to_owned()));
        }
        let of_events = EVENT_PROPERTIES.iter().find(|(known, _)| *known == name);
        let of_visits = || VISIT_PROPERTIES.iter().find(|(known, _)| *known == name);
        of_events
            .map(|(_, found)| found.clone())
            .or_else(|| of_visits().map(|(_, found)| Self::Visit(*found)))
    }

    /// Whether every visit has one value of it.
    pub fn is_of_visits(&self) -> bool {
        matches!(self, Self::Visit(_))
    }

    /// Whether it is where a visit ended.
    pub(crate) fn is_of_exits(&self) -> bool {
        matches!(self, Self::Visit(V::ExitPage | V::ExitHostname))
    }

    /// The text it is made of, and of which event. Goals are made of several.
    pub(crate) fn field(&self) -> Option<(Field, Of)> {
        Some(match self {
            Self::Goal => return None,
            Self::Page => (Field::Page, Of::Event),
            Self::Name => (Field::Name, Of::Event),
            Self::Hostname => (Field::Hostname, Of::Event),
            Self::Custom(name) => (Field::Custom(name.clone()), Of::Event),
            Self::Visit(property) => match property {
                V::EntryPage => (Field::Page, Of::Entry),
                V::ExitPage => (Field::Page, Of::Exit),
                V::EntryHostname => (Field::Hostname, Of::Entry),
                V::ExitHostname => (Field::Hostname, Of::Exit),
                V::Source => (Field::Source, Of::First),
                V::Referrer => (Field::Referrer, Of::First),
                V::Channel => (Field::Channel, Of::First),
                V::UtmMedium => (Field::UtmMedium, Of::First),
                V::UtmSource => (Field::UtmSource, Of::First),
                V::UtmCampaign => (Field::UtmCampaign, Of::First),
                V::UtmContent => (Field::UtmContent, Of::First),
                V::UtmTerm => (Field::UtmTerm, Of::First),
                V::Device => (Field::Device, Of::First),
                V::Browser => (Field::Browser, Of::First),
                V::BrowserVersion => (Field::BrowserVersion, Of::First),
                V::Os => (Field::Os, Of::First),
                V::OsVersion => (Field::OsVersion, Of::First),
                V::Country | V::CountryName => (Field::Country, Of::First),
                V::Region | V::RegionName => (Field::Region, Of::First),
                V::City | V::CityName => (Field::City, Of::First),
            },
        })
    }

    /// The rows that are broken down by it. Goals are names as long as no others are configured.
    pub fn rollup(&self) -> Option<RollupDimension> {
        Some(match self {
            Self::Page => RollupDimension::Page,
            Self::Name | Self::Goal => RollupDimension::EventName,
            Self::Visit(V::EntryPage) => RollupDimension::EntryPage,
            Self::Visit(V::ExitPage) => RollupDimension::ExitPage,
            Self::Visit(V::Source) => RollupDimension::Source,
            Self::Visit(V::Channel) => RollupDimension::Channel,
            Self::Visit(V::UtmMedium) => RollupDimension::UtmMedium,
            Self::Visit(V::UtmSource) => RollupDimension::UtmSource,
            Self::Visit(V::UtmCampaign) => RollupDimension::UtmCampaign,
            Self::Visit(V::UtmContent) => RollupDimension::UtmContent,
            Self::Visit(V::UtmTerm) => RollupDimension::UtmTerm,
            Self::Visit(V::Country) => RollupDimension::Country,
            Self::Visit(V::Device) => RollupDimension::Device,
            Self::Visit(V::Browser) => RollupDimension::Browser,
            Self::Visit(V::Os) => RollupDimension::Os,
            _ => return None,
        })
    }

    /// What answers and filters call a value.
    pub(crate) fn label<'a>(&self, value: &'a str) -> Cow<'a, str> {
        if value.is_empty() {
            return Cow::Borrowed(match self {
                Self::Visit(V::Source | V::Referrer) => "Direct / None",
                Self::Custom(_) => "(none)",
                _ => NOT_SET,
            });
        }
        match self {
            Self::Visit(V::CountryName) => {
                Cow::Borrowed(crate::countries::name(value).unwrap_or(value))
            }
            _ => Cow::Borrowed(value),
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Custom(name) = self {
            return write!(f, "{PROPERTY_PREFIX}{name}");
        }
        let of_events = EVENT_PROPERTIES.iter().find(|(_, known)| known == self);
        let of_visits = || {
            let mut all = VISIT_PROPERTIES.iter();
            all.find(|(_, known)| matches!(self, Self::Visit(this) if this == known))
        };
        let name = of_events
            .map(|(name, _)| *name)
            .or_else(|| of_visits().map(|(name, _)| *name));
        f.write_str(name.unwrap_or_default())
    }
}

/// The names of all properties, for messages.
pub(crate) fn names() -> String {
    let of_events = EVENT_PROPERTIES.iter().map(|(name, _)| *name);
    let of_visits = VISIT_PROPERTIES.iter().map(|(name, _)| *name);
    let all: Vec<&str> = of_events
        .chain(["event:props:NAME"])
        .chain(of_visits)
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{EVENT_PROPERTIES, Property, VISIT_PROPERTIES};

    #[test]
    fn every_name_is_found_and_printed_as_it_is() {
        let names = EVENT_PROPERTIES.iter().map(|(name, _)| *name);
        let names = names.chain(VISIT_PROPERTIES.iter().map(|(name, _)| *name));
        for name in names.chain(["event:props:plan", "event:props:a:b c"]) {
            assert_eq!(Property::find(name).unwrap().to_string(), name);
        }
        for none in ["", "time", "event:props:", "visit:page", "event:page "] {
            assert_eq!(Property::find(none), None, "{none}");
        }
    }
}
