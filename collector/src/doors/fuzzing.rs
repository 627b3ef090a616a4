//! Requests of other trackers' clients, as [`crate::fuzzing`] has them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;

use super::request::Request;
use super::{
    Dialect, Outcome, ga4, judge, matomo, plausible, posthog, segment, shopify, snowplow, umami,
};
use crate::fuzzing::{RECEIVED_AT, arrival, check};
use crate::http::Head;
use crate::snapshot::Rules;

/// Dialects by the beginning of their paths; a longer one stands before its own beginning.
const DIALECTS: &[(&str, &Dialect)] = &[
    ("/api/event", &plausible::DIALECT),
    ("/api/send", &umami::DIALECT),
    ("/matomo.php", &matomo::DIALECT),
    ("/g/collect", &ga4::GTAG),
    ("/mp/collect", &ga4::MEASUREMENT),
    ("/e", &posthog::DIALECT),
    ("/batch", &posthog::DIALECT),
    ("/v1/", &segment::DIALECT),
    ("/com.snowplowanalytics.snowplow/tp2", &snowplow::DIALECT),
    ("/i", &snowplow::DIALECT),
    ("/shopify", &shopify::DIALECT),
];

/// Reads, judges and answers a request, written as `PATH?QUERY`, lines of headers, an empty line, and the body.
pub(crate) fn request(bytes: &[u8]) {
    let (head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let uri = lines.next().unwrap_or_default();
    let Ok(uri) = axum::http::Uri::try_from(uri) else {
        return;
    };
    let Some((_, dialect)) = DIALECTS
        .iter()
        .find(|(path, _)| uri.path().starts_with(path))
    else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(8) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            headers.append(name, value);
        }
    }
    let head = Head {
        headers,
        peer: None,
    };
    let body = Bytes::copy_from_slice(body);
    let request = Request::new(&Method::POST, &uri, &head, body, RECEIVED_AT);
    let Ok(reading) = (dialect.read)(&request) else {
        return;
    };
    let events = reading.entries.len();
    let arrivals = reading
        .entries
        .iter()
        .map(|entry| (entry.site.clone(), arrival(false)))
        .collect();
    let judged = judge(reading, arrivals, &Rules::default(), dialect.amounts);
    let Some(verdict) = judged.verdict else {
        assert_eq!(events, 0, "events without a verdict");
        return;
    };
    check(&verdict, events);
    let outcome = Outcome {
        accepted: verdict.accepted,
        refused: verdict.received - verdict.accepted,
        visitor: judged.visitor,
        bot: false,
    };
    let _ = (dialect.answer)(&request, &outcome);
}
