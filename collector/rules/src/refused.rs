//! Why an event is refused.

use std::borrow::Cow;

use wakeline_proto::Reason;

use crate::redact::Redactions;

/// Why one event is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub reason: Reason,
    /// For people, in English.
    pub detail: Cow<'static, str>,
}

/// Longest detail, in characters: it may quote what the client sent.
const MAX_DETAIL_CHARS: usize = 200;

impl Refused {
    /// Too long a detail is cut.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL_CHARS && detail.chars().count() > MAX_DETAIL_CHARS {
            let mut cut: String = detail.chars().take(MAX_DETAIL_CHARS).collect();
            cut.push('…');
            detail = Cow::Owned(cut);
        }
        Self { reason, detail }
    }

    /// As it is kept: the detail may quote what a site wants to be taken out.
    #[must_use]
    pub fn redacted(&self, redactions: &Redactions) -> Self {
        let detail = match redactions.redact(&self.detail) {
            Cow::Owned(redacted) => Cow::Owned(redacted),
            Cow::Borrowed(_) => self.detail.clone(),
        };
        Self {
            reason: self.reason,
            detail,
        }
    }
}
