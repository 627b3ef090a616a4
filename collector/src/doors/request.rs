//! A request as dialects see it, and answers.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use crate::config::LimitsConfig;
use crate::http::Head;
use crate::http::problem::Refusal;

/// One transparent pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Events may be so many times larger than the body: what a request says once is part of each of its events.
const MAX_GROWTH: usize = 4;
/// What a parameter takes in memory besides its texts.
const PAIR_BYTES: usize = 48;

/// Names and values of a query or a form, in order. Of a name that is given twice the first value counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of `name`; empty if it was not given.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// These, and where they say nothing, `other`.
    pub(super) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a JSON object, for what can't be read.
    pub(super) fn to_json(&self) -> Value {
        let pairs = self.0.iter().rev();
        Value::Object(
            pairs
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect(),
        )
    }
}

/// A request whose body has come.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: Params,
    pub(super) headers: HeaderMap,
    /// Decompressed.
    pub(super) body: Bytes,
    /// The collector's clock when the last byte had come, in ms since 1970-01-01 UTC.
    pub(super) received_at: u64,
    /// Drawn for this request.
    pub(super) random: [u8; 16],
    pub(super) limits: LimitsConfig,
}

impl Request {
    pub(super) fn new(_: &Method, uri: &Uri, head: &Head, body: Bytes, received_at: u64) -> Self {
        let mut random = [0; 16];
        // Without randomness an id is not new, which costs a cookie its meaning and nothing else.
        let _ = getrandom::fill(&mut random);
        Self {
            path: uri.path().trim_end_matches('/').to_owned(),
            query: Params::parse(uri.query().unwrap_or_default().as_bytes()),
            headers: head.headers.clone(),
            body,
            received_at,
            random,
            limits: LimitsConfig::default(),
        }
    }

    /// Refuses so many hits if there are too many, or if the query, which is part of each, is too long for that.
    pub(super) fn check_hits(&self, hits: usize) -> Result<(), Refusal> {
        let query: usize = self
            .query
            .iter()
            .map(|(name, value)| name.len() + value.len() + PAIR_BYTES)
            .sum();
        self.check_size(hits, hits.saturating_mul(query))
    }

    /// Refuses `events` that take `bytes` once they are written out.
    pub(super) fn check_size(&self, events: usize, bytes: usize) -> Result<(), Refusal> {
        let LimitsConfig {
            events: max_events,
            decoded_bytes,
            ..
        } = self.limits;
        if events > max_events {
            return Err(Refusal::TooLarge(format!("more than {max_events} events")));
        }
        let limit = decoded_bytes.saturating_mul(MAX_GROWTH);
        if bytes > limit {
            return Err(Refusal::TooLarge(format!(
                "the events have more than {limit} bytes, counting what they share for each"
            )));
        }
        Ok(())
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    pub(super) fn user_agent(&self) -> &str {
        self.header(USER_AGENT.as_str())
    }

    /// The value of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let all = self.header(COOKIE.as_str()).split(';');
        let mut pairs = all.filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value)
    }

    /// The user's name of `Authorization: Basic`, where trackers put their key; or the token of `Bearer`.
    pub(super) fn credential(&self) -> Option<String> {
        let (scheme, value) = self.header(AUTHORIZATION.as_str()).split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(value.trim().to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(base64(value.trim().as_bytes())?).ok()?;
        Some(pair.split(':').next().unwrap_or_default().to_owned())
    }

    /// The body as JSON, whatever it calls itself. Of a name that is given twice the last value counts. A number that is
    /// beyond every double is taken as its text: it is one event's fault.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        let text = self
            .body
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.body);
        serde_json::from_slice(text)
            .or_else(|error| {
                let quoted = quote_large_numbers(text).ok_or(error)?;
                serde_json::from_slice(&quoted)
            })
            .map_err(|error| Refusal::Malformed(format!("the body is not JSON: {error}")))
    }
}

/// JSON with the numbers in quotes that no double holds (`1e400`); `None` if there are none.
fn quote_large_numbers(json: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::with_capacity(json.len() + 16);
    let mut found = false;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let start = at;
        if byte == b'"' {
            at += 1;
            while let Some(&byte) = json.get(at).filter(|byte| **byte != b'"') {
                at += if byte == b'\\' { 2 } else { 1 };
            }
            at = (at + 1).min(json.len());
        } else if byte == b'-' || byte.is_ascii_digit() {
            let of_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            at += json[at..].iter().take_while(of_number).count();
            let number = std::str::from_utf8(&json[start..at]).ok();
            let number: Option<f64> = number.and_then(|number| number.parse().ok());
            if number.is_some_and(f64::is_infinite) {
                found = true;
                quoted.push(b'"');
                quoted.extend_from_slice(&json[start..at]);
                quoted.push(b'"');
                continue;
            }
        } else {
            at += 1;
        }
        quoted.extend_from_slice(&json[start..at]);
    }
    found.then_some(quoted)
}

/// Base64 in either alphabet, padded or not.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&::base64::alphabet::STANDARD, LENIENT);
    let text: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    STANDARD.decode(text).ok()
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn of_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn json(value: &Value) -> Response {
    of_type("application/json", value.to_string())
}

pub(super) fn text(text: &'static str) -> Response {
    of_type("text/plain; charset=utf-8", text)
}

pub(super) fn script(text: String) -> Response {
    of_type("text/javascript; charset=utf-8", text)
}

pub(super) fn gif() -> Response {
    of_type("image/gif", GIF)
}

/// 128 bits as a version 4 UUID (RFC 9562).
pub(super) fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quote_large_numbers;

    #[test]
    fn only_numbers_that_no_double_holds_become_texts() {
        for (json, expected) in [
            (
                r#"{"a":1e400,"b":-1E+999,"c":1.5}"#,
                Some(r#"{"a":"1e400","b":"-1E+999","c":1.5}"#),
            ),
            (r#"{"a":"1e400","b":"\" 1e400"}"#, None),
            ("[1,2e3,-0.5]", None),
            (r#"{"a":"unfinished 1e400"#, None),
            (r#"["\\",1e400]"#, Some(r#"["\\","1e400"]"#)),
        ] {
            let quoted = quote_large_numbers(json.as_bytes());
            assert_eq!(quoted.as_deref(), expected.map(str::as_bytes), "{json}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_copied_but_for_quotes(json in "[\\[\\]{},:\"\\\\ 0-9eE+.a-]{0,60}") {
            if let Some(quoted) = quote_large_numbers(json.as_bytes()) {
                let without = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'"').collect::<Vec<_>>();
                prop_assert_eq!(without(&quoted), without(json.as_bytes()));
            }
        }
    }
}
