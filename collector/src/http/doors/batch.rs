//! `POST /w/1/batch`: a native batch, answered with a `BatchReply`.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use prost::Message as _;
use wakeline_proto::batch::{self, DecodeError};
use wakeline_proto::v1;

use super::{Arrived, accepted, take, visitor_of_day};
use crate::http::body::{check_content_type, decompress};
use crate::http::cors::{Audience, Saying};
use crate::http::problem::Refusal;
use crate::http::{Doors, Head};
use crate::judge::{Verdict, native};

const CONTENT_TYPES: [&str; 3] = [
    "application/x-protobuf",
    "application/octet-stream",
    "text/plain",
];

pub(crate) async fn door(State(doors): State<Arc<Doors>>, head: Head, body: Body) -> Response {
    let outcome = handle(&doors, &head, body).await;
    doors.answer(outcome)
}

/// The same for a request that did not come through the router: without its boxes.
pub(crate) async fn direct(
    doors: &Arc<Doors>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response {
    let (parts, body) = request.into_parts();
    let saying = Saying::of(doors, Audience::Own, &parts.uri, &parts.headers);
    let head = Head {
        headers: parts.headers,
        peer: Some(peer),
    };
    let outcome = handle(doors, &head, body).await;
    let mut response = doors.answer(outcome);
    saying.to(doors, &mut response);
    response
}

async fn handle(
    doors: &Arc<Doors>,
    head: &Head,
    body: impl hyper::body::Body<Data = Bytes, Error: Display>,
) -> Result<Response, Refusal> {
    check_content_type(
        &head.headers,
        &CONTENT_TYPES,
        "application/x-protobuf or text/plain",
    )?;
    let Arrived {
        bytes,
        encoding,
        received_at,
        share,
    } = take(doors, &head.headers, body).await?;
    let size = bytes.len();
    let limits = doors.limits.clone();
    let mut batch = doors
        .compute(size, move || {
            let decoded = decompress(encoding, bytes, limits.decoded_bytes)?;
            let batch = batch::decode(&decoded)?;
            let events: usize = batch.streams.iter().map(|stream| stream.events.len()).sum();
            if events > limits.events {
                return Err(Refusal::TooLarge(format!(
                    "more than {} events",
                    limits.events
                )));
            }
            Ok(batch)
        })
        .await?;
    let arrival = doors.arrival(&batch.key, head, received_at).await?;
    if batch.visitor.is_empty() {
        batch.visitor = visitor_of_day(doors, &arrival);
    }
    let settings = arrival.pass.rules.for_pages(&batch.visitor);
    let verdict = doors
        .compute(size, move || Ok(native::judge(batch, arrival)?))
        .await?;
    let verdict = doors.store(verdict, share).await?;
    Ok(accepted(
        "application/x-protobuf",
        reply(verdict, settings).encode_to_vec(),
    ))
}

fn reply(verdict: Verdict, settings: String) -> v1::BatchReply {
    v1::BatchReply {
        accepted: verdict.accepted,
        rejected: verdict
            .rejected
            .into_iter()
            .map(|one| v1::BatchRejection {
                index: one.index,
                reason: one.refused.reason.as_str().to_owned(),
                detail: one.refused.detail.into_owned(),
            })
            .collect(),
        settings,
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooManyEvents | DecodeError::TooManyParts => {
                Self::TooLarge(error.to_string())
            }
            other => Self::Malformed(other.to_string()),
        }
    }
}
