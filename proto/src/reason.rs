/// Why an event was refused. A closed set: one reason each, shown in answers, in the ledger and as a metric label.
///
/// Changing a name is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// It can't be decoded: an index outside its table, a value of the wrong kind, an unknown key.
    Malformed,
    /// A text or list is over its limit in [`limits`](crate::limits).
    TooLarge,
    /// No visitor, or one over its limit.
    InvalidVisitor,
    /// No type, or one that is not known.
    InvalidType,
    /// A custom event without a name, or a name that is not allowed.
    InvalidName,
    /// The URL can't be parsed, or is not http(s) or an app's.
    InvalidUrl,
    /// A time that can't be read or is before 2000.
    InvalidTime,
    /// Older than 30 days.
    TooOld,
    /// An amount out of range, or a currency that is not three upper-case letters.
    InvalidMoney,
    /// A property of an unknown kind, NaN or infinite.
    InvalidProperty,
    /// Consent is denied or pending. Counted, not kept.
    NoConsent,
    /// The request's key is missing or nobody knows it. Counted by requests, at site 0; not kept.
    UnknownKey,
    /// The sender's software says that it is no person's.
    Bot,
    /// The referrer is known for made-up visits.
    Spam,
    /// The page is of a host that the site does not name. Or the whole request is of an origin or an app that may not send:
    /// counted by requests, not kept.
    ForeignHost,
    /// The site takes nothing of this path.
    BlockedPath,
    /// The site keeps a sample of its visitors, and this is none of them. Counted, not kept.
    NotSampled,
    /// The properties don't fit the site's schema of the event.
    SchemaMismatch,
    /// It would give the site more names of events or properties a day than a collector allows.
    TooManyNames,
    /// The whole request is over a limit of its site: counted by requests, of which each may come again. Or the event is
    /// more than was left of the site's day: counted by events. Not kept.
    RateLimited,
    /// The address is of a datacentre's network.
    Datacentre,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::TooLarge,
        Self::InvalidVisitor,
        Self::InvalidType,
        Self::InvalidName,
        Self::InvalidUrl,
        Self::InvalidTime,
        Self::TooOld,
        Self::InvalidMoney,
        Self::InvalidProperty,
        Self::NoConsent,
        Self::UnknownKey,
        Self::Bot,
        Self::Spam,
        Self::ForeignHost,
        Self::BlockedPath,
        Self::NotSampled,
        Self::SchemaMismatch,
        Self::TooManyNames,
        Self::RateLimited,
        Self::Datacentre,
    ];

    /// The name on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::InvalidVisitor => "invalid_visitor",
            Self::InvalidType => "invalid_type",
            Self::InvalidName => "invalid_name",
            Self::InvalidUrl => "invalid_url",
            Self::InvalidTime => "invalid_time",
            Self::TooOld => "too_old",
            Self::InvalidMoney => "invalid_money",
            Self::InvalidProperty => "invalid_property",
            Self::NoConsent => "no_consent",
            Self::UnknownKey => "unknown_key",
            Self::Bot => "bot",
            Self::Spam => "spam",
            Self::ForeignHost => "foreign_host",
            Self::BlockedPath => "blocked_path",
            Self::NotSampled => "not_sampled",
            Self::SchemaMismatch => "schema_mismatch",
            Self::TooManyNames => "too_many_names",
            Self::RateLimited => "rate_limited",
            Self::Datacentre => "datacentre",
        }
    }

    /// Whether an event that is refused for it is kept, as a dead letter; else it is only counted.
    pub const fn is_kept(self) -> bool {
        !matches!(
            self,
            Self::NoConsent | Self::UnknownKey | Self::NotSampled | Self::RateLimited
        )
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
    }
}
