//! The collector's configuration: a TOML file, under environment variables, under flags.
//!
//! `wakeline-collector.toml` beside this crate shows every key with its default; a test keeps them equal.
//! Unknown keys are refused, and all that is wrong is reported at once, each with its key.

mod check;
mod load;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wakeline_proto::limits;

pub use load::{ConfigError, Problem};

/// All settings of a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder that holds spool, edge id and the cached config snapshot.
    pub data: PathBuf,
    /// The HTTP server.
    pub http: HttpConfig,
    /// The aggregator.
    pub upstream: UpstreamConfig,
    /// The spool.
    pub spool: SpoolConfig,
    /// The SDK's files.
    pub sdk: SdkConfig,
    /// Limits of requests.
    pub limits: LimitsConfig,
    /// What is found out about senders.
    pub enrich: EnrichConfig,
}

/// Settings of the HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address to listen at; port 0 takes any free one, which is printed.
    pub listen: SocketAddr,
    /// What all paths but `/healthz`, `/readyz` and `/metrics` begin with: empty, or `/` and a name.
    pub prefix: String,
    /// Longest time for a request's head to arrive, in ms; also how long an idle connection is kept.
    pub header_timeout_ms: u64,
    /// Longest time for a request's body to arrive, in ms.
    pub body_timeout_ms: u64,
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Connections of one address (of IPv6: of one /64) at a time; more are closed at once. 0: any number.
    pub max_connections_per_address: usize,
    /// Networks of proxies in front, whose connections are those of many visitors.
    pub proxies: Vec<Network>,
    /// How long requests in progress may take to end after SIGTERM, in ms.
    pub drain_ms: u64,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// PEM file of the certificate and those that lead to it; none: without TLS.
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub key_file: Option<PathBuf>,
    /// How long browsers are to come by TLS only, in seconds (`Strict-Transport-Security`, of the host with all its
    /// ports); 0: not said.
    pub hsts_seconds: u64,
    /// `Authorization: Bearer TOKEN` that reads `/metrics` from other machines; empty: only this machine may.
    pub metrics_token: Secret,
}

/// Where the aggregator is and how to speak to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT` of the aggregator's gRPC.
    pub url: String,
    /// Sent as `Authorization: Bearer TOKEN`; empty: none.
    pub token: Secret,
    /// PEM file of the certificates that the aggregator's is to be checked against.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the collector's own certificate (mTLS).
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub key_file: Option<PathBuf>,
    /// Allow `http://` to other machines.
    pub insecure: bool,
    /// Longest time for the aggregator to acknowledge something of what it was sent, in ms; then a new stream begins.
    pub ack_timeout_ms: u64,
}

/// Settings of the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Bytes that the spool may take; at the limit requests are refused with 503.
    pub max_bytes: u64,
    /// Bytes below `max_bytes` that are kept free.
    pub reserve_bytes: u64,
    /// Bytes of a segment file.
    pub segment_bytes: u64,
}

/// Which SDK files are served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SdkConfig {
    /// Folder of the built SDK, read once at start; none: no files are served.
    pub dir: Option<PathBuf>,
    /// The name under which the loader, `wakeline.js`, is served.
    pub script: String,
}

/// What is found out about senders, and by what. Each step can be switched off.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnrichConfig {
    /// Tell browser, system and class of device by user agent and client hints.
    pub agent: bool,
    /// Tell country, region and city by the address, as far as the database has them.
    pub place: bool,
    /// Tell source and channel by referrer and the URL's marks.
    pub source: bool,
    /// Keep the language: the one that the client says, else the one that its browser prefers.
    pub language: bool,
    /// Keep the time zone: the one that the client says, else that of the address, as far as the database has it.
    pub time_zone: bool,
    /// Correct times by what the client's clock showed when it sent.
    pub clock: bool,
    /// Take amounts without a currency as in the site's; else they are refused.
    pub currency: bool,
    /// Database of places in the MaxMind format; none: `country.mmdb` in the data folder, if it is there.
    pub geoip_database: Option<PathBuf>,
    /// Database of networks (autonomous systems) in the MaxMind format, by which datacentres are told; none:
    /// `networks.mmdb` in the data folder, if it is there.
    pub network_database: Option<PathBuf>,
    /// The header in which the proxies in front name the visitor's address (`x-forwarded-for`, `forwarded`,
    /// `cf-connecting-ip`, …); empty: the connection's address is the visitor's.
    pub client_ip_header: String,
    /// Proxies in front that append to that header.
    pub trusted_hops: usize,
}

/// Limits of requests; the wire's own ([`wakeline_proto::limits`]) are upper bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes of a body as sent.
    pub body_bytes: usize,
    /// Bytes of a body after decompression.
    pub decoded_bytes: usize,
    /// Events in a request.
    pub events: usize,
    /// Different names of custom events that a site may have in a UTC day, at this collector; events with more are refused.
    pub event_names: usize,
    /// As many of properties.
    pub property_names: usize,
    /// Bytes of bodies and of records being stored, held at a time; beyond it requests are refused with 503.
    pub in_flight_bytes: usize,
}

/// A network as `10.0.0.0/8`, or an address as `10.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |_| text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or_else(address);
        network
            .map(Self)
            .map_err(|_| format!("{text:?} is neither a network as 10.0.0.0/8 nor an address"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// A text that is not shown in logs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, if there is one.
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "…" })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("wakeline-collector-data"),
            http: HttpConfig::default(),
            upstream: UpstreamConfig::default(),
            spool: SpoolConfig::default(),
            sdk: SdkConfig::default(),
            limits: LimitsConfig::default(),
            enrich: EnrichConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            prefix: "/w".to_owned(),
            header_timeout_ms: 15_000,
            body_timeout_ms: 30_000,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            proxies: vec![
                Network(IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8)),
                Network(IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128)),
            ],
            drain_ms: 10_000,
            head_bytes: 64 << 10,
            cert_file: None,
            key_file: None,
            hsts_seconds: 0,
            metrics_token: Secret::default(),
        }
    }
}

impl HttpConfig {
    /// [`HttpConfig::header_timeout_ms`] as a duration.
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// [`HttpConfig::drain_ms`] as a duration.
    pub const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:9090".to_owned(),
            token: Secret::default(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            insecure: false,
            ack_timeout_ms: 30_000,
        }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 30,
            reserve_bytes: 64 << 20,
            segment_bytes: 64 << 20,
        }
    }
}

impl Default for SdkConfig {
    fn default() -> Self {
        Self {
            dir: None,
            script: "wakeline.js".to_owned(),
        }
    }
}

impl Default for EnrichConfig {
    fn default() -> Self {
        Self {
            agent: true,
            place: true,
            source: true,
            language: true,
            time_zone: true,
            clock: true,
            currency: true,
            geoip_database: None,
            network_database: None,
            client_ip_header: String::new(),
            trusted_hops: 1,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: limits::MAX_BODY_BYTES,
            decoded_bytes: limits::MAX_DECODED_BYTES,
            events: limits::MAX_EVENTS_PER_BATCH,
            event_names: 1_000,
            property_names: 5_000,
            in_flight_bytes: 256 << 20,
        }
    }
}
