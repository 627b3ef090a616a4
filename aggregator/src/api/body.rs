//! JSON bodies: of the right type, of bounded size, without unknown keys.

use std::time::Duration;

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::{
    Shared,
    problem::{Code, Problem},
};

/// Bytes of a body.
const MAX_BYTES: usize = 256 << 10;
/// How long one may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// A body as it is.
pub(super) struct JsonBytes(pub(super) Bytes);

impl FromRequest<Shared> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        // Pages of other origins may send text/plain without asking, but not this.
        let is_json = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Problem::new(Code::NotJson));
        }
        let body = tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), MAX_BYTES))
            .await
            .map_err(|_| Problem::with(Code::Timeout, "the body did not arrive in time"))?
            .map_err(|error| {
                if std::error::Error::source(&error)
                    .is_some_and(<dyn std::error::Error>::is::<LengthLimitError>)
                {
                    Problem::with(
                        Code::TooLarge,
                        format!("a body has at most {MAX_BYTES} bytes"),
                    )
                } else {
                    Problem::with(Code::Invalid, "the body did not arrive")
                }
            })?;
        Ok(Self(body))
    }
}

/// A body read as `T`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let JsonBytes(body) = JsonBytes::from_request(request, state).await?;
        let value = serde_json::from_slice(&body);
        value
            .map(Self)
            .map_err(|error| Problem::with(Code::Invalid, error.to_string()))
    }
}
