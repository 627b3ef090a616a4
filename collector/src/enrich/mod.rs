//! What is found out about a request beyond what its events say: software, place, and whether a person sent it.
//!
//! A door makes a [`Sender`] of what it got: mostly [`Enricher::sender`] of the request's head, but what a server passes
//! on of its visitors where it speaks for them. [`Enricher::origin`] makes an [`Origin`] of it, which is what is kept: the
//! address and the texts of a sender go no further.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use wakeline_proto::v1;

/// What is known of who sent an event. Never stored, never logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Address of the visitor.
    pub(crate) ip: Option<IpAddr>,
    /// `User-Agent`, as it came; empty: none.
    pub(crate) user_agent: String,
    /// User-agent client hints.
    pub(crate) hints: Hints,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender(…)")
    }
}

/// User-agent client hints, as texts of the headers' syntax (RFC 8941: `"Chrome";v="120"`, `?1`, `"Android"`). Empty: not
/// given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hints {
    /// `Sec-CH-UA-Full-Version-List`, else `Sec-CH-UA`.
    pub(crate) brands: String,
    /// `Sec-CH-UA-Mobile`.
    pub(crate) mobile: String,
    /// `Sec-CH-UA-Platform`.
    pub(crate) platform: String,
    /// `Sec-CH-UA-Platform-Version`.
    pub(crate) platform_version: String,
    /// `Sec-CH-UA-Model`.
    pub(crate) model: String,
}

/// What was made of a [`Sender`]: the part of it that is kept with its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Browser, system and class of device.
    pub(crate) agent: v1::Agent,
    /// Country, as far as the address tells.
    pub(crate) location: v1::Location,
}

/// Knows agents and places. Shared by all requests; calls neither block nor fail.
#[derive(Debug, Default)]
pub(crate) struct Enricher {}

#[expect(clippy::unused_self, reason = "agents and places are kept here next")]
impl Enricher {
    /// The sender of a request that came from `peer`.
    pub(crate) fn sender(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Sender {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut brands = text("sec-ch-ua-full-version-list");
        if brands.is_empty() {
            brands = text("sec-ch-ua");
        }
        Sender {
            ip: peer,
            user_agent: text("user-agent"),
            hints: Hints {
                brands,
                mobile: text("sec-ch-ua-mobile"),
                platform: text("sec-ch-ua-platform"),
                platform_version: text("sec-ch-ua-platform-version"),
                model: text("sec-ch-ua-model"),
            },
        }
    }

    /// What is kept of `sender`.
    pub(crate) fn origin(&self, _sender: &Sender) -> Arc<Origin> {
        Arc::default()
    }
}
