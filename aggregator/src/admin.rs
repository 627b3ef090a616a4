//! What an operator can ask for: one request type for the command line, the socket and programs.
//!
//! A running server answers on `DATA/admin.sock` (mode 0600): a line of JSON in, a line of JSON out. Without a server
//! the command opens the folder itself.

mod lake;
mod request;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use wakeline_query::GoalRule;

use crate::api::query::{self, Stores};
use crate::control::{
    Alias, AppId, Control, ControlError, Currency, Domain, InvalidSetting, NewSite, SessionGap,
    SiteRules, Zone,
};
use crate::generations::{Generations, Listed, RebuildError, Step};
use crate::lake::LakeUnavailable;
use crate::ledger::{Desk, LedgerError};
use crate::metrics::MetricStore;
use crate::preview::{PreviewError, PreviewRequest, Previewer};
use crate::server::{StartError, now_ms};

pub use self::request::{
    AdminRequest, CreateGoal, CreateSite, DeadLetterRequest, EraseVisitor, GenerationRequest,
    GoalRequest, KeyRequest, LakeRequest, MadeSite, RebuildRequest, Replay, SetSite, SiteRequest,
    TokenRequest,
};
pub(crate) use self::socket::AdminSocket;
pub use self::socket::ask;

/// Who changes rules by command.
const COMMAND_LINE: &str = "command line";

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
    /// The server is gone.
    #[error(
        "the server ended before it answered, so that what was asked for may be done or not: its log says why it ended; start \
         it, see, and ask again if need be"
    )]
    Ended,
    /// The server is there and does not answer.
    #[error(
        "the server does not answer: its log may say why; what was asked for may still be done"
    )]
    Silent,
    /// What was asked for is only done while a server runs.
    #[error("this needs a running server: start one with `serve` on that folder")]
    NoServer,
    /// What was asked for is not in the control store.
    #[error(
        "this needs more of the folder than its control store: use the command line, or a running server"
    )]
    NoState,
    /// There is no preview of rules.
    #[error(transparent)]
    Preview(#[from] PreviewError),
    /// Fates or dead letters could not be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The lake said no.
    #[error(transparent)]
    Lake(#[from] LakeUnavailable),
    /// There is nothing to ask about.
    #[error(
        "there is no folder {}: give the one of the server with --data, or make a site to begin with", .0.display()
    )]
    NoFolder(PathBuf),
    /// The folder or the socket cannot be used.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

/// Carries out what needs the control store only. The answer is what `--json` prints.
pub fn execute(control: &Control, request: AdminRequest) -> Result<Value, AdminError> {
    match request {
        AdminRequest::Site(request) => site(control, request),
        AdminRequest::Key(request) => key(control, request),
        AdminRequest::Token(request) => token(control, request),
        AdminRequest::Goal(request) => goal(control, request),
        AdminRequest::Rebuild(RebuildRequest::Metrics) => Err(AdminError::NoServer),
        AdminRequest::Generation(GenerationRequest::List) => {
            Ok(json!({ "generations": generations_of(control)? }))
        }
        AdminRequest::Ledger(_)
        | AdminRequest::DeadLetter(_)
        | AdminRequest::Rebuild(RebuildRequest::State | RebuildRequest::Lake)
        | AdminRequest::Generation(_)
        | AdminRequest::Query { .. }
        | AdminRequest::Replay(_)
        | AdminRequest::Erase(_)
        | AdminRequest::Lake(_) => Err(AdminError::NoState),
    }
}

/// As [`execute`], on an open folder: also what needs more than the control store. Tells how far a long request is.
pub(crate) async fn carry_out(
    generations: &Arc<Generations>,
    desk: &Desk,
    request: AdminRequest,
    tell: impl Fn(Step),
) -> Result<Value, AdminError> {
    match request {
        AdminRequest::Ledger(query) => Ok(json!(desk.ledger(&query).await?)),
        AdminRequest::Query { question } => answer(generations, &question).await,
        AdminRequest::DeadLetter(DeadLetterRequest::List(query)) => {
            Ok(json!(desk.letters(&query).await?))
        }
        AdminRequest::DeadLetter(DeadLetterRequest::Replay(request)) => {
            Ok(json!(desk.replay(&request).await?))
        }
        AdminRequest::Rebuild(RebuildRequest::State) => Ok(json!(generations.rebuild(tell).await?)),
        AdminRequest::Rebuild(RebuildRequest::Metrics) => {
            Ok(json!(generations.rebuild_metrics(tell).await?))
        }
        AdminRequest::Replay(replay) => self::replay(generations, &replay, tell).await,
        AdminRequest::Generation(GenerationRequest::Rollback) => {
            Ok(json!(generations.go_back(None, tell).await?))
        }
        AdminRequest::Generation(GenerationRequest::Switch { number }) => {
            Ok(json!(generations.go_back(Some(number), tell).await?))
        }
        request if self::lake::is_about(&request) => {
            self::lake::carry_out(generations, request).await
        }
        AdminRequest::Site(SiteRequest::Rules {
            site,
            preview: Some(rules),
            ..
        }) => {
            let request = PreviewRequest {
                rules: read_rules(&rules)?,
                hours: None,
            };
            let site = site_id(&generations.control, &site)?;
            let snapshot = generations.control.snapshot();
            let previewer = Previewer::new(generations.log.clone());
            let preview = previewer.preview(&snapshot, site, &request, now_ms());
            Ok(json!(preview.await?))
        }
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
            generations.offset_at(time).await?
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

/// Answers a question as the API does.
async fn answer(generations: &Arc<Generations>, question: &str) -> Result<Value, AdminError> {
    let snapshot = generations.control.snapshot();
    let events = generations.events();
    let pinned = MetricStore::pinned(&**generations);
    let stores = Stores {
        control: &snapshot,
        metrics: pinned.as_deref().unwrap_or(&**generations),
        events: &events,
    };
    let answer = query::ask(question.as_bytes(), stores, now_ms()).await;
    Ok(json!(
        answer.map_err(|error| AdminError::Refused(error.to_string()))?
    ))
}

fn goal(control: &Control, request: GoalRequest) -> Result<Value, AdminError> {
    match request {
        GoalRequest::Create(new) => {
            let site = site_id(control, &new.site)?;
            let rule = match (new.event, new.page, new.filter) {
                (Some(event), None, None) => GoalRule::Event(event),
                (None, Some(page), None) => GoalRule::Page(page),
                (None, None, Some(filter)) => {
                    let filter = serde_json::from_str(&filter);
                    GoalRule::Filter(
                        filter.map_err(|error| AdminError::Refused(format!("filter: {error}")))?,
                    )
                }
                _ => {
                    return Err(AdminError::Refused(
                        "give one of event, page and filter".to_owned(),
                    ));
                }
            };
            Ok(json!(control.create_goal(site, &new.name, &rule)?))
        }
        GoalRequest::List { site } => {
            let site = site_id(control, &site)?;
            let snapshot = control.snapshot();
            let goals = snapshot.goals.iter().filter(|goal| goal.site == site);
            Ok(json!({ "goals": goals.collect::<Vec<_>>() }))
        }
        GoalRequest::Delete { site, id } => {
            let site = site_id(control, &site)?;
            control.delete_goal(site, id)?;
            Ok(json!({ "deleted": id }))
        }
    }
}

/// Whether `request` needs more of the folder than its control store.
pub(crate) const fn needs_state(request: &AdminRequest) -> bool {
    matches!(
        request,
        AdminRequest::Rebuild(RebuildRequest::State | RebuildRequest::Lake)
            | AdminRequest::Replay(_)
            | AdminRequest::Generation(
                GenerationRequest::Rollback | GenerationRequest::Switch { .. }
            )
            | AdminRequest::Erase(_)
            | AdminRequest::Lake(_)
            | AdminRequest::Ledger(_)
            | AdminRequest::DeadLetter(_)
            | AdminRequest::Query { .. }
            | AdminRequest::Site(SiteRequest::Rules {
                preview: Some(_),
                ..
            })
    )
}

/// Whether `request` may take as long as the log, or the lake, is.
pub(crate) const fn is_long(request: &AdminRequest) -> bool {
    matches!(
        request,
        AdminRequest::Rebuild(_)
            | AdminRequest::Replay(_)
            | AdminRequest::Generation(
                GenerationRequest::Rollback | GenerationRequest::Switch { .. }
            )
            | AdminRequest::Erase(_)
    )
}

/// All generations of state, the one in use first.
fn generations_of(control: &Control) -> Result<Vec<Listed>, ControlError> {
    let listed = control.generations()?;
    let of = |generation, is| Listed { generation, is };
    let in_use = of(listed.in_use.number, "in_use");
    let previous = listed.previous.map(|at| of(at.number, "previous"));
    let others = listed.others.into_iter().map(|at| of(at, "unused"));
    Ok(std::iter::once(in_use)
        .chain(previous)
        .chain(others)
        .collect())
}

/// Sees to it that somebody can sign in: takes `given` as an admin token, else makes the first one if there is none.
/// Gives the secret of a token made now; it cannot be had again.
pub fn first_token(control: &Control, given: Option<&str>) -> Result<Option<String>, ControlError> {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        control.adopt_token("environment", given)?;
        return Ok(None);
    }
    // Whoever has a token of some sites can't do everything.
    if control.tokens().iter().any(|token| token.sites.is_none()) {
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
        SiteRequest::Rules {
            preview: Some(_), ..
        } => Err(AdminError::NoState),
        SiteRequest::Rules {
            site,
            rules,
            restore,
            history,
            schemas,
            force,
            ..
        } => {
            let site = site_id(control, &site)?;
            if history {
                return Ok(json!({ "versions": control.rules_history(site)? }));
            }
            if schemas {
                return Ok(json!({ "schemas": control.schema_versions(site)? }));
            }
            // What was in force once may be again, whatever came since.
            let force = force || restore.is_some();
            let rules = match (rules, restore) {
                (Some(text), _) => self::read_rules(&text)?,
                (None, Some(version)) => {
                    let history = control.rules_history(site)?;
                    let kept = history.into_iter().find(|saved| saved.version == version);
                    kept.ok_or(ControlError::NoRules(version))?.rules
                }
                (None, None) => return Ok(json!(control.snapshot().rules(site))),
            };
            Ok(json!(control.set_rules(
                site,
                &rules,
                None,
                COMMAND_LINE,
                force,
            )?))
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
        KeyRequest::Create { site, kind, apps } => {
            let apps = apps.iter().map(|app| app.parse::<AppId>());
            let apps = apps.collect::<Result<Vec<_>, _>>()?;
            let key = control.create_key(site_id(control, &site)?, kind, &apps)?;
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
        TokenRequest::Create { name, sites } => {
            let ids = sites.iter().map(|site| site_id(control, site));
            let ids: Vec<u64> = ids.collect::<Result<_, _>>()?;
            let (token, secret) = if ids.is_empty() {
                control.create_token(&name)?
            } else {
                control.create_site_token(&name, &ids)?
            };
            Ok(json!({ "id": token.id, "name": token.name, "sites": token.sites, "token": secret }))
        }
        TokenRequest::Revoke { id } => {
            control.revoke_token(id)?;
            Ok(json!({ "revoked": id }))
        }
        TokenRequest::List => Ok(json!({ "tokens": control.tokens() })),
    }
}

fn read_rules(text: &str) -> Result<SiteRules, ControlError> {
    // A list would be read as the rules in their order.
    if !text.trim_start().starts_with('{') {
        return Err(ControlError::BadRules("rules are a JSON object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| ControlError::BadRules(error.to_string()))
}

/// The id of the site of that id or domain.
fn site_id(control: &Control, name: &str) -> Result<u64, ControlError> {
    let snapshot = control.snapshot();
    let site = snapshot.find_site(name);
    site.map(|site| site.id)
        .ok_or_else(|| ControlError::NoSite(name.to_owned()))
}
