//! Where an event happened: what is kept of a URL.
//!
//! Of a query only the parameters that say where a visit came from are kept; fragments, user names and passwords
//! never are.

use std::borrow::Cow;

use url::{Host, Url};
use wakeline_proto::{Reason, limits};

use crate::Refused;

/// Query parameters that are kept, besides all that begin with `utm_`.
const KEPT_PARAMETERS: [&str; 2] = ["ref", "source"];
/// Schemes of what is neither a web page nor a screen of an app.
const FOREIGN_SCHEMES: [&str; 8] = [
    "about",
    "blob",
    "data",
    "file",
    "javascript",
    "mailto",
    "tel",
    "view-source",
];

/// What is kept of a page's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Empty: not a web page.
    pub hostname: String,
    /// Of a link of an app: host and path; of a screen: its name.
    pub path: String,
    /// The parameters that may be kept, as they came.
    pub query: String,
}

/// What is kept of URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// Query parameters besides those that are always kept.
    pub parameters: Vec<String>,
    /// Take `/a/` as `/a`.
    pub trim_trailing_slash: bool,
    /// Take `/A` as `/a`.
    pub lower_case_paths: bool,
}

impl Cleaning {
    /// The path as it is kept.
    pub fn path(&self, path: &str) -> String {
        let trimmed = path.trim_end_matches('/');
        let path = if !self.trim_trailing_slash {
            path
        } else if trimmed.is_empty() {
            "/"
        } else {
            trimmed
        };
        if self.lower_case_paths {
            path.to_lowercase()
        } else {
            path.to_owned()
        }
    }
}

/// Splits a page's URL. What has no `scheme://` is the name of a screen.
pub fn split(text: &str, cleaning: &Cleaning) -> Result<Place, Refused> {
    if !text.contains("://") {
        let scheme = text
            .split(':')
            .next()
            .filter(|scheme| scheme.len() < text.len());
        if scheme.is_some_and(|scheme| {
            FOREIGN_SCHEMES
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        }) {
            return Err(invalid("the URL is not of a web page"));
        }
        return Ok(Place {
            path: text.to_owned(),
            ..Place::default()
        });
    }
    let url =
        Url::parse(text).map_err(|error| Refused::new(Reason::InvalidUrl, error.to_string()))?;
    if FOREIGN_SCHEMES.contains(&url.scheme()) {
        return Err(invalid("the URL is neither http(s) nor an app's"));
    }
    let host = hostname(&url).ok_or_else(|| invalid("the URL has no host"))?;
    let place = if is_web(&url) {
        Place {
            hostname: host,
            path: cleaning.path(url.path()),
            query: kept_query(&url, &cleaning.parameters),
        }
    } else {
        // An app's link: what looks like a host is the first part of the path.
        Place {
            hostname: String::new(),
            path: format!("/{host}{}", url.path()),
            query: kept_query(&url, &cleaning.parameters),
        }
    };
    if place.path.len() > limits::MAX_URL_BYTES {
        return Err(Refused::new(Reason::TooLarge, "the URL's path is too long"));
    }
    Ok(place)
}

/// A URL without user name and password, which are never kept.
pub fn without_userinfo(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Cow::Borrowed(url);
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://{}", &rest[at + 1..])),
        None => Cow::Borrowed(url),
    }
}

/// What is kept of a referrer; nothing of one that is not a URL.
pub fn scrub_referrer(text: &str) -> String {
    let Ok(url) = Url::parse(text) else {
        return String::new();
    };
    let (Some(host), false) = (hostname(&url), FOREIGN_SCHEMES.contains(&url.scheme())) else {
        return String::new();
    };
    let mut scrubbed = format!("{}://{host}{}", url.scheme(), url.path());
    let query = kept_query(&url, &[]);
    if !query.is_empty() {
        scrubbed.push('?');
        scrubbed.push_str(&query);
    }
    if scrubbed.len() > limits::MAX_URL_BYTES {
        return format!("{}://{host}/", url.scheme()); // it grew by percent signs
    }
    scrubbed
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Lower case; with its port, unless that is 80 or 443.
pub(crate) fn hostname(url: &Url) -> Option<String> {
    let host = match url.host()? {
        // Without its dots it may be an address: `191.5..` is `191.0.0.5`.
        Host::Domain(name) => match name.trim_end_matches('.') {
            "" => return None, // `https://./`
            bare if bare.len() < name.len() => Host::parse(bare).ok()?.to_string(),
            bare => bare.to_ascii_lowercase(),
        },
        ip => ip.to_string(),
    };
    Some(match url.port() {
        Some(port) if port != 80 && port != 443 => format!("{host}:{port}"),
        _ => host,
    })
}

fn kept_query(url: &Url, more: &[String]) -> String {
    let mut kept = String::new();
    for parameter in url.query().unwrap_or_default().split('&') {
        let name = parameter.split('=').next().unwrap_or_default();
        if name.starts_with("utm_")
            || KEPT_PARAMETERS.contains(&name)
            || more.iter().any(|kept| kept == name)
        {
            if !kept.is_empty() {
                kept.push('&');
            }
            kept.push_str(parameter);
        }
    }
    kept
}

fn invalid(detail: &'static str) -> Refused {
    Refused::new(Reason::InvalidUrl, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(url: &str, expected: Result<[&str; 3], Reason>) {
        let found = split(url, &Cleaning::default()).map_err(|refused| refused.reason);
        let found = found
            .as_ref()
            .map(|place| {
                [
                    place.hostname.as_str(),
                    place.path.as_str(),
                    place.query.as_str(),
                ]
            })
            .map_err(|reason| *reason);
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn web_pages_give_host_path_and_the_query_that_may_be_kept() {
        check("https://Shop.Example", Ok(["shop.example", "/", ""]));
        check(
            "http://shop.example:80/a/b?x=1",
            Ok(["shop.example", "/a/b", ""]),
        );
        check("http://shop.example:443/", Ok(["shop.example", "/", ""]));
        check(
            "http://shop.example:8080/",
            Ok(["shop.example:8080", "/", ""]),
        );
        check("http://[::1]:8080/x", Ok(["[::1]:8080", "/x", ""]));
        check("https://shop.example./x", Ok(["shop.example", "/x", ""]));
        check(
            "https://me:pw@shop.example/p?email=a@b.c&utm_source=x&gclid=1&ref=y&utm_campaign=z%20z#token=1",
            Ok([
                "shop.example",
                "/p",
                "utm_source=x&ref=y&utm_campaign=z%20z",
            ]),
        );
        check(
            "https://bücher.example/ü",
            Ok(["xn--bcher-kva.example", "/%C3%BC", ""]),
        );
    }

    #[test]
    fn a_url_loses_its_user_and_nothing_else() {
        for (url, kept) in [
            ("https://me:pw@shop.example/p", "https://shop.example/p"),
            ("https://jane@mail.example", "https://mail.example"),
            (
                "https://a@b@shop.example?x=c@d.example",
                "https://shop.example?x=c@d.example",
            ),
            (
                "https://shop.example/@jane@mail.example",
                "https://shop.example/@jane@mail.example",
            ),
            (
                "https://shop.example#a@b.example",
                "https://shop.example#a@b.example",
            ),
            ("Home: main", "Home: main"),
        ] {
            assert_eq!(without_userinfo(url), kept);
        }
    }

    #[test]
    fn links_and_screens_of_apps_have_a_path_only() {
        check(
            "shop://cart/items?ref=1&id=2",
            Ok(["", "/cart/items", "ref=1"]),
        );
        check("Home: main", Ok(["", "Home: main", ""]));
    }

    #[test]
    fn a_site_says_what_else_is_kept_of_its_urls() {
        let cleaning = Cleaning {
            parameters: vec!["q".to_owned()],
            trim_trailing_slash: true,
            lower_case_paths: true,
        };
        let place = split("https://shop.example/Find/?q=Mug&x=1", &cleaning).unwrap();
        assert_eq!(
            (place.path.as_str(), place.query.as_str()),
            ("/find", "q=Mug")
        );
        assert_eq!(split("https://shop.example/", &cleaning).unwrap().path, "/");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for url in [
            "about:blank",
            "javascript:alert(1)",
            "data:text/html,x",
            "blob:https://a.b/1",
            "file:///etc/passwd",
            "https://",
            "https://./",
            "http://a b/",
            "://",
        ] {
            check(url, Err(Reason::InvalidUrl));
        }
    }

    #[test]
    fn referrers_lose_what_may_be_private() {
        for (referrer, kept) in [
            (
                "https://me:pw@Search.example/find?q=shoes&user=1#x",
                "https://search.example/find",
            ),
            (
                "android-app://com.example.app/",
                "android-app://com.example.app/",
            ),
            ("not a url", ""),
            ("https://191.5.../r", "https://191.0.0.5/r"),
            ("about:blank", ""),
            ("", ""),
        ] {
            assert_eq!(scrub_referrer(referrer), kept, "{referrer}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_fragment_is_kept(text in "(https?://)?[a-z]{0,8}[/?#&=:@.%\\PC]{0,40}") {
            if let Ok(place) = split(&text, &Cleaning::default()) && !place.hostname.is_empty() {
                prop_assert!(!place.path.contains('#') && !place.query.contains('#'));
            }
            scrub_referrer(&text);
        }
    }
}
