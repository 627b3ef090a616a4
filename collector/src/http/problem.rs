//! Why a request is refused as a whole, and what is answered: `application/problem+json` (RFC 9457), from one table.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use wakeline_spool::AppendError;

use super::cors::NotForPages;
use crate::rules::limits::Reached;

/// Why a request is refused as a whole. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("the key is missing or not known")]
    Key,
    #[error("{0}")]
    Forbidden(&'static str),
    /// Of the site with that id.
    #[error("the site does not take events of pages of this origin")]
    Origin(u64),
    /// Of a key of the site with that id.
    #[error("the key is for some apps only: name yours in the header Wakeline-App")]
    App(u64),
    #[error("{}; come again in {} s", .0.what, .0.retry_after)]
    Limited(Reached),
    #[error("there is nothing at this path")]
    NotFound,
    #[error("the method is not allowed; use {0}")]
    Method(&'static str),
    #[error("the body did not arrive in time")]
    Timeout,
    #[error("{0}")]
    TooLarge(String),
    #[error("the content type is not supported; use {0}")]
    ContentType(&'static str),
    #[error("the content encoding is not supported; use gzip, deflate, zstd or br")]
    Encoding,
    #[error("too much at a time")]
    Busy,
    #[error("the key is not known yet and the aggregator can't be asked")]
    KeyUnknowable,
    #[error("the spool is full")]
    SpoolFull,
    #[error("the events can't be stored")]
    Spool(#[source] AppendError),
    #[error("the collector is not ready")]
    NotReady,
}

/// What is said about a refusal, besides its own text.
struct Answer {
    status: StatusCode,
    /// Metric label, and the end of the problem's type. Changing one is a breaking change.
    label: &'static str,
    title: &'static str,
    retry_after: Option<u32>,
}

impl Refusal {
    /// Every label.
    pub(crate) const LABELS: [&'static str; 17] = [
        "malformed",
        "key",
        "forbidden",
        "origin",
        "app",
        "rate_limited",
        "not_found",
        "method",
        "timeout",
        "too_large",
        "content_type",
        "encoding",
        "busy",
        "key_unknowable",
        "spool_full",
        "spool_failed",
        "not_ready",
    ];

    pub(crate) fn label(&self) -> &'static str {
        self.answer().label
    }

    /// Whether it is worth to come again with the same.
    pub(crate) fn is_passing(&self) -> bool {
        self.answer().retry_after.is_some()
    }

    fn answer(&self) -> Answer {
        let (status, label, title, retry_after) = match self {
            Self::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "Malformed request",
                None,
            ),
            Self::Key => (StatusCode::UNAUTHORIZED, "key", "Unknown key", None),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Not allowed", None),
            Self::Origin(_) => (StatusCode::FORBIDDEN, "origin", "Origin not allowed", None),
            Self::App(_) => (StatusCode::FORBIDDEN, "app", "App not allowed", None),
            Self::Limited(reached) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many events",
                Some(reached.retry_after),
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found", None),
            Self::Method(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "Method not allowed",
                None,
            ),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow", None),
            Self::TooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "Too large",
                None,
            ),
            Self::ContentType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_type",
                "Unsupported content type",
                None,
            ),
            Self::Encoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding",
                "Unsupported content encoding",
                None,
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", Some(1)),
            Self::KeyUnknowable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "key_unknowable",
                "Key can't be checked",
                Some(5),
            ),
            Self::SpoolFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                "spool_full",
                "Spool full",
                Some(30),
            ),
            Self::Spool(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "spool_failed",
                "Not stored",
                Some(5),
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                "Not ready",
                Some(5),
            ),
        };
        Answer {
            status,
            label,
            title,
            retry_after,
        }
    }
}

impl From<Reached> for Refusal {
    fn from(reached: Reached) -> Self {
        Self::Limited(reached)
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::SpoolFull,
            other => Self::Spool(other),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let answer = self.answer();
        let body = serde_json::json!({
            "type": format!("urn:wakeline:problem:{}", answer.label),
            "title": answer.title,
            "status": answer.status.as_u16(),
            "detail": self.to_string(),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = answer.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::Origin(_)) {
            response.extensions_mut().insert(NotForPages);
        }
        let headers = response.headers_mut();
        match self {
            Self::Method(allowed) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Encoding => {
                headers.insert(
                    "accept-encoding",
                    HeaderValue::from_static("gzip, deflate, zstd, br"),
                );
            }
            Self::Key => {
                headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
