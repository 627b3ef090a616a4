//! Errors as `application/problem+json` (RFC 9457), from one table.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::AskError;
use crate::{
    admin::AdminError,
    causes::Causes,
    control::{ControlError, InvalidSetting},
    events::EventError,
    preview::PreviewError,
};

/// What kind of error; clients may rely on its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    Timeout,
    TooLarge,
    OverBudget,
    NotJson,
    TooManyAttempts,
    Unavailable,
    Internal,
}

impl Code {
    /// Status, end of the `type`, and title. Changing one is a breaking change.
    const fn table(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (
                StatusCode::BAD_REQUEST,
                "invalid",
                "The request is not valid",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Sign in, or send an admin token",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This can't be done here",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "This is not possible as things are",
            ),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow"),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The request is too large",
            ),
            Self::OverBudget => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "over_budget",
                "The question needs more than it may",
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "Send application/json",
            ),
            Self::TooManyAttempts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "Too many wrong tokens",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "This can't be answered at the moment",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong",
            ),
        }
    }

    /// What is said where there is nothing more special to say.
    const fn detail(self) -> &'static str {
        match self {
            Self::Invalid => "the request is not valid",
            Self::Unauthorized => {
                "nobody is signed in: send Authorization: Bearer and an admin token, or sign in"
            }
            Self::Forbidden => "this is not allowed",
            Self::NotFound => "there is nothing at this path",
            Self::MethodNotAllowed => "the method is not allowed at this path",
            Self::Conflict => "this is not possible as things are",
            Self::Timeout => "the request did not arrive in time",
            Self::TooLarge => "the request is too large",
            Self::OverBudget => "the question needs more time or memory than it may",
            Self::NotJson => "the content type is not application/json",
            Self::TooManyAttempts => {
                "too many wrong tokens came from this address; wait before trying another"
            }
            Self::Unavailable => "the figures can't be read at the moment; try again",
            Self::Internal => "the server could not do this; its log says why",
        }
    }
}

/// An error as its caller sees it. Details that are not for callers are logged where it is made.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: Option<String>,
    retry_after_s: Option<i64>,
    errors: Vec<FieldError>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// The field, such as `schemas[0].event`.
    key: String,
    /// What is wrong with it.
    detail: String,
}

impl Problem {
    pub(super) const fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            retry_after_s: None,
            errors: Vec::new(),
        }
    }

    pub(super) fn with(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: Some(detail.into()),
            retry_after_s: None,
            errors: Vec::new(),
        }
    }

    /// Names the fields that are wrong; each of `errors` is `KEY: what is wrong`.
    fn of_fields(mut self, errors: &[String]) -> Self {
        let fields = errors.iter().filter_map(|error| error.split_once(": "));
        self.errors = fields
            .map(|(key, detail)| FieldError {
                key: key.to_owned(),
                detail: detail.to_owned(),
            })
            .collect();
        self
    }

    pub(super) const fn retry_after(mut self, seconds: i64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(Code::Internal)
    }
}

/// What an error looks like (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Kind of error; stays the same.
    #[serde(rename = "type")]
    #[schema(example = "urn:wakeline:problem:not_found")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// As the response's.
    status: u16,
    /// What is wrong this time.
    detail: String,
    /// Fields of the request that are wrong, where single ones are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.code.table();
        let body = ProblemBody {
            kind: format!("urn:wakeline:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: self.detail.unwrap_or_else(|| self.code.detail().to_owned()),
            errors: self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<InvalidSetting> for Problem {
    fn from(error: InvalidSetting) -> Self {
        Self::with(Code::Invalid, error.to_string())
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::DomainTaken(_)
            | ControlError::AliasTaken(_)
            | ControlError::AliasIsDomain(_)
            | ControlError::DomainIsAlias(_)
            | ControlError::LastToken(_)
            | ControlError::NameTaken(_)
            | ControlError::TooManyDefined(_)
            | ControlError::RulesChanged(_) => Code::Conflict,
            ControlError::BadRules(_)
            | ControlError::BadDefinition(_)
            | ControlError::ServerKeyOfApps => Code::Invalid,
            ControlError::InvalidRules(problems) => {
                return Self::with(Code::Invalid, error.to_string()).of_fields(problems);
            }
            ControlError::BreakingSchemas(broken) => {
                let detail =
                    format!("{error}: to save it all the same, say so with \"force\": true");
                return Self::with(Code::Conflict, detail).of_fields(broken);
            }
            ControlError::NoSite(_)
            | ControlError::NoKey(_)
            | ControlError::NoAlias(_)
            | ControlError::NoToken(_)
            | ControlError::NoGoal(_)
            | ControlError::NoSegment(_)
            | ControlError::NoLink(_)
            | ControlError::NoRules(_) => Code::NotFound,
            ControlError::File(_)
            | ControlError::Store(_)
            | ControlError::TooNew { .. }
            | ControlError::BadSite { .. }
            | ControlError::Random(_) => return Self::internal(&error),
        };
        Self::with(code, error.to_string())
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Invalid(error) => error.into(),
            AdminError::Control(error) => error.into(),
            AdminError::Refused(why) => Self::with(Code::Conflict, why),
            error => Self::internal(&error),
        }
    }
}

impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Rules(error) => error.into(),
            PreviewError::Hours => Self::with(Code::Invalid, error.to_string()),
            PreviewError::Busy => Self::with(Code::Unavailable, error.to_string()).retry_after(5),
            error => Self::internal(&error),
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Query(why) => Self::with(Code::Invalid, why),
            AskError::NoSite(_) => Self::with(Code::NotFound, error.to_string()),
            AskError::Metrics(error) => error.into(),
            AskError::Events(EventError::Limit(why)) => Self::with(Code::OverBudget, why),
            AskError::Events(EventError::Lake(error)) => {
                tracing::error!(error = %Causes(&error), "read the lake");
                Self::with(Code::Unavailable, error.to_string()).retry_after(5)
            }
            AskError::Events(EventError::Closed(error)) => {
                Self::with(Code::Unavailable, error.to_string()).retry_after(5)
            }
            AskError::Events(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "read events");
                Self::new(Code::Unavailable).retry_after(1)
            }
        }
    }
}

impl From<crate::metrics::MetricError> for Problem {
    fn from(error: crate::metrics::MetricError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "read figures");
        Self::new(Code::Unavailable).retry_after(1)
    }
}
