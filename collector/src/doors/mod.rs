//! Doors for the clients of other trackers: change their URL, and they write here.
//!
//! A module per dialect turns a request into a [`Reading`], and what became of it into the answer that its client
//! expects. It is pure, and knows nothing of the others. All else is here, once: sites, visitors without an id, judging,
//! storing. `docs/trackers.md` is the contract.
//!
//! Invariants: each event that a dialect finds in a request ends as accepted, rejected, or counted as one of an unknown
//! site; a 2xx comes after all that is kept is durable.
//!
//! A request may have events of several sites, and some of them may not be taken right now: the aggregator can't be asked
//! for a name, or a site is over its limit. The others are stored all the same. If each of these has an id of its client's,
//! the answer is 503 or 429: all may come again, and nothing counts twice. Otherwise coming again would, so the answer is
//! the client's usual one, which tells of refused events where the dialect has words for that, and they are counted.

mod commerce;
mod entry;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod ga4;
mod json;
mod matomo;
mod plausible;
mod posthog;
mod request;
mod segment;
mod shopify;
mod snowplow;
#[cfg(test)]
mod tests;
mod umami;
pub(crate) mod visitor;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use bytes::{Bytes, BytesMut};
use hyper::{Method, StatusCode, Uri};

use crate::http::body::{Encoding, decompress, read};
use crate::http::problem::Refusal;
use crate::http::{Doors, Head, now_ms};
use crate::judge::native::Arrival;
use crate::judge::{Claim, Context, Judge, Verdict, json as judge_json};
use commerce::Amounts;
use entry::{Entry, Reading, What};
use request::Request;

/// A tracker's way to speak.
struct Dialect {
    /// One of [`wakeline_proto::TRACKERS`].
    tracker: &'static str,
    /// Finds the events in a request.
    read: fn(&Request) -> Result<Reading, Refusal>,
    /// What its clients call amounts.
    amounts: Amounts,
    /// What the client expects once all is stored.
    answer: fn(&Request, &Outcome) -> Response,
    /// What it gets if none of the events are of a site that is known; `None`: the same answer as always.
    unknown: Option<StatusCode>,
}

/// What became of a request.
#[derive(Debug, Default)]
struct Outcome {
    accepted: u32,
    /// Refused events, those of unknown sites included.
    refused: u32,
    /// The visitor of the last event.
    visitor: String,
    /// One was refused as a bot's.
    bot: bool,
}

/// All doors of this module.
pub(crate) fn routes() -> Router<Arc<Doors>> {
    Router::new()
        .merge(plausible::routes())
        .merge(umami::routes())
        .merge(matomo::routes())
        .merge(ga4::routes())
        .merge(posthog::routes())
        .merge(segment::routes())
        .merge(snowplow::routes())
        .merge(shopify::routes())
}

/// A door that takes events as `dialect` has them.
fn door(dialect: &'static Dialect) -> MethodRouter<Arc<Doors>> {
    any(
        move |State(doors): State<Arc<Doors>>, method: Method, uri: Uri, head: Head, body: Body| async move {
            let outcome = handle(&doors, dialect, &method, &uri, head, body).await;
            doors.answer(outcome)
        },
    )
}

/// A door that says the same to everybody.
fn fixed(answer: fn(&Request) -> Response) -> MethodRouter<Arc<Doors>> {
    any(async move |method: Method, uri: Uri, head: Head| {
        answer(&Request::new(&method, &uri, &head, Bytes::new(), now_ms()))
    })
}

async fn handle(
    doors: &Arc<Doors>,
    dialect: &'static Dialect,
    method: &Method,
    uri: &Uri,
    head: Head,
    body: Body,
) -> Result<Response, Refusal> {
    if ![Method::GET, Method::POST].contains(method) {
        return Err(Refusal::Method("GET, POST, OPTIONS"));
    }
    let encoding = Encoding::of(&head.headers)?;
    let limits = doors.limits.clone();
    let (bytes, share) = read(
        &head.headers,
        body,
        limits.body_bytes,
        doors.body_timeout,
        &doors.budget,
    )
    .await?;
    let size = bytes.len();
    let mut request = Request::new(method, uri, &head, bytes, now_ms());
    let (request, reading) = doors
        .compute(size, move || {
            request.body = decompress(encoding, request.body, limits.decoded_bytes)?;
            request.limits = limits;
            let reading = (dialect.read)(&request)?;
            Ok((request, reading))
        })
        .await?;

    let mut sites = Sites::of(doors, dialect, &reading, &head, request.received_at).await;
    let (known, unknown): (Vec<_>, Vec<_>) =
        (reading.entries.into_iter()).partition(|entry| sites.arrivals.contains_key(&entry.site));
    for entry in unknown {
        // A copy that is left out is neither.
        if let Some((_, events)) = sites.refused.get_mut(&entry.site) {
            *events += 1;
        }
    }
    let reading = Reading {
        entries: known,
        ..reading
    };
    let repeatable = reading.entries.iter().all(Entry::is_repeatable);
    let rules = doors.keys.rules().unwrap_or_default();
    let arrivals = sites.arrivals;
    let Judged {
        verdict,
        visitor,
        limited,
    } = doors
        .compute(size, move || {
            Ok(judge(reading, arrivals, &rules, dialect.amounts))
        })
        .await?;
    let refused: Vec<_> = sites.refused.into_values().chain(limited).collect();
    let mut outcome = Outcome {
        visitor,
        refused: refused.iter().map(|(_, events)| events).sum(),
        ..Outcome::default()
    };
    let Some(verdict) = verdict else {
        return nothing_taken(doors, dialect, &request, &outcome, refused);
    };
    let verdict = doors.store(verdict, share).await?;
    outcome.accepted = verdict.accepted;
    outcome.refused += verdict.received - verdict.accepted;
    let mut reasons = verdict.rejected.iter().map(|one| one.refused.reason);
    outcome.bot = reasons.any(|reason| reason.as_str() == "bot");
    let mut passing = None;
    for (refusal, events) in refused {
        if repeatable && refusal.is_passing() {
            // What was stored has ids, so that the whole request may come again, and the rest of it have its chance.
            passing.get_or_insert(refusal);
        } else {
            doors.count_refused(&refusal, events);
        }
    }
    match passing {
        Some(refusal) => Err(refusal),
        None => Ok((dialect.answer)(&request, &outcome)),
    }
}

/// The answer to a request of which nothing is taken: what is worth to come again for is said first, and an unknown site only
/// if there is nothing else.
fn nothing_taken(
    doors: &Doors,
    dialect: &Dialect,
    request: &Request,
    outcome: &Outcome,
    mut refused: Vec<(Refusal, u32)>,
) -> Result<Response, Refusal> {
    refused.sort_by_key(|(refusal, _)| (!refusal.is_passing(), matches!(refusal, Refusal::Key)));
    let mut refused = refused.into_iter();
    match refused.next() {
        None => Ok((dialect.answer)(request, outcome)),
        Some((Refusal::Key, events)) => {
            let others = refused.map(|(_, events)| events).sum::<u32>();
            doors.count_refused(&Refusal::Key, events + others);
            let Some(status) = dialect.unknown else {
                return Ok((dialect.answer)(request, outcome));
            };
            let mut answer = Refusal::Key.into_response();
            *answer.status_mut() = status;
            Ok(answer)
        }
        Some((refusal, _)) => Err(refusal),
    }
}

/// The sites of a request's events, by the names that its client has for them.
struct Sites {
    /// Those that events are taken of.
    arrivals: HashMap<String, Arrival>,
    /// Why events of the others are not taken, and how many there are.
    refused: HashMap<String, (Refusal, u32)>,
}

impl Sites {
    async fn of(
        doors: &Arc<Doors>,
        dialect: &Dialect,
        reading: &Reading,
        head: &Head,
        received_at: u64,
    ) -> Self {
        let names: HashSet<String> = reading
            .entries
            .iter()
            .map(|entry| entry.site.clone())
            .collect();
        let mut passes = doors.keys.passes_of(dialect.tracker, names).await;
        let mut sites = Self {
            arrivals: HashMap::new(),
            refused: HashMap::new(),
        };
        let mut seen = HashSet::new();
        for name in reading.entries.iter().map(|entry| &entry.site) {
            let Some(pass) = passes.remove(name) else {
                continue;
            };
            let arrival = pass
                .map_err(Refusal::from)
                .and_then(|pass| doors.arrived(pass, head, received_at));
            match arrival {
                // Of copies each site gets one, whatever names it is called by.
                Ok(arrival) if reading.copies && !seen.insert(arrival.pass.grant.site) => {}
                Ok(arrival) => {
                    sites.arrivals.insert(name.clone(), arrival);
                }
                Err(refusal) => {
                    sites.refused.insert(name.clone(), (refusal, 0));
                }
            }
        }
        sites
    }
}

/// What became of the events of sites that are known.
struct Judged {
    /// Of all sites together; none: there were no events, or limits are reached.
    verdict: Option<Verdict>,
    /// Of the last event.
    visitor: String,
    /// Limits that are reached, and the events that are therefore not judged.
    limited: Vec<(Refusal, u32)>,
}

/// Judges the events of a reading, each as its site's.
fn judge(
    reading: Reading,
    arrivals: HashMap<String, Arrival>,
    rules: &crate::snapshot::Rules,
    amounts: Amounts,
) -> Judged {
    let mut visitor = String::new();
    let mut verdict: Option<Verdict> = None;
    let mut limited = Vec::new();
    let mut by_site: HashMap<String, Vec<Entry>> = HashMap::new();
    for entry in reading.entries {
        by_site.entry(entry.site.clone()).or_default().push(entry);
    }
    for (site, arrival) in arrivals {
        let Some(entries) = by_site.remove(&site) else {
            continue;
        };
        let settings = rules.tracker_rules(arrival.pass.grant.site);
        let sender = arrival.sender.clone();
        let mut context = judge_json::context(arrival, false);
        reading.client.clone_into(&mut context.client.name);
        context.device = reading.device.clone();
        let (id, now) = (context.site, context.received_at);
        let knows_currency = context.enricher.knows_currencies();
        let mut judge = match Judge::new(context, entries.len()) {
            Ok(judge) => judge,
            Err(reached) => {
                limited.push((Refusal::Limited(reached), entries.len() as u32));
                continue;
            }
        };
        let mut later = entries.iter().filter(|entry| entry.is_now()).count();
        for entry in entries {
            let is_now = entry.is_now();
            match entry.what {
                What::Event(mut draft) => {
                    if is_now {
                        // What happened first in a request stays first, so that a visit begins where it began.
                        later = later.saturating_sub(1);
                        draft.claim = Claim::Age(later as i64);
                    }
                    if entry.cookieless && draft.visitor.is_empty() {
                        let sender = draft.sender.as_ref().unwrap_or(&sender);
                        draft.visitor = visitor::of_day(id, settings, sender, now).into();
                    }
                    let order = draft.event.order.as_mut();
                    let refused = order.and_then(|order| {
                        let currency = settings.filter(|_| knows_currency);
                        let currency = currency.map_or("", |site| site.currency.as_str());
                        commerce::settle(order, currency);
                        commerce::check(order, amounts).err()
                    });
                    draft.visitor.as_ref().clone_into(&mut visitor);
                    if let Some(refused) = refused {
                        let payload =
                            |context: &Context| entry::payload(&draft, context.received_at);
                        judge.unreadable(&draft.visitor, draft.consent, refused, None, payload);
                        continue;
                    }
                    let copy = draft.clone();
                    judge.event(*draft, |context| entry::payload(&copy, context.received_at));
                }
                What::Unreadable {
                    visitor,
                    refused,
                    payload,
                } => {
                    let consent = wakeline_proto::v1::Consent::Unspecified;
                    judge.unreadable(&visitor, consent, refused, None, |_| {
                        payload.to_string().into_bytes()
                    });
                }
            }
        }
        let one = judge.finish();
        verdict = Some(match verdict {
            Some(whole) => join(whole, one),
            None => one,
        });
    }
    Judged {
        verdict,
        visitor,
        limited,
    }
}

/// Adds a verdict to another. Encoded records are joined by writing one behind the other: that is how protobuf joins
/// lists.
fn join(mut whole: Verdict, one: Verdict) -> Verdict {
    whole.received += one.received;
    whole.accepted += one.accepted;
    whole.warned += one.warned;
    whole.paid.join(one.paid);
    whole.rejected.extend(one.rejected);
    whole.record = match (whole.record.take(), one.record) {
        (Some((first, span)), Some((second, more))) => {
            let mut both = BytesMut::with_capacity(first.len() + second.len());
            both.extend_from_slice(&first);
            both.extend_from_slice(&second);
            Some((both.freeze(), span + more))
        }
        (first, second) => first.or(second),
    };
    whole
}
