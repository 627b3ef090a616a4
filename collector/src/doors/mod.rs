//! Doors for the clients of other trackers: change their URL, and they write here.
//!
//! A module per dialect turns a request into a [`Reading`], and what became of it into the answer that its client
//! expects. It is pure, and knows nothing of the others. All else is here, once: sites, visitors without an id, judging,
//! storing. `docs/trackers.md` is the contract.
//!
//! Invariants: each event that a dialect finds in a request ends as accepted, rejected, or counted as one of an unknown
//! site; a 2xx comes after all that is kept is durable.

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

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use bytes::{Bytes, BytesMut};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, StatusCode, Uri};

use crate::http::body::{Encoding, decompress, read};
use crate::http::problem::Refusal;
use crate::http::{Doors, Head, now_ms};
use crate::judge::native::Arrival;
use crate::judge::{Claim, Judge, Verdict, json as judge_json};
use entry::{Entry, Reading, What};
use request::Request;

/// A tracker's way to speak.
struct Dialect {
    /// One of [`wakeline_proto::TRACKERS`].
    tracker: &'static str,
    /// Finds the events in a request.
    read: fn(&Request) -> Result<Reading, Refusal>,
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
        .layer(middleware::from_fn(cors))
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

    let mut arrivals: HashMap<String, Arrival> = HashMap::new();
    for entry in &reading.entries {
        if arrivals.contains_key(&entry.site) {
            continue;
        }
        match doors.keys.pass_of(dialect.tracker, &entry.site).await {
            Ok(pass) => {
                let arrival = doors.arrived(pass, &entry.site, &head, request.received_at)?;
                arrivals.insert(entry.site.clone(), arrival);
            }
            Err(error) => match Refusal::from(error) {
                Refusal::Key => {}
                refusal => return Err(refusal),
            },
        }
    }
    let mut outcome = Outcome::default();
    let (known, unknown): (Vec<_>, Vec<_>) =
        (reading.entries.into_iter()).partition(|entry| arrivals.contains_key(&entry.site));
    for _ in &unknown {
        // Counts it; what it would answer is not for this client.
        let mut answer = doors.answer(Err(Refusal::Key));
        outcome.refused += 1;
        if let (true, Some(status)) = (known.is_empty(), dialect.unknown) {
            *answer.status_mut() = status;
            return Ok(answer);
        }
    }
    let rules = doors.keys.rules().unwrap_or_default();
    let reading = Reading {
        entries: known,
        ..reading
    };
    let (verdicts, visitor) = doors
        .compute(size, move || Ok(judge(reading, arrivals, &rules)))
        .await?;
    // Storing takes from the limits of the first.
    for verdict in verdicts.iter().skip(1) {
        let events = verdict.received.into();
        doors.buckets.take(&verdict.payer, events, now_ms())?;
    }
    if let Some(verdict) = verdicts.into_iter().reduce(join) {
        let verdict = doors.store(verdict, share).await?;
        outcome.accepted = verdict.accepted;
        outcome.refused += verdict.received - verdict.accepted;
        let mut reasons = verdict.rejected.iter().map(|one| one.refused.reason);
        outcome.bot = reasons.any(|reason| reason.as_str() == "bot");
    }
    outcome.visitor = visitor;
    Ok((dialect.answer)(&request, &outcome))
}

/// Judges the events of a reading, each as its site's: a verdict a site, and the last event's visitor.
fn judge(
    reading: Reading,
    arrivals: HashMap<String, Arrival>,
    rules: &crate::snapshot::Rules,
) -> (Vec<Verdict>, String) {
    let mut last = String::new();
    let mut verdicts = Vec::new();
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
        let mut judge = Judge::new(context);
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
                    if let Some(order) = &mut draft.event.order {
                        let currency = settings.map_or("", |site| site.currency.as_str());
                        commerce::settle(order, currency);
                    }
                    draft.visitor.as_ref().clone_into(&mut last);
                    let copy = draft.clone();
                    judge.event(*draft, |context| entry::payload(&copy, context.received_at));
                }
                What::Unreadable {
                    visitor,
                    refused,
                    payload,
                } => {
                    let consent = wakeline_proto::v1::Consent::Unspecified;
                    judge.unreadable(&visitor, consent, refused, |_| {
                        payload.to_string().into_bytes()
                    });
                }
            }
        }
        verdicts.push(judge.finish());
    }
    (verdicts, last)
}

/// Adds a verdict to another. Encoded records are joined by writing one behind the other: that is how protobuf joins
/// lists.
fn join(mut whole: Verdict, one: Verdict) -> Verdict {
    whole.received += one.received;
    whole.accepted += one.accepted;
    whole.warned += one.warned;
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

/// Pages of any origin may send and read the answers, with cookies: trackers' clients ask for that.
async fn cors(request: axum::extract::Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let asked = request
        .headers()
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned();
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
    if preflight {
        let methods = HeaderValue::from_static("GET, POST, OPTIONS");
        put(ACCESS_CONTROL_ALLOW_METHODS, methods);
        put(
            ACCESS_CONTROL_ALLOW_HEADERS,
            asked.unwrap_or_else(|| HeaderValue::from_static("content-type")),
        );
        put(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    }
    if let Some(origin) = origin {
        put(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let yes = HeaderValue::from_static("true");
        put(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        let exposed = HeaderValue::from_static("retry-after, x-plausible-dropped");
        put(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    headers.append(VARY, HeaderValue::from_static("origin"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
