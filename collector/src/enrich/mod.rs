//! What is found out about a request beyond what its events say: software, place, and whether a person sent it.
//!
//! A door makes a [`Sender`] of what it got: mostly [`Enricher::sender`] of the request's head, but what a server passes
//! on of its visitors where it speaks for them. [`Enricher::origin`] makes an [`Origin`] of it, which is what is kept: the
//! address and the texts of a sender go no further.

pub(crate) mod agent;
pub(crate) mod client_ip;
mod database;
pub(crate) mod geo;
mod language;
mod networks;
pub(crate) mod page;
pub(crate) mod source;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::ACCEPT_LANGUAGE;
use quick_cache::sync::Cache;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wakeline_proto::v1;
use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(crate) use agent::Bot;
use client_ip::Proxies;
use database::Database;
use page::{Page, Pages};

use crate::config::EnrichConfig;
use crate::rules::SiteRules;

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
    /// `Accept-Language`, as it came; empty: none.
    pub(crate) languages: String,
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
    /// The request says no `Accept-Language`, as every browser with a person before it does.
    pub(crate) no_language: bool,
}

impl Hints {
    /// A browser that says no language has nobody before it.
    fn bot(&self, user_agent: &str) -> Option<Bot> {
        (self.no_language && user_agent.starts_with("Mozilla/")).then_some(Bot::Automation)
    }
}

/// What was made of a [`Sender`]: the part of it that is kept with its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Browser, system and class of device.
    pub(crate) agent: v1::Agent,
    /// Place, as far as the address tells.
    pub(crate) location: v1::Location,
    /// IANA name of the time zone there; empty: not known.
    pub(crate) time_zone: String,
    /// The software says that it is no person's.
    pub(crate) bot: Option<Bot>,
}

/// What is remembered of a user agent.
#[derive(Clone, Debug, Default)]
struct Known {
    agent: v1::Agent,
    bot: Option<Bot>,
}

/// Makes numbers of texts, to remember by them what the texts say without keeping these. Whoever does not know its seed can't make
/// up texts that have the number of others.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    seed: u64,
}

impl Default for Fingerprints {
    fn default() -> Self {
        // A system without random numbers has said so at the start: the edge's id is one.
        let seed = getrandom::u64().unwrap_or_default();
        Self { seed }
    }
}

impl Fingerprints {
    /// Of texts in UTF-8 and numbers, told apart by a byte that UTF-8 does not have.
    fn of<const N: usize>(&self, parts: [&[u8]; N]) -> u128 {
        let all = parts.join(&0xff);
        xxh3_128_with_seed(&all, self.seed)
    }
}

/// Knows agents, places and pages. Shared by all requests; calls neither block nor fail.
#[derive(Debug)]
pub(crate) struct Enricher {
    fingerprints: Fingerprints,
    agents: Cache<u128, Arc<Known>>,
    pages: Pages,
    places: Arc<Database>,
    networks: Arc<Database>,
    proxies: Proxies,
    steps: EnrichConfig,
}

impl Enricher {
    /// With the databases in the data folder, unless the configuration names others.
    pub(crate) fn open(config: &EnrichConfig, data: &Path) -> Self {
        let open = |named: &Option<PathBuf>, usual| {
            let path = named.clone().unwrap_or_else(|| data.join(usual));
            Arc::new(Database::open(path))
        };
        let places = open(&config.geoip_database, geo::FETCHED);
        if !places.is_loaded() {
            tracing::info!("no database of countries: `wakeline-collector geoip` fetches one");
        }
        Self {
            fingerprints: Fingerprints::default(),
            agents: Cache::new(MAX_AGENTS),
            pages: Pages::default(),
            places,
            networks: open(&config.network_database, networks::FILE),
            proxies: Proxies {
                header: config.client_ip_header.to_ascii_lowercase(),
                hops: config.trusted_hops,
            },
            steps: config.clone(),
        }
    }

    /// Looks after the files that it reads.
    pub(crate) fn follow(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for database in [&self.places, &self.networks] {
            tasks.spawn(Arc::clone(database).follow(stop.clone()));
        }
    }

    /// Whether there is a database of places.
    pub(crate) fn knows_places(&self) -> bool {
        self.places.is_loaded()
    }

    /// Whether there is a database of networks.
    pub(crate) fn knows_networks(&self) -> bool {
        self.networks.is_loaded()
    }

    /// Whether the address is of a datacentre's network.
    pub(crate) fn is_datacentre(&self, ip: IpAddr) -> bool {
        networks::is_datacentre(&self.networks, ip)
    }

    /// Whether a request has the header that our proxies write.
    pub(crate) fn came_through_a_proxy(&self, headers: &HeaderMap) -> bool {
        !self.proxies.header.is_empty() && headers.contains_key(self.proxies.header.as_str())
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
                no_language: !headers.contains_key(ACCEPT_LANGUAGE),
            },
            languages: text(ACCEPT_LANGUAGE.as_str()),
        }
    }

    /// What is kept of `sender`, by the steps that are switched on.
    pub(crate) fn origin(&self, sender: &Sender) -> Arc<Origin> {
        let known = self.known(sender);
        let place = match sender.ip {
            Some(ip) if self.steps.place || self.steps.time_zone => geo::locate(&self.places, ip),
            _ => geo::Place::default(),
        };
        Arc::new(Origin {
            agent: if self.steps.agent {
                known.agent.clone()
            } else {
                v1::Agent::default()
            },
            location: if self.steps.place {
                place.location
            } else {
                v1::Location::default()
            },
            time_zone: if self.steps.time_zone {
                place.time_zone
            } else {
                String::new()
            },
            bot: known.bot,
        })
    }

    /// What is kept of a request's device, by the steps that are switched on: what the client says of language and time zone,
    /// else what browser and address tell.
    pub(crate) fn device(
        &self,
        mut device: v1::Device,
        sender: &Sender,
        origin: &Origin,
    ) -> v1::Device {
        if self.steps.language {
            device.language = language::normal(&device.language);
            if device.language.is_empty() {
                device.language = language::normal(language::preferred(&sender.languages));
            }
        } else {
            device.language.clear();
        }
        if !self.steps.time_zone {
            device.timezone.clear();
        } else if device.timezone.is_empty() {
            device.timezone.clone_from(&origin.time_zone);
        }
        device
    }

    /// Whether times are corrected by what the client's clock showed when it sent.
    pub(crate) fn corrects_clocks(&self) -> bool {
        self.steps.clock
    }

    /// Whether amounts without a currency are in the site's.
    pub(crate) fn knows_currencies(&self) -> bool {
        self.steps.currency
    }

    /// What is found out of a page's URL and referrer, as they came, by the rules of its site.
    pub(crate) fn page(&self, url: &str, referrer: &str, rules: &SiteRules) -> Arc<Page> {
        let texts = (url, referrer);
        self.pages
            .page(&self.fingerprints, texts, rules, self.steps.source)
    }

    fn known(&self, sender: &Sender) -> Arc<Known> {
        let hints = &sender.hints;
        let key = self.fingerprints.of([
            sender.user_agent.as_bytes(),
            hints.brands.as_bytes(),
            hints.mobile.as_bytes(),
            hints.platform.as_bytes(),
            hints.platform_version.as_bytes(),
            hints.model.as_bytes(),
            &[u8::from(hints.no_language)],
        ]);
        if let Some(known) = self.agents.get(&key) {
            return known;
        }
        let agent = agent::parse(&sender.user_agent, hints);
        let known = Arc::new(Known {
            bot: agent.bot.or_else(|| hints.bot(&sender.user_agent)),
            agent: v1::Agent::from(&agent),
        });
        self.agents.insert(key, Arc::clone(&known));
        known
    }
}
