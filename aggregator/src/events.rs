//! Where questions find every event that counts: of a site, between two instants, visitor by visitor.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use wakeline_engine::{Id, Kind, country, country_code};
use wakeline_lake::LakeError;
use wakeline_proto::{lists, v1};
use wakeline_query::{Batch, BatchEvent, Field, NO_SCROLL, Texts};

use crate::config::QueryConfig;
use crate::lake::{FollowError, LakeUnavailable};
use crate::log::{EventLog, LogError, LogReader as _};
use crate::metrics::MetricStore;
use crate::process::{Decoder, Origin, report_name};

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 4 << 20;

/// Why events could not be had.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The log could not be read.
    #[error("read the log")]
    Log(#[from] LogError),
    /// There is no memory for a decompressor, or for a thread.
    #[error("begin to read events")]
    Start(#[source] std::io::Error),
    /// The lake could not be read.
    #[error("read the lake")]
    Lake(#[from] LakeError),
    /// The lake is not open.
    #[error(transparent)]
    Closed(#[from] LakeUnavailable),
    /// What the lake does not have yet could not be read.
    #[error("read what the lake does not have yet")]
    Beyond(#[from] FollowError),
    /// The question needs more than it may.
    #[error("{0}")]
    Limit(String),
    /// The server stopped, or reading failed in a way that its log tells.
    #[error("reading events was stopped")]
    Stopped,
}

impl EventError {
    pub(crate) fn memory(limits: &QueryConfig) -> Self {
        Self::Limit(format!(
            "the events of this date_range take more than {} bytes (query.max_memory_bytes): choose a shorter one",
            limits.max_memory_bytes
        ))
    }

    pub(crate) fn time(limits: &QueryConfig) -> Self {
        Self::Limit(format!(
            "reading took more than {} ms (query.max_time_ms)",
            limits.max_time_ms
        ))
    }
}

/// Takes batches of whole visitors, and the texts that they and all batches before were made with.
pub type EachBatch<'a> = dyn FnMut(&Batch, &Texts) -> Result<(), EventError> + Send + 'a;

/// Every event that counts, each once.
///
/// What is read is at least as new as the [`watermark`](MetricStore::watermark) was when reading began, as far as
/// events are in the figures; at rest, both tell the same.
pub trait EventSource: Send + Sync {
    /// Calls `each` with the events of `site` whose corrected time is in `range` (Unix milliseconds), with the texts of
    /// `fields`, all of a visitor's in one batch. Blocks; needs a runtime.
    fn read(
        &self,
        site: u64,
        range: &Range<i64>,
        fields: &[Field],
        each: &mut EachBatch<'_>,
    ) -> Result<(), EventError>;
}

/// The events of the log itself, up to where the figures are: as the engine does, of copies it takes the first.
pub struct LogEvents<L> {
    log: L,
    metrics: Arc<dyn MetricStore>,
    limits: QueryConfig,
    /// Held by whoever reads: one question at a time, so that memory is bounded for all together.
    turn: Mutex<()>,
}

impl<L: EventLog> LogEvents<L> {
    /// Of a log, as far as `metrics` are.
    pub fn new(log: L, metrics: Arc<dyn MetricStore>, limits: QueryConfig) -> Self {
        Self {
            log,
            metrics,
            limits,
            turn: Mutex::new(()),
        }
    }
}

impl<L: EventLog> EventSource for LogEvents<L> {
    fn read(
        &self,
        site: u64,
        range: &Range<i64>,
        fields: &[Field],
        each: &mut EachBatch<'_>,
    ) -> Result<(), EventError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + Duration::from_millis(self.limits.max_time_ms);
        let end = self.metrics.watermark().applied;
        let mut gathered = Gathered::new(fields);
        let mut decoder = Decoder::new().map_err(EventError::Start)?;
        let mut highest: HashMap<(u64, u32), u64> = HashMap::new();
        let mut reader = self.log.reader(0);
        loop {
            let entries = Handle::current().block_on(reader.next(READ_BYTES))?;
            let more = entries.last().is_some_and(|entry| entry.offset + 1 < end);
            for entry in entries.into_iter().filter(|entry| entry.offset < end) {
                let Some((record, block)) = entry.record.and_then(|mut record| {
                    let block = record.block.take()?;
                    Some((record, block))
                }) else {
                    continue;
                };
                let key = (record.edge, block.partition);
                let known = highest.get(&key).copied();
                // What can't be read is counted and told where it is applied.
                let groups = decoder.groups(&block, known).unwrap_or_default().groups;
                highest.insert(key, known.unwrap_or(0).max(block.last_position));
                for positioned in &groups {
                    if positioned.group.site == site {
                        let origin = Origin::of(&positioned.group, record.edge, record.appended_at);
                        gathered.add(&positioned.group, positioned.position, &origin, range);
                    }
                }
            }
            if gathered.bytes() > self.limits.max_memory_bytes {
                return Err(EventError::memory(&self.limits));
            }
            if Instant::now() > deadline {
                return Err(EventError::time(&self.limits));
            }
            if !more {
                break;
            }
        }
        let (batch, texts) = gathered.finish();
        each(&batch, &texts)
    }
}

/// Events of all visitors, as they come.
struct Gathered<'a> {
    fields: &'a [Field],
    texts: Texts,
    visitors: HashMap<String, usize>,
    /// Ids that copies are known by.
    seen: HashSet<(usize, Id)>,
    /// In the order of the log, with the visitor of each.
    events: Batch,
    of: Vec<usize>,
}

impl<'a> Gathered<'a> {
    fn new(fields: &'a [Field]) -> Self {
        Self {
            fields,
            texts: Texts::default(),
            visitors: HashMap::new(),
            seen: HashSet::new(),
            events: Batch::new(fields.len()),
            of: Vec::new(),
        }
    }

    fn add(&mut self, group: &v1::Group, position: u64, origin: &Origin, range: &Range<i64>) {
        if group.events.is_empty() {
            return;
        }
        let next = self.visitors.len();
        let visitor = *self.visitors.entry(group.visitor.clone()).or_insert(next);
        for (position, event) in (position..).zip(&group.events) {
            let seen = origin.event(event, position);
            // A place in a spool is read once; of other ids the first copy counts, whenever it says it was.
            let new =
                matches!(seen.id, Id::Position { .. }) || self.seen.insert((visitor, seen.id));
            if !new || !range.contains(&seen.time_ms) {
                continue;
            }
            let scroll = event
                .engagement
                .as_ref()
                .filter(|_| seen.kind == Kind::Engagement);
            let scroll = scroll.map_or(NO_SCROLL, |engagement| {
                engagement.scroll_percent.min(u32::from(NO_SCROLL)) as u8
            });
            let texts: Vec<u32> = self
                .fields
                .iter()
                .map(|field| self.texts.id(&text_of(field, group, event)))
                .collect();
            let event = BatchEvent {
                time_ms: seen.time_ms,
                id: seen.id,
                kind: seen.kind,
                engagement_ms: seen.engagement_ms,
                scroll,
                order_value: seen.order,
            };
            self.events.push(&event, texts);
            self.of.push(visitor);
        }
    }

    /// About how much memory it takes, and will when it is put in order.
    fn bytes(&self) -> usize {
        let event = 2 * (size_of::<BatchEvent>() + 4 * self.fields.len() + 8);
        self.events.len() * event
            + self.seen.len() * 48
            + self.visitors.len() * 160
            + self.texts.bytes()
    }

    /// All events, visitor by visitor.
    fn finish(self) -> (Batch, Texts) {
        let mut order: Vec<usize> = (0..self.of.len()).collect();
        let events = &self.events;
        order.sort_unstable_by_key(|at| (self.of[*at], events.time_ms[*at], events.id[*at]));
        let mut batch = Batch::new(self.fields.len());
        for theirs in order.chunk_by(|a, b| self.of[*a] == self.of[*b]) {
            for &at in theirs {
                batch.extend(events, at..at + 1);
            }
            batch.end_visitor();
        }
        (batch, self.texts)
    }
}

/// The text of an event; empty if it has none.
fn text_of<'a>(field: &Field, group: &'a v1::Group, event: &'a v1::Event) -> Cow<'a, str> {
    let named = |list, code: u32| lists::name(list, code.min(u8::MAX.into()));
    let agent = group.agent.as_ref();
    let by = event.acquisition.as_ref();
    let location = group.location.as_ref();
    let version = |of: fn(&'a v1::Agent) -> &'a String| agent.map_or("", |agent| of(agent));
    let parameter = |of: fn(&'a v1::Acquisition) -> &'a String| by.map_or("", |by| of(by));
    let code = |of: fn(&v1::Agent) -> u32| agent.map_or(0, of);
    Cow::Borrowed(match field {
        Field::Page => &event.path,
        Field::Name => report_name(event).unwrap_or_default(),
        Field::Hostname => &event.hostname,
        Field::Referrer => &event.referrer,
        Field::Custom(name) => {
            let mut properties = event.properties.iter();
            let property = properties.find(|property| property.name == *name);
            let value = property.and_then(|property| property.value.as_ref()?.kind.as_ref());
            return value.map_or(Cow::Borrowed(""), property_text);
        }
        Field::Source => parameter(|by| &by.source),
        Field::UtmMedium => parameter(|by| &by.utm_medium),
        Field::UtmSource => parameter(|by| &by.utm_source),
        Field::UtmCampaign => parameter(|by| &by.utm_campaign),
        Field::UtmContent => parameter(|by| &by.utm_content),
        Field::UtmTerm => parameter(|by| &by.utm_term),
        Field::Channel => named(lists::CHANNELS, by.map_or(0, |by| by.channel)),
        Field::Device => named(lists::DEVICES, code(|agent| agent.device)),
        Field::Browser => named(lists::BROWSERS, code(|agent| agent.browser)),
        Field::BrowserVersion => version(|agent| &agent.browser_version),
        Field::Os => named(lists::SYSTEMS, code(|agent| agent.os)),
        Field::OsVersion => version(|agent| &agent.os_version),
        // Only what is a code of a country: rollups keep no other.
        Field::Country => {
            let code = location.map_or(0, |at| country_code(&at.country));
            return Cow::Owned(country(code));
        }
        Field::Region => location.map_or("", |at| &at.region),
        Field::City => location.map_or("", |at| &at.city),
    })
}

/// The value of a property as answers and filters write it.
pub(crate) fn property_text(value: &v1::value::Kind) -> Cow<'_, str> {
    use v1::value::Kind;
    match value {
        Kind::Text(text) => Cow::Borrowed(text),
        Kind::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Kind::Integer(number) => Cow::Owned(number.to_string()),
        Kind::Number(number) => Cow::Owned(number.to_string()),
        Kind::Timestamp(ms) => {
            let time = jiff::Timestamp::from_millisecond(*ms);
            Cow::Owned(time.map(|time| time.to_string()).unwrap_or_default())
        }
    }
}
