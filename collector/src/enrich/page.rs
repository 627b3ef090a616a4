//! What is found out of a page and its referrer: place, source, spam. The events of a batch mostly are of one page, and popular
//! pages come again and again, so it is remembered.

use std::borrow::Cow;
use std::sync::Arc;

use quick_cache::sync::Cache;
use wakeline_proto::v1;

use super::{Fingerprints, source};
use crate::rules::place::{Place, scrub_referrer, split, without_userinfo};
use crate::rules::{Refused, SiteRules, spam};

/// Pages that are remembered. An entry takes some 500 bytes.
const MAX_PAGES: usize = 8_192;
/// Bytes of URL and referrer of a page that is remembered, so that whoever makes up long ones takes little memory.
const MAX_REMEMBERED_BYTES: usize = 512;

/// What is kept of a page's URL and referrer by the rules of a site, and what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// The referrer is known for made-up visits.
    pub(crate) is_spam: bool,
    /// What brought the visitor.
    pub(crate) acquisition: Option<v1::Acquisition>,
    /// What is kept of the referrer.
    pub(crate) referrer: String,
    /// What is kept of the URL; `None`: there is none.
    pub(crate) place: Option<Result<Place, Refused>>,
    /// The URL has a scheme and a host.
    pub(crate) is_absolute: bool,
}

impl Page {
    /// Reads `url` and `referrer` as a client sent them; nothing of one that is empty.
    pub(crate) fn read(url: &str, referrer: &str, rules: &SiteRules, tells_sources: bool) -> Self {
        let (url, referrer) = (&redacted(url, rules), &redacted(referrer, rules));
        let mut acquisition = (tells_sources && !url.is_empty())
            .then(|| source::acquisition(url, referrer, &rules.domain))
            .flatten();
        // Decoded, it may say what the URL did not.
        if let Some(found) = &mut acquisition {
            redact_acquisition(found, rules);
        }
        Self {
            is_spam: !referrer.is_empty() && spam::is_spam(referrer),
            acquisition,
            referrer: if referrer.is_empty() {
                String::new()
            } else {
                scrub_referrer(referrer)
            },
            place: (!url.is_empty()).then(|| split(url, &rules.cleaning)),
            is_absolute: url.contains("://"),
        }
    }
}

/// Without personal data, and without who signs in by the URL, which reads like an address that must not stand for the host.
fn redacted<'a>(url: &'a str, rules: &SiteRules) -> Cow<'a, str> {
    if rules.redactions.are_off() {
        return Cow::Borrowed(url);
    }
    let bare = without_userinfo(url);
    match rules.redactions.redact(&bare) {
        Cow::Owned(redacted) => Cow::Owned(redacted),
        Cow::Borrowed(_) => bare,
    }
}

/// Takes personal data out of what a link says of itself.
fn redact_acquisition(found: &mut v1::Acquisition, rules: &SiteRules) {
    for text in [
        &mut found.source,
        &mut found.utm_medium,
        &mut found.utm_source,
        &mut found.utm_campaign,
        &mut found.utm_content,
        &mut found.utm_term,
    ] {
        if let Cow::Owned(redacted) = rules.redactions.redact(text) {
            *text = redacted;
        }
    }
}

/// The pages of all requests. What was sent is not in it: pages are known by a number that is made of it.
#[derive(Debug)]
pub(super) struct Pages {
    known: Cache<u128, Arc<Page>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            known: Cache::new(MAX_PAGES),
        }
    }
}

impl Pages {
    pub(super) fn page(
        &self,
        fingerprints: &Fingerprints,
        (url, referrer): (&str, &str),
        rules: &SiteRules,
        tells_sources: bool,
    ) -> Arc<Page> {
        let read = || Arc::new(Page::read(url, referrer, rules, tells_sources));
        if url.len() + referrer.len() > MAX_REMEMBERED_BYTES {
            return read();
        }
        let rules = rules.fingerprint.to_le_bytes();
        let key = fingerprints.of([&rules, url.as_bytes(), referrer.as_bytes()]);
        if let Some(page) = self.known.get(&key) {
            return page;
        }
        let page = read();
        self.known.insert(key, Arc::clone(&page));
        page
    }
}

/// The page of the last event, which mostly is the next one's, too.
#[derive(Debug, Default)]
pub(crate) struct LastPage {
    url: String,
    referrer: String,
    page: Option<Arc<Page>>,
}

impl LastPage {
    /// Of this page, which `read` tells if it is another one than the last.
    pub(crate) fn or_else(
        &mut self,
        url: &str,
        referrer: &str,
        read: impl FnOnce() -> Arc<Page>,
    ) -> Arc<Page> {
        let last = self.page.as_ref();
        if let Some(page) = last.filter(|_| self.url == url && self.referrer == referrer) {
            return Arc::clone(page);
        }
        url.clone_into(&mut self.url);
        referrer.clone_into(&mut self.referrer);
        let page = read();
        self.page = Some(Arc::clone(&page));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://shop.example/a?utm_source=news";

    fn rules(site: v1::SiteRules) -> SiteRules {
        SiteRules::from(&v1::Site {
            domain: "shop.example".to_owned(),
            rules: Some(site),
            ..v1::Site::default()
        })
    }

    fn page(pages: &Pages, seed: &Fingerprints, url: &str, rules: &SiteRules) -> Arc<Page> {
        pages.page(seed, (url, "https://www.google.com/"), rules, true)
    }

    #[test]
    fn a_page_is_read_once_until_the_rules_of_its_site_change() {
        let (pages, seed) = (Pages::default(), Fingerprints::default());
        let usual = rules(v1::SiteRules::default());
        let first = page(&pages, &seed, URL, &usual);
        assert_eq!(first.acquisition.as_ref().unwrap().source, "news");
        let again = page(&pages, &seed, URL, &rules(v1::SiteRules::default()));
        assert!(Arc::ptr_eq(&first, &again), "equal rules");
        let upper = "https://shop.example/A";
        assert_eq!(path(&page(&pages, &seed, upper, &usual)), "/A");
        let lower = rules(v1::SiteRules {
            lower_case_paths: true,
            ..v1::SiteRules::default()
        });
        assert_eq!(path(&page(&pages, &seed, upper, &lower)), "/a");
    }

    fn path(page: &Page) -> &str {
        &page.place.as_ref().unwrap().as_ref().unwrap().path
    }

    #[test]
    fn url_and_referrer_are_told_apart_and_long_ones_are_not_remembered() {
        let (pages, seed) = (Pages::default(), Fingerprints::default());
        let usual = rules(v1::SiteRules::default());
        let page = |url: &str, referrer: &str| pages.page(&seed, (url, referrer), &usual, true);
        assert_ne!(page("ab", "c"), page("a", "bc"));
        let long = format!("https://shop.example/{}", "a".repeat(MAX_REMEMBERED_BYTES));
        assert!(!Arc::ptr_eq(&page(&long, ""), &page(&long, "")));
    }

    #[test]
    fn the_last_page_is_known_by_url_and_referrer() {
        let mut last = LastPage::default();
        let read = || Arc::<Page>::default();
        let first = last.or_else("a", "b", read);
        let again = last.or_else("a", "b", || unreachable!());
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &last.or_else("a", "c", read)));
    }
}
