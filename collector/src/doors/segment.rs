//! Segment's HTTP API, which RudderStack's clients speak too, and the documents that their clients ask for first.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_proto::v1::EventType;

use super::commerce::{self, Amounts};
use super::entry::{Entry, Reading, custom, draft, malformed, title, within_limits};
use super::json::{claim, first, number, properties};
use super::request::{self, Request};
use super::{Dialect, door, fixed};
use crate::enrich::Sender;
use crate::http::Doors;
use crate::http::problem::Refusal;
use crate::judge::{Draft, Refused};

pub(super) const DIALECT: Dialect = Dialect {
    tracker: "segment",
    amounts: Amounts {
        value: "revenue, total or value",
        price: "the price of a product",
    },
    read,
    answer: |_, _| request::json(&json!({"success": true})),
    unknown: Some(StatusCode::UNAUTHORIZED),
};

/// Types of calls, with their short names in paths.
const CALLS: [(&str, &str); 6] = [
    ("track", "t"),
    ("page", "p"),
    ("screen", "s"),
    ("identify", "i"),
    ("group", "g"),
    ("alias", "a"),
];

/// Parts of the names of libraries that run on servers: their address and agent are not the visitor's.
const SERVERS: [&str; 9] = [
    "node", "python", "ruby", "java", "go", "php", ".net", "csharp", "rust",
];

pub(super) fn routes() -> Router<Arc<Doors>> {
    let mut routes = Router::new();
    let mut paths = vec!["batch", "b", "import"];
    paths.extend(CALLS.iter().flat_map(|(long, short)| [*long, *short]));
    for path in paths {
        routes = routes.route(&format!("/v1/{path}"), door(&DIALECT));
    }
    for path in ["/v1/projects/{key}/settings", "/projects/{key}/settings"] {
        routes = routes.route(path, fixed(settings));
    }
    for path in ["/sourceConfig", "/sourceConfig/"] {
        routes = routes.route(path, fixed(source_config));
    }
    routes.route("/beacon/v1/batch", door(&DIALECT))
}

fn settings(request: &Request) -> Response {
    let mut parts = request.path.rsplit('/');
    let key = parts.nth(1).unwrap_or_default();
    request::json(&json!({
        "integrations": {"Segment.io": {"apiKey": key}},
        "plan": {},
        "edgeFunction": {},
        "metrics": {"sampleRate": 0},
    }))
}

fn source_config(request: &Request) -> Response {
    let key = match request.query.get("writeKey") {
        "" => request.credential().unwrap_or_default(),
        given => given.to_owned(),
    };
    request::json(&json!({
        "source": {
            "id": key,
            "name": "Wakeline",
            "writeKey": key,
            "workspaceId": "wakeline",
            "enabled": true,
            "config": {"statsCollection": {"errors": {"enabled": false}, "metrics": {"enabled": false}}},
            "connections": [],
            "destinations": [],
            "dataplanes": {},
        },
    }))
}

fn read(request: &Request) -> Result<Reading, Refusal> {
    let body = request.json()?;
    if !body.is_object() {
        return Err(Refusal::Malformed("the body is an object".to_owned()));
    }
    let site = [
        first(&body, &["writeKey"]),
        request.credential().unwrap_or_default(),
        request.query.get("writeKey").to_owned(),
    ];
    let site = site
        .into_iter()
        .find(|site| !site.is_empty())
        .unwrap_or_default();
    let call = request.path.rsplit('/').next().unwrap_or_default();
    let call = CALLS
        .iter()
        .find(|(long, short)| call == *long || call == *short)
        .map(|(long, _)| *long);
    let list = match (&body["batch"], call) {
        (Value::Array(list), None) => list.as_slice(),
        (_, Some(_)) => std::slice::from_ref(&body),
        _ => return Err(Refusal::Malformed("there is no batch".to_owned())),
    };
    let entries = list.iter().map(|one| {
        let kind = call.map_or_else(|| first(one, &["type"]), ToOwned::to_owned);
        let site = match first(one, &["writeKey"]) {
            own if own.is_empty() => site.clone(),
            own => own,
        };
        Entry::of(&site, event(&kind, one, &body, request), one)
    });
    let context = list.first().map_or(&Value::Null, |one| &one["context"]);
    Ok(Reading {
        client: "segment",
        device: device(context),
        entries: within_limits(request, entries)?,
        ..Reading::default()
    })
}

fn device(context: &Value) -> v1::Device {
    let screen = &context["screen"];
    let pixels = |key: &str| number(&screen[key]).unwrap_or(0.0) as u32;
    v1::Device {
        language: first(context, &["locale"]),
        timezone: first(context, &["timezone"]),
        screen_width: pixels("width"),
        screen_height: pixels("height"),
        os: first(&context["os"], &["name"]),
        os_version: first(&context["os"], &["version"]),
        model: first(&context["device"], &["model"]),
        app_version: first(&context["app"], &["version"]),
    }
}

fn event(
    kind: &str,
    one: &Value,
    body: &Value,
    request: &Request,
) -> Result<Draft<'static>, Refused> {
    let own = &one["properties"];
    let context = if one["context"].is_object() {
        &one["context"]
    } else {
        &body["context"]
    };
    let page = &context["page"];
    let mut draft = match kind {
        "track" => {
            let name = first(one, &["event"]);
            if name.is_empty() {
                return Err(malformed("a track call has no event"));
            }
            commerce::event(&name, own)
        }
        "page" => {
            let mut draft = draft(EventType::PageView);
            draft.event.name = first(one, &["name"]);
            properties(
                &mut draft.event,
                own,
                &["url", "path", "search", "referrer", "title", "name"],
            );
            draft
        }
        "screen" => {
            let mut draft = draft(EventType::ScreenView);
            draft.event.name = first(one, &["name", "category"]);
            properties(&mut draft.event, own, &["name"]);
            draft
        }
        "identify" | "alias" => {
            let mut draft = draft(EventType::Identify);
            properties(&mut draft.event, &json!({"user": one["traits"]}), &[]);
            draft
        }
        "group" => {
            let mut draft = custom("group");
            draft.event.passive = true;
            let group = json!({"group": {"id": one["groupId"], "traits": one["traits"]}});
            properties(&mut draft.event, &group, &[]);
            draft
        }
        _ => {
            return Err(malformed(
                "type is track, page, screen, identify, group or alias",
            ));
        }
    };
    let of_page = |key: &str| match first(own, &[key]) {
        given if kind == "page" && !given.is_empty() => given,
        _ => first(page, &[key]),
    };
    draft.url = with_campaign(of_page("url"), &context["campaign"]).into();
    draft.event.referrer = of_page("referrer");
    draft.event.title = title(&of_page("title"));
    let user = first(one, &["userId"]);
    let visitor = match kind {
        "alias" => first(one, &["previousId", "anonymousId"]),
        _ => first(one, &["anonymousId"]),
    };
    draft.visitor = if visitor.is_empty() {
        user.clone()
    } else {
        visitor
    }
    .into();
    draft.event.user = user;
    draft.event.client_id = first(one, &["messageId"]);
    let at = [&one["originalTimestamp"], &one["timestamp"]];
    let at = at
        .into_iter()
        .find(|at| !at.is_null())
        .unwrap_or(&Value::Null);
    let header = Value::from(request.header("sentat"));
    let sent = [&one["sentAt"], &body["sentAt"], &header];
    let sent = sent
        .into_iter()
        .find(|at| !at.is_null())
        .unwrap_or(&Value::Null);
    draft.claim = claim(at, sent)?;
    draft.sender = sender(context);
    Ok(draft)
}

/// Some clients say what brought the visitor beside the URL, not in it.
fn with_campaign(url: String, campaign: &Value) -> String {
    if url.is_empty() || url.contains("utm_") {
        return url;
    }
    let Ok(mut parsed) = url::Url::parse(&url) else {
        return url;
    };
    let names = [
        ("name", "utm_campaign"),
        ("source", "utm_source"),
        ("medium", "utm_medium"),
        ("term", "utm_term"),
        ("content", "utm_content"),
    ];
    for (key, name) in names {
        let value = first(campaign, &[key]);
        if !value.is_empty() {
            parsed.query_pairs_mut().append_pair(name, &value);
        }
    }
    if campaign.is_object() {
        parsed.into()
    } else {
        url
    }
}

/// Whom a server speaks for; `None`: the sender of the request is the visitor.
fn sender(context: &Value) -> Option<Sender> {
    let library = first(&context["library"], &["name"]).to_ascii_lowercase();
    let server = library
        .split(['-', '/', '_', ' '])
        .any(|part| SERVERS.contains(&part));
    let ip = first(context, &["ip"]);
    (server || (!ip.is_empty() && ip != "0.0.0.0")).then(|| Sender {
        ip: ip.parse().ok(),
        user_agent: first(context, &["userAgent"]),
        ..Sender::default()
    })
}
