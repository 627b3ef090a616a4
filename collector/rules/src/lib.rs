//! What a site refuses, changes and limits: its rules as the control store has them, made for judging. Pure: no I/O, no
//! clock. A collector judges by it, and the aggregator shows by it what other rules would have refused.
//!
//! They come with the config snapshot, so they hold within seconds everywhere and survive a restart without the aggregator;
//! the snapshot's version is kept with each group of events that was judged by it.

pub mod hosts;
pub mod limits;
mod paths;
pub mod place;
pub mod redact;
mod refused;
pub mod spam;

use std::collections::HashMap;

use prost::Message as _;
use wakeline_proto::schema::Schema as Properties;
use wakeline_proto::v1;
use wakeline_proto::v1::value::Kind;
use xxhash_rust::xxh3::xxh3_64;

use redact::Redactions;
use wakeline_proto::Reason;

use hosts::{Hosts, Origin};
use paths::Paths;
pub use place::Cleaning;
pub use refused::Refused;

/// Kinds of software that send without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bot {
    /// A crawler, monitor, link preview, scanner or feed reader.
    Crawler,
    /// A browser that a program steers, and says so.
    Automation,
    /// A library or a tool for HTTP: a program of whomever.
    Library,
}

/// The rules of one site.
#[derive(Debug)]
pub struct SiteRules {
    /// Of all that they say: what was found out by rules with the same number still holds.
    pub fingerprint: u64,
    /// The site's domain; empty if it is not known.
    pub domain: String,
    refused_bots: [Option<Bot>; 3],
    refuse_datacentres: bool,
    refuse_spam: bool,
    hosts: Hosts,
    origins: Vec<Origin>,
    blocked_paths: Paths,
    capture: Vec<String>,
    /// Of 100 visitors.
    sample_percent: u32,
    /// How many events it takes.
    pub limits: limits::Limits,
    /// What is kept of its URLs.
    pub cleaning: Cleaning,
    /// What is done to personal data.
    pub redactions: Redactions,
    schemas: HashMap<String, Schema>,
}

#[derive(Debug)]
struct Schema {
    /// `None`: this version can't use it, so it holds nothing back.
    properties: Option<Properties>,
    reject: bool,
}

/// How properties fit the schema of their event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They do, or nobody says what they must be.
    Fits,
    /// The site only wants to know.
    Warn,
    /// What is wrong.
    Reject(String),
}

impl Default for SiteRules {
    fn default() -> Self {
        Self::from(&v1::Site::default())
    }
}

impl From<&v1::Site> for SiteRules {
    fn from(site: &v1::Site) -> Self {
        let usual = v1::SiteRules {
            refuse_crawlers: true,
            refuse_spam: true,
            sample_percent: 100,
            email: v1::Redaction::Mask.into(),
            card: v1::Redaction::Mask.into(),
            ..v1::SiteRules::default()
        };
        let rules = site.rules.as_ref().unwrap_or(&usual);
        Self::of(site.domain.clone(), rules, &site.redaction_salt)
    }
}

impl SiteRules {
    /// `salt`: what hashes of redacted values are made with; an aggregator of before has none for the site.
    fn of(domain: String, rules: &v1::SiteRules, salt: &[u8]) -> Self {
        let cleaning = Cleaning {
            parameters: rules.kept_parameters.clone(),
            trim_trailing_slash: rules.trim_trailing_slash,
            lower_case_paths: rules.lower_case_paths,
        };
        let salt = if salt.is_empty() {
            domain.as_bytes()
        } else {
            salt
        };
        let all = [domain.as_bytes(), &rules.encode_to_vec(), salt].join(&0);
        Self {
            fingerprint: xxh3_64(&all),
            refused_bots: [
                rules.refuse_crawlers.then_some(Bot::Crawler),
                rules.refuse_automation.then_some(Bot::Automation),
                rules.refuse_libraries.then_some(Bot::Library),
            ],
            refuse_datacentres: rules.refuse_datacentres,
            refuse_spam: rules.refuse_spam,
            hosts: Hosts::new(&rules.hosts),
            origins: Origin::all(&rules.origins),
            blocked_paths: Paths::new(&rules.blocked_paths, &cleaning),
            capture: rules.capture.clone(),
            sample_percent: rules.sample_percent,
            limits: limits::Limits::from(rules),
            cleaning,
            redactions: Redactions {
                email: rules.email(),
                card: rules.card(),
                phone: rules.phone(),
                salt: salt.to_vec(),
            },
            schemas: rules
                .schemas
                .iter()
                .map(|schema| (schema.event.clone(), Schema::from(schema)))
                .collect(),
            domain,
        }
    }

    /// Refuses what software sends that is no person's.
    pub fn check_bot(&self, bot: Option<Bot>) -> Result<(), Refused> {
        let detail = match bot.filter(|bot| self.refused_bots.contains(&Some(*bot))) {
            None => return Ok(()),
            Some(Bot::Crawler) => "the user agent is a crawler's, a monitor's or the like",
            Some(Bot::Automation) => "the user agent is of a browser that a program steers",
            Some(Bot::Library) => "the user agent is a library's or a tool's",
        };
        Err(Refused::new(Reason::Bot, detail))
    }

    /// Refuses what comes from a datacentre's network, which is only asked for where it matters.
    pub fn check_network(&self, is_datacentre: impl FnOnce() -> bool) -> Result<(), Refused> {
        if !self.refuse_datacentres || !is_datacentre() {
            return Ok(());
        }
        Err(Refused::new(
            Reason::Datacentre,
            "the address is of a datacentre's network",
        ))
    }

    /// Refuses visitors that are not of the sample.
    pub fn check_visitor(&self, visitor: &str) -> Result<(), Refused> {
        if self.samples(visitor) {
            return Ok(());
        }
        Err(Refused::new(
            Reason::NotSampled,
            "the site keeps a sample of its visitors",
        ))
    }

    /// Refuses made-up visits; `is_spam` tells whether the referrer is known for them.
    pub fn check_referrer(&self, is_spam: impl FnOnce() -> bool) -> Result<(), Refused> {
        if self.refuse_spam && is_spam() {
            return Err(Refused::new(
                Reason::Spam,
                "the referrer is known for made-up visits",
            ));
        }
        Ok(())
    }

    /// Refuses pages that the site does not take. A server of the site is `trusted` to name any host.
    pub fn check_page(&self, hostname: &str, path: &str, trusted: bool) -> Result<(), Refused> {
        if !trusted && !hostname.is_empty() && !self.allows_host(hostname) {
            return Err(Refused::new(
                Reason::ForeignHost,
                "the site does not take events of pages of this host",
            ));
        }
        if self.blocks(path) {
            return Err(Refused::new(
                Reason::BlockedPath,
                "the site takes nothing of this path",
            ));
        }
        Ok(())
    }

    /// What these rules say of an event as it was kept, in the order in which a collector asks: sample, schema, referrer,
    /// page. What is not kept of an event (the user agent, the address, who vouches for it) says nothing.
    pub fn check_kept(&self, visitor: &str, event: &v1::Event) -> Result<(), Refused> {
        self.check_visitor(visitor)?;
        if let Fit::Reject(what) = self.fit(event) {
            return Err(Refused::new(Reason::SchemaMismatch, what));
        }
        self.check_referrer(|| spam::is_spam(&event.referrer))?;
        if event.path.is_empty() {
            return Ok(());
        }
        self.check_page(&event.hostname, &self.cleaning.path(&event.path), false)
    }

    /// Whether pages may be of `host`, as a page's URL has it. Also of the site's own, if it names any.
    pub fn allows_host(&self, host: &str) -> bool {
        self.hosts.allow(host, &self.domain)
    }

    /// Whether pages of an origin, as browsers write it, may send: one of those that the site names, else of its hosts. A
    /// page without an origin (`null`: a sandboxed frame, a file) may if it is named, or if nothing is.
    pub fn allows_origin(&self, origin: &str) -> bool {
        if !self.origins.is_empty() {
            return self.origins.iter().any(|allowed| allowed.is(origin));
        }
        self.hosts.are_any()
            || match hosts::of_origin(origin) {
                Some(host) => self.allows_host(&host),
                None => origin == "null" && self.hosts.name(origin),
            }
    }

    /// Whether nothing is taken of `path`.
    fn blocks(&self, path: &str) -> bool {
        self.blocked_paths.have(path)
    }

    /// Whether the visitor is of the sample; the same at all times and collectors.
    fn samples(&self, visitor: &str) -> bool {
        self.sample_percent >= 100
            || xxh3_64(visitor.as_bytes()) % 100 < u64::from(self.sample_percent)
    }

    /// What the site's pages should know, whoever's they are; empty if all is as pages take it to be.
    pub fn for_all_pages(&self) -> serde_json::Map<String, serde_json::Value> {
        let lists = [
            ("blocked", self.blocked_paths.of_pages()),
            ("capture", &self.capture),
        ];
        lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| (name.to_owned(), list.to_vec().into()))
            .collect()
    }

    /// The same for the pages of one visitor, as JSON.
    pub fn for_pages(&self, visitor: &str) -> String {
        let mut settings = self.for_all_pages();
        if !self.samples(visitor) {
            settings.insert("sampled".to_owned(), false.into());
        }
        if settings.is_empty() {
            return String::new();
        }
        serde_json::Value::Object(settings).to_string()
    }

    /// How the event's properties fit its schema, if there is one.
    pub fn fit(&self, event: &v1::Event) -> Fit {
        if self.schemas.is_empty() {
            return Fit::Fits;
        }
        let name = if event.r#type() == v1::EventType::Custom {
            &event.name
        } else {
            event.r#type().name()
        };
        let Some(schema) = self.schemas.get(name) else {
            return Fit::Fits;
        };
        let properties = instance(&event.properties);
        match schema
            .properties
            .as_ref()
            .and_then(|schema| schema.check(&properties).err())
        {
            None => Fit::Fits,
            Some(_) if !schema.reject => Fit::Warn,
            Some(what) => Fit::Reject(what),
        }
    }
}

impl From<&v1::EventSchema> for Schema {
    fn from(schema: &v1::EventSchema) -> Self {
        let properties = Properties::parse(&schema.schema);
        if let Err(error) = &properties {
            tracing::error!(%error, event = schema.event, "schema can't be used; nothing is held back by it");
        }
        Self {
            properties: properties.ok(),
            reject: schema.reject,
        }
    }
}

/// Properties as JSON, timestamps as texts.
fn instance(properties: &[v1::Property]) -> serde_json::Map<String, serde_json::Value> {
    let value = |kind: &Kind| match kind {
        Kind::Text(text) => serde_json::Value::from(text.as_str()),
        Kind::Integer(integer) => (*integer).into(),
        Kind::Number(number) => (*number).into(),
        Kind::Flag(flag) => (*flag).into(),
        Kind::Timestamp(ms) => jiff::Timestamp::from_millisecond(*ms)
            .map_or_else(|_| (*ms).into(), |time| time.to_string().into()),
    };
    let entries = properties.iter().filter_map(|property| {
        let kind = property.value.as_ref()?.kind.as_ref()?;
        Some((property.name.clone(), value(kind)))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(change: impl FnOnce(&mut v1::SiteRules)) -> SiteRules {
        let mut rules = v1::SiteRules {
            sample_percent: 100,
            ..v1::SiteRules::default()
        };
        change(&mut rules);
        SiteRules::of("shop.example".to_owned(), &rules, &[])
    }

    #[test]
    fn hosts_are_the_sites_own_and_those_that_it_names() {
        let any = rules(|_| {});
        assert!(any.allows_host("else.example"));
        let some =
            rules(|rules| rules.hosts = vec!["a.example".to_owned(), "*.b.example".to_owned()]);
        for (host, expected) in [
            ("shop.example", true),
            ("shop.example:8080", true),
            ("a.example", true),
            ("x.a.example", false),
            ("x.b.example", true),
            ("b.example", false),
            ("evilb.example", false),
        ] {
            assert_eq!(some.allows_host(host), expected, "{host}");
        }
    }

    #[test]
    fn hosts_and_origins_are_compared_however_they_are_written() {
        let rules = rules(|rules| {
            rules.hosts = [
                "Shop.Example.",
                "*.Müller.example",
                "b.example:443",
                "c.example:8443",
            ]
            .map(str::to_owned)
            .to_vec();
        });
        for (origin, expected) in [
            ("https://shop.example", true),
            ("https://SHOP.example.", true),
            ("https://shop.example:443", true),
            ("https://www.xn--mller-kva.example", true),
            ("https://www.müller.example", true),
            ("https://b.example", true),
            ("http://c.example:8443", true),
            ("https://c.example", false),
            ("https://evil.example", false),
            ("https://shop.example.evil.example", false),
            ("null", false),
            ("", false),
            ("shop.example", false),
        ] {
            assert_eq!(rules.allows_origin(origin), expected, "{origin}");
        }
        let any = SiteRules::default();
        assert!(any.allows_origin("null") && any.allows_origin("https://evil.example"));
    }

    #[test]
    fn a_site_that_names_origins_takes_events_of_no_other() {
        let rules = rules(|rules| {
            rules.origins = [
                "https://Shop.example",
                "https://*.shop.example:8443",
                "null",
                "app://shop",
            ]
            .map(str::to_owned)
            .to_vec();
        });
        for (origin, expected) in [
            ("https://shop.example", true),
            ("https://shop.example:443", true),
            ("http://shop.example", false),
            ("https://shop.example:444", false),
            ("https://www.shop.example:8443", true),
            ("https://www.shop.example", false),
            ("https://shop.example:8443", false),
            ("null", true),
            ("app://shop", true),
        ] {
            assert_eq!(rules.allows_origin(origin), expected, "{origin}");
        }
    }

    #[test]
    fn a_sample_keeps_about_its_share_of_visitors_always_the_same() {
        let tenth = rules(|rules| rules.sample_percent = 10);
        let kept = (0..10_000)
            .filter(|visitor| tenth.samples(&visitor.to_string()))
            .count();
        assert!((800..1_200).contains(&kept), "{kept}");
        let none = rules(|rules| rules.sample_percent = 0);
        assert!(!none.samples("a") && SiteRules::default().samples("a"));
    }

    #[test]
    fn properties_are_held_against_the_schema_of_their_event() {
        let schema = r#"{"type":"object","required":["plan"],"properties":{"plan":{"enum":["a","b"]},"seats":{"type":"integer","minimum":1}}}"#;
        let check = |reject, properties: &[(&str, Kind)]| {
            let rules = rules(|rules| {
                rules.schemas = vec![v1::EventSchema {
                    event: "signup".to_owned(),
                    schema: schema.to_owned(),
                    reject,
                }];
            });
            let property = |(name, kind): &(&str, Kind)| v1::Property {
                name: (*name).to_owned(),
                value: Some(v1::Value {
                    kind: Some(kind.clone()),
                }),
            };
            rules.fit(&v1::Event {
                r#type: v1::EventType::Custom.into(),
                name: "signup".to_owned(),
                properties: properties.iter().map(property).collect(),
                ..v1::Event::default()
            })
        };
        let plan = ("plan", Kind::Text("a".to_owned()));
        assert_eq!(check(true, std::slice::from_ref(&plan)), Fit::Fits);
        assert_eq!(check(false, &[]), Fit::Warn);
        assert!(matches!(check(true, &[]), Fit::Reject(why) if why.contains("plan")));
        assert!(
            matches!(check(true, &[plan, ("seats", Kind::Integer(0))]), Fit::Reject(why) if why.contains("seats"))
        );
    }

    #[test]
    fn a_schema_that_can_not_be_used_holds_nothing_back() {
        let rules = rules(|rules| {
            rules.schemas = vec![v1::EventSchema {
                event: "page_view".to_owned(),
                schema: "{\"type\":7}".to_owned(),
                reject: true,
            }];
        });
        let event = v1::Event {
            r#type: v1::EventType::PageView.into(),
            ..v1::Event::default()
        };
        assert_eq!(rules.fit(&event), Fit::Fits);
    }

    #[test]
    fn by_default_crawlers_and_spam_are_refused_and_no_one_else_and_people_are_taken_out_of_texts()
    {
        let rules = SiteRules::default();
        assert!(rules.check_bot(Some(Bot::Crawler)).is_err() && rules.refuse_spam);
        for other in [None, Some(Bot::Automation), Some(Bot::Library)] {
            assert_eq!(rules.check_bot(other), Ok(()));
        }
        assert_eq!(rules.check_network(|| true), Ok(()));
        let redact = rules
            .redactions
            .redact("/u/me@mail.example?card=4111111111111111");
        assert_eq!(redact, "/u/[email]?card=[card]");
    }
}
