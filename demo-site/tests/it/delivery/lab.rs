//! Pages with the SDK, and the way from them to a real collector, which can be made worse.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header, uri::PathAndQuery},
    response::{Html, IntoResponse as _, Response},
    routing::{any, get},
};
use tokio::net::TcpListener;
use wakeline_testbed::{Browser, Stack, eventually};

/// Longer than the client waits between two tries.
const LIMIT: Duration = Duration::from_secs(60);

/// What is done to requests on their way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Way {
    /// They arrive.
    #[default]
    Open,
    /// They and their answers take so long.
    Slow(Duration),
    /// They are answered with this status and `Retry-After`, in seconds.
    Refused(StatusCode, &'static str),
    /// Bodies of more bytes are answered with 413.
    AtMost(usize),
    /// They arrive, and their answers do not.
    Deaf,
}

/// A request that a page made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) bytes: usize,
}

struct Shared {
    way: Mutex<Way>,
    seen: Mutex<Vec<Seen>>,
    /// `Sec-Purpose` of each page that was asked for, if it had one.
    purposes: Mutex<Vec<String>>,
    collector: String,
    http: reqwest::Client,
}

/// A collector, an aggregator, and pages on the collector's origin.
pub(super) struct Lab {
    pub(super) stack: Stack,
    /// The pages' origin, without a slash at its end.
    pub(super) origin: String,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lab {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let stack = Stack::start().await?;
        let shared = Arc::new(Shared {
            way: Mutex::default(),
            seen: Mutex::default(),
            purposes: Mutex::default(),
            collector: stack.collector_url.clone(),
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()?,
        });
        let router = sdk()
            .await?
            .route("/w/1/{door}", any(pass))
            .fallback(get(page))
            .with_state((Arc::clone(&shared), stack.write_key.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            stack,
            origin,
            shared,
        })
    }

    pub(super) fn set(&self, way: Way) {
        *lock(&self.shared.way) = way;
    }

    /// The requests until now.
    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Waits for a request after the first `known`.
    pub(super) async fn asked(&self, known: usize) -> anyhow::Result<Seen> {
        eventually("a request", LIMIT, || async {
            Ok(self.seen().get(known).copied())
        })
        .await
    }

    /// Waits until a page is prepared before anybody asks for it.
    pub(super) async fn prerendered(&self) -> anyhow::Result<()> {
        eventually("a page that is prepared", LIMIT, || async {
            let purposes = lock(&self.shared.purposes);
            Ok(purposes
                .iter()
                .any(|purpose| purpose.contains("prerender"))
                .then_some(()))
        })
        .await
    }

    /// A browser on a page that has the WebAssembly client and has told the collector of its view.
    pub(super) async fn visit(&self) -> anyhow::Result<Browser> {
        let browser = Browser::start(800, 600).await?;
        self.open(&browser, "/").await?;
        Ok(browser)
    }

    /// Goes to a page, and waits for its first answer.
    pub(super) async fn open(&self, browser: &Browser, path: &str) -> anyhow::Result<()> {
        let known = self.seen().len();
        self.goto(browser, path).await?;
        self.asked(known).await?;
        Ok(())
    }

    /// Goes to a page.
    pub(super) async fn goto(&self, browser: &Browser, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.origin);
        Ok(browser.page.goto(&url).await?)
    }

    /// Waits for these page views and events of one visitor in one visit, and that there are no others.
    pub(super) async fn counts(&self, views: u64, events: u64) -> anyhow::Result<()> {
        self.stack.expect([1, 1, views, views + events]).await
    }

    /// Waits until so many copies have been recognised.
    pub(super) async fn copies(&self, least: u64) -> anyhow::Result<()> {
        eventually("copies", LIMIT, || async {
            let ledger = self.stack.ledger("shop.example", "day").await?;
            let copies = ledger["total"]["duplicate"].as_u64();
            Ok((copies.context("duplicate")? >= least).then_some(()))
        })
        .await
    }
}

/// Calls `track` so often.
pub(super) fn track(name: &str, times: usize) -> String {
    format!("for (let n = 0; n < {times}; n += 1) wakeline.track('{name}', {{ n }});")
}

type Pages = (Arc<Shared>, String);

/// The files of the SDK.
async fn sdk() -> anyhow::Result<Router<Pages>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wakeline-sdk");
    let build = move || wakeline_bundle::build(&folder, &wakeline_bundle::Options::default());
    let package = tokio::task::spawn_blocking(build).await??;
    let mut router = Router::new();
    for file in std::fs::read_dir(&package.serve)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("wasm") => "application/wasm",
            Some("js") => "text/javascript",
            _ => continue, // compressed ones
        };
        let bytes = Bytes::from(std::fs::read(&path)?);
        let answer = async move || ([(header::CONTENT_TYPE, kind)], bytes.clone());
        router = router.route(&format!("/w/sdk/{name}"), get(answer));
    }
    Ok(router)
}

/// `/before` prepares `/after`, which tracks twenty events while nobody sees it; `/early` leaves before it is loaded.
async fn page(State((shared, key)): State<Pages>, url: Uri, headers: HeaderMap) -> Html<String> {
    let purpose = headers.get("sec-purpose").and_then(|it| it.to_str().ok());
    lock(&shared.purposes).push(purpose.unwrap_or_default().to_owned());
    let content = match url.path() {
        "/before" => {
            r#"<script type="speculationrules">{"prerender": [{"urls": ["/after"], "eagerness": "immediate"}]}</script>"#
        }
        "/after" => {
            "<script>addEventListener('load', () => {
                for (let n = 0; n < 20; n += 1) wakeline.track('unseen', { n });
            })</script>"
        }
        "/early" => {
            "<script>addEventListener('DOMContentLoaded', () => {
                for (let n = 0; n < 20; n += 1) wakeline.track('early', { n });
                location.href = 'about:blank';
            })</script>"
        }
        _ => "",
    };
    Html(format!(
        "<!doctype html><title>Page</title><link rel=icon href=data:>
        <script defer src=/w/sdk/wakeline.js data-key={key}></script>{content}"
    ))
}

/// Passes a request on to the collector, as the way allows.
async fn pass(
    State((shared, _)): State<Pages>,
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let way = *lock(&shared.way);
    let bytes = body.len();
    let response = match way {
        Way::Refused(status, wait) => (status, [(header::RETRY_AFTER, wait)]).into_response(),
        Way::AtMost(most) if bytes > most => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Way::Open | Way::AtMost(_) => forward(&shared, method, &url, headers, body).await,
        Way::Slow(delay) => {
            tokio::time::sleep(delay).await;
            let response = forward(&shared, method, &url, headers, body).await;
            tokio::time::sleep(delay).await;
            response
        }
        Way::Deaf => {
            forward(&shared, method, &url, headers, body).await;
            StatusCode::BAD_GATEWAY.into_response()
        }
    };
    lock(&shared.seen).push(Seen {
        at: Instant::now(),
        bytes,
    });
    response
}

async fn forward(
    shared: &Shared,
    method: Method,
    url: &Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let request = shared
        .http
        .request(method, format!("{}{path}", shared.collector))
        .headers(headers)
        .body(body);
    match request.send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.unwrap_or_default();
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response.headers_mut().remove(header::TRANSFER_ENCODING);
            response
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(), // as nginx says it
    }
}
