//! `GET /w/1/pixel.gif?k=&v=&t=&u=&r=&n=`: one event where no script runs.
//!
//! `k` key, `v` visitor, `t` type (`page_view` if absent), `u` URL (the `Referer` if absent), `r` referrer, `n` name.
//! The answer is an image with 200 also if the event was refused: `Wakeline-Rejected` then says why.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, REFERER};
use wakeline_proto::{Reason, v1};

use super::{key_of, parameter};
use crate::http::body::Share;
use crate::http::problem::Refusal;
use crate::http::{Doors, Head, now_ms};
use crate::judge::native::Arrival;
use crate::judge::{Claim, Draft, Judge, Refused, Verdict, json};
use crate::rules::limits::Reached;

/// One transparent pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

pub(crate) async fn door(
    State(doors): State<Arc<Doors>>,
    RawQuery(query): RawQuery,
    head: Head,
) -> Response {
    let outcome = handle(&doors, query.as_deref(), &head).await;
    doors.answer(outcome)
}

async fn handle(doors: &Arc<Doors>, query: Option<&str>, head: &Head) -> Result<Response, Refusal> {
    let key = key_of(&head.headers, parameter(query, "k"))?;
    let arrival = doors.arrival(&key, head, now_ms()).await?;
    let referer = head.headers.get(REFERER);
    let referer = referer.and_then(|url| Some(url.to_str().ok()?.to_owned()));
    let verdict = doors
        .store(judge(query, referer, arrival)?, Share::none(&doors.budget))
        .await?;
    let mut response = Response::new(Body::from(GIF));
    let response_headers = response.headers_mut();
    response_headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    if let Some(one) = verdict.rejected.first() {
        response_headers.insert(
            HeaderName::from_static("wakeline-rejected"),
            HeaderValue::from_static(one.refused.reason.as_str()),
        );
    }
    Ok(response)
}

/// Judges the event of a query. `referer`: the page that asked for the image, as its browser says.
pub(crate) fn judge(
    query: Option<&str>,
    referer: Option<String>,
    arrival: Arrival,
) -> Result<Verdict, Reached> {
    let get = |name| parameter(query, name).unwrap_or_default();
    let type_name =
        parameter(query, "t").unwrap_or_else(|| v1::EventType::PageView.name().to_owned());
    let url = parameter(query, "u").or(referer);
    let visitor = get("v");
    let mut judge = Judge::new(json::context(arrival, false), 1)?;
    let payload = serde_json::json!({
        "type": type_name, "name": get("n"), "visitor": visitor, "url": url, "referrer": get("r"),
    });
    let payload = |_: &_| payload.to_string().into_bytes();
    if let Some(kind) = v1::EventType::from_name(&type_name) {
        judge.event(
            Draft {
                visitor: Cow::Borrowed(&visitor),
                consent: v1::Consent::Unspecified,
                claim: Claim::Now,
                url: Cow::Owned(url.unwrap_or_default()),
                sender: None,
                event: v1::Event {
                    r#type: kind.into(),
                    name: get("n"),
                    referrer: get("r"),
                    ..v1::Event::default()
                },
            },
            payload,
        );
    } else {
        let refused = Refused::new(Reason::InvalidType, "there is no such type");
        judge.unreadable(&visitor, v1::Consent::Unspecified, refused, None, payload);
    }
    Ok(judge.finish())
}
