//! Which pages may send and read (Cross-Origin Resource Sharing, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! A page may if the site whose key or name it sends takes events of its origin; until that is known, as for a preflight
//! whose URL has no key, any may ask. What is refused for its origin is not for the page to read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::Doors;
use crate::rules::SiteRules;

/// Put on an answer that is not for the page which asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotForPages;

/// Whether the page that sends is of an origin that the site takes events of. What is no page says no origin.
pub(crate) fn from_allowed_origin(headers: &HeaderMap, rules: &SiteRules) -> bool {
    headers.get(ORIGIN).is_none_or(|origin| {
        // Browsers write origins in ASCII.
        rules.allows_origin(origin.to_str().unwrap_or_default())
    })
}

/// The answer to a browser that asks whether a page may send.
pub(crate) fn preflight(methods: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-encoding, content-type, idempotency-key, wakeline-app",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    response
}

/// For our own doors: without cookies, which are not looked at.
pub(crate) async fn own(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let asking = Asking::of(&doors, &request);
    let mut response = next.run(request).await;
    asking.allow(&mut response, "retry-after");
    response
}

/// For other trackers' doors: with cookies, since their clients ask for that, and with whatever headers they have.
pub(crate) async fn trackers(
    State(doors): State<Arc<Doors>>,
    request: Request,
    next: Next,
) -> Response {
    let asking = Asking::of(&doors, &request);
    let wanted = request
        .headers()
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned();
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, OPTIONS"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            wanted.unwrap_or_else(|| HeaderValue::from_static("content-type")),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        response
    } else {
        next.run(request).await
    };
    if asking.allow(&mut response, "retry-after, x-plausible-dropped") {
        response.headers_mut().insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    response
}

/// A page that asks, if it is one.
struct Asking(Option<HeaderValue>);

impl Asking {
    /// A page whose URL has a key of a site that does not take events of its origin is none.
    fn of(doors: &Doors, request: &Request) -> Self {
        let refused = rules_of(doors, request.uri())
            .is_some_and(|rules| !from_allowed_origin(request.headers(), &rules));
        let origin = request.headers().get(ORIGIN).cloned();
        Self(origin.filter(|_| !refused))
    }

    /// Lets the page read the answer, if it is for it; whether it is.
    fn allow(self, response: &mut Response, exposed: &'static str) -> bool {
        let refused = response.extensions().get::<NotForPages>().is_some();
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        );
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let Some(origin) = self.0.filter(|_| !refused) else {
            return false;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
        true
    }
}

/// The rules of the site whose public key the URL has, if it has one that is known.
fn rules_of(doors: &Doors, uri: &Uri) -> Option<Arc<SiteRules>> {
    let query = uri.query()?;
    let (_, key) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "k")?;
    let rules = doors.keys.rules()?;
    let grant = rules.grant(&key).filter(|grant| !grant.server)?;
    rules.site(grant.site)
}
