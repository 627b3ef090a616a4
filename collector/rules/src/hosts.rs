//! Hosts and origins that pages may be of, compared as browsers compare them: in lower case and punycode, without a dot at
//! the end and without the port that a scheme has anyway.

use url::Url;

use crate::place::hostname;

/// Hosts that a site names.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

/// An origin that a site names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `null`, which pages without one say.
    None,
    /// `SCHEME://HOST:PORT`.
    Of {
        scheme: String,
        host: String,
        /// All hosts below it are meant, and not itself.
        below: bool,
        port: Option<u16>,
    },
}

/// What stands before a host whose lower ones are meant.
const BELOW: &str = "*.";

impl Hosts {
    /// What is no host names none.
    pub(crate) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().filter_map(|host| normal(host)).collect())
    }

    /// Whether none are named, so that any will do.
    pub(crate) fn are_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `text` is named as it is.
    pub(crate) fn name(&self, text: &str) -> bool {
        self.0.iter().any(|host| host == text)
    }

    /// Whether `host` is one of them, or the site's `own`. One that is named without a port is meant with any.
    pub(crate) fn allow(&self, host: &str, own: &str) -> bool {
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
            _ => host,
        };
        let is = |named: &String| match named.strip_prefix(BELOW) {
            Some(above) => is_below(bare, above) || is_below(host, above),
            None => bare == named || host == named,
        };
        self.are_any() || bare == own || self.0.iter().any(is)
    }
}

impl Origin {
    /// What is no origin names none.
    pub(crate) fn all(origins: &[String]) -> Vec<Self> {
        origins
            .iter()
            .filter_map(|text| Self::parse(text))
            .collect()
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::None);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, below) = match rest.strip_prefix(BELOW) {
            Some(above) => (above, true),
            None => (rest, false),
        };
        let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
        let bare = matches!(url.path(), "" | "/")
            && url.username().is_empty()
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        (bare && !host.is_empty() && !host.contains('*')).then(|| Self::Of {
            scheme: url.scheme().to_owned(),
            host,
            below,
            port: url.port(),
        })
    }

    /// Whether a browser means it by `origin`.
    pub(crate) fn is(&self, origin: &str) -> bool {
        let (
            Self::Of {
                scheme,
                host,
                below,
                port,
            },
            Some(Self::Of {
                scheme: of,
                host: at,
                below: false,
                port: by,
            }),
        ) = (self, Self::parse(origin))
        else {
            return *self == Self::None && origin == "null";
        };
        *scheme == of
            && *port == by
            && if *below {
                is_below(&at, host)
            } else {
                *host == at
            }
    }
}

fn is_below(host: &str, above: &str) -> bool {
    host.strip_suffix(above)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// The host of an origin, with its port unless that is usual; `None` if it has none.
pub(crate) fn of_origin(origin: &str) -> Option<String> {
    hostname(&Url::parse(origin).ok()?)
}

/// A host, or `*.` and one, as it is compared; `None` if it is neither.
fn normal(text: &str) -> Option<String> {
    let (bare, prefix) = match text.strip_prefix(BELOW) {
        Some(bare) => (bare, BELOW),
        None => (text, ""),
    };
    if bare.contains(['*', '/', '@', '?', '#']) || bare.contains(char::is_whitespace) {
        return None;
    }
    let url = Url::parse(&format!("https://{bare}/")).ok()?;
    Some(format!("{prefix}{}", hostname(&url)?))
}

/// Whether a site may name it among its hosts: `shop.example`, `shop.example:8443`, `*.shop.example`.
pub fn is_host(text: &str) -> bool {
    normal(text).is_some()
}

/// Whether a site may name it among its origins: `https://shop.example`, `https://*.shop.example:8443`, `null`.
pub fn is_origin(text: &str) -> bool {
    Origin::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_hosts_and_origins_can_be_named() {
        for good in [
            "a.example",
            "*.a.example",
            "a.example:8080",
            "[::1]:80",
            "bücher.example",
            "null",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "a.*",
            "https://a.example",
            "a b",
            "a@b",
            "a.example:x",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
        for good in [
            "https://a.example",
            "http://*.a.example:81",
            "null",
            "capacitor://localhost",
            "https://a.example/",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://a.example/p",
            "https://u@a.example",
            "https://a.*",
            "*",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_origin_panics_and_only_those_below_are_below(origin in "(https?://)?\\PC{0,20}", label in "[a-z]{1,8}") {
            let below = Origin::parse("https://*.shop.example").unwrap();
            let _ = below.is(&origin);
            let (found, other) = (format!("https://{label}.shop.example"), format!("https://{label}shop.example"));
            prop_assert!(below.is(&found) && !below.is(&other));
        }
    }
}
