//! Which pages may send and read (Cross-Origin Resource Sharing, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! A page may if the site whose key or name it sends takes events of its origin; until that is known, as for a preflight
//! whose URL has no key, any may ask. What is refused for its origin is not for the page to read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{Either, Ready, ready as at_once};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{Doors, guard};
use crate::rules::SiteRules;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

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

/// The answer to a browser that asks for a page with another tracker: whatever headers it has.
fn tracker_preflight(headers: &HeaderMap) -> Response {
    let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
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
}

/// Whom a door is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Nobody's pages.
    Operators,
    /// Pages with our SDK: without cookies, which are not looked at.
    Own,
    /// Pages with other trackers: with cookies, since their clients ask for that.
    Trackers,
}

/// What an answer says to browsers, besides what its door says: who may read it, and how it is to be taken.
#[derive(Debug)]
pub(crate) struct Saying {
    audience: Audience,
    /// The page that asks, if one may.
    origin: Option<HeaderValue>,
}

impl Saying {
    /// To who asks. A page whose URL has a key of a site that does not take events of its origin is none.
    pub(crate) fn of(doors: &Doors, audience: Audience, uri: &Uri, headers: &HeaderMap) -> Self {
        let refused =
            || rules_of(doors, uri).is_some_and(|rules| !from_allowed_origin(headers, &rules));
        let origin = headers
            .get(ORIGIN)
            .filter(|_| audience != Audience::Operators);
        Self {
            audience,
            origin: origin.filter(|_| !refused()).cloned(),
        }
    }

    /// Says it.
    pub(crate) fn to(self, doors: &Doors, response: &mut Response) {
        guard::say(doors, response);
        let exposed = match self.audience {
            Audience::Operators => return,
            Audience::Own => "retry-after",
            Audience::Trackers => "retry-after, x-plausible-dropped",
        };
        let refused = response.extensions().get::<NotForPages>().is_some();
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let Some(origin) = self.origin.filter(|_| !refused) else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
        if self.audience == Audience::Trackers {
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }
}

/// Has every answer of a router say what its audience's browsers are to know.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) doors: Arc<Doors>,
    pub(crate) audience: Audience,
}

impl<S> Layer<S> for Say {
    type Service = Says<S>;

    fn layer(&self, inner: S) -> Says<S> {
        let say = self.clone();
        Says { inner, say }
    }
}

/// A router's service, made by [`Say`].
#[derive(Clone, Debug)]
pub(crate) struct Says<S> {
    inner: S,
    say: Say,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Says<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Said<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Say { doors, audience } = &self.say;
        let saying = Saying::of(doors, *audience, request.uri(), request.headers());
        let asks = *audience == Audience::Trackers && request.method() == Method::OPTIONS;
        let answer = if asks {
            Either::Left(at_once(Ok(tracker_preflight(request.headers()))))
        } else {
            Either::Right(self.inner.call(request))
        };
        Said {
            answer,
            saying: Some((saying, Arc::clone(doors))),
        }
    }
}

pin_project! {
    /// An answer that is being made.
    pub(crate) struct Said<F, E> {
        #[pin]
        answer: Either<Ready<Result<Response, E>>, F>,
        saying: Option<(Saying, Arc<Doors>)>,
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for Said<F, E> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let said = self.project();
        let answer = ready!(said.answer.poll(context));
        Poll::Ready(answer.map(|mut response| {
            if let Some((saying, doors)) = said.saying.take() {
                saying.to(&doors, &mut response);
            }
            response
        }))
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
