//! What a site refuses, changes and limits: its rules as the control store has them, made for judging. Pure: no I/O, no
//! clock. A collector judges by it, and the aggregator shows by it what other rules would have refused.
//!
//! They come with the config snapshot, so they hold within seconds everywhere and survive a restart without the aggregator;
//! the snapshot's version is kept with each group of events that was judged by it.

pub mod limits;
pub mod place;
pub mod redact;
mod refused;
pub mod spam;

use std::collections::HashMap;

use wakeline_proto::schema::Schema as Properties;
use wakeline_proto::v1;
use wakeline_proto::v1::value::Kind;

use redact::Redactions;
use wakeline_proto::Reason;

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
    /// The site's domain; empty if it is not known.
    pub domain: String,
    refused_bots: [Option<Bot>; 3],
    refuse_datacentres: bool,
    refuse_spam: bool,
    hosts: Vec<String>,
    blocked_paths: Vec<String>,
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
        Self::of(
            String::new(),
            &v1::SiteRules {
                refuse_crawlers: true,
                refuse_spam: true,
                sample_percent: 100,
                email: v1::Redaction::Mask.into(),
                card: v1::Redaction::Mask.into(),
                ..v1::SiteRules::default()
            },
        )
    }
}

impl From<&v1::Site> for SiteRules {
    fn from(site: &v1::Site) -> Self {
        match &site.rules {
            Some(rules) => Self::of(site.domain.clone(), rules),
            None => Self {
                domain: site.domain.clone(),
                ..Self::default()
            },
        }
    }
}

impl SiteRules {
    fn of(domain: String, rules: &v1::SiteRules) -> Self {
        Self {
            refused_bots: [
                rules.refuse_crawlers.then_some(Bot::Crawler),
                rules.refuse_automation.then_some(Bot::Automation),
                rules.refuse_libraries.then_some(Bot::Library),
            ],
            refuse_datacentres: rules.refuse_datacentres,
            refuse_spam: rules.refuse_spam,
            hosts: rules
                .hosts
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            blocked_paths: rules.blocked_paths.clone(),
            capture: rules.capture.clone(),
            sample_percent: rules.sample_percent,
            limits: limits::Limits::from(rules),
            cleaning: Cleaning {
                parameters: rules.kept_parameters.clone(),
                trim_trailing_slash: rules.trim_trailing_slash,
                lower_case_paths: rules.lower_case_paths,
            },
            redactions: Redactions {
                email: rules.email(),
                card: rules.card(),
                phone: rules.phone(),
                salt: domain.clone(),
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
        if event.hostname.is_empty() {
            return Ok(());
        }
        self.check_page(&event.hostname, &self.cleaning.path(&event.path), false)
    }

    /// Whether pages may be of `host`, with or without a port. Also of the site's own, if it names any.
    pub fn allows_host(&self, host: &str) -> bool {
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
            _ => host,
        };
        self.hosts.is_empty()
            || bare == self.domain
            || self
                .hosts
                .iter()
                .any(|allowed| match allowed.strip_prefix("*.") {
                    Some(above) => bare
                        .strip_suffix(above)
                        .is_some_and(|rest| rest.ends_with('.')),
                    None => bare == allowed || host == allowed,
                })
    }

    /// Whether nothing is taken of `path`.
    fn blocks(&self, path: &str) -> bool {
        self.blocked_paths
            .iter()
            .any(|pattern| matches(pattern, path))
    }

    /// Whether the visitor is of the sample; the same at all times and collectors.
    fn samples(&self, visitor: &str) -> bool {
        self.sample_percent >= 100
            || xxhash_rust::xxh3::xxh3_64(visitor.as_bytes()) % 100 < u64::from(self.sample_percent)
    }

    /// What the site's pages should know, whoever's they are; empty if all is as pages take it to be.
    pub fn for_all_pages(&self) -> serde_json::Map<String, serde_json::Value> {
        let lists = [("blocked", &self.blocked_paths), ("capture", &self.capture)];
        lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| (name.to_owned(), list.clone().into()))
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

/// Whether `text` is `pattern`, in which `*` stands for any characters. Linear: no pattern makes it slow.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
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
        SiteRules::of("shop.example".to_owned(), &rules)
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("/admin", "/admin", true),
            ("/admin", "/admin/x", false),
            ("/admin*", "/admin/x", true),
            ("*/print", "/a/b/print", true),
            ("/a/*/c", "/a/b/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("*", "", true),
            ("", "/", false),
            ("/a*a", "/a", false),
            ("*ab*ab", "xabab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
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
