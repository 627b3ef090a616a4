//! PostHog: `/e`, `/i/v0/e`, `/capture`, `/batch`, `/track`, `/engage`, and what its clients ask for besides.

use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::commerce::{self, Amounts};
use super::entry::{Entry, Reading, custom, draft, malformed, put_text, title, within_limits};
use super::json::{claim, first, number, properties};
use super::request::{self, Params, Request, base64, empty, script};
use super::{Dialect, Outcome, door, fixed};
use crate::enrich::Sender;
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Claim, Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "posthog",
    amounts: Amounts {
        value: "revenue, total or value",
        price: "the price of a product",
    },
    read,
    answer,
    unknown: Some(StatusCode::UNAUTHORIZED),
};

/// Bytes of a body that was compressed inside of a form.
const MAX_DECODED: usize = wakeline_proto::limits::MAX_DECODED_BYTES;

pub(super) fn routes() -> Router<Arc<Doors>> {
    let mut routes = Router::new();
    for path in ["/e", "/i/v0/e", "/capture", "/batch", "/track", "/engage"] {
        routes = routes
            .route(path, door(&DIALECT))
            .route(&format!("{path}/"), door(&DIALECT));
    }
    // Recordings of the screen are not taken.
    for path in ["/s", "/s/"] {
        routes = routes.route(path, fixed(|_| ok()));
    }
    for path in ["/flags", "/flags/", "/decide", "/decide/"] {
        routes = routes.route(path, fixed(|_| flags()));
    }
    routes
        .route("/array/{token}/config.js", fixed(config_script))
        .route("/array/{token}/config", fixed(|_| request::json(&config())))
}

fn flags() -> Response {
    let mut answer = config();
    answer["flags"] = json!({});
    answer["featureFlags"] = json!({});
    answer["featureFlagPayloads"] = json!({});
    answer["errorsWhileComputingFlags"] = false.into();
    request::json(&answer)
}

/// Nothing that needs more scripts is switched on. Of surveys nothing is said: posthog-js fetches their script even where
/// they are false.
fn config() -> Value {
    json!({
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": false,
        "autocapture_opt_out": false,
        "captureDeadClicks": false,
        "capturePerformance": false,
        "autocaptureExceptions": false,
        "sessionRecording": false,
        "heatmaps": false,
        "siteApps": [],
        "isAuthenticated": false,
        "toolbarParams": {},
    })
}

fn config_script(request: &Request) -> Response {
    let token = request.path.split('/').nth(2).unwrap_or_default();
    // Of the token only what is no script.
    let token: String = token
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .collect();
    let config = config();
    script(format!(
        "(window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{{}})[\"{token}\"]={{config:{config},siteApps:[]}};"
    ))
}

fn ok() -> Response {
    request::json(&json!({"status": "Ok"}))
}

fn answer(request: &Request, _: &Outcome) -> Response {
    // Every other status makes its client send again.
    if request.query.get("beacon") == "1" {
        return empty(StatusCode::NO_CONTENT);
    }
    ok()
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let body = body(request)?;
    let sent_at = [&body["sent_at"], &body["sentAt"]]
        .into_iter()
        .find(|at| !at.is_null())
        .cloned()
        .unwrap_or_else(|| {
            let of_query = ["sent_at", "_"].map(|name| request.query.get(name));
            let given = of_query.into_iter().find(|at| !at.is_empty());
            given.map_or(Value::Null, Value::from)
        });
    let own = first(&body, &["api_key", "token"]);
    let list = match &body {
        Value::Array(list) => list.as_slice(),
        Value::Object(_) => match &body["batch"] {
            Value::Array(list) => list.as_slice(),
            _ => std::slice::from_ref(&body),
        },
        _ => return Err(Refusal::Malformed("there are no events".to_owned())),
    };
    let server = is_server(&first(&body, &["library"]), request);
    let entries = list.iter().map(|one| {
        let site = [
            first(one, &["api_key", "token"]),
            first(&one["properties"], &["token"]),
            own.clone(),
            request.query.get("api_key").to_owned(),
            request.query.get("token").to_owned(),
        ];
        let site = site.into_iter().find(|site| !site.is_empty());
        Entry::of(&site.unwrap_or_default(), event(one, &sent_at, server), one)
    });
    Ok(Reading {
        client: "posthog",
        device: list.first().map(device).unwrap_or_default(),
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn is_server(library: &str, request: &Request) -> bool {
    let agent = request.user_agent();
    let own = |name: &str| {
        [
            "posthog-node",
            "posthog-python",
            "posthog-ruby",
            "posthog-php",
            "posthog-go",
            "posthog-java",
        ]
        .iter()
        .any(|server| name.to_ascii_lowercase().starts_with(server))
    };
    own(agent) || own(library)
}

fn device(one: &Value) -> v1::Device {
    let seen = &one["properties"];
    let pixels = |key: &str| number(&seen[key]).unwrap_or(0.0) as u32;
    v1::Device {
        language: first(seen, &["$browser_language"]),
        timezone: first(seen, &["$timezone"]),
        screen_width: pixels("$screen_width"),
        screen_height: pixels("$screen_height"),
        app_version: first(seen, &["$app_version"]),
        ..v1::Device::default()
    }
}

/// The events, out of what they are wrapped in: a form, base64, gzip.
fn body(request: &Request) -> Result<Value, Refusal> {
    let malformed = |why: &str| Refusal::Malformed(format!("the body is {why}"));
    let raw = request.body.as_ref();
    let form = if raw.starts_with(b"data=") || raw.starts_with(b"compression=") {
        Params::parse(raw)
    } else {
        Params::default()
    };
    let data = form.over(&request.query).get("data").to_owned();
    let compression = form.over(&request.query).get("compression").to_owned();
    if matches!(compression.as_str(), "lz64" | "lz-string") {
        return Err(malformed("compressed by lz-string: use gzip-js or base64"));
    }
    if raw.is_empty() || !form.is_empty() {
        if data.is_empty() {
            return Err(malformed("empty"));
        }
        // In a form that was not encoded, "+" has become a blank.
        let encoded = data.replace(' ', "+");
        let plain = data.trim_start().starts_with(['{', '[']);
        let bytes = if plain {
            Some(data.into_bytes())
        } else {
            base64(encoded.as_bytes())
        };
        return parse(&bytes.ok_or_else(|| malformed("not base64"))?);
    }
    if matches!(compression.as_str(), "base64" | "b64") && !raw.starts_with(b"{") {
        return parse(&base64(raw).ok_or_else(|| malformed("not base64"))?);
    }
    request.json()
}

fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    let mut inflated = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut gzip = flate2::read::MultiGzDecoder::new(bytes).take(MAX_DECODED as u64 + 1);
        gzip.read_to_end(&mut inflated).map_err(|error| {
            Refusal::Malformed(format!("the body can't be decompressed: {error}"))
        })?;
        if inflated.len() > MAX_DECODED {
            return Err(Refusal::TooLarge(
                "the body is too large when decompressed".to_owned(),
            ));
        }
        &inflated
    } else {
        bytes
    };
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::Malformed(format!("the data is not JSON: {error}")))
}

fn event(one: &Value, sent_at: &Value, server: bool) -> Result<Draft<'static>, Refused> {
    let seen = &one["properties"];
    let name = first(one, &["event", "type"]);
    if name.is_empty() {
        return Err(malformed("an event has no name"));
    }
    let mut draft = of_name(&name, seen);
    let own = seen.as_object().into_iter().flatten();
    let own = own.filter(|(name, _)| !name.starts_with('$') && *name != "token");
    // What a shop's event has is there already.
    if draft.event.properties.is_empty() {
        let own = own.map(|(name, value)| (name.clone(), value.clone()));
        properties(&mut draft.event, &Value::Object(own.collect()), &[]);
    }
    let set = [&one["$set"], &seen["$set"]]
        .into_iter()
        .find(|set| set.is_object());
    if let Some(set) = set {
        properties(&mut draft.event, &json!({"user": set}), &[]);
    }
    draft.url = first(seen, &["$current_url"]).into();
    let referrer = first(seen, &["$referrer"]);
    if referrer != "$direct" {
        draft.event.referrer = referrer;
    }
    draft.event.title = title(&first(seen, &["title"]));
    let mut distinct = first(one, &["distinct_id", "$distinct_id"]);
    if distinct.is_empty() {
        distinct = first(seen, &["distinct_id", "$distinct_id"]);
    }
    // The id that stays when somebody signs in.
    let device = first(seen, &["$device_id", "$anon_distinct_id"]);
    if device.is_empty() {
        draft.visitor = distinct.into();
    } else {
        if device != distinct {
            draft.event.user = distinct;
        }
        draft.visitor = device.into();
    }
    if draft.event.r#type() == EventType::Identify && draft.event.user.is_empty() {
        draft.visitor.as_ref().clone_into(&mut draft.event.user);
    }
    draft.event.client_id = first(one, &["uuid"]);
    draft.claim = match (number(&one["offset"]), &one["timestamp"]) {
        (Some(age), Value::Null) => Claim::Age(age as i64),
        (_, at) => claim(at, sent_at)?,
    };
    let ip = first(seen, &["$ip"]);
    if server || !ip.is_empty() {
        draft.sender = Some(Sender {
            ip: ip.parse().ok(),
            user_agent: first(seen, &["$raw_user_agent", "$user_agent"]),
            ..Sender::default()
        });
    }
    Ok(draft)
}

fn of_name(name: &str, seen: &Value) -> Draft<'static> {
    match name {
        "$pageview" => draft(EventType::PageView),
        "$pageleave" => {
            let mut draft = draft(EventType::Engagement);
            let share = number(&seen["$prev_pageview_max_scroll_percentage"]).unwrap_or(0.0);
            let seconds = number(&seen["$prev_pageview_duration"]).unwrap_or(0.0);
            draft.event.engagement = Some(v1::Engagement {
                time_ms: (seconds * 1000.0) as u32,
                scroll_percent: (share * 100.0) as u32,
            });
            draft
        }
        "$screen" => {
            let mut draft = draft(EventType::ScreenView);
            draft.event.name = first(seen, &["$screen_name"]);
            draft
        }
        "$identify" | "$set" | "$create_alias" => {
            let mut draft = draft(EventType::Identify);
            draft.event.user = first(seen, &["alias"]);
            draft
        }
        "$feature_flag_called" => {
            let mut draft = draft(EventType::Exposure);
            let response = &seen["$feature_flag_response"];
            draft.event.exposure = Some(v1::Exposure {
                experiment: first(seen, &["$feature_flag"]),
                variant: match response {
                    Value::Bool(on) => on.to_string(),
                    other => super::json::text(other),
                },
            });
            draft
        }
        "$autocapture" => {
            let kind = first(seen, &["$event_type"]);
            let mut draft = draft(match kind.as_str() {
                "submit" | "change" => EventType::Form,
                _ => EventType::Click,
            });
            for (name, key) in [
                ("text", "$el_text"),
                ("event", "$event_type"),
                ("href", "$external_click_url"),
            ] {
                put_text(&mut draft.event, name, &first(seen, &[key]));
            }
            draft
        }
        "$web_vitals" | "$exception" | "$groupidentify" | "$opt_in" | "$$heatmap" => {
            let mut draft = custom(name);
            draft.event.passive = true;
            for key in [
                "$exception_message",
                "$exception_type",
                "$group_type",
                "$group_key",
                "$web_vitals_LCP_value",
                "$web_vitals_CLS_value",
                "$web_vitals_INP_value",
                "$web_vitals_FCP_value",
            ] {
                put_text(
                    &mut draft.event,
                    key.trim_start_matches('$'),
                    &first(seen, &[key]),
                );
            }
            draft
        }
        _ => {
            let own = seen.as_object().into_iter().flatten();
            let own = own.filter(|(name, _)| !name.starts_with('$') && *name != "token");
            let own = own.map(|(name, value)| (name.clone(), value.clone()));
            commerce::event(name, &Value::Object(own.collect()))
        }
    }
}
