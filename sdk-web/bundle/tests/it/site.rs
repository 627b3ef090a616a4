//! A site with pages as a test writes them, and a collector that notes what it gets.

use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use prost::Message as _;
use tokio::net::TcpListener;
use wakeline_proto::{
    batch::{ValueRef, decode, expand},
    v1,
};
use wakeline_testbed::{Browser, eventually};

/// Chromium on a machine that is busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An event as a collector sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    /// `stream.seq`.
    pub(crate) id: String,
    /// Its type, or `refused`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) referrer: String,
    pub(crate) visitor: String,
    pub(crate) user: String,
    pub(crate) granted: bool,
    /// Of the browser, of a batch only.
    pub(crate) time_zone: String,
    pub(crate) passive: bool,
    pub(crate) properties: BTreeMap<String, String>,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    /// Paths that JSON events were sent to.
    json: usize,
    settings: String,
}

struct Inner {
    pages: BTreeMap<String, (String, String)>,
    seen: Mutex<Seen>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Site {
    /// `http://127.0.0.1:PORT`.
    pub(crate) origin: String,
    inner: Arc<Inner>,
}

impl Site {
    /// Serves pages by their paths; in them `TAG` stands for a script tag's beginning, with its address and key.
    pub(crate) async fn start(pages: &[(&str, &str)]) -> anyhow::Result<Self> {
        let with_policy: Vec<_> = pages
            .iter()
            .map(|(path, html)| (*path, *html, ""))
            .collect();
        Self::with_policies(&with_policy).await
    }

    /// Pages with their Content Security Policies.
    pub(crate) async fn with_policies(pages: &[(&str, &str, &str)]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let tag = format!("<script defer src=\"{origin}/w/sdk/wakeline.js\" data-key=wk_test");
        let pages = pages
            .iter()
            .map(|(path, html, policy)| {
                let html = html.replace("TAG", &tag).replace("ORIGIN", &origin);
                let html = format!("<!doctype html><title>Page {path}</title>{html}");
                (
                    (*path).to_owned(),
                    (html, policy.replace("ORIGIN", &origin)),
                )
            })
            .collect();
        let inner = Arc::new(Inner {
            pages,
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/w/1/batch", post(batch))
            .route("/w/1/events", post(events))
            .route("/w/sdk/{file}", get(file))
            .route("/npm/{file}", get(npm))
            .fallback(page)
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { origin, inner })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.inner
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What every reply says from now on.
    pub(crate) fn set(&self, settings: &str) {
        settings.clone_into(&mut self.seen().settings);
    }

    /// What has come, each event once, by name or type.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = self.seen().events.clone();
        let mut known = std::collections::BTreeSet::new();
        events.retain(|event| known.insert(event.id.clone()));
        events
    }

    /// How many requests came as JSON.
    pub(crate) fn json_requests(&self) -> usize {
        self.seen().json
    }

    /// Waits for an event of this name or type.
    pub(crate) async fn event(&self, name: &str) -> anyhow::Result<Event> {
        eventually(name, LIMIT, async || {
            let mut events = self.events().into_iter();
            Ok(events.find(|event| event.label() == name))
        })
        .await
        .map_err(|error| error.context(format!("{:#?}", self.events())))
    }

    /// Names or types of what has come, in the order in which it happened.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.events()
            .iter()
            .map(|event| event.label().to_owned())
            .collect()
    }

    /// A browser with one of the pages.
    pub(crate) async fn open(&self, path: &str) -> anyhow::Result<Browser> {
        let browser = Browser::start(800, 600).await?;
        browser.page.goto(&format!("{}{path}", self.origin)).await?;
        Ok(browser)
    }
}

impl Event {
    /// The name of a custom event, else the type.
    pub(crate) fn label(&self) -> &str {
        if self.kind == "custom" {
            &self.name
        } else {
            &self.kind
        }
    }

    /// A property as text; empty if there is none.
    pub(crate) fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

async fn page(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    match inner.pages.get(uri.path()) {
        Some((html, policy)) if policy.is_empty() => Html(html.clone()).into_response(),
        Some((html, policy)) => (
            [("content-security-policy", policy.clone())],
            Html(html.clone()),
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, Html("<!doctype html>")).into_response(),
    }
}

async fn file(Path(name): Path<String>) -> Response {
    served(&crate::package().serve.join(name))
}

async fn npm(Path(name): Path<String>) -> Response {
    served(&crate::package().npm.join(name))
}

fn served(path: &std::path::Path) -> Response {
    let kind = if path
        .extension()
        .is_some_and(|extension| extension == "wasm")
    {
        "application/wasm"
    } else {
        "text/javascript"
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    match std::fs::read(path) {
        Ok(bytes) => (headers, bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn batch(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let mut plain = Vec::new();
    let bytes = if body.starts_with(&[0x1f, 0x8b]) {
        match flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain) {
            Ok(_) => &plain[..],
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        }
    } else {
        &body[..]
    };
    let Ok(batch) = decode(bytes) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let events: Vec<Event> = expand(&batch)
        .map(|event| match event {
            Ok(event) => Event {
                id: event.id.to_string(),
                kind: event.event_type.name().to_owned(),
                name: event.name.to_owned(),
                url: event.url.to_owned(),
                referrer: event.referrer.to_owned(),
                visitor: batch.visitor.clone(),
                time_zone: batch.device.clone().unwrap_or_default().timezone,
                user: batch.user.clone(),
                granted: batch.consent() == v1::Consent::Granted,
                passive: event.passive,
                properties: event
                    .properties
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), text(*value)))
                    .collect(),
            },
            Err(event) => Event {
                id: event.id.map(|id| id.to_string()).unwrap_or_default(),
                kind: "refused".to_owned(),
                name: event.reason.as_str().to_owned(),
                ..Event::default()
            },
        })
        .collect();
    let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = v1::BatchReply {
        accepted: u32::try_from(events.len()).unwrap_or(0),
        rejected: Vec::new(),
        settings: seen.settings.clone(),
    };
    seen.events.extend(events);
    answer(reply.encode_to_vec())
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => text.to_owned(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Number(number) => number.to_string(),
        ValueRef::Flag(flag) => flag.to_string(),
        ValueRef::Timestamp(ms) => format!("@{ms}"),
    }
}

async fn events(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let Ok(list) = serde_json::from_slice::<Vec<serde_json::Value>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let events = list.iter().map(|event| {
        let said = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Event {
            id: said("id"),
            kind: said("type"),
            name: said("name"),
            url: said("url"),
            referrer: said("referrer"),
            visitor: said("visitor"),
            time_zone: String::new(),
            user: said("user"),
            granted: said("consent") == "granted",
            passive: event["interactive"] == false,
            properties: event["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), ToOwned::to_owned);
                    (name.clone(), text)
                })
                .collect(),
        }
    });
    let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.json += 1;
    seen.events.extend(events);
    answer(b"{}".to_vec())
}

/// As a collector answers: also to a sandbox, which has no origin.
fn answer(body: Vec<u8>) -> Response {
    let headers = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (StatusCode::ACCEPTED, headers, body).into_response()
}
