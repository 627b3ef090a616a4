//! The visitor's address behind proxies.
//!
//! A header is believed only where the configuration names it, and of a list only what our own proxies appended: anybody
//! can write the rest.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

/// Which header the proxies in front write, and how many of them there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// In lower case; empty: none is believed.
    pub(crate) header: String,
    /// Proxies that append to the header: the address is so many entries from its end.
    pub(crate) hops: usize,
}

/// The visitor's address: the one that the header names, else the peer's.
pub(crate) fn client_ip(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    proxies: &Proxies,
) -> Option<IpAddr> {
    if proxies.header.is_empty() {
        return peer.map(plain);
    }
    let values = headers
        .get_all(proxies.header.as_str())
        .iter()
        .filter_map(|value| value.to_str().ok());
    let entries: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let at = entries.len().checked_sub(proxies.hops.max(1));
    let named = at.and_then(|at| entries.get(at)).and_then(|entry| {
        if proxies.header == "forwarded" {
            forwarded_for(entry)
        } else {
            address(entry)
        }
    });
    named.or(peer).map(plain)
}

/// `for=` of an element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').map(str::trim).find(|pair| {
        pair.get(..4)
            .is_some_and(|name| name.eq_ignore_ascii_case("for="))
    })?;
    address(pair.get(4..)?.trim_matches('"'))
}

/// An address as headers have them: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

/// An IPv4 address that came over IPv6 is one nevertheless.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn check(header: &str, hops: usize, value: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        for line in value.split('|').filter(|line| !line.is_empty()) {
            headers.append(
                if header.is_empty() {
                    "x-forwarded-for"
                } else {
                    "forwarded"
                },
                line.parse().unwrap(),
            );
            if !header.is_empty() && header != "forwarded" {
                headers.append(
                    hyper::header::HeaderName::try_from(header).unwrap(),
                    line.parse().unwrap(),
                );
            }
        }
        let proxies = Proxies {
            header: header.to_owned(),
            hops,
        };
        let found = client_ip(&headers, PEER.parse().ok(), &proxies);
        assert_eq!(
            found.map(|ip| ip.to_string()).as_deref(),
            Some(expected),
            "{header} {hops} {value}"
        );
    }

    #[test]
    fn no_header_is_believed_unless_it_is_configured() {
        check("", 0, "192.0.2.1", PEER);
    }

    #[test]
    fn of_a_list_the_entry_that_the_outermost_own_proxy_appended_counts() {
        check("x-forwarded-for", 1, "6.6.6.6, 192.0.2.1", "192.0.2.1");
        check(
            "x-forwarded-for",
            2,
            "6.6.6.6, 192.0.2.1, 10.0.0.9",
            "192.0.2.1",
        );
        check(
            "x-forwarded-for",
            2,
            "6.6.6.6, 192.0.2.1|10.0.0.9",
            "192.0.2.1",
        );
        check("x-forwarded-for", 3, "192.0.2.1", PEER);
        check("x-forwarded-for", 1, "unknown", PEER);
        check("cf-connecting-ip", 1, "2001:db8::1", "2001:db8::1");
        check("x-forwarded-for", 1, "[2001:db8::1]:443", "2001:db8::1");
        check("x-forwarded-for", 1, "192.0.2.1:443", "192.0.2.1");
        check("x-forwarded-for", 1, "::ffff:192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        check("forwarded", 1, "for=192.0.2.1;proto=https", "192.0.2.1");
        check("forwarded", 1, "For=\"[2001:db8::1]:80\"", "2001:db8::1");
        check(
            "forwarded",
            2,
            "for=192.0.2.1, for=10.0.0.9;by=x",
            "192.0.2.1",
        );
        check("forwarded", 1, "for=_hidden", PEER);
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "[ -~]{0,60}", hops in 0_usize..5) {
            let mut headers = HeaderMap::new();
            headers.insert("forwarded", value.parse().unwrap());
            headers.insert("x-forwarded-for", value.parse().unwrap());
            for header in ["forwarded", "x-forwarded-for"] {
                let found = client_ip(&headers, PEER.parse().ok(), &Proxies { header: header.to_owned(), hops });
                prop_assert!(found.is_some());
            }
        }
    }
}
