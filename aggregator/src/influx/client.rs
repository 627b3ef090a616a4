//! InfluxDB's HTTP: writes, deletions, buckets; queries in [`query`].
//!
//! Writes go through `reqwest`, because what to do next is in the answer's headers; the rest through `influxdb2`. That
//! crate panics on an answer that is no CSV, so what it does runs in a task of its own. It knows no time limit either.

mod query;

use std::io::Write as _;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::health::Status;
use influxdb2::models::{PostBucketRequest, RetentionRule, retention_rule};
use reqwest::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) use self::query::Pointer;
use crate::config::MetricsConfig;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the answer to a write, or to a request for buckets.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for a deletion.
const DELETION: Duration = Duration::from_secs(300);
/// What InfluxDB can date.
const EARLIEST: &str = "1677-09-22T00:00:00Z";
const LATEST: &str = "2262-04-11T00:00:00Z";
/// What a 422 says that speaks of retention, and not of what is wrong with points: InfluxDB 2.7.12, and versions before it.
const EXPIRED: [&str; 2] = [
    "points outside retention policy",
    "points beyond retention policy",
];
/// Longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(300);
const DAY_SECONDS: i32 = 86_400;

/// Why InfluxDB did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InfluxError {
    /// The token is wrong, or may do too little.
    #[error(
        "InfluxDB refuses metrics.token ({status}): set one that may read and write the bucket {bucket}, and read \
         and make buckets of its organisation"
    )]
    Token {
        /// 401 or 403.
        status: u16,
        /// `metrics.bucket`.
        bucket: String,
    },
    /// There is no such organisation.
    #[error("InfluxDB has no organisation {0}, or metrics.token may not see it: set metrics.org")]
    NoOrganisation(String),
    /// There is no such bucket.
    #[error("InfluxDB has no bucket: {0}")]
    NoBucket(String),
    /// Somebody else writes there.
    #[error(
        "the bucket {bucket} has the figures of another aggregator, made from the log {log}: set another metrics.bucket, \
         or delete that bucket if nobody needs it"
    )]
    Foreign {
        /// `metrics.bucket`.
        bucket: String,
        /// The name of the other's log.
        log: String,
    },
    /// Some of what was written is older than the bucket keeps it; all else is kept.
    #[error("InfluxDB drops points at once: {0}")]
    Expired(String),
    /// What was written is not accepted, at least not all of it.
    #[error("InfluxDB refuses points ({status}): {message}")]
    Points {
        /// 400, 413 or 422.
        status: u16,
        /// In its words.
        message: String,
    },
    /// It can't do it now.
    #[error("InfluxDB has no time or room ({status}): {message}")]
    Busy {
        /// 429 or 5xx.
        status: u16,
        /// In its words.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It is not there, or does not answer in time.
    #[error("reach InfluxDB at {url}")]
    Unreachable {
        /// `metrics.url`.
        url: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered something else than its documentation says.
    #[error("understand InfluxDB at {url}: {why}")]
    Answer {
        /// `metrics.url`.
        url: String,
        /// What is strange.
        why: String,
    },
}

/// A bucket as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Drawn by the server when the bucket was made.
    pub(super) id: String,
    /// How long points are kept, in s; `None`: for ever.
    pub(super) keeps_s: Option<i64>,
}

/// A connection to a server.
pub(crate) struct Client {
    http: reqwest::Client,
    other: influxdb2::Client,
    url: String,
    org: String,
    bucket: String,
    token: String,
    retention_days: u16,
}

impl Client {
    /// For the server that is configured; nothing is sent yet.
    pub(crate) fn new(config: &MetricsConfig, url: &str) -> Result<Self, InfluxError> {
        let url = url.trim_end_matches('/').to_owned();
        let token = config.token.clone().unwrap_or_default();
        let unusable = |source| InfluxError::Unreachable {
            url: url.clone(),
            source,
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build()
            .map_err(|error| unusable(error.into()))?;
        let other = influxdb2::ClientBuilder::new(&url, &config.org, &token)
            .build()
            .map_err(|error| unusable(error.into()))?;
        Ok(Self {
            http,
            other,
            org: config.org.clone(),
            bucket: config.bucket.clone(),
            token,
            retention_days: config.retention_days,
            url,
        })
    }

    /// Writes lines with times in s.
    pub(super) async fn write(&self, lines: &str) -> Result<(), InfluxError> {
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        let body = body
            .write_all(lines.as_bytes())
            .and_then(|()| body.finish())
            .map_err(|error| self.unreachable(error))?;
        let request = self
            .post("write")
            .query(&[("precision", "s")])
            .header(header::CONTENT_ENCODING, "gzip")
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(body);
        self.send(request).await
    }

    /// Deletes all points of a generation.
    pub(super) async fn delete(&self, generation: &str) -> Result<(), InfluxError> {
        let request = self.post("delete").timeout(DELETION).json(&json!({
            "start": EARLIEST,
            "stop": LATEST,
            "predicate": format!("generation={}", query::quoted(generation)),
        }));
        self.send(request).await
    }

    fn post(&self, what: &str) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/api/v2/{what}", self.url))
            .query(&[("org", &self.org), ("bucket", &self.bucket)])
            .header(header::AUTHORIZATION, format!("Token {}", self.token))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(), InfluxError> {
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(MAX_PAUSE));
        let text = answer.text().await;
        let text = text.map_err(|error| self.unreachable(error))?;
        Err(self.refusal(status.as_u16(), &text, retry_after))
    }

    /// The bucket, made if it is not there.
    pub(super) async fn bucket(&self) -> Result<Bucket, InfluxError> {
        if let Some(bucket) = self.find_bucket().await? {
            return Ok(bucket);
        }
        let organisations = self.ask(self.other.list_organizations(ListOrganizationRequest {
            org: Some(self.org.clone()),
            ..ListOrganizationRequest::default()
        }));
        let no_organisation = || InfluxError::NoOrganisation(self.org.clone());
        let organisations = match organisations.await {
            Err(InfluxError::NoBucket(_)) => return Err(no_organisation()),
            organisations => organisations?.orgs,
        };
        let id = organisations.into_iter().find_map(|org| org.id);
        let id = id.ok_or_else(no_organisation)?;
        let seconds = i32::from(self.retention_days.min(20_000)) * DAY_SECONDS;
        let rule = RetentionRule::new(retention_rule::Type::Expire, seconds);
        let mut new = PostBucketRequest::new(id, self.bucket.clone());
        new.retention_rules.extend((seconds > 0).then_some(rule));
        self.ask(self.other.create_bucket(Some(new))).await?;
        tracing::info!(bucket = self.bucket, "made a bucket in InfluxDB");
        self.find_bucket()
            .await?
            .ok_or_else(|| InfluxError::NoBucket(self.bucket.clone()))
    }

    async fn find_bucket(&self) -> Result<Option<Bucket>, InfluxError> {
        let found = self.ask(self.other.list_buckets(Some(ListBucketsRequest {
            name: Some(self.bucket.clone()),
            org: Some(self.org.clone()),
            ..ListBucketsRequest::default()
        })));
        let buckets = match found.await {
            Err(InfluxError::NoBucket(_)) => return Ok(None),
            found => found?.buckets,
        };
        let found = buckets.into_iter().find(|at| at.name == self.bucket);
        Ok(found.and_then(|bucket| {
            let rule = bucket.retention_rules.first();
            Some(Bucket {
                id: bucket.id?,
                keeps_s: rule
                    .map(|rule| i64::from(rule.every_seconds))
                    .filter(|seconds| *seconds > 0),
            })
        }))
    }

    /// Whether the server is there and well.
    pub(super) async fn health(&self) -> Result<(), InfluxError> {
        let health = self.ask(self.other.health()).await?;
        if matches!(health.status, Status::Pass) {
            return Ok(());
        }
        Err(InfluxError::Busy {
            status: 503,
            message: health.message.unwrap_or_default(),
            retry_after: None,
        })
    }

    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, influxdb2::RequestError>>,
    ) -> Result<T, InfluxError> {
        match tokio::time::timeout(ANSWER, request).await {
            Ok(answer) => answer.map_err(|error| self.failure(error)),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    fn failure(&self, error: influxdb2::RequestError) -> InfluxError {
        match error {
            influxdb2::RequestError::Http { status, text } => {
                self.refusal(status.as_u16(), &text, None)
            }
            influxdb2::RequestError::ReqwestProcessing { source } if !source.is_decode() => {
                self.unreachable(source)
            }
            error => self.strange(&error.to_string()),
        }
    }

    fn refusal(&self, status: u16, text: &str, retry_after: Option<Duration>) -> InfluxError {
        let told: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let message = told
            .as_ref()
            .and_then(|told| told.get("message")?.as_str())
            .unwrap_or(text);
        let message: String = message.chars().take(1_000).collect();
        match StatusCode::from_u16(status).unwrap_or_default() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => InfluxError::Token {
                status,
                bucket: self.bucket.clone(),
            },
            StatusCode::NOT_FOUND => InfluxError::NoBucket(message),
            StatusCode::UNPROCESSABLE_ENTITY
                if EXPIRED.iter().any(|says| message.contains(says)) =>
            {
                InfluxError::Expired(message)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => InfluxError::Points { status, message },
            _ => InfluxError::Busy {
                status,
                message,
                retry_after,
            },
        }
    }

    fn unreachable(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> InfluxError {
        InfluxError::Unreachable {
            url: self.url.clone(),
            source: source.into(),
        }
    }

    /// The bucket belongs to another log.
    pub(super) fn foreign(&self, log: &str) -> InfluxError {
        InfluxError::Foreign {
            bucket: self.bucket.clone(),
            log: log.to_owned(),
        }
    }

    fn strange(&self, why: &str) -> InfluxError {
        InfluxError::Answer {
            url: self.url.clone(),
            why: why.to_owned(),
        }
    }
}
