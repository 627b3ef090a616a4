//! What collectors refuse, change and limit of a site's events.
//!
//! Rules are changed as a whole; each change is a version of the site's rules, and all are kept. A change reaches collectors
//! with the next snapshot, at once where they are connected; the snapshot's version is kept with the events it judged.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_proto::schema::Schema;
use wakeline_proto::v1;
use wakeline_rules::hosts::{is_host, is_origin};

use super::{Control, ControlError, schemas};

/// Entries that a list of rules may have.
const MAX_ENTRIES: usize = 200;
/// Bytes of an entry of such a list.
const MAX_ENTRY_BYTES: usize = 256;
/// Schemas of a site: more make each of its snapshots large.
const MAX_SCHEMAS: usize = 100;

/// What the SDK can capture by itself (`sdk-web/loader/src/settings.ts`).
const CAPTURES: [&str; 13] = [
    "all",
    "clicks",
    "rage",
    "outbound",
    "downloads",
    "forms",
    "scroll",
    "engagement",
    "notFound",
    "vitals",
    "errors",
    "search",
    "swipes",
];

/// The rules of a site; a key that is left out has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SiteRules {
    /// Which software is refused.
    pub bots: BotRules,
    /// Refuse events whose referrer is known for made-up visits. Default: true.
    pub spam: bool,
    /// Hosts that pages may be of, besides the site's domain: `shop.example`, `*.shop.example` (all below it). Empty: any.
    pub hosts: Vec<String>,
    /// Origins of pages that may send and read: `https://shop.example`, `https://*.shop.example` (all below it), `null` (pages
    /// without one). Empty: those of `hosts`.
    pub origins: Vec<String>,
    /// Paths of which nothing is taken, and names of screens; `*` stands for any characters.
    pub blocked_paths: Vec<String>,
    /// What the SDK captures on all pages without being called, besides what a page's own options say: `clicks`, `rage`,
    /// `outbound`, `downloads`, `forms`, `scroll`, `engagement`, `notFound`, `vitals`, `errors`, `search`, `swipes`; `all`.
    pub capture: Vec<String>,
    /// Of 100 visitors so many are kept. Default: 100.
    #[schema(minimum = 0, maximum = 100)]
    pub sample_percent: u32,
    /// How many events are taken, at each collector.
    pub limits: LimitRules,
    /// What is kept of URLs.
    pub urls: UrlRules,
    /// What is done to personal data in URLs, titles and properties.
    pub redact: RedactRules,
    /// What the properties of events must be.
    pub schemas: Vec<SchemaRule>,
}

impl Default for SiteRules {
    fn default() -> Self {
        Self {
            bots: BotRules::default(),
            spam: true,
            hosts: Vec::new(),
            origins: Vec::new(),
            blocked_paths: Vec::new(),
            capture: Vec::new(),
            sample_percent: 100,
            limits: LimitRules::default(),
            urls: UrlRules::default(),
            redact: RedactRules::default(),
            schemas: Vec::new(),
        }
    }
}

/// Which software is refused; refused events are kept for some days with the reason `bot`.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BotRules {
    /// Crawlers, monitors, link previews, scanners, feed readers. Default: true.
    pub crawlers: bool,
    /// Browsers that a program steers and that say so (headless Chrome). Default: false, since a site's own tests use them.
    pub automation: bool,
    /// Libraries and tools for HTTP. Default: false, since apps and servers use them.
    pub libraries: bool,
    /// Whatever comes from a datacentre's network, where a collector has a database of networks; refused with the reason
    /// `datacentre`. Default: false, since people behind a VPN come from there, too.
    pub datacentres: bool,
}

impl Default for BotRules {
    fn default() -> Self {
        Self {
            crawlers: true,
            automation: false,
            libraries: false,
            datacentres: false,
        }
    }
}

/// Events that one collector takes; 0: without limit. Beyond a limit requests are refused with 429 and `Retry-After`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitRules {
    /// A minute from one address (of IPv6: from one /64).
    pub ip_per_minute: u32,
    /// A minute with one key.
    pub key_per_minute: u32,
    /// A minute in all.
    pub site_per_minute: u32,
    /// A day (UTC) in all.
    pub per_day: u64,
}

/// What is kept of URLs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UrlRules {
    /// Query parameters that are kept besides `utm_*`, `ref` and `source`.
    pub keep_parameters: Vec<String>,
    /// Take `/a/` as `/a`. Default: false.
    pub trim_trailing_slash: bool,
    /// Take `/A` as `/a`. Default: false.
    pub lower_case_paths: bool,
}

/// What is done to each kind of personal data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedactRules {
    /// E-mail addresses. Default: `mask`.
    pub email: Redaction,
    /// Card numbers: as long as a network's that begin so, with the right check digit. Default: `mask`.
    pub card: Redaction,
    /// Phone numbers with `+` and their country's code. Default: `off`, since in a URL `+` is a space before any number.
    pub phone: Redaction,
}

impl Default for RedactRules {
    fn default() -> Self {
        Self {
            email: Redaction::Mask,
            card: Redaction::Mask,
            phone: Redaction::Off,
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// Nothing.
    #[default]
    Off,
    /// `[email]` stands in its place.
    Mask,
    /// A hash stands in its place, the same for the same text of the site. Whoever can guess the text can know it again.
    Hash,
    /// A property is left out whole; elsewhere nothing stands in its place.
    Drop,
}

/// What the properties of events of a name must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRule {
    /// Of custom events their name, of others their type's (`order`).
    pub event: String,
    /// What becomes of events that don't fit.
    pub mode: SchemaMode,
    /// JSON Schema of the object of properties. Keywords: `type`, `required`, `properties`, `additionalProperties`, and of
    /// a property `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`,
    /// `maxLength`.
    #[schema(value_type = Object)]
    pub schema: Value,
}

/// What becomes of events that don't fit a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaMode {
    /// They are accepted and counted in the collector's metric `events_schema_warnings_total`.
    Warn,
    /// They are refused with the reason `schema_mismatch`.
    Reject,
}

/// Rules with their version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SavedRules {
    /// 1, 2, … with each change; 0: never changed.
    pub version: u64,
    /// Unix milliseconds; 0: never changed.
    pub created_at: i64,
    /// Name of the token with which they were made, or `command line`; empty: not known.
    pub changed_by: String,
    /// Version of the config snapshot that brought them to collectors.
    pub snapshot: u64,
    /// The rules.
    pub rules: SiteRules,
}

impl SiteRules {
    /// Refuses rules that can't be obeyed.
    pub fn check(&self) -> Result<(), ControlError> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ControlError::InvalidRules(problems))
    }

    /// All that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let lists = [
            ("hosts", &self.hosts),
            ("origins", &self.origins),
            ("blocked_paths", &self.blocked_paths),
            ("capture", &self.capture),
            ("urls.keep_parameters", &self.urls.keep_parameters),
        ];
        for (key, list) in lists {
            if list.len() > MAX_ENTRIES {
                problems.push(format!("{key}: at most {MAX_ENTRIES} entries"));
            }
            if list
                .iter()
                .any(|entry| entry.is_empty() || entry.len() > MAX_ENTRY_BYTES)
            {
                problems.push(format!("{key}: an entry has 1 to {MAX_ENTRY_BYTES} bytes"));
            }
        }
        for host in &self.hosts {
            if !host.is_empty() && !is_host(host) {
                problems.push(format!(
                    "hosts: {host:?} is neither a host name nor *. and one"
                ));
            }
        }
        for name in &self.capture {
            if !CAPTURES.contains(&name.as_str()) {
                problems.push(format!(
                    "capture: {name:?} is none of {}",
                    CAPTURES.join(", ")
                ));
            }
        }
        for origin in &self.origins {
            if !origin.is_empty() && !is_origin(origin) {
                problems.push(format!(
                    "origins: {origin:?} is no origin such as https://shop.example, https://*.shop.example or null"
                ));
            }
        }
        if self.sample_percent > 100 {
            problems.push("sample_percent: 0 to 100".to_owned());
        }
        if self.schemas.len() > MAX_SCHEMAS {
            problems.push(format!("schemas: at most {MAX_SCHEMAS}"));
        }
        for (at, schema) in self.schemas.iter().enumerate() {
            let earlier = &self.schemas[..at];
            if schema.event.is_empty() || earlier.iter().any(|other| other.event == schema.event) {
                problems.push(format!(
                    "schemas[{at}].event: a name, and one schema for each"
                ));
            }
            if let Err(error) = Schema::parse(&schema.schema.to_string()) {
                problems.push(format!("schemas[{at}].schema: {error}"));
            }
        }
        problems
    }
}

impl From<&SiteRules> for v1::SiteRules {
    fn from(rules: &SiteRules) -> Self {
        let redaction = |redaction| match redaction {
            Redaction::Off => v1::Redaction::Off.into(),
            Redaction::Mask => v1::Redaction::Mask.into(),
            Redaction::Hash => v1::Redaction::Hash.into(),
            Redaction::Drop => v1::Redaction::Drop.into(),
        };
        let schema = |rule: &SchemaRule| v1::EventSchema {
            event: rule.event.clone(),
            schema: rule.schema.to_string(),
            reject: rule.mode == SchemaMode::Reject,
        };
        Self {
            refuse_crawlers: rules.bots.crawlers,
            refuse_automation: rules.bots.automation,
            refuse_libraries: rules.bots.libraries,
            refuse_datacentres: rules.bots.datacentres,
            refuse_spam: rules.spam,
            hosts: rules.hosts.clone(),
            origins: rules.origins.clone(),
            blocked_paths: rules.blocked_paths.clone(),
            capture: rules.capture.clone(),
            sample_percent: rules.sample_percent,
            events_per_minute_of_ip: rules.limits.ip_per_minute,
            events_per_minute_of_key: rules.limits.key_per_minute,
            events_per_minute_of_site: rules.limits.site_per_minute,
            events_per_day: rules.limits.per_day,
            kept_parameters: rules.urls.keep_parameters.clone(),
            trim_trailing_slash: rules.urls.trim_trailing_slash,
            lower_case_paths: rules.urls.lower_case_paths,
            email: redaction(rules.redact.email),
            card: redaction(rules.redact.card),
            phone: redaction(rules.redact.phone),
            schemas: rules.schemas.iter().map(schema).collect(),
        }
    }
}

impl Control {
    /// Gives a site other rules. `expected`: the version that the change was made from, if it must still be that; `by`: who
    /// makes it; `force`: schemas may break with the last ones of their events.
    pub fn set_rules(
        &self,
        site: u64,
        rules: &SiteRules,
        expected: Option<u64>,
        by: &str,
        force: bool,
    ) -> Result<SavedRules, ControlError> {
        self.site(site)?;
        rules.check()?;
        let text = serde_json::to_string(rules)
            .map_err(|error| ControlError::BadRules(error.to_string()))?;
        self.change(|db| {
            let version: i64 = db.query_row(
                "SELECT COALESCE(MAX(version), 0) FROM site_rules WHERE site = ?1",
                [site as i64],
                |row| row.get(0),
            )?;
            if let Some(expected) = expected
                && expected != version as u64
            {
                return Err(ControlError::RulesChanged(version as u64));
            }
            let broken = if force {
                Vec::new()
            } else {
                schemas::breaks(rules, &history(db, site)?)
            };
            if !broken.is_empty() {
                return Err(ControlError::BreakingSchemas(broken));
            }
            db.execute(
                "INSERT INTO site_rules (site, version, rules, changed_by, snapshot)
                 VALUES (?1, ?2, ?3, ?4, (SELECT version + 1 FROM meta))",
                params![site as i64, version + 1, text, by],
            )?;
            Ok(())
        })?;
        Ok(self.snapshot().rules(site))
    }

    /// The versions of a site's rules, the newest first.
    pub fn rules_history(&self, site: u64) -> Result<Vec<SavedRules>, ControlError> {
        self.site(site)?;
        history(&self.db(), site)
    }
}

fn history(db: &Connection, site: u64) -> Result<Vec<SavedRules>, ControlError> {
    let mut statement = db.prepare(
        "SELECT version, created_at, changed_by, snapshot, rules FROM site_rules WHERE site = ?1 ORDER BY version DESC",
    )?;
    let mut rows = statement.query([site as i64])?;
    let mut history = Vec::new();
    while let Some(row) = rows.next()? {
        history.push(saved(site, row)?);
    }
    Ok(history)
}

/// The newest rules of all sites that have some.
pub(super) fn load(db: &Connection) -> Result<Vec<(u64, SavedRules)>, ControlError> {
    let mut statement = db.prepare(
        "SELECT version, created_at, changed_by, snapshot, rules, site FROM site_rules AS newest
         WHERE version = (SELECT MAX(version) FROM site_rules WHERE site = newest.site) ORDER BY site",
    )?;
    let mut rows = statement.query([])?;
    let mut newest = Vec::new();
    while let Some(row) = rows.next()? {
        let site = row.get::<_, i64>(5)? as u64;
        newest.push((site, saved(site, row)?));
    }
    Ok(newest)
}

/// Of a row of version, `created_at`, `changed_by`, snapshot and rules.
fn saved(site: u64, row: &rusqlite::Row<'_>) -> Result<SavedRules, ControlError> {
    let text: String = row.get(4)?;
    Ok(SavedRules {
        version: row.get::<_, i64>(0)? as u64,
        created_at: row.get(1)?,
        changed_by: row.get(2)?,
        snapshot: row.get::<_, i64>(3)? as u64,
        rules: serde_json::from_str(&text)
            .map_err(|error| ControlError::BadRules(format!("of site {site}: {error}")))?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let rules: SiteRules =
            serde_json::from_value(json!({"bots": {"automation": true}})).unwrap();
        assert!(rules.bots.crawlers && rules.bots.automation && rules.spam);
        assert_eq!(rules.sample_percent, 100);
        assert_eq!(rules.problems(), Vec::<String>::new());
        assert!(serde_json::from_value::<SiteRules>(json!({"bot": {}})).is_err());
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_key() {
        let rules: SiteRules = serde_json::from_value(json!({
            "hosts": ["https://shop.example"], "blocked_paths": [""], "sample_percent": 101,
            "schemas": [
                {"event": "a", "mode": "warn", "schema": {"pattern": "x"}},
                {"event": "a", "mode": "reject", "schema": {}},
            ],
        }))
        .unwrap();
        let problems = rules.problems();
        for key in [
            "hosts",
            "blocked_paths",
            "sample_percent",
            "schemas[0].schema",
            "schemas[1].event",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(key)),
                "{key}: {problems:?}"
            );
        }
    }
}
