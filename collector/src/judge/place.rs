//! What is kept of URLs, remembering the last: the events of a batch mostly are of one page.

use wakeline_proto::v1;

use super::Refused;
use crate::enrich::source;
use crate::rules::place::{Cleaning, Place, scrub_referrer, split};
use crate::rules::spam;

/// The last of each.
#[derive(Debug, Default)]
pub(crate) struct Places {
    last_spam: Option<(String, bool)>,
    last_source: Option<(String, String, Option<v1::Acquisition>)>,
    last: Option<(String, Place)>,
    last_referrer: Option<(String, String)>,
}

impl Places {
    pub(crate) fn split(&mut self, url: &str, cleaning: &Cleaning) -> Result<Place, Refused> {
        if let Some((_, place)) = self.last.as_ref().filter(|(last, _)| last == url) {
            return Ok(place.clone());
        }
        let place = split(url, cleaning)?;
        self.last = Some((url.to_owned(), place.clone()));
        Ok(place)
    }

    pub(crate) fn is_spam(&mut self, referrer: &str) -> bool {
        if let Some((_, spam)) = self.last_spam.as_ref().filter(|(last, _)| last == referrer) {
            return *spam;
        }
        let spam = spam::is_spam(referrer);
        self.last_spam = Some((referrer.to_owned(), spam));
        spam
    }

    /// What brought a visitor to `url`, both as they came.
    pub(crate) fn acquisition(
        &mut self,
        url: &str,
        referrer: &str,
        site: &str,
    ) -> Option<v1::Acquisition> {
        let last = self.last_source.as_ref();
        if let Some((_, _, found)) = last.filter(|(page, from, _)| page == url && from == referrer)
        {
            return found.clone();
        }
        let found = source::acquisition(url, referrer, site);
        self.last_source = Some((url.to_owned(), referrer.to_owned(), found.clone()));
        found
    }

    pub(crate) fn scrub_referrer(&mut self, referrer: &str) -> String {
        if let Some((_, scrubbed)) = self
            .last_referrer
            .as_ref()
            .filter(|(last, _)| last == referrer)
        {
            return scrubbed.clone();
        }
        let scrubbed = scrub_referrer(referrer);
        self.last_referrer = Some((referrer.to_owned(), scrubbed.clone()));
        scrubbed
    }
}
