//! Sends refused events again through a collector, once what refused them is mended.
//!
//! An event that has an id of its own keeps it; the others get one of (edge, position). So an event counts once, however
//! often it is replayed or its client sends it again. It keeps the time that it had: where its client told none, when it
//! was received. Agent and place, which the collector makes of a request, are not known any more.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::dead_letters::DeadLetter;

/// Letters of one replay.
pub(super) const MAX_LETTERS: usize = 1_000;
/// Bytes of events in one request to the collector.
const MAX_REQUEST_BYTES: usize = 512 << 10;
/// Events in one request to the collector.
const MAX_REQUEST_EVENTS: usize = 500;
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// Which letters to send again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Args, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Id or domain of the site.
    #[arg(long = "site")]
    pub site_id: String,
    /// These letters, also if they were replayed before; without any: those that were not.
    #[arg(long = "id", value_name = "ID")]
    #[serde(default)]
    pub ids: Vec<String>,
    /// Only of this reason.
    #[arg(long, value_parser = super::desk::checked_reason)]
    #[serde(default)]
    pub reason: Option<String>,
    /// Received then or later: RFC 3339, or a date (UTC).
    #[arg(long)]
    #[serde(default)]
    pub from: Option<String>,
    /// Received before: RFC 3339, or a date (UTC), which is included.
    #[arg(long)]
    #[serde(default)]
    pub to: Option<String>,
    /// URL of the collector to send them to; by default the configured one.
    #[arg(long, value_name = "URL")]
    #[serde(default)]
    pub collector: Option<String>,
}

/// What came of a replay.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ReplayAnswer {
    /// Events that the collector took. Those that were counted before show as duplicates in the ledger.
    pub accepted: u64,
    /// Events that it refused again; each is the letter that it was, with this outcome.
    pub rejected: u64,
    /// Letters that hold no event that could be sent.
    pub not_replayable: u64,
    /// Each letter's, in the order in which they were sent.
    pub results: Vec<Replayed>,
    /// Whether there are more such letters: ask again.
    pub more: bool,
}

/// What came of one letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Replayed {
    /// The letter's id.
    pub id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was refused again, or can't be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What came of sending a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The collector took it.
    Accepted,
    /// The collector refused it again.
    Rejected,
    /// It can't be sent: its payload was cut when it was kept, or is no event.
    NotReplayable,
}

impl Outcome {
    /// As letters are marked with it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::NotReplayable => "not_replayable",
        }
    }
}

/// Why letters could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The collector did not answer.
    #[error("the collector at {url} does not answer: {why}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answered something else than the fates of events.
    #[error("the collector at {url} answered {status}: {detail}")]
    Refused {
        /// Where it is.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
}

/// The event of a letter as it is to be sent, or why there is none.
pub(super) fn revive(letter: &DeadLetter) -> Result<Value, &'static str> {
    let event: Value =
        serde_json::from_slice(&letter.payload).map_err(|_| "the payload is not JSON")?;
    let Value::Object(mut event) = event else {
        return Err("the payload is no event");
    };
    if event.contains_key("cut") && event.contains_key("bytes") {
        return Err("the payload was too long to be kept whole");
    }
    event.retain(|_, value| !value.is_null());
    let received_at = i64::try_from(letter.id.received_at).unwrap_or(i64::MAX);
    keep_time(&mut event, received_at);
    if event.get("id").is_none_or(|id| id == "") {
        let (edge, position) = (letter.id.edge, letter.id.position);
        event.insert(
            "id".to_owned(),
            json!(format!("dead-letter-{edge:016x}-{position:x}")),
        );
    }
    Ok(Value::Object(event))
}

/// Makes the event's time one that does not depend on when it is sent. A time that can't be read stays: it is refused.
fn keep_time(event: &mut Map<String, Value>, received_at: i64) {
    let time = match (event.get("time"), event.get("age")) {
        (None, None) => received_at,
        (None, Some(age)) => match age.as_i64() {
            Some(age) => received_at.saturating_sub(age.max(0)),
            None => return,
        },
        (Some(time), None) => {
            let time = time
                .as_str()
                .and_then(|time| time.parse::<Timestamp>().ok());
            match time {
                // Then its client's clock was ahead.
                Some(time) if time.as_millisecond() > received_at => received_at,
                _ => return,
            }
        }
        (Some(_), Some(_)) => return,
    };
    if let Ok(time) = Timestamp::from_millisecond(time) {
        event.remove("age");
        event.insert("time".to_owned(), json!(time.to_string()));
    }
}

/// Splits events into requests that a collector takes.
pub(super) fn requests(events: Vec<(usize, Value)>) -> Vec<Vec<(usize, Value)>> {
    let mut requests: Vec<Vec<(usize, Value)>> = Vec::new();
    let mut bytes = 0;
    for (index, event) in events {
        let length = event.to_string().len();
        let full = requests.last().is_none_or(|request| {
            request.len() == MAX_REQUEST_EVENTS || bytes + length > MAX_REQUEST_BYTES
        });
        if full {
            requests.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(request) = requests.last_mut() {
            request.push((index, event));
        }
    }
    requests
}

/// Sends events to collectors.
pub(super) struct Sender {
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    rejected: Vec<Rejection>,
}

#[derive(Deserialize)]
struct Rejection {
    index: usize,
    reason: String,
    #[serde(default)]
    detail: String,
}

impl Sender {
    pub(super) fn new() -> reqwest::Result<Self> {
        // No proxy of the environment: letters go to the collector and nowhere else.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http })
    }

    /// Sends events with a server key to the collector at `url`. Gives of each, in order, why it was refused, if it was.
    pub(super) async fn send(
        &self,
        url: &str,
        key: &str,
        events: &[&Value],
    ) -> Result<Vec<Option<String>>, SendError> {
        let unreachable = |error: reqwest::Error| SendError::Unreachable {
            url: url.to_owned(),
            why: crate::causes::Causes(&error.without_url()).to_string(),
        };
        let response = self
            .http
            .post(format!("{}/w/1/events", url.trim_end_matches('/')))
            .bearer_auth(key)
            .json(&json!({ "historical": true, "events": events }))
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        let refused = |detail: &str| SendError::Refused {
            url: url.to_owned(),
            status: status.as_u16(),
            detail: detail.chars().take(200).collect(),
        };
        if status != StatusCode::ACCEPTED {
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            return Err(refused(
                problem["detail"].as_str().unwrap_or("no collector?"),
            ));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| refused("the answer is not a collector's"))?;
        let mut fates = vec![None; events.len()];
        for Rejection {
            index,
            reason,
            detail,
        } in answer.rejected
        {
            if let Some(fate) = fates.get_mut(index) {
                *fate = Some(format!("{reason}: {detail}"));
            }
        }
        Ok(fates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{MAX_REQUEST_BYTES, requests, revive};
    use crate::ledger::dead_letters::{DeadLetter, LetterId};

    /// A whole second in September 2026.
    const RECEIVED: u64 = 1_790_000_000_000;

    fn letter(payload: &[u8]) -> DeadLetter {
        DeadLetter {
            id: LetterId {
                received_at: RECEIVED,
                edge: 0xab,
                position: 17,
            },
            site: 1,
            reason: "malformed".to_owned(),
            detail: String::new(),
            payload: payload.to_vec().into(),
            replayed: None,
        }
    }

    fn revived(payload: &Value) -> Value {
        revive(&letter(payload.to_string().as_bytes())).unwrap()
    }

    fn at(ms: u64) -> String {
        jiff::Timestamp::from_millisecond(ms as i64)
            .unwrap()
            .to_string()
    }

    #[test]
    fn an_event_keeps_its_id_and_time_and_gets_what_it_lacks() {
        let bare = revived(&json!({"type": "click", "name": null}));
        let expected =
            json!({"type": "click", "id": "dead-letter-00000000000000ab-11", "time": at(RECEIVED)});
        assert_eq!(bare, expected);
        let whole = json!({"id": "mine", "time": at(RECEIVED - 5_000)});
        assert_eq!(revived(&whole), whole);
        let aged = revived(&json!({"id": "mine", "age": 2_000}));
        assert_eq!(aged, json!({"id": "mine", "time": at(RECEIVED - 2_000)}));
        let ahead = revived(&json!({"id": "mine", "time": at(RECEIVED + 90_000)}));
        assert_eq!(ahead["time"], at(RECEIVED));
        for unclear in [
            json!({"id": "i", "time": "soon"}),
            json!({"id": "i", "age": "x"}),
        ] {
            assert_eq!(revived(&unclear), unclear);
        }
    }

    #[test]
    fn what_is_no_event_is_not_sent() {
        for payload in [
            "",
            "[]",
            "\"x\"",
            "{",
            r#"{"cut":"{\"type\"","bytes":300000}"#,
        ] {
            assert!(revive(&letter(payload.as_bytes())).is_err(), "{payload}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_refused_or_revived_alike_each_time(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let letter = letter(&payload);
            prop_assert_eq!(revive(&letter), revive(&letter));
        }

        #[test]
        fn requests_hold_every_event_once_in_order_and_stay_small(lengths in prop::collection::vec(0_usize..200_000, 0..40)) {
            let events: Vec<_> = lengths.iter().map(|length| json!("x".repeat(*length))).enumerate().collect();
            let split = requests(events.clone());
            prop_assert!(split.iter().all(|request| !request.is_empty()));
            for request in &split {
                let bytes: usize = request.iter().map(|(_, event)| event.to_string().len()).sum();
                prop_assert!(bytes <= MAX_REQUEST_BYTES);
            }
            prop_assert_eq!(split.concat(), events);
        }
    }
}
