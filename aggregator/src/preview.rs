//! What other rules would have done to what came in the last hours: the log's events, judged by the collectors' own steps.
//!
//! A preview takes a bounded time, and memory for a block and some samples; there is one at a time. What the log does not
//! have of an event can't be judged anew: [`Preview::not_told`] names what of the rules that concerns.

mod kept;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use wakeline_proto::{Reason, v1};
use wakeline_rules::SiteRules as Judge;

use crate::control::{ControlError, ControlSnapshot, Redaction, SiteRules};
use crate::log::{EventLog, LogError, LogReader as _, SegmentEventLog};
use crate::process::Decoder;

/// Hours that are looked at, at most and by default.
const MAX_HOURS: u8 = 24;
const HOUR_MS: i64 = 3_600_000;
/// How long one preview may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the log that are read at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Samples of each reason, the newest.
const SAMPLES: usize = 5;

/// Rules to look at.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// All rules: what is left out has its default.
    pub rules: SiteRules,
    /// How many of the last hours are looked at, 1 to 24. Default: 24.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 24)]
    pub hours: Option<u8>,
}

/// What rules would have done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Preview {
    /// Begin of the time that was looked at, by when events were logged; RFC 3339.
    pub from: String,
    /// Its end: of a preview that was not complete, what is after it was not looked at.
    pub to: String,
    /// Whether all was looked at that was asked for; if not, time ran out after 10 s, and each count is "at least".
    pub complete: bool,
    /// Accepted events that were looked at, copies included.
    pub accepted: u64,
    /// Refused events that were looked at: those that are kept whole.
    pub refused: u64,
    /// Of the accepted, those that the rules refuse.
    pub would_refuse: Changes,
    /// Of the refused, those that were refused by rules and that these rules let pass.
    pub would_accept: Changes,
    /// What of these rules a preview can't tell, in sentences.
    pub not_told: Vec<&'static str>,
}

/// Events whose fate would be another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Changes {
    /// How many.
    pub events: u64,
    /// How many by reason: the new one of those that would be refused, the old one of the others.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Some of them, the newest of each reason.
    pub samples: Vec<Sample>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Sample {
    /// When the collector had it, RFC 3339.
    pub received_at: String,
    /// Why it would be, or was, refused.
    pub reason: &'static str,
    /// More on that, for people.
    pub detail: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its name, if it has one.
    pub name: String,
    /// Host and path of its page, as they were kept.
    pub page: String,
    /// Where the visitor came from, as it was kept.
    pub referrer: String,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The rules can't be obeyed.
    #[error(transparent)]
    Rules(#[from] ControlError),
    /// The time is too long or none.
    #[error("hours: from 1 to {MAX_HOURS}")]
    Hours,
    /// One at a time.
    #[error("another preview is made: try again in some seconds")]
    Busy,
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No memory for reading.
    #[error("decompress the log")]
    Decoder(#[source] std::io::Error),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Makes previews, one at a time.
pub struct Previewer {
    log: SegmentEventLog,
    turn: Semaphore,
}

impl Previewer {
    pub(crate) fn new(log: SegmentEventLog) -> Self {
        Self {
            log,
            turn: Semaphore::new(1),
        }
    }

    /// What the rules would have done to the events of a site in the hours before `now` (Unix milliseconds).
    pub(crate) async fn preview(
        &self,
        control: &ControlSnapshot,
        site: u64,
        request: &PreviewRequest,
        now: i64,
    ) -> Result<Preview, PreviewError> {
        request.rules.check()?;
        let hours = request.hours.unwrap_or(MAX_HOURS);
        if !(1..=MAX_HOURS).contains(&hours) {
            return Err(PreviewError::Hours);
        }
        let Ok(_turn) = self.turn.try_acquire() else {
            return Err(PreviewError::Busy);
        };
        let known = control.site(site);
        let judged = v1::Site {
            id: site,
            domain: known.map(|site| site.domain.clone()).unwrap_or_default(),
            rules: Some((&request.rules).into()),
            ..v1::Site::default()
        };
        let scan = Scan {
            site,
            rules: Judge::from(&judged),
            from_ms: now - i64::from(hours) * HOUR_MS,
            now_ms: now,
            accepted: 0,
            refused: 0,
            would_refuse: Tally::default(),
            would_accept: Tally::default(),
        };
        let not_told = not_told(&control.rules(site).rules, &request.rules);
        let (log, runtime) = (self.log.clone(), Handle::current());
        // Reading the log waits for the disk.
        let done = tokio::task::spawn_blocking(move || runtime.block_on(scan.run(&log, PATIENCE)));
        let preview = done.await.map_err(|_| PreviewError::Stopping)??;
        Ok(Preview {
            not_told,
            ..preview
        })
    }
}

/// Counts, and the newest samples of each reason.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, (u64, VecDeque<Sample>)>);

impl Tally {
    fn add(&mut self, reason: Reason, sample: impl FnOnce() -> Sample) {
        let (count, samples) = self.0.entry(reason.as_str()).or_default();
        *count += 1;
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample());
    }

    fn into_changes(self) -> Changes {
        let mut changes = Changes::default();
        for (reason, (count, samples)) in self.0 {
            changes.events += count;
            changes.reasons.insert(reason, count);
            changes.samples.extend(samples.into_iter().rev());
        }
        changes
    }
}

/// One reading of the log.
struct Scan {
    site: u64,
    rules: Judge,
    from_ms: i64,
    now_ms: i64,
    accepted: u64,
    refused: u64,
    would_refuse: Tally,
    would_accept: Tally,
}

impl Scan {
    async fn run(
        mut self,
        log: &SegmentEventLog,
        patience: Duration,
    ) -> Result<Preview, PreviewError> {
        let until = Instant::now() + patience;
        let end = *log.end().borrow();
        let from_ms = u64::try_from(self.from_ms).unwrap_or(0);
        let mut reader = log.reader(first_at(log, from_ms, end).await?);
        let mut decoder = Decoder::new().map_err(PreviewError::Decoder)?;
        // Blocks that were logged twice are looked at once.
        let mut highest: HashMap<(u64, u32), u64> = HashMap::new();
        let mut seen_to = self.now_ms;
        let mut complete = true;
        'log: while reader.position() < end {
            let entries = reader.next(BATCH_BYTES).await?;
            if entries.is_empty() {
                break;
            }
            for record in entries.into_iter().filter_map(|entry| entry.record) {
                if record.appended_at < from_ms {
                    continue;
                }
                if Instant::now() >= until {
                    complete = false;
                    seen_to = record.appended_at.cast_signed();
                    break 'log;
                }
                let Some(block) = &record.block else { continue };
                let of = (record.edge, block.partition);
                let above = highest.get(&of).copied();
                // What can't be read is in the ledger.
                let groups = decoder.groups(block, above).unwrap_or_default().groups;
                for group in groups.iter().filter(|group| !group.repeated) {
                    self.group(&group.group);
                }
                highest.insert(of, block.last_position.max(above.unwrap_or(0)));
            }
        }
        Ok(Preview {
            from: text(self.from_ms),
            to: text(seen_to),
            complete,
            accepted: self.accepted,
            refused: self.refused,
            would_refuse: self.would_refuse.into_changes(),
            would_accept: self.would_accept.into_changes(),
            not_told: Vec::new(),
        })
    }

    fn group(&mut self, group: &v1::Group) {
        if group.site != self.site {
            return;
        }
        let sample = |event: &v1::Event, reason: Reason, detail: &str| Sample {
            received_at: text(group.received_at.cast_signed()),
            reason: reason.as_str(),
            detail: detail.to_owned(),
            kind: event.r#type().name(),
            name: event.name.clone(),
            page: format!("{}{}", event.hostname, event.path),
            referrer: event.referrer.clone(),
        };
        self.accepted += group.events.len() as u64;
        for event in &group.events {
            if let Err(refused) = self.rules.check_kept(&group.visitor, event) {
                let reason = refused.reason;
                self.would_refuse
                    .add(reason, || sample(event, reason, &refused.detail));
            }
        }
        self.refused += group.rejected.len() as u64;
        for rejected in &group.rejected {
            let by_rule = Reason::from_name(&rejected.reason).filter(|reason| kept::tells(*reason));
            let Some(reason) = by_rule else { continue };
            let Some(event) = kept::event(&rejected.payload, &self.rules.cleaning) else {
                continue;
            };
            if self.rules.check_kept(&group.visitor, &event).is_ok() {
                self.would_accept
                    .add(reason, || sample(&event, reason, &rejected.detail));
            }
        }
    }
}

/// The offset of the first record that was logged at `time_ms` or later, or a smaller one: stamps grow with offsets.
async fn first_at(log: &SegmentEventLog, time_ms: u64, end: u64) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let entries = log.reader(middle).next(1).await?;
        let earlier = entries.into_iter().next().filter(|entry| {
            let record = entry.record.as_ref();
            record.is_some_and(|record| record.appended_at < time_ms)
        });
        match earlier {
            Some(entry) => low = entry.offset + 1,
            None => high = middle,
        }
    }
    Ok(low)
}

/// What can't be told of changing `now` to `then`.
fn not_told(now: &SiteRules, then: &SiteRules) -> Vec<&'static str> {
    let redacts = [now.redact.email, now.redact.card, now.redact.phone]
        .iter()
        .any(|what| *what != Redaction::Off);
    [
        (
            now.bots != then.bots,
            "Bots: user agents are not kept, so it can't be told whom other settings of bots would refuse.",
        ),
        (
            now.limits != then.limits,
            "Limits: addresses and keys are not kept, so it can't be told which requests other limits would refuse.",
        ),
        (
            now.urls != then.urls || now.redact != then.redact,
            "URLs and personal data: these rules change what is kept of events to come, and refuse none.",
        ),
        (
            !then.hosts.is_empty(),
            "Hosts: what servers send with a secret key may be of any host; the log does not tell it apart, so here it counts \
             as refused.",
        ),
        (
            now.origins != then.origins,
            "Origins: the log does not have them, so it can't be told which pages others would refuse.",
        ),
        (
            now.sample_percent < then.sample_percent,
            "Sample: visitors that were left out so far are not kept, so they are missing here.",
        ),
        (
            redacts && !then.schemas.is_empty(),
            "Schemas: properties are looked at as they were kept, without the personal data that was taken out.",
        ),
    ]
    .into_iter()
    .filter_map(|(concerned, sentence)| concerned.then_some(sentence))
    .collect()
}

fn text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or_default()
        .to_string()
}
