//! `POST /w/1/events`: events as JSON, for servers, curl and the SDK's fallback.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::{Arrived, accepted, key_of, parameter, take, visitor_of_day};
use crate::http::body::{check_content_type, decompress};
use crate::http::problem::Refusal;
use crate::http::{Doors, Head};
use crate::judge::Verdict;
use crate::judge::json::{BodyError, JsonBody};

/// The last is what `curl -d` says by itself; the body is JSON nevertheless.
const CONTENT_TYPES: [&str; 3] = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
];
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

pub(crate) async fn door(
    State(doors): State<Arc<Doors>>,
    RawQuery(query): RawQuery,
    head: Head,
    body: Body,
) -> Response {
    let outcome = handle(&doors, query.as_deref(), &head, body).await;
    doors.answer(outcome)
}

async fn handle(
    doors: &Arc<Doors>,
    query: Option<&str>,
    head: &Head,
    body: Body,
) -> Result<Response, Refusal> {
    check_content_type(
        &head.headers,
        &CONTENT_TYPES,
        "application/json or text/plain",
    )?;
    let key = key_of(&head.headers, parameter(query, "k"))?;
    let idempotency_key = head
        .headers
        .get("idempotency-key")
        .map(|value| value.as_bytes().to_vec());
    if idempotency_key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY_BYTES)
    {
        return Err(Refusal::Malformed(
            "Idempotency-Key has 1 to 255 bytes".to_owned(),
        ));
    }
    let Arrived {
        bytes,
        encoding,
        received_at,
        share,
    } = take(doors, &head.headers, body).await?;
    // Before any work on the body: who has no key gets no decompression either.
    let arrival = doors.arrival(&key, head, received_at).await?;
    let of_day = visitor_of_day(doors, &arrival);
    let limits = doors.limits.clone();
    let settings = arrival.pass.rules.for_all_pages();
    let verdict = doors
        .compute(bytes.len(), move || {
            let decoded = decompress(encoding, bytes, limits.decoded_bytes)?;
            let body = JsonBody::parse(&decoded, limits.events)?;
            Ok(body.judge(arrival, idempotency_key.as_deref(), &of_day)?)
        })
        .await?;
    let verdict = doors.store(verdict, share).await?;
    let reply = serde_json::to_vec(&Reply::of(&verdict, settings)).unwrap_or_default();
    Ok(accepted("application/json", reply))
}

#[derive(Serialize)]
struct Reply<'a> {
    accepted: u32,
    rejected: Vec<Rejected<'a>>,
    /// What the site's pages should know; whether a visitor is in its sample only replies to batches say.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    settings: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Rejected<'a> {
    index: u32,
    reason: &'a str,
    detail: &'a str,
}

impl<'a> Reply<'a> {
    fn of(verdict: &'a Verdict, settings: serde_json::Map<String, serde_json::Value>) -> Self {
        Self {
            accepted: verdict.accepted,
            rejected: verdict
                .rejected
                .iter()
                .map(|one| Rejected {
                    index: one.index,
                    reason: one.refused.reason.as_str(),
                    detail: &one.refused.detail,
                })
                .collect(),
            settings,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Syntax(_) | BodyError::Utf8(_) => Self::Malformed(error.to_string()),
            BodyError::TooMany(_) => Self::TooLarge(error.to_string()),
            BodyError::Limited(reached) => Self::Limited(reached),
            BodyError::HistoricalByWriteKey => {
                Self::Forbidden("only a server key may send historical events")
            }
        }
    }
}
