//! From events as a door understood them to events as they are counted: each is accepted, or refused with a reason.
//!
//! Judging is a list of steps, [`STEPS`]; the first that refuses decides. No I/O and no clock: `received_at` is given.
//!
//! Invariants: every event that goes in comes out in a [`Verdict`], accepted or rejected; one that is refused for
//! consent leaves nothing but its count; no step can make others' events fail.

pub(crate) mod groups;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod native;
mod steps;
mod time;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use wakeline_proto::{EventId, Reason, v1};

use groups::Groups;
use names::{Names, Passed};
pub(crate) use time::Claim;

use crate::enrich::page::{LastPage, Page};
use crate::enrich::{Enricher, Origin, Sender};
pub(crate) use crate::rules::Refused;
use crate::rules::SiteRules;
use crate::rules::limits::{Buckets, Paid, Payer, Reached};

/// What all events of a request have in common.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) site: u64,
    /// The collector's clock when the last byte had come, in ms since 1970-01-01 UTC.
    pub(crate) received_at: u64,
    pub(crate) rules_version: u64,
    /// The browser says that the person wants no tracking (GPC or DNT).
    pub(crate) opted_out: bool,
    /// A server vouches for the times, at any age.
    pub(crate) historical: bool,
    pub(crate) client: v1::Client,
    pub(crate) device: v1::Device,
    pub(crate) first_day: u32,
    /// Who sent the request, for the steps; nothing of it is kept but `origin`.
    pub(crate) sender: Sender,
    pub(crate) enricher: Arc<Enricher>,
    pub(crate) names: Arc<Names>,
    /// Of the site.
    pub(crate) rules: Arc<SiteRules>,
    /// A server of the site sent it, with its secret key.
    pub(crate) trusted: bool,
    /// Whose limits its events are of.
    pub(crate) payer: Payer,
    pub(crate) buckets: Arc<Buckets>,
}

/// An event as a door understood it. The steps complete `event` or refuse it.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) visitor: Cow<'a, str>,
    pub(crate) consent: v1::Consent,
    pub(crate) claim: Claim,
    pub(crate) url: Cow<'a, str>,
    /// Who sent this event, where a server speaks for its visitors; `None`: who sent the request.
    pub(crate) sender: Option<Sender>,
    /// Without time, place and passive; `referrer` is as the client sent it.
    pub(crate) event: v1::Event,
}

/// A refused event, for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Position in the request, from 0.
    pub(crate) index: u32,
    pub(crate) refused: Refused,
}

/// The fates of a request's events.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) received: u32,
    pub(crate) accepted: u32,
    pub(crate) rejected: Vec<Rejection>,
    /// Of the accepted, those that don't fit a schema that only warns.
    pub(crate) warned: u32,
    /// What was taken from limits; to be kept once the record is stored.
    pub(crate) paid: Paid,
    /// What is to be spooled, with the number of positions it takes; nothing if there were no events.
    pub(crate) record: Option<(Bytes, u32)>,
}

type Step = fn(&mut Judge, &mut Draft<'_>) -> Result<(), Refused>;

/// In order: what must not be kept at all, what costs nothing to check, what changes the event.
const STEPS: &[Step] = &[
    steps::consent,
    steps::visitor,
    steps::sample,
    steps::origin,
    steps::lengths,
    steps::name,
    steps::properties,
    steps::order,
    steps::details,
    steps::schema,
    steps::time,
    steps::page,
    steps::redact,
    steps::spam,
    steps::source,
    steps::place,
    steps::size,
    steps::names,
];

/// Judges the events of one request, in order.
pub(crate) struct Judge {
    context: Context,
    /// Of the request's sender.
    origin: Arc<Origin>,
    /// Of the event that is judged.
    current: Arc<Origin>,
    groups: Groups,
    last_page: LastPage,
    /// Of the event that is judged.
    page: Arc<Page>,
    /// The event that is judged, once no step changes it any more.
    encoded: Vec<u8>,
    /// Names of accepted events.
    passed: Passed,
    /// Events that the site's limits allow; further ones are refused.
    paid: Paid,
    received: u32,
    accepted: u32,
    warned: u32,
    rejected: Vec<Rejection>,
}

impl Judge {
    /// Takes `events` from the limits of the site; refused if one of them is reached.
    pub(crate) fn new(mut context: Context, events: usize) -> Result<Self, Reached> {
        let (payer, now) = (&context.payer, context.received_at);
        let paid = context.buckets.pay(payer, events as u64, now)?;
        let origin = context.enricher.origin(&context.sender);
        let device = std::mem::take(&mut context.device);
        context.device = context.enricher.device(device, &context.sender, &origin);
        Ok(Self {
            paid,
            groups: Groups::new(&context, &origin),
            context,
            current: Arc::clone(&origin),
            origin,
            warned: 0,
            last_page: LastPage::default(),
            page: Arc::default(),
            encoded: Vec::new(),
            passed: Passed::default(),
            received: 0,
            accepted: 0,
            rejected: Vec::new(),
        })
    }

    /// Decides on the next event. `payload` gives the event as it came, as JSON, if it has to be kept. Gives back the event, for
    /// the room of its texts.
    pub(crate) fn event(
        &mut self,
        mut draft: Draft<'_>,
        payload: impl FnOnce(&Context) -> Vec<u8>,
    ) -> v1::Event {
        let within = self.within_limits();
        let judged = within.and_then(|()| STEPS.iter().try_for_each(|step| step(self, &mut draft)));
        match judged {
            Ok(()) => {
                self.received += 1;
                self.accepted += 1;
                let Self {
                    groups,
                    current,
                    encoded,
                    ..
                } = self;
                groups.accept(&draft.visitor, draft.consent, current, encoded);
            }
            Err(refused) => {
                let event = &draft.event;
                let id = (event.stream != 0).then_some(EventId {
                    stream: event.stream,
                    seq: event.seq,
                });
                self.refuse(&draft.visitor, draft.consent, refused, id, payload);
            }
        }
        draft.event
    }

    /// Takes note of an event that a door could not make a [`Draft`] of; its `id` if that could be read.
    pub(crate) fn unreadable(
        &mut self,
        visitor: &str,
        consent: v1::Consent,
        refused: Refused,
        id: Option<EventId>,
        payload: impl FnOnce(&Context) -> Vec<u8>,
    ) {
        let refused = self
            .within_limits()
            .and_then(|()| steps::check_consent(&self.context, consent))
            .err()
            .unwrap_or(refused);
        self.refuse(visitor, consent, refused, id, payload);
    }

    fn within_limits(&self) -> Result<(), Refused> {
        if u64::from(self.received) < self.paid.events() {
            return Ok(());
        }
        let detail = "the site has had its events of the day";
        Err(Refused::new(Reason::RateLimited, detail))
    }

    fn refuse(
        &mut self,
        visitor: &str,
        consent: v1::Consent,
        refused: Refused,
        id: Option<EventId>,
        payload: impl FnOnce(&Context) -> Vec<u8>,
    ) {
        let index = self.received;
        self.received += 1;
        if refused.reason.is_kept() {
            let payload = steps::redacted(payload(&self.context), &self.context.rules);
            let kept = refused.redacted(&self.context.rules.redactions);
            self.groups.reject(visitor, consent, &kept, id, payload);
        } else {
            self.groups.tally(refused.reason);
        }
        self.rejected.push(Rejection { index, refused });
    }

    pub(crate) fn finish(self) -> Verdict {
        Verdict {
            received: self.received,
            accepted: self.accepted,
            rejected: self.rejected,
            warned: self.warned,
            paid: self.paid,
            record: self.groups.into_record(),
        }
    }
}
