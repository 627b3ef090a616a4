//! What is found out about a request beyond what its events say: software, place, and whether a person sent it.
//!
//! A door makes a [`Sender`] of what it got: mostly [`Enricher::sender`] of the request's head, but what a server passes
//! on of its visitors where it speaks for them. [`Enricher::origin`] makes an [`Origin`] of it, which is what is kept: the
//! address and the texts of a sender go no further.

pub(crate) mod agent;
mod client_ip;
pub(crate) mod geo;
pub(crate) mod source;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::HeaderMap;
use quick_cache::sync::Cache;
use wakeline_proto::v1;
use xxhash_rust::xxh3::Xxh3Default;

pub(crate) use agent::Bot;
use client_ip::Proxies;
use geo::Geo;

use crate::config::EnrichConfig;

/// Agents that are remembered: more than most collectors see in an hour. An entry takes some 150 bytes.
const MAX_AGENTS: usize = 8_192;

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
    /// Place, as far as the address tells.
    pub(crate) location: v1::Location,
    /// The software says that it is no person's.
    pub(crate) bot: Option<Bot>,
}

/// What is remembered of a user agent.
#[derive(Clone, Debug, Default)]
struct Known {
    agent: v1::Agent,
    bot: Option<Bot>,
}

/// Knows agents and places. Shared by all requests; calls neither block nor fail.
#[derive(Debug)]
pub(crate) struct Enricher {
    /// By a hash of user agent and hints, so that no text of a sender is kept.
    agents: Cache<u128, Arc<Known>>,
    pub(crate) geo: Arc<Geo>,
    proxies: Proxies,
    steps: EnrichConfig,
}

impl Enricher {
    /// With the database in the data folder, unless the configuration names another; also when that file was written.
    pub(crate) fn open(
        config: &EnrichConfig,
        data: &Path,
    ) -> (Self, Option<std::time::SystemTime>) {
        let path = config
            .geoip_database
            .clone()
            .unwrap_or_else(|| data.join(geo::FETCHED));
        let (geo, seen) = Geo::open(path);
        let enricher = Self {
            agents: Cache::new(MAX_AGENTS),
            geo: Arc::new(geo),
            proxies: Proxies {
                header: config.client_ip_header.to_ascii_lowercase(),
                hops: config.trusted_hops,
            },
            steps: config.clone(),
        };
        (enricher, seen)
    }

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
            ip: client_ip::client_ip(headers, peer, &self.proxies),
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

    /// What is kept of `sender`, by the steps that are switched on.
    pub(crate) fn origin(&self, sender: &Sender) -> Arc<Origin> {
        let known = self.known(sender);
        Arc::new(Origin {
            agent: if self.steps.agent {
                known.agent.clone()
            } else {
                v1::Agent::default()
            },
            location: match sender.ip {
                Some(ip) if self.steps.place => self.geo.locate(ip),
                _ => v1::Location::default(),
            },
            bot: known.bot,
        })
    }

    /// Whether it is told what brought visitors.
    pub(crate) fn tells_sources(&self) -> bool {
        self.steps.source
    }

    fn known(&self, sender: &Sender) -> Arc<Known> {
        let mut hasher = Xxh3Default::new();
        let hints = &sender.hints;
        for text in [
            &sender.user_agent,
            &hints.brands,
            &hints.mobile,
            &hints.platform,
            &hints.platform_version,
            &hints.model,
        ] {
            hasher.update(text.as_bytes());
            hasher.update(&[0xff]);
        }
        let key = hasher.digest128();
        if let Some(known) = self.agents.get(&key) {
            return known;
        }
        let agent = agent::parse(&sender.user_agent, hints);
        let known = Arc::new(Known {
            bot: agent.bot,
            agent: v1::Agent::from(&agent),
        });
        self.agents.insert(key, Arc::clone(&known));
        known
    }
}
