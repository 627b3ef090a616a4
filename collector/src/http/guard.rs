//! What every answer says to browsers, and who may look inside.

use axum::response::Response;
use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, FORWARDED, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    VIA, X_CONTENT_TYPE_OPTIONS,
};
use subtle::ConstantTimeEq as _;

use super::{Doors, Head};

/// Headers of requests that came through a proxy.
const OF_PROXIES: [HeaderName; 4] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// `Strict-Transport-Security` for so many seconds (RFC 6797); `None` for 0.
pub(crate) fn hsts(seconds: u64) -> Option<HeaderValue> {
    if seconds == 0 {
        return None;
    }
    HeaderValue::try_from(format!("max-age={seconds}")).ok()
}

/// What is sent is of the type that it says, and nothing that a link on it leads to learns of it.
pub(crate) fn say(doors: &Doors, response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(hsts) = &doors.hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// Whether `/metrics` is for who asks: somebody on this machine, or with the token. Through a proxy on this machine
/// everybody seems to be on it.
pub(crate) fn may_read_metrics(doors: &Doors, head: &Head) -> bool {
    let token = doors.metrics_token.reveal();
    if token.is_some_and(|token| shows(&head.headers, token)) {
        return true;
    }
    let forwarded = doors.enricher.came_through_a_proxy(&head.headers)
        || OF_PROXIES
            .iter()
            .any(|name| head.headers.contains_key(name));
    let local = head
        .peer
        .is_some_and(|peer| peer.to_canonical().is_loopback());
    local && !forwarded
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| bool::from(shown.ct_eq(token.as_bytes())))
}
