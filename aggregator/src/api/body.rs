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
        parse(&body)
            .map(Self)
            .map_err(|why| Problem::with(Code::Invalid, why))
    }
}

/// Reads a JSON object, or says in JSON's words what is wrong.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // serde reads arrays as structs, too.
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| b"[\"-0123456789tfn".contains(byte)) {
        return Err("the body is not a JSON object".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| in_json_words(&error.to_string()))
}

/// What serde expected, without names of this program's types.
fn in_json_words(said: &str) -> String {
    let Some((found, expected)) = said.split_once(", expected ") else {
        return said.to_owned();
    };
    let (expected, place) = match expected.rfind(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "an object",
        "string or map" => "a string",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other if other.contains("tuple") => "an array of that many values",
        other => other,
    };
    let found = found
        .replace("invalid type: map", "invalid type: object")
        .replace("invalid type: sequence", "invalid type: array");
    format!("{found}, expected {expected}{place}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::parse;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        One,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        count: u32,
        size: usize,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        list: Vec<(String, Choice)>,
    }

    #[test]
    fn what_is_wrong_is_said_without_names_of_types() {
        for (body, says) in [
            (json!([1]), "not a JSON object"),
            (json!("text"), "not a JSON object"),
            (json!(null), "not a JSON object"),
            (json!({"inner": 5}), "expected an object at line 1"),
            (json!({"inner": {"count": -1}}), "that is not negative"),
            (json!({"inner": {"size": "x"}}), "that is not negative"),
            (json!({"list": {}}), "object, expected an array"),
            (json!({"list": [["a"]]}), "expected an array of"),
            (json!({"list": [["a", 5]]}), "expected"),
            (json!({"list": [["a", "two"]]}), "expected `one`"),
            (json!({"other": 1}), "unknown field `other`"),
        ] {
            let said = parse::<Outer>(body.to_string().as_bytes()).unwrap_err();
            assert!(said.contains(says), "{body}: {said}");
            for name in [
                "struct", "Inner", "Outer", "Choice", "u32", "usize", "tuple", "enum",
            ] {
                assert!(!said.contains(name), "{body}: {said}");
            }
        }
        assert!(parse::<Outer>(b"").unwrap_err().contains("EOF"));
        let Outer { inner, list } =
            parse(br#" {"inner": {"count": 1}, "list": [["a", "one"]]}"#).unwrap();
        assert_eq!((inner.count, inner.size, list.len()), (1, 0, 1));
    }
}
