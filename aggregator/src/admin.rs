//! What an operator can ask for: one request type for the command line, the socket and programs.
//!
//! A running server answers on `DATA/admin.sock` (mode 0600): a line of JSON in, a line of JSON out. Without a server
//! the command opens the folder itself.

use std::{io, path::PathBuf, str::FromStr, sync::Arc};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::control::{
    Alias, Control, ControlError, Currency, Domain, InvalidSetting, KeyKind, NewSite, SessionGap,
    Zone,
};
use crate::ledger::{Desk, LedgerError, LedgerQuery, LetterQuery, ReplayRequest};

use crate::generations::{Generations, RebuildError, Step};
use crate::server::StartError;

mod socket;

pub(crate) use self::socket::AdminSocket;
pub use self::socket::ask;

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
    /// Make, revoke and list the tokens that people sign in and call the API with.
    #[command(subcommand)]
    Token(TokenRequest),
    /// Show what became of everything that was received, by hour or day. Needs a running server.
    Ledger(LedgerQuery),
    /// List refused events, and send them again. Needs a running server.
    #[command(subcommand)]
    DeadLetter(DeadLetterRequest),
    /// Make what follows from the log anew, while what is in use goes on.
    #[command(subcommand)]
    Rebuild(RebuildRequest),
    /// Apply the log again from some point on.
    Replay(Replay),
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
        #[arg(long = "set", value_name = "FILE", value_parser = read_rules)]
        #[serde(default)]
        rules: Option<String>,
    },
    /// List all sites.
    List,
}

/// The text of a file of rules: it is read where the command is given, not where the server runs.
fn read_rules(path: &str) -> Result<String, String> {
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

/// A command about admin tokens.
#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "snake_case")]
pub enum TokenRequest {
    /// Make an admin token. It is shown this once.
    Create {
        /// What it is for.
        #[arg(long, default_value = "admin")]
        name: String,
    },
    /// End a token and the sessions that were opened with it.
    Revoke {
        /// Its id, as listed.
        id: u64,
    },
    /// List all tokens, without their secrets.
    List,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A setting is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// Nothing was asked for, or something that cannot be.
    #[error("{0}")]
    Refused(String),
    /// The control store said no.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// State was not made anew.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The folder can't be opened.
    #[error(transparent)]
    Open(#[from] Box<StartError>),
    /// A running server said no.
    #[error("{0}")]
    Server(String),
    /// Another process holds the folder and does not answer.
    #[error("{} is in use by another process, which does not answer", .0.display())]
    InUse(PathBuf),
    /// What was asked for is only known while a server runs.
    #[error("this needs a running server: start one with `serve` on that folder")]
    NoServer,
    /// Fates or dead letters could not be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is nothing to ask about.
    #[error(
        "there is no folder {}: give the one of the server with --data, or make a site to begin with", .0.display()
    )]
    NoFolder(PathBuf),
    /// The folder or the socket cannot be used.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

/// Carries a request out. The answer is what `--json` prints.
pub fn execute(control: &Control, request: AdminRequest) -> Result<Value, AdminError> {
    match request {
        AdminRequest::Site(request) => site(control, request),
        AdminRequest::Key(request) => key(control, request),
        AdminRequest::Token(request) => token(control, request),
        AdminRequest::Ledger(_)
        | AdminRequest::DeadLetter(_)
        | AdminRequest::Rebuild(_)
        | AdminRequest::Replay(_) => Err(AdminError::NoServer),
    }
}

/// As [`execute`], on an open folder: also what needs more than the control store. `desk` is a running server's. Tells how
/// far a long request is.
pub(crate) async fn carry_out(
    generations: &Arc<Generations>,
    desk: Option<&Desk>,
    request: AdminRequest,
    tell: impl Fn(Step),
) -> Result<Value, AdminError> {
    let running = || desk.ok_or(AdminError::NoServer);
    match request {
        AdminRequest::Ledger(query) => Ok(json!(running()?.ledger(&query).await?)),
        AdminRequest::DeadLetter(DeadLetterRequest::List(query)) => {
            Ok(json!(running()?.letters(&query).await?))
        }
        AdminRequest::DeadLetter(DeadLetterRequest::Replay(request)) => {
            Ok(json!(running()?.replay(&request).await?))
        }
        AdminRequest::Rebuild(RebuildRequest::State) => Ok(json!(generations.rebuild(tell).await?)),
        AdminRequest::Rebuild(RebuildRequest::Metrics) => {
            running()?;
            Ok(json!(generations.rebuild_metrics(tell).await?))
        }
        AdminRequest::Replay(replay) => self::replay(generations, &replay, tell).await,
        request => {
            let control = Arc::clone(&generations.control);
            match tokio::task::spawn_blocking(move || execute(&control, request)).await {
                Ok(answer) => answer,
                Err(error) => Err(AdminError::Server(error.to_string())),
            }
        }
    }
}

/// State is a function of all that the log has of a visitor, and what it was at an earlier offset is not kept: a replay
/// begins where it is known, which is the log's beginning.
async fn replay(
    generations: &Arc<Generations>,
    replay: &Replay,
    tell: impl Fn(Step),
) -> Result<Value, AdminError> {
    let from = match (replay.from_offset, &replay.from_time) {
        (Some(offset), None) => offset,
        (None, Some(time)) => {
            let time: jiff::Timestamp = time
                .parse()
                .map_err(|error| AdminError::Refused(format!("from_time: {error}")))?;
            let time_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
            generations.offset_at(time_ms).await?
        }
        _ => {
            return Err(AdminError::Refused(
                "either from_offset or from_time".to_owned(),
            ));
        }
    };
    generations.check_offset(from)?;
    let rebuilt = generations.rebuild(tell).await?;
    let mut answer = json!(rebuilt);
    answer["from_offset"] = from.into();
    answer["read_from"] = 0.into();
    Ok(answer)
}

/// Whether `request` needs more of the folder than its control store.
pub(crate) const fn needs_state(request: &AdminRequest) -> bool {
    matches!(
        request,
        AdminRequest::Rebuild(RebuildRequest::State) | AdminRequest::Replay(_)
    )
}

/// Sees to it that somebody can sign in: takes `given` as an admin token, else makes the first one if there is none.
/// Gives the secret of a token made now; it cannot be had again.
pub fn first_token(control: &Control, given: Option<&str>) -> Result<Option<String>, ControlError> {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        control.adopt_token("environment", given)?;
        return Ok(None);
    }
    if !control.tokens().is_empty() {
        return Ok(None);
    }
    let (_, secret) = control.create_token("first")?;
    Ok(Some(secret))
}

fn site(control: &Control, request: SiteRequest) -> Result<Value, AdminError> {
    match request {
        SiteRequest::Create(new) => {
            let made = control.create_site(&NewSite {
                domain: new.domain.parse()?,
                timezone: new.timezone.parse()?,
                currency: new.currency.parse()?,
                session_gap: new.session_gap.to_string().parse()?,
            })?;
            Ok(json!(MadeSite {
                site_id: made.site.id,
                domain: made.site.domain,
                timezone: made.site.timezone,
                currency: made.site.currency,
                session_gap_minutes: made.site.session_gap_minutes,
                write_key: made.write_key,
                server_key: made.server_key,
            }))
        }
        SiteRequest::Set(change) => set_site(control, &change),
        SiteRequest::Rules { site, rules } => {
            let site = site_id(control, &site)?;
            let Some(text) = rules else {
                return Ok(json!(control.snapshot().rules(site)));
            };
            let rules = serde_json::from_str(&text)
                .map_err(|error| ControlError::BadRules(error.to_string()))?;
            Ok(json!(control.set_rules(site, &rules, None)?))
        }
        SiteRequest::List => Ok(json!({ "sites": control.snapshot().sites })),
    }
}

fn set_site(control: &Control, change: &SetSite) -> Result<Value, AdminError> {
    let site = site_id(control, &change.site)?;
    let snapshot = control.snapshot();
    let now = snapshot.site(site);
    let domain = change
        .domain
        .as_deref()
        .map(str::parse::<Domain>)
        .transpose()?;
    let currency = change
        .currency
        .as_deref()
        .map(str::parse::<Currency>)
        .transpose()?;
    let timezone = change
        .timezone
        .as_deref()
        .map(str::parse::<Zone>)
        .transpose()?;
    let gap = change
        .session_gap
        .map(|gap| gap.to_string().parse::<SessionGap>())
        .transpose()?;
    let other_zone = |zone: &Zone| now.is_none_or(|site| site.timezone != zone.as_str());
    let other_gap =
        |gap: &SessionGap| now.is_none_or(|site| site.session_gap_minutes != gap.minutes());
    if timezone.as_ref().is_some_and(other_zone) || gap.as_ref().is_some_and(other_gap) {
        return Err(AdminError::Refused(
            "a site keeps the time zone and session gap it was made with: what has been counted was counted by them"
                .to_owned(),
        ));
    }
    let aliases = |given: &[String]| {
        let parsed = given.iter().map(|alias| alias.parse::<Alias>());
        parsed.collect::<Result<Vec<_>, _>>()
    };
    let add = aliases(&change.alias)?;
    let remove = aliases(&change.remove_alias)?;
    if domain.is_none()
        && currency.is_none()
        && timezone.is_none()
        && gap.is_none()
        && add.is_empty()
        && remove.is_empty()
    {
        return Err(AdminError::Refused(
            "nothing to change was given".to_owned(),
        ));
    }
    if !add.is_empty() || !remove.is_empty() {
        control.change_aliases(site, &add, &remove)?;
    }
    let site = control.update_site(site, domain.as_ref(), currency.as_ref())?;
    Ok(json!(site))
}

fn key(control: &Control, request: KeyRequest) -> Result<Value, AdminError> {
    match request {
        KeyRequest::Create { site, kind } => {
            let key = control.create_key(site_id(control, &site)?, kind)?;
            Ok(json!(key))
        }
        KeyRequest::Revoke { key } => {
            control.revoke_key(&key)?;
            Ok(json!({ "revoked": key }))
        }
        KeyRequest::List { site } => {
            let site = site.map(|site| site_id(control, &site)).transpose()?;
            let snapshot = control.snapshot();
            let keys: Vec<_> = snapshot
                .keys
                .iter()
                .filter(|key| site.is_none_or(|site| key.site == site))
                .collect();
            Ok(json!({ "keys": keys }))
        }
    }
}

fn token(control: &Control, request: TokenRequest) -> Result<Value, AdminError> {
    match request {
        TokenRequest::Create { name } => {
            let (token, secret) = control.create_token(&name)?;
            Ok(json!({ "id": token.id, "name": token.name, "token": secret }))
        }
        TokenRequest::Revoke { id } => {
            control.revoke_token(id)?;
            Ok(json!({ "revoked": id }))
        }
        TokenRequest::List => Ok(json!({ "tokens": control.tokens() })),
    }
}

/// The id of the site of that id or domain.
fn site_id(control: &Control, name: &str) -> Result<u64, ControlError> {
    let snapshot = control.snapshot();
    let site = snapshot.find_site(name);
    site.map(|site| site.id)
        .ok_or_else(|| ControlError::NoSite(name.to_owned()))
}
