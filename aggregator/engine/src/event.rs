//! What the engine takes in.

use xxhash_rust::xxh3::xxh3_64;

/// An event's identity, unique among the events of its visitor.
///
/// Events of one millisecond are in the order of their ids: those of a stream as they happened, those of an edge as it
/// took them. It is the same in every copy of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// Given by an SDK: a page load or process, and a number in it that counts from 0.
    Stream {
        /// 64 random bits.
        stream: u64,
        /// Counts from 0.
        seq: u64,
    },
    /// Fingerprint of an id that another client gave.
    Client(u64),
    /// The place in an edge's spool, for clients that give no id. Always new here: copies of a place are skipped
    /// before they reach the engine.
    Position {
        /// The edge.
        edge: u64,
        /// The place in its spool.
        position: u64,
    },
}

/// What an event does to its visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A page or screen was shown.
    Pageview,
    /// The visitor did something: the visit is no bounce.
    Interactive,
    /// It happened without the visitor's doing. Passive events alone are no visit.
    Passive,
    /// Passive, and not among `events`: only tells how long a page was attended to.
    Engagement,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// ISO 4217, upper case.
    pub currency: [u8; 3],
    /// In minor units; negative for a refund.
    pub minor: i64,
}

/// Where a visitor came from, and with what. A visit has that of its first event.
///
/// Texts stand as their [`text_id`], 0 for none. The values of closed lists are small codes; 0 is the one for unknown,
/// of channels the one for direct. What the codes mean is the business of whoever gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Context {
    /// [`text_id`] of the site, or whatever else it is, that referred the visitor.
    pub source: u64,
    /// [`text_id`] of that parameter.
    pub utm_medium: u64,
    /// [`text_id`] of that parameter.
    pub utm_source: u64,
    /// [`text_id`] of that parameter.
    pub utm_campaign: u64,
    /// [`text_id`] of that parameter.
    pub utm_content: u64,
    /// [`text_id`] of that parameter.
    pub utm_term: u64,
    /// [`country_code`] of the country.
    pub country: u16,
    /// Code of the channel.
    pub channel: u8,
    /// Code of the class of device.
    pub device: u8,
    /// Code of the browser.
    pub browser: u8,
    /// Code of the operating system.
    pub os: u8,
}

/// An event of a visitor, as far as numbers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Events of equal ids are one event; the first copy applied counts.
    pub id: Id,
    /// Corrected time, in ms since 1970-01-01 UTC.
    pub time_ms: i64,
    /// Append stamp of the log record that it came in, in ms since 1970-01-01 UTC: decides whether it is late.
    pub stamp_ms: i64,
    /// What it does to its visit.
    pub kind: Kind,
    /// [`text_id`] of the page it happened on.
    pub page: Option<u64>,
    /// [`text_id`] of what it is called in reports; `None` for what reports do not list, as engagement.
    pub name: Option<u64>,
    /// Attention since the last such report, in ms.
    pub engagement_ms: u32,
    /// Value of the order that it reports.
    pub order: Option<Money>,
    /// Where the visitor was, and came from, when it happened.
    pub context: Context,
}

/// The number by which a text is counted, be it a page, a source, a parameter or a name: its XXH3-64. 0 is the empty
/// text, and no other.
pub fn text_id(text: &str) -> u64 {
    if text.is_empty() {
        0
    } else {
        xxh3_64(text.as_bytes()).max(1)
    }
}

/// The number by which a country is counted: its two letters of ISO 3166-1, as bytes. 0 for what is no such code.
pub fn country_code(country: &str) -> u16 {
    match country.as_bytes() {
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => u16::from_be_bytes([*a, *b]),
        _ => 0,
    }
}

/// The two letters of a [`country_code`]; empty for 0 and for what is none.
pub fn country(code: u16) -> String {
    let letters = code.to_be_bytes();
    if letters.iter().all(u8::is_ascii_uppercase) {
        letters.map(char::from).iter().collect()
    } else {
        String::new()
    }
}
