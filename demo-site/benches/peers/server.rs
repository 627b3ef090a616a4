//! The pages, and a server on another origin that takes whatever clients send and answers what they expect.

use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    ops::Sub,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri, header, uri::PathAndQuery},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message as _;
use tokio::net::TcpListener;
use wakeline_proto::{batch, v1::BatchReply};

use crate::clients::{Client, Pages};

/// What a client has sent, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: usize,
    /// Of the requests.
    pub(crate) preflights: usize,
    pub(crate) body: usize,
    /// Paths with queries.
    pub(crate) path: usize,
    /// All else of the requests' heads, as HTTP/1.1 has them.
    pub(crate) headers: usize,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            preflights: self.preflights - before.preflights,
            body: self.body - before.body,
            path: self.path - before.path,
            headers: self.headers - before.headers,
        }
    }
}

#[derive(Default)]
struct Seen {
    traffic: Traffic,
    /// Requests that had a mark and were taken.
    marks: HashMap<String, usize>,
    down: bool,
}

pub(crate) struct Server {
    origin: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone)]
struct Site {
    scripts: Arc<HashMap<String, Bytes>>,
    npm: PathBuf,
    collector: String,
}

#[derive(Clone)]
struct Taker {
    seen: Arc<Mutex<Seen>>,
    round_trip: Duration,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(router: Router) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(origin)
}

impl Server {
    /// Answers take `round_trip`.
    pub(crate) async fn start(pages: &Pages, round_trip: Duration) -> anyhow::Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let taker = Taker {
            seen: Arc::clone(&seen),
            round_trip,
        };
        let collector = serve(Router::new().fallback(take).with_state(taker)).await?;
        let mut scripts = HashMap::new();
        for client in &pages.clients {
            let script = fs::read(pages.script(client.name))?;
            scripts.insert(client.name.to_owned(), Bytes::from(script));
        }
        let site = Site {
            scripts: Arc::new(scripts),
            npm: pages.npm.clone(),
            collector,
        };
        let router = Router::new()
            .route("/{client}/", get(page))
            .route("/{client}/page.js", get(script))
            .route("/npm/{file}", get(package))
            .with_state(site);
        let origin = serve(router).await?;
        Ok(Self { origin, seen })
    }

    pub(crate) fn page(&self, client: &Client) -> String {
        format!("{}/{}/", self.origin, client.name)
    }

    pub(crate) fn set_down(&self, down: bool) {
        lock(&self.seen).down = down;
    }

    pub(crate) fn traffic(&self) -> Traffic {
        lock(&self.seen).traffic
    }

    /// How many different marks arrived, and how many copies of them.
    pub(crate) fn marks(&self) -> (usize, usize) {
        let seen = lock(&self.seen);
        let all: usize = seen.marks.values().sum();
        (seen.marks.len(), all - seen.marks.len())
    }
}

async fn page(State(site): State<Site>) -> Html<String> {
    Html(format!(
        "<!doctype html><title>Bench</title><link rel=icon href=data:>
        <script>const settings = {{ collector: '{}' }}</script>
        <script type=module src=page.js></script><h1>Page</h1>",
        site.collector
    ))
}

const SCRIPT: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/javascript")];

async fn script(State(site): State<Site>, Path(client): Path<String>) -> Response {
    let script = site.scripts.get(&client).cloned();
    script.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |script| (SCRIPT, script).into_response(),
    )
}

async fn package(State(site): State<Site>, Path(file): Path<String>) -> Response {
    let Ok(bytes) = fs::read(site.npm.join(&file)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if file.ends_with("wasm") {
        ([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response()
    } else {
        (SCRIPT, bytes).into_response()
    }
}

async fn take(
    State(taker): State<Taker>,
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = url.path_and_query().map_or("", PathAndQuery::as_str);
    let content = content(&body);
    let status = {
        let mut seen = lock(&taker.seen);
        let preflight = method == Method::OPTIONS;
        seen.traffic.requests += 1;
        seen.traffic.preflights += usize::from(preflight);
        seen.traffic.body += body.len();
        seen.traffic.path += path.len();
        // `METHOD path HTTP/1.1`, a line each, an empty line.
        let lines = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4);
        seen.traffic.headers += method.as_str().len() + 12 + 2 + lines.sum::<usize>();
        if seen.down && !preflight {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            for mark in marks(&content, path) {
                *seen.marks.entry(mark).or_default() += 1;
            }
            StatusCode::OK
        }
    };
    tokio::time::sleep(taker.round_trip).await;
    let mut response = if status == StatusCode::OK && method != Method::OPTIONS {
        answer(url.path(), &content)
    } else {
        status.into_response()
    };
    allow(&headers, response.headers_mut());
    response
}

/// As they were before they were compressed.
fn content(body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if body.starts_with(&[0x1f, 0x8b])
        && flate2::read::GzDecoder::new(body)
            .read_to_end(&mut content)
            .is_ok()
    {
        return content;
    }
    body.to_vec()
}

/// The marks of events in a request, each once.
fn marks(content: &[u8], path: &str) -> Vec<String> {
    let mut text = format!("{path} {}", String::from_utf8_lossy(content));
    if let Some(form) = text.split_once("data=").map(|(_, data)| data) {
        let form = form.split('&').next().unwrap_or_default();
        let base64 = form
            .replace("%3D", "=")
            .replace("%2B", "+")
            .replace("%2F", "/");
        let decoded = BASE64_STANDARD.decode(base64.trim()).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&decoded));
    }
    (100..120)
        .map(|n| format!("ev{n}x"))
        .filter(|mark| text.contains(mark))
        .collect()
}

/// What clients need to go on.
fn answer(path: &str, content: &[u8]) -> Response {
    const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
    let json = |text: &'static str| (JSON, text).into_response();
    match path {
        "/w/1/batch" => {
            let Ok(batch) = batch::decode(content) else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            let reply = BatchReply {
                accepted: u32::try_from(batch::expand(&batch).count()).unwrap_or(u32::MAX),
                ..BatchReply::default()
            };
            (StatusCode::ACCEPTED, reply.encode_to_vec()).into_response()
        }
        "/w/1/events" => StatusCode::ACCEPTED.into_response(),
        "/api/event" => (StatusCode::ACCEPTED, "ok").into_response(),
        _ if path.starts_with("/v1/projects/") => json(
            r#"{"integrations": {"Segment.io": {"apiKey": "bench"}}, "plan": {}, "metrics": {"sampleRate": 0}}"#,
        ),
        _ if path.ends_with("/config.js") => (SCRIPT, "").into_response(),
        _ if path.ends_with("/config") => {
            json(r#"{"supportedCompression": ["gzip", "gzip-js"], "sessionRecording": false}"#)
        }
        _ if path.starts_with("/flags") => {
            json(r#"{"flags": {}, "errorsWhileComputingFlags": false}"#)
        }
        _ => json(r#"{"status": "Ok", "success": true}"#),
    }
}

/// Allows whatever a browser asks for.
fn allow(request: &HeaderMap, response: &mut HeaderMap) {
    let mirrored = [
        (header::ORIGIN, header::ACCESS_CONTROL_ALLOW_ORIGIN),
        (
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
        ),
        (
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_ALLOW_METHODS,
        ),
    ];
    for (asked, allowed) in mirrored {
        if let Some(value) = request.get(asked) {
            response.insert(allowed, value.clone());
        }
    }
    let yes = header::HeaderValue::from_static("true");
    response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
}
