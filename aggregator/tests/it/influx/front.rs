//! HTTP in front of an InfluxDB, for what a real one does not do on demand: it answers writes itself, or not at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use wakeline_testbed::Influx;

/// What happens to writes.
#[derive(Clone)]
pub(super) enum Fault {
    /// They are answered so, and not made.
    Answer(u16, String, Option<u64>),
    /// They are made, and never answered.
    Swallow,
}

impl Fault {
    /// An answer of InfluxDB's form, with `Retry-After` in s.
    pub(super) fn answer(status: u16, words: &str, retry_after: Option<u64>) -> Self {
        let body = serde_json::json!({ "code": "unavailable", "message": words });
        Self::Answer(status, body.to_string(), retry_after)
    }
}

/// A server that passes everything on but, while there is a fault, writes.
pub(super) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    http: reqwest::Client,
    to: String,
    fault: Mutex<Option<Fault>>,
    /// When writes came that a fault met.
    writes: Mutex<Vec<Instant>>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    pub(super) async fn start(influx: &Influx) -> Self {
        let shared = Arc::new(Shared {
            http: reqwest::Client::new(),
            to: influx.url(),
            fault: Mutex::default(),
            writes: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on writes meet this.
    pub(super) fn fault(&self, fault: Fault) {
        self.shared.writes.lock().unwrap().clear();
        *self.shared.fault.lock().unwrap() = Some(fault);
    }

    pub(super) fn mend(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// When writes met the fault.
    pub(super) fn writes(&self) -> Vec<Instant> {
        self.shared.writes.lock().unwrap().clone()
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let is_write = request.uri().path() == "/api/v2/write";
    let fault = shared.fault.lock().unwrap().clone().filter(|_| is_write);
    if fault.is_some() {
        shared.writes.lock().unwrap().push(Instant::now());
    }
    if let Some(Fault::Answer(status, body, retry_after)) = fault {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        return (StatusCode::from_u16(status).unwrap(), headers, body).into_response();
    }
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let answer = shared
        .http
        .request(parts.method, format!("{}{}", shared.to, parts.uri))
        .headers(headers)
        .body(to_bytes(body, usize::MAX).await.unwrap())
        .send()
        .await
        .unwrap();
    if fault.is_some() {
        std::future::pending::<()>().await; // until who asked goes away
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if !matches!(*name, header::TRANSFER_ENCODING | header::CONTENT_LENGTH) {
            response = response.header(name, value);
        }
    }
    response
        .body(Body::from(answer.bytes().await.unwrap()))
        .unwrap()
}
