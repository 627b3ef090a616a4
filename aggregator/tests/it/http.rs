//! A client of the HTTP API, and a server for it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use wakeline_aggregator::admin::{AdminRequest, CreateSite, SiteRequest};
use wakeline_aggregator::{Aggregator, Config};

use super::edge;

pub(crate) const TOKEN: &str = "an admin token for tests";

/// A running aggregator with one site.
pub(crate) struct Server {
    pub(crate) aggregator: Aggregator,
    client: Client,
    data: TempDir,
}

impl Server {
    /// Starts one with the site `shop.example` in a time zone.
    pub(crate) async fn start(timezone: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let aggregator = edge::start(&edge::config(data.path())).await;
        aggregator.control().adopt_token("tests", TOKEN).unwrap();
        let site = CreateSite {
            domain: "shop.example".to_owned(),
            timezone: timezone.to_owned(),
            currency: "EUR".to_owned(),
            session_gap: 30,
        };
        let request = AdminRequest::Site(SiteRequest::Create(site));
        assert_eq!(aggregator.admin(request).await.unwrap()["site_id"], 1);
        Self {
            aggregator,
            client: Client::new(),
            data,
        }
    }

    /// Starts one on a folder that is there.
    pub(crate) async fn open(data: TempDir, config: &Config) -> Self {
        let aggregator = edge::start(config).await;
        aggregator.control().adopt_token("tests", TOKEN).unwrap();
        Self {
            aggregator,
            client: Client::new(),
            data,
        }
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Stops it in order, and gives its folder.
    pub(crate) async fn stop(self) -> TempDir {
        self.aggregator.shutdown(Duration::from_secs(10)).await;
        self.data
    }

    /// The next life on the same folder, after a stop in order or a crash.
    pub(crate) async fn restart(self, config: &Config, gently: bool) -> Self {
        self.restart_after(config, gently, |_| {}).await
    }

    /// As [`restart`](Self::restart), and something is done to the folder in between.
    pub(crate) async fn restart_after(
        self,
        config: &Config,
        gently: bool,
        change: impl FnOnce(&Path),
    ) -> Self {
        let data = if gently {
            self.stop().await
        } else {
            drop(self.aggregator);
            self.data
        };
        // Threads of the life before may still be about to end.
        edge::until("the folder is let go of", async || {
            wakeline_aggregator::FolderLock::take(data.path()).is_ok()
        })
        .await;
        change(data.path());
        Self::open(data, config).await
    }

    /// A request without any credentials.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.aggregator.http_addr());
        self.client.request(method, url)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.request(Method::GET, path).bearer_auth(TOKEN);
        request.send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.request(Method::POST, path).bearer_auth(TOKEN);
        request.json(body).send().await.unwrap()
    }

    /// The answer to a question about the site.
    pub(crate) async fn query(&self, mut body: Value) -> Value {
        body["site_id"] = json!("shop.example");
        let response = self.post("/api/v2/query", &body).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// Waits until all that was pushed is in the figures.
    pub(crate) async fn applied(&self) {
        edge::until("the log is applied", async || {
            let at = self.aggregator.metrics().watermark();
            at.applied == at.log_end
        })
        .await;
    }
}

/// Checks that an answer is problem+json of that status, and gives it.
pub(crate) async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.starts_with("urn:wakeline:problem:"), "{kind}");
    assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
    problem
}
