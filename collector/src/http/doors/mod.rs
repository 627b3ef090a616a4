//! One module for each door that events come in by.

pub(crate) mod batch;
pub(crate) mod events;
pub(crate) mod pixel;

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::body::{self, Encoding, Share};
use super::problem::Refusal;
use super::{Doors, now_ms};
use crate::doors::visitor;
use crate::judge::native::Arrival;

/// Headers of an answer, at most.
const HEADERS: usize = 12;

/// A body that has come.
struct Arrived {
    bytes: Bytes,
    encoding: Encoding,
    received_at: u64,
    /// Held until the events are stored.
    share: Share,
}

async fn take(
    doors: &Arc<Doors>,
    headers: &HeaderMap,
    body: impl hyper::body::Body<Data = Bytes, Error: Display>,
) -> Result<Arrived, Refusal> {
    let encoding = Encoding::of(headers)?;
    let limit = doors.limits.body_bytes;
    let (bytes, share) =
        body::read(headers, body, limit, doors.body_timeout, &doors.budget).await?;
    Ok(Arrived {
        bytes,
        encoding,
        received_at: now_ms(),
        share,
    })
}

/// Who a page without an install id is today; empty of a server.
fn visitor_of_day(doors: &Doors, arrival: &Arrival) -> String {
    let rules = doors.keys.rules().unwrap_or_default();
    let site = arrival.pass.grant.site;
    let settings = rules.tracker_rules(site);
    visitor::of_day(site, settings, &arrival.sender, arrival.received_at)
}

/// The key of a request that carries it beside its body: `Authorization: Bearer KEY`, or `k` of the query.
fn key_of(headers: &HeaderMap, in_query: Option<String>) -> Result<String, Refusal> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim().to_owned());
    bearer.or(in_query).ok_or(Refusal::Key)
}

/// The first value of `name` in a query.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn accepted(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::ACCEPTED;
    // With room for what is said to browsers.
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
