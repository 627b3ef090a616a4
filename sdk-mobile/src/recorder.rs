//! What an app's calls come to: events with ids, of a person, on a screen, in a session. Pure: no I/O, no clock, no threads.
//!
//! - Ids are given here, in order; each number is of an event, or of what stands in place of a refused one.
//! - `app_open` waits up to half a second, or until the next event, for the link or push that opened the app: what a visit came
//!   by is what its first event says.
//! - Attention is counted on a screen while the app is seen, and told when either ends.

mod presence;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use wakeline_client::v1::{self, Consent, EventType};
use wakeline_client::{Event, EventId, Page, Person, Reason, Stored, Value};
use wakeline_proto::limits::{MAX_PROPERTIES, MAX_SEQ, MAX_VISITOR_BYTES};

use presence::{Arrival, Attention};

use crate::clock::Moment;
use crate::input::{self, Misuse, Problem, Said};
use crate::settings::{Settings, consent};

/// How long `app_open` waits for what opened the app, in ms.
pub(crate) const OPENING_MS: i64 = 500;
/// Misuse is told so often, in ms.
pub(crate) const MISUSE_MS: i64 = 10_000;
/// That something happened is kept so often, in ms: a session's end is known so well after a kill.
const ACTIVE_MS: i64 = 60_000;
/// Timers that run at a time.
const MAX_TIMERS: usize = 256;
const DAY_MS: u64 = 86_400_000;

/// What outlives the process, besides the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    /// The install id: 128 random bits, as hex.
    pub(crate) install: String,
    /// Day of the install's first event, in days since 1970-01-01 UTC.
    pub(crate) first_day: u32,
    /// Who is signed in; empty: nobody.
    pub(crate) user: String,
    /// What `set_consent` said last, by its word; empty: nothing yet.
    pub(crate) consent: String,
    /// A random name of the last erasure: a queue that says another one is from before it.
    pub(crate) erasure: u64,
    /// The app's version when it was seen last; `None`: it never was.
    pub(crate) app_version: Option<String>,
    /// Number of the last session, from 1.
    pub(crate) session: u64,
    /// When something happened last.
    pub(crate) active: Moment,
    /// The app is seen. A process that finds it so succeeds one that ended before the eyes of its user.
    pub(crate) seen: bool,
    /// Until when the collector asked to wait.
    pub(crate) wait_until: Moment,
}

/// An event with its time.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) stored: Stored,
    pub(crate) at: Moment,
}

impl Draft {
    /// Whether it goes first, and is waited for.
    pub(crate) fn is_order(&self) -> bool {
        self.stored.event.event_type == EventType::Order
    }
}

/// See the [module's documentation](self).
#[derive(Debug)]
pub(crate) struct Recorder {
    stream: u64,
    next_seq: u64,
    predecessor: Option<EventId>,
    gap_ms: i64,
    device: Arc<v1::Device>,
    asked_consent: Consent,
    saved: Saved,
    /// What was stored last, by this process or another.
    stored: Saved,
    /// Counts changes of `saved` that should be kept soon.
    changes: u64,
    /// What `saved.active` was when it should have been kept last.
    kept_active: Moment,
    person: Arc<Person>,
    page: Option<Arc<Page>>,
    defaults: Vec<(String, Value)>,
    timers: BTreeMap<String, Moment>,
    /// The app was seen by this process.
    was_seen: bool,
    opening: Option<(Moment, Vec<Event>)>,
    arrival: Option<(Moment, Arrival)>,
    attention: Attention,
    misuse: Misuse,
    misuse_told: Moment,
    /// Misuse that was told already, and what still is to be; for the status.
    misuse_total: Misuse,
    refused: BTreeMap<&'static str, u64>,
    recorded: u64,
    /// Events that were erased before they were taken.
    forgotten: u64,
    out: Vec<Draft>,
}

impl Recorder {
    /// Of a process whose events are of `stream`.
    pub(crate) fn new(
        settings: &Settings,
        saved: Saved,
        stream: u64,
        predecessor: Option<EventId>,
        now: Moment,
    ) -> Self {
        let mut recorder = Self {
            stream,
            next_seq: 0,
            predecessor,
            gap_ms: i64::from(settings.session_gap_minutes) * 60_000,
            device: Arc::new(settings.device()),
            asked_consent: settings.consent(),
            stored: saved.clone(),
            saved,
            changes: 0,
            kept_active: now,
            person: Arc::default(),
            page: None,
            defaults: Vec::new(),
            timers: BTreeMap::new(),
            was_seen: false,
            opening: None,
            arrival: None,
            attention: Attention::default(),
            misuse: Misuse::default(),
            misuse_told: now,
            misuse_total: Misuse::default(),
            refused: BTreeMap::new(),
            recorded: 0,
            forgotten: 0,
            out: Vec::new(),
        };
        if recorder.saved.install.is_empty() {
            recorder.fresh_install(now);
        }
        recorder.name_person();
        recorder.set_defaults(settings.defaults.clone());
        recorder
    }

    /// The events since the last call. The next ones are put into `room`, which is empty: a caller's thread does not pay
    /// for its growth.
    pub(crate) fn take(&mut self, room: Vec<Draft>) -> Vec<Draft> {
        std::mem::replace(&mut self.out, room)
    }

    /// Events that were not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether the last event is an order.
    pub(crate) fn last_is_order(&self) -> bool {
        self.out.last().is_some_and(Draft::is_order)
    }

    /// `app_open` waits no longer.
    pub(crate) fn settle_opening(&mut self) {
        self.release(None);
    }

    /// What should outlive the process, and how often it changed.
    pub(crate) fn saved(&self) -> (&Saved, u64) {
        (&self.saved, self.changes)
    }

    /// What outlives the process was stored so.
    pub(crate) fn set_stored(&mut self, stored: Saved) {
        self.stored = stored;
    }

    /// Another process may have stored this: what the person agreed to, and that all was erased, holds here, too. Of
    /// answers that cross each other a denial wins.
    pub(crate) fn heed(&mut self, theirs: Saved, now: Moment) {
        if theirs == self.stored {
            return;
        }
        let before = std::mem::replace(&mut self.stored, theirs.clone());
        let answered = theirs.consent != before.consent;
        let answered_here = self.saved.consent != before.consent;
        if answered && (!answered_here || consent(&theirs.consent) == Some(Consent::Denied)) {
            self.saved.consent.clone_from(&theirs.consent);
        }
        if theirs.erasure != before.erasure && theirs.erasure != self.saved.erasure {
            self.forget(now);
            self.saved.install = theirs.install;
            self.saved.first_day = theirs.first_day;
            self.saved.user = theirs.user;
            self.saved.erasure = theirs.erasure;
        }
        self.name_person();
    }

    /// Events that were given a number.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Events that were erased before they were taken.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Refused events by reason.
    pub(crate) fn refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused
    }

    /// All misuse since the start.
    pub(crate) fn misuse_total(&self) -> &Misuse {
        &self.misuse_total
    }

    /// Until when the collector asked to wait.
    pub(crate) fn set_wait(&mut self, until: Moment) {
        if self.saved.wait_until != until {
            self.saved.wait_until = until;
            self.changes += 1;
        }
    }

    /// Takes an event. False: it is refused.
    pub(crate) fn record(
        &mut self,
        said: Result<Said, Reason>,
        misuse: Misuse,
        now: Moment,
    ) -> bool {
        self.slip(misuse);
        if !self.may_record() {
            return false;
        }
        let said = match said {
            Ok(said) => said,
            Err(reason) => return self.refuse(reason, now),
        };
        self.release(None);
        let Said {
            mut event,
            page,
            percent,
        } = said;
        if event.event_type == EventType::Custom
            && let Some(since) = self.timers.remove(&event.name)
        {
            let duration = Value::Integer(since.age(now).max(0));
            event.properties.retain(|(name, _)| name != "duration_ms");
            event.properties.truncate(MAX_PROPERTIES - 1);
            event.properties.push(("duration_ms".to_owned(), duration));
        }
        self.attention.percent = self.attention.percent.max(percent.unwrap_or(0));
        let page = page.map(Arc::new);
        if event.event_type.is_pageview() {
            if self.page.is_some() {
                self.leave_screen(now);
            } // else the first screen gets the attention since the app was seen
            let screen = || {
                let url = event.name.clone();
                (!url.is_empty()).then(|| {
                    Arc::new(Page {
                        url,
                        ..Page::default()
                    })
                })
            };
            self.page = page.clone().or_else(screen).or_else(|| self.page.take());
        }
        let page = page.or_else(|| self.page.clone());
        self.add_defaults(&mut event);
        let stored = self.stored(event, page);
        // All else is as it must be by how it was read.
        if stored.event.order.is_some()
            && let Err(refused) = stored.check()
        {
            return self.refuse(refused.reason, now);
        }
        self.push_stored(stored, now)
    }

    /// Names the person for this and later events.
    pub(crate) fn identify(&mut self, user: &str, now: Moment) -> bool {
        if !(1..=MAX_VISITOR_BYTES).contains(&user.len()) {
            return self.refuse(Reason::InvalidVisitor, now);
        }
        if !self.may_record() {
            return false;
        }
        self.release(None);
        user.clone_into(&mut self.saved.user);
        self.changes += 1;
        self.name_person();
        self.push(Event::new(EventType::Identify), self.page.clone(), now)
    }

    /// Nobody is signed in, and what follows is of another install.
    pub(crate) fn reset(&mut self, now: Moment) {
        self.release(None);
        self.saved.user.clear();
        self.fresh_install(now);
        self.name_person();
    }

    /// What the person agreed to. True: all that is known is to be erased.
    pub(crate) fn set_consent(&mut self, word: &str, now: Moment) -> bool {
        if consent(word).is_none() {
            self.slip_once(Problem::WrongCall);
            return false;
        }
        self.release(None);
        word.clone_into(&mut self.saved.consent);
        self.changes += 1;
        self.name_person();
        let denied = self.person.consent == Consent::Denied;
        if denied {
            self.forget(now);
        }
        denied
    }

    /// Erases person and install, and the events that were not taken yet.
    pub(crate) fn forget(&mut self, now: Moment) {
        self.forgotten += self.out.len() as u64;
        self.out.clear();
        self.opening = None;
        self.arrival = None;
        self.attention = Attention {
            since: self.attention.since.map(|_| now),
            ..Attention::default()
        };
        self.timers.clear();
        self.saved = Saved {
            consent: std::mem::take(&mut self.saved.consent),
            app_version: self.saved.app_version.take(),
            seen: self.saved.seen,
            wait_until: self.saved.wait_until,
            erasure: crate::clock::random(),
            ..Saved::default()
        };
        self.fresh_install(now);
        self.name_person();
    }

    /// Sets the default properties.
    pub(crate) fn set_defaults(&mut self, said: Map<String, Json>) {
        let mut misuse = Misuse::default();
        self.defaults = input::properties(said, input::MAX_DEFAULTS, &mut misuse);
        self.slip(misuse);
    }

    /// A call made no sense.
    pub(crate) fn wrong_call(&mut self) {
        self.slip_once(Problem::WrongCall);
    }

    /// An event came faster than it could be written.
    pub(crate) fn overrun(&mut self) {
        self.slip_once(Problem::Overrun);
    }

    /// Starts the clock of the next custom event of that name.
    pub(crate) fn start_timer(&mut self, name: &str, now: Moment) {
        let mut misuse = Misuse::default();
        let name = input::name(name.to_owned(), &mut misuse);
        self.slip(misuse);
        if self.timers.len() < MAX_TIMERS || self.timers.contains_key(&name) {
            self.timers.insert(name, now);
        } else {
            self.slip_once(Problem::WrongCall);
        }
    }

    /// What time brings: `app_open` waits no longer, misuse is told.
    pub(crate) fn tick(&mut self, now: Moment) {
        let opened = self.opening.as_ref();
        if opened.is_some_and(|(at, _)| at.age(now) >= OPENING_MS) {
            self.release(None);
        }
        if self.misuse_told.age(now).abs() >= MISUSE_MS {
            self.tell_misuse(now);
        }
    }

    /// When [`tick`](Self::tick) has something to do: in so many ms.
    pub(crate) fn next_tick(&self, now: Moment) -> Option<u64> {
        let opening = self
            .opening
            .as_ref()
            .map(|(at, _)| OPENING_MS - at.age(now));
        let misuse =
            (self.misuse != Misuse::default()).then(|| MISUSE_MS - self.misuse_told.age(now).abs());
        opening
            .into_iter()
            .chain(misuse)
            .min()
            .map(|ms| ms.max(0) as u64)
    }

    fn tell_misuse(&mut self, now: Moment) {
        self.misuse_told = now;
        if self.misuse == Misuse::default() || !self.allowed() {
            return;
        }
        for (problem, count) in std::mem::take(&mut self.misuse).counts() {
            let mut event = Event::custom("sdk_misuse")
                .with("problem", problem)
                .with("count", i64::from(count));
            event.passive = true;
            self.push(event, None, now);
        }
    }

    fn slip(&mut self, misuse: Misuse) {
        self.misuse_total.merge(misuse.clone());
        self.misuse.merge(misuse);
    }

    fn slip_once(&mut self, problem: Problem) {
        let mut misuse = Misuse::default();
        misuse.add(problem, 1);
        self.slip(misuse);
    }

    /// Counts a refused event; a server hears why its number comes without one.
    fn refuse(&mut self, reason: Reason, now: Moment) -> bool {
        *self.refused.entry(reason.as_str()).or_default() += 1;
        self.slip_once(Problem::EventRefused);
        if self.allowed() {
            self.push(Event::refused(reason), None, now);
        }
        false
    }

    /// Whether the person agreed to being recorded.
    fn allowed(&self) -> bool {
        matches!(self.person.consent, Consent::Unspecified | Consent::Granted)
    }

    /// The same for an event of the app's; a refusal is counted.
    fn may_record(&mut self) -> bool {
        let may = self.allowed();
        if !may {
            *self.refused.entry(Reason::NoConsent.as_str()).or_default() += 1;
        }
        may
    }

    fn push(&mut self, event: Event, page: Option<Arc<Page>>, at: Moment) -> bool {
        let stored = self.stored(event, page);
        self.push_stored(stored, at)
    }

    fn stored(&self, event: Event, page: Option<Arc<Page>>) -> Stored {
        Stored {
            id: EventId {
                stream: self.stream,
                seq: self.next_seq,
            },
            predecessor: self.predecessor,
            event,
            page,
            person: Arc::clone(&self.person),
            device: Arc::clone(&self.device),
        }
    }

    fn push_stored(&mut self, stored: Stored, at: Moment) -> bool {
        if self.next_seq > MAX_SEQ {
            return false;
        }
        self.saved.active = at;
        if self.kept_active.age(at) >= ACTIVE_MS {
            self.kept_active = at;
            self.changes += 1;
        }
        self.next_seq += 1;
        self.recorded += 1;
        self.out.push(Draft { stored, at });
        true
    }

    fn add_defaults(&self, event: &mut Event) {
        for (name, value) in &self.defaults {
            let said = event.properties.iter().any(|(known, _)| known == name);
            if !said && event.properties.len() < MAX_PROPERTIES {
                event.properties.push((name.clone(), value.clone()));
            }
        }
    }

    fn fresh_install(&mut self, now: Moment) {
        self.saved.install = format!(
            "{:016x}{:016x}",
            crate::clock::random(),
            crate::clock::random()
        );
        self.saved.first_day = (now.wall_ms / DAY_MS) as u32;
        self.changes += 1;
        if let Some(seq) = self.next_seq.checked_sub(1) {
            // Else a server would miss the numbers so far among this install's.
            let stream = self.stream;
            self.predecessor = Some(EventId { stream, seq });
        }
    }

    fn name_person(&mut self) {
        self.person = Arc::new(Person {
            install: self.saved.install.clone(),
            first_day: self.saved.first_day,
            user: self.saved.user.clone(),
            consent: consent(&self.saved.consent).unwrap_or(self.asked_consent),
        });
    }
}
