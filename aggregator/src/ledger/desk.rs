//! Answers questions about fates, and replays dead letters: for the API and the command line alike.

use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use wakeline_proto::Reason;

use super::backlog::Backlog;
use super::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, Filter, LetterId};
use super::read::FateStore;
use super::replay::{
    MAX_LETTERS, Outcome, ReplayAnswer, ReplayRequest, Replayed, SendError, Sender,
};
use super::report::{CollectorBacklog, LedgerQuery, LedgerReport, Span, Waiting, forgive, lines};
use super::{UNKNOWN, UNKNOWN_SITE, replay, span};
use crate::control::{Control, KeyKind};
use crate::metrics::{MetricError, MetricStore};

/// Letters of a page, by default.
const DEFAULT_PAGE: usize = 50;
/// Letters of a page, at most.
const MAX_PAGE: usize = 500;

/// Why a question about fates or dead letters could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A time is none.
    #[error("{0}: RFC 3339 (2026-11-21T10:00:00Z) or a date (2026-11-21)")]
    Time(&'static str),
    /// No letter is ever of that reason.
    #[error("reason: there is no {0}, but {known}", known = reasons())]
    Reason(String),
    /// The range is empty.
    #[error("from is not before to")]
    Backwards,
    /// The range is too long.
    #[error("more than {0} lines: ask for a shorter time, or by day")]
    TooLong(i64),
    /// A letter's id is none.
    #[error("there is no dead letter {0}: it may be older than the limit")]
    NoLetter(String),
    /// No such site.
    #[error("there is no site {0}")]
    NoSite(String),
    /// It is not known where to replay to.
    #[error("where is the collector? Set http.collector_url, or give its URL")]
    NoCollector,
    /// What was given is no URL.
    #[error("collector: http:// or https:// and a host, such as https://collect.example")]
    CollectorUrl,
    /// Replayed events keep their times, so they are sent as a server's.
    #[error("site {0} has no server key to replay with: make one with `key create --kind server`")]
    NoServerKey(u64),
    /// The fates can't be read.
    #[error(transparent)]
    Fates(#[from] MetricError),
    /// The letters can't be read or marked.
    #[error(transparent)]
    Letters(#[from] DeadLetterError),
    /// The collector did not take the events.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Args, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LetterQuery {
    /// Id or domain of the site.
    #[arg(long = "site")]
    pub site_id: String,
    /// Only of this reason, such as `too_old`.
    #[arg(long, value_parser = checked_reason)]
    #[serde(default)]
    pub reason: Option<String>,
    /// Received then or later: RFC 3339, or a date (UTC).
    #[arg(long)]
    #[serde(default)]
    pub from: Option<String>,
    /// Received before: RFC 3339, or a date (UTC), which is included.
    #[arg(long)]
    #[serde(default)]
    pub to: Option<String>,
    /// Go on after this letter, newest first: `next` of the page before.
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub after: Option<String>,
    /// Letters of a page, 1 to 500; by default 50.
    #[arg(long)]
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A page of dead letters, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LetterList {
    /// The letters.
    pub letters: Vec<Letter>,
    /// Give it as `after` to go on; none: this is all.
    pub next: Option<String>,
}

/// A refused event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Letter {
    /// Its id.
    pub id: String,
    /// When the collector had it, RFC 3339.
    pub received_at: String,
    /// Why it was refused.
    pub reason: String,
    /// More on that, for people.
    pub detail: String,
    /// The event as it came. A long one is cut: then it has `cut` and `bytes`.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// When it was last sent again, RFC 3339.
    pub replayed_at: Option<String>,
    /// What came of that: `accepted`, `rejected` or `not_replayable`.
    pub outcome: Option<String>,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        let payload = serde_json::from_slice(&letter.payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(&letter.payload).into());
        let (replayed_at, outcome) = letter.replayed.unzip();
        Self {
            id: letter.id.to_string(),
            received_at: text(letter.id.received_at),
            reason: letter.reason,
            detail: letter.detail,
            payload,
            replayed_at: replayed_at.map(text),
            outcome,
        }
    }
}

/// Where fates and dead letters are asked for.
pub struct Desk {
    control: Arc<Control>,
    fates: Arc<dyn FateStore>,
    metrics: Arc<dyn MetricStore>,
    letters: Arc<DeadLetters>,
    backlog: Arc<Backlog>,
    collector_url: Option<String>,
    grace_ms: i64,
    sender: Sender,
    clock: fn() -> i64,
}

/// What a desk works with.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
    pub(crate) fates: Arc<dyn FateStore>,
    pub(crate) metrics: Arc<dyn MetricStore>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) backlog: Arc<Backlog>,
    /// Where letters are replayed to, if nobody says otherwise.
    pub(crate) collector_url: Option<String>,
    /// For how long a number that a client gave may be missing, in ms.
    pub(crate) grace_ms: i64,
    /// Unix milliseconds.
    pub(crate) clock: fn() -> i64,
}

impl Desk {
    /// Fails if the system has no TLS.
    pub(crate) fn new(tools: Tools) -> std::io::Result<Self> {
        Ok(Self {
            control: tools.control,
            fates: tools.fates,
            metrics: tools.metrics,
            letters: tools.letters,
            backlog: tools.backlog,
            collector_url: tools.collector_url,
            grace_ms: tools.grace_ms,
            sender: Sender::new().map_err(std::io::Error::other)?,
            clock: tools.clock,
        })
    }

    /// What became of everything that was received.
    pub async fn ledger(&self, query: &LedgerQuery) -> Result<LedgerReport, LedgerError> {
        let (site, name) = if query.site_id == UNKNOWN {
            (UNKNOWN_SITE, UNKNOWN.to_owned())
        } else {
            self.site(&query.site_id)?
        };
        let now_ms = (self.clock)();
        let span = Span::of(query, now_ms)?;
        let mut rows = self.fates.fates(site, span.hours()).await?;
        forgive(&mut rows, now_ms, self.grace_ms);
        let (lines, total) = lines(&rows, query.interval, span.from_ms);
        Ok(LedgerReport {
            site: name,
            interval: query.interval,
            from: span::text(span.from_ms),
            to: span::text(span.to_ms),
            lines,
            total,
            waiting: self.waiting(),
        })
    }

    fn waiting(&self) -> Waiting {
        let at = self.metrics.watermark();
        let now_ms = u64::try_from((self.clock)()).unwrap_or(0);
        let collectors = self.backlog.all(now_ms).into_iter();
        Waiting {
            log_records: at.log_end.saturating_sub(at.applied),
            collectors: collectors
                .map(|(edge, said)| CollectorBacklog {
                    edge: format!("{edge:016x}"),
                    connected: said.connected,
                    pending: said.pending,
                    said_at: text(said.at_ms),
                    silent_since: (!said.connected).then(|| text(said.at_ms)),
                })
                .collect(),
        }
    }

    /// A page of a site's dead letters.
    pub async fn letters(&self, query: &LetterQuery) -> Result<LetterList, LedgerError> {
        let (site, _) = self.site(&query.site_id)?;
        let filter = filter(
            query.reason.as_ref(),
            query.from.as_ref(),
            query.to.as_ref(),
        )?;
        let after = query.after.as_deref().map(letter_id).transpose()?;
        let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
        let page = self
            .blocking(move |letters| letters.list(site, &filter, after, limit))
            .await?;
        Ok(LetterList {
            letters: page.letters.into_iter().map(Letter::from).collect(),
            next: page.next.map(|id| id.to_string()),
        })
    }

    /// Sends dead letters of a site again. Letters that were sent before an error stay marked.
    pub async fn replay(&self, request: &ReplayRequest) -> Result<ReplayAnswer, LedgerError> {
        let (site, _) = self.site(&request.site_id)?;
        let url = self.collector(request)?;
        let key = self.server_key(site)?;
        let (letters, more) = self.chosen(site, request).await?;
        let mut answer = ReplayAnswer {
            more,
            ..ReplayAnswer::default()
        };
        let mut events = Vec::new();
        for (index, letter) in letters.iter().enumerate() {
            match replay::revive(letter) {
                Ok(event) => events.push((index, event)),
                Err(why) => {
                    let outcome = (letter.id, Outcome::NotReplayable, Some(why.to_owned()));
                    self.note(site, vec![outcome], &mut answer).await?;
                }
            }
        }
        for batch in replay::requests(events) {
            let sent: Vec<&Value> = batch.iter().map(|(_, event)| event).collect();
            let fates = self.sender.send(&url, &key, &sent).await?;
            let ids = batch.iter().map(|(index, _)| letters[*index].id);
            let outcomes = ids.zip(fates).map(|(id, refused)| {
                let outcome = refused
                    .as_ref()
                    .map_or(Outcome::Accepted, |_| Outcome::Rejected);
                (id, outcome, refused)
            });
            self.note(site, outcomes.collect(), &mut answer).await?;
        }
        Ok(answer)
    }

    /// The letters that a request means, and whether there are more of them.
    async fn chosen(
        &self,
        site: u64,
        request: &ReplayRequest,
    ) -> Result<(Vec<DeadLetter>, bool), LedgerError> {
        if request.ids.is_empty() {
            let filter = Filter {
                unreplayed: true,
                ..filter(
                    request.reason.as_ref(),
                    request.from.as_ref(),
                    request.to.as_ref(),
                )?
            };
            let page = self
                .blocking(move |letters| letters.list(site, &filter, None, MAX_LETTERS))
                .await?;
            return Ok((page.letters, page.next.is_some()));
        }
        let more = request.ids.len() > MAX_LETTERS;
        let wanted = request.ids.iter().take(MAX_LETTERS);
        let ids: Vec<LetterId> = wanted.map(|id| letter_id(id)).collect::<Result<_, _>>()?;
        let found = self
            .blocking(move |letters| {
                let found = ids.iter().map(|id| Ok((*id, letters.get(site, *id)?)));
                found.collect::<Result<Vec<_>, DeadLetterError>>()
            })
            .await?;
        let found = found
            .into_iter()
            .map(|(id, letter)| letter.ok_or_else(|| LedgerError::NoLetter(id.to_string())));
        Ok((found.collect::<Result<_, _>>()?, more))
    }

    /// Marks letters and adds them to the answer.
    async fn note(
        &self,
        site: u64,
        outcomes: Vec<(LetterId, Outcome, Option<String>)>,
        answer: &mut ReplayAnswer,
    ) -> Result<(), LedgerError> {
        for (id, outcome, detail) in &outcomes {
            *match outcome {
                Outcome::Accepted => &mut answer.accepted,
                Outcome::Rejected => &mut answer.rejected,
                Outcome::NotReplayable => &mut answer.not_replayable,
            } += 1;
            answer.results.push(Replayed {
                id: id.to_string(),
                outcome: *outcome,
                detail: detail.clone(),
            });
        }
        let now = u64::try_from((self.clock)()).unwrap_or(0);
        self.blocking(move |letters| {
            let marks = outcomes
                .iter()
                .map(|(id, outcome, _)| (*id, outcome.as_str()));
            letters.mark(site, marks, now)
        })
        .await
    }

    fn site(&self, name: &str) -> Result<(u64, String), LedgerError> {
        let snapshot = self.control.snapshot();
        let site = snapshot.find_site(name);
        site.map(|site| (site.id, site.domain.clone()))
            .ok_or_else(|| LedgerError::NoSite(name.to_owned()))
    }

    fn collector(&self, request: &ReplayRequest) -> Result<String, LedgerError> {
        let given = request.collector.as_ref().or(self.collector_url.as_ref());
        let url = given.ok_or(LedgerError::NoCollector)?;
        if !crate::config::is_base_url(url) {
            return Err(LedgerError::CollectorUrl);
        }
        Ok(url.clone())
    }

    fn server_key(&self, site: u64) -> Result<String, LedgerError> {
        let snapshot = self.control.snapshot();
        let mut keys = snapshot.keys.iter();
        let key = keys.find(|key| key.site == site && key.kind == KeyKind::Server);
        key.map(|key| key.key.clone())
            .ok_or(LedgerError::NoServerKey(site))
    }

    /// Letters are on the disk, which is waited for elsewhere.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DeadLetters) -> Result<T, DeadLetterError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let letters = Arc::clone(&self.letters);
        let done = tokio::task::spawn_blocking(move || work(&letters)).await;
        Ok(done.map_err(|_| LedgerError::Stopping)??)
    }
}

fn filter(
    reason: Option<&String>,
    from: Option<&String>,
    to: Option<&String>,
) -> Result<Filter, LedgerError> {
    let time = |text: Option<&String>, name, is_end| {
        text.map(|text| {
            let ms = span::instant(text, is_end).ok_or(LedgerError::Time(name))?;
            Ok::<_, LedgerError>(u64::try_from(ms).unwrap_or(0))
        })
        .transpose()
    };
    let reason = reason.map(|given| {
        checked_reason(given).map_err(|_| LedgerError::Reason(given.chars().take(40).collect()))
    });
    Ok(Filter {
        reason: reason.transpose()?,
        from_ms: time(from, "from", false)?.unwrap_or(0),
        to_ms: time(to, "to", true)?.unwrap_or(u64::MAX),
        unreplayed: false,
    })
}

/// The reasons that letters can have.
fn reasons() -> String {
    let kept = Reason::ALL.into_iter().filter(|reason| reason.is_kept());
    let names: Vec<_> = kept.map(Reason::as_str).collect();
    names.join(", ")
}

/// A reason that letters can have: another word is wrong usage.
pub(super) fn checked_reason(given: &str) -> Result<String, String> {
    match Reason::from_name(given) {
        Some(reason) if reason.is_kept() => Ok(given.to_owned()),
        _ => Err(format!("one of {}", reasons())),
    }
}

fn letter_id(text: &str) -> Result<LetterId, LedgerError> {
    text.parse()
        .map_err(|()| LedgerError::NoLetter(text.to_owned()))
}

fn text(ms: u64) -> String {
    span::text(i64::try_from(ms).unwrap_or(i64::MAX))
}
