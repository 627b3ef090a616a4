//! What can be asked for: each command's words on the command line are its JSON on the socket.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::{Alias, AppId, Currency, Domain, InvalidSetting, KeyKind, SessionGap, Zone};
use crate::ledger::{LedgerQuery, LetterQuery, ReplayRequest};

/// A command for a server or its folder.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Make, change and list sites.
    #[command(subcommand)]
    Site(SiteRequest),
    /// Make, revoke and list the keys that pages, apps and servers send with.
    #[command(subcommand)]
    Key(KeyRequest),
    /// Make, revoke and list the tokens that people sign in and call the API with: of all sites, or of some.
    #[command(subcommand)]
    Token(TokenRequest),
    /// Make, list and delete goals beside the names of events, each of which is one by itself.
    #[command(subcommand)]
    Goal(GoalRequest),
    /// Answer a question, as POST /api/v2/query does.
    Query {
        /// The question as JSON, such as `{"site_id": 1, "metrics": ["visitors"], "date_range": "7d"}`.
        #[arg(value_name = "JSON")]
        question: String,
    },
    /// Show what became of everything that was received, by hour or day.
    Ledger(LedgerQuery),
    /// List refused events, and send them again.
    #[command(subcommand)]
    DeadLetter(DeadLetterRequest),
    /// Make what follows from the log anew, while what is in use goes on.
    #[command(subcommand)]
    Rebuild(RebuildRequest),
    /// Apply the log again from some point on.
    Replay(Replay),
    /// List the generations of state, and go back to the one before the last rebuild.
    #[command(subcommand)]
    Generation(GenerationRequest),
    /// Remove all events of a visitor so far from the lake; those that come later but happened before are left out, too.
    Erase(EraseVisitor),
    /// Show the lake of all events, and say for how long it keeps them.
    #[command(subcommand)]
    Lake(LakeRequest),
}

/// A command about generations of state.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum GenerationRequest {
    /// List them: the one in use, the one before, which is kept, and what is being made or removed.
    List,
    /// Use this generation: it applies what was logged since it was replaced, then takes the other's place, which is kept.
    Switch {
        /// Its number, as listed.
        number: u32,
    },
    /// Use the generation that was in use before, as `switch` does.
    Rollback,
}

/// Who is to be erased.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
pub struct EraseVisitor {
    /// Id or domain of the site.
    #[arg(long)]
    pub site: String,
    /// The visitor's id, as the client gave it.
    #[arg(long, value_name = "ID")]
    pub visitor: String,
}

/// A command about the lake.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum LakeRequest {
    /// How it is.
    Status,
    /// List the files that are valid now, for who reads them with another program.
    Files,
    /// Keep events of a site for so many days, and no longer.
    Retain {
        /// Id or domain of the site.
        #[arg(long)]
        site: String,
        /// Whole local days before today; 0: for ever.
        #[arg(long)]
        days: u32,
    },
}

/// A command about refused events.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterRequest {
    /// List them, newest first, with what they held.
    List(LetterQuery),
    /// Send them again through a collector, with the times that they had: at most 1,000 at a time.
    Replay(ReplayRequest),
}

/// What is to be made anew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum RebuildRequest {
    /// Visitors and rollups, from the log: into a new generation, which takes the place of the old one when it is complete.
    State,
    /// All figures in InfluxDB, from the state: under a new generation, which readers are told to read when it is complete.
    /// Needs a running server.
    Metrics,
    /// The lake of all events, from the log. Queries see what is in it so far meanwhile.
    Lake,
}

/// Where to replay from.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[group(required = true, multiple = false)]
pub struct Replay {
    /// Offset in the log.
    #[arg(long, value_name = "OFFSET")]
    #[serde(default)]
    pub from_offset: Option<u64>,
    /// Time of logging, such as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = checked_time)]
    #[serde(default)]
    pub from_time: Option<String>,
}

fn checked_time(given: &str) -> Result<String, String> {
    given
        .parse::<jiff::Timestamp>()
        .map(|_| given.to_owned())
        .map_err(|error| error.to_string())
}

/// A command about sites.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum SiteRequest {
    /// Make a site with a write key and a server key.
    Create(CreateSite),
    /// Change a site's domain, currency or aliases.
    Set(SetSite),
    /// Show what collectors refuse, change and limit of a site's events, or give it other rules.
    Rules {
        /// Id or domain of the site.
        #[arg(long)]
        site: String,
        /// File with all rules as JSON, as the API takes them; what is left out has its default.
        #[arg(long = "set", value_name = "FILE", value_parser = read_file, group = "what")]
        #[serde(default)]
        rules: Option<String>,
        /// File with rules as for `--set`: say what they would have done to the last 24 hours, and change nothing.
        #[arg(long, value_name = "FILE", value_parser = read_file, group = "what")]
        #[serde(default)]
        preview: Option<String>,
        /// Make an earlier version of the rules the newest.
        #[arg(long, value_name = "VERSION", group = "what")]
        #[serde(default)]
        restore: Option<u64>,
        /// List all versions, the newest first.
        #[arg(long, group = "what")]
        #[serde(default)]
        history: bool,
        /// List the schemas that events have had, the newest first.
        #[arg(long, group = "what")]
        #[serde(default)]
        schemas: bool,
        /// With --set: take schemas that break with the last ones of their events, too.
        #[arg(long, requires = "rules")]
        #[serde(default)]
        force: bool,
    },
    /// List all sites.
    List,
}

/// The text of a file of rules: it is read where the command is given, not where the server runs.
fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// A site to be made.
#[derive(Clone, Debug, Serialize, Deserialize, Args, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSite {
    /// Host name of the site, such as shop.example.
    #[arg(long, value_parser = checked::<Domain>)]
    pub domain: String,
    /// IANA time zone in which its days begin; fixed once the site is made.
    #[arg(long, default_value = "UTC", value_parser = checked::<Zone>)]
    #[serde(default = "default_timezone")]
    pub timezone: String,
    /// ISO 4217 code of the currency its reports are in.
    #[arg(long, default_value = "USD", value_parser = checked::<Currency>)]
    #[serde(default = "default_currency")]
    pub currency: String,
    /// Minutes without an event after which a visit is over, 1 to 240; fixed once the site is made.
    #[arg(long, value_name = "MINUTES", default_value_t = DEFAULT_SESSION_GAP, value_parser = minutes)]
    #[serde(default = "default_session_gap")]
    pub session_gap: u32,
}

/// A site just made, with its keys.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MadeSite {
    /// Its id.
    pub site_id: u64,
    /// Its host name.
    pub domain: String,
    /// IANA name.
    pub timezone: String,
    /// ISO 4217.
    pub currency: String,
    /// Minutes without an event after which a visit is over.
    pub session_gap_minutes: u32,
    /// Public key, for pages and apps.
    pub write_key: String,
    /// Secret key, for servers.
    pub server_key: String,
}

const DEFAULT_SESSION_GAP: u32 = 30;

fn default_timezone() -> String {
    "UTC".to_owned()
}

fn default_currency() -> String {
    "USD".to_owned()
}

const fn default_session_gap() -> u32 {
    DEFAULT_SESSION_GAP
}

/// A setting as given, if it can be one: what can't is wrong usage.
fn checked<T: FromStr<Err = InvalidSetting>>(given: &str) -> Result<String, InvalidSetting> {
    given.parse::<T>().map(|_| given.to_owned())
}

fn minutes(given: &str) -> Result<u32, InvalidSetting> {
    given.parse::<SessionGap>().map(SessionGap::minutes)
}

/// What of a site is to change.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
pub struct SetSite {
    /// Id or domain of the site.
    #[arg(long)]
    pub site: String,
    /// Its new host name.
    #[arg(long, value_parser = checked::<Domain>)]
    #[serde(default)]
    pub domain: Option<String>,
    /// The ISO 4217 code of its new currency.
    #[arg(long, value_parser = checked::<Currency>)]
    #[serde(default)]
    pub currency: Option<String>,
    /// A name that another tracker's client has for the site, as TRACKER:ID (plausible:shop.example, ga4:G-12345,
    /// segment:WRITEKEY, matomo:1, …); may be given more than once.
    #[arg(long, value_name = "TRACKER:ID", value_parser = checked::<Alias>)]
    #[serde(default)]
    pub alias: Vec<String>,
    /// A name that the site is to have no longer; may be given more than once.
    #[arg(long, value_name = "TRACKER:ID", value_parser = checked::<Alias>)]
    #[serde(default)]
    pub remove_alias: Vec<String>,
    /// Only the one it has: all that was counted so far was counted by it.
    #[arg(long, value_parser = checked::<Zone>)]
    #[serde(default)]
    pub timezone: Option<String>,
    /// Only the one it has: all that was counted so far was counted by it.
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    #[serde(default)]
    pub session_gap: Option<u32>,
}

/// A command about goals.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum GoalRequest {
    /// Make a goal. It is found in all events, also in those of the past.
    Create(CreateGoal),
    /// List a site's goals.
    List {
        /// Id or domain of the site.
        #[arg(long)]
        site: String,
    },
    /// Delete a goal.
    Delete {
        /// Id or domain of the site.
        #[arg(long)]
        site: String,
        /// Its id, as listed.
        id: u64,
    },
}

/// A goal to be made.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
pub struct CreateGoal {
    /// Id or domain of the site.
    #[arg(long)]
    pub site: String,
    /// What reports call it.
    #[arg(long)]
    pub name: String,
    /// Events of this name reach it.
    #[arg(long, group = "rule", required_unless_present_any = ["page", "filter"])]
    #[serde(default)]
    pub event: Option<String>,
    /// Views of pages with this path reach it; * stands for any characters but /, ** for any.
    #[arg(long, value_name = "PATH", group = "rule")]
    #[serde(default)]
    pub page: Option<String>,
    /// Events that fit this filter reach it: JSON as in a question's filters.
    #[arg(long, value_name = "JSON", group = "rule")]
    #[serde(default)]
    pub filter: Option<String>,
}

/// A command about keys.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum KeyRequest {
    /// Make a key for a site.
    Create {
        /// Id or domain of the site.
        #[arg(long)]
        site: String,
        /// `write` for pages and apps, `server` for servers.
        #[arg(long, value_enum, default_value = "write")]
        kind: KeyKind,
        /// Id of an app that may send with the key, such as com.example.shop; may be given more than once. Requests then
        /// have to name it in the header Wakeline-App. Without: whoever has the key may send.
        #[arg(long = "app", value_name = "APP", value_parser = checked::<AppId>)]
        #[serde(default)]
        apps: Vec<String>,
    },
    /// End a key. Collectors that are connected obey within seconds.
    Revoke {
        /// The whole key.
        key: String,
    },
    /// List the keys that work.
    List {
        /// Only those of this site: its id or domain.
        #[arg(long)]
        #[serde(default)]
        site: Option<String>,
    },
}

/// A command about tokens.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum TokenRequest {
    /// Make a token. It is shown this once.
    Create {
        /// What it is for.
        #[arg(long, default_value = "admin")]
        name: String,
        /// Id or domain of a site that it is for, may be given more than once: it sees and changes nothing else. Without: it may
        /// do everything.
        #[arg(long = "site", value_name = "SITE")]
        #[serde(default)]
        sites: Vec<String>,
    },
    /// End a token and the sessions that were opened with it.
    Revoke {
        /// Its id, as listed.
        id: u64,
    },
    /// List all tokens, without their secrets.
    List,
}
