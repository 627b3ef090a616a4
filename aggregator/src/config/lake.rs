//! The lake of all events.

use std::fmt;

use serde::Deserialize;

use super::{KeyError, key_error};

/// Every event as Parquet.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// `file:///FOLDER` or `s3://BUCKET[/FOLDER]`; none or empty: in the data folder.
    pub url: Option<String>,
    /// `http://` or `https://` and a host, if the S3 store is not Amazon's.
    pub s3_endpoint: Option<String>,
    /// Region of the S3 store.
    pub s3_region: Option<String>,
    /// Id of the key that it is asked with; none: what the environment says.
    pub s3_access_key_id: Option<String>,
    /// That key.
    pub s3_secret_access_key: Option<String>,
    /// Into how many parts sites are divided. Fixed once the lake is made.
    pub buckets: u16,
    /// Events are written to files this often, in ms.
    pub flush_interval_ms: u64,
    /// They are also written once they take this much memory, in bytes.
    pub flush_bytes: usize,
    /// While files can't be written, events are kept in memory up to this many bytes.
    pub tail_bytes: usize,
}

impl fmt::Debug for LakeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeConfig")
            .field("enabled", &self.enabled)
            .field("url", &self.url)
            .field("s3_endpoint", &self.s3_endpoint)
            .field("s3_region", &self.s3_region)
            .field("s3_access_key_id", &self.s3_access_key_id)
            .field(
                "s3_secret_access_key",
                &self.s3_secret_access_key.as_ref().map(|_| "…"),
            )
            .field("buckets", &self.buckets)
            .field("flush_interval_ms", &self.flush_interval_ms)
            .field("flush_bytes", &self.flush_bytes)
            .field("tail_bytes", &self.tail_bytes)
            .finish()
    }
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            url: None,
            s3_endpoint: None,
            s3_region: None,
            s3_access_key_id: None,
            s3_secret_access_key: None,
            buckets: 8,
            flush_interval_ms: 60_000,
            flush_bytes: 32 << 20,
            tail_bytes: 128 << 20,
        }
    }
}

impl LakeConfig {
    /// Where it is, if that is not the data folder.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| !url.is_empty())
    }

    pub(super) fn check(&self) -> Vec<KeyError> {
        let mut errors = Vec::new();
        let known = |url: &str| {
            let absolute = |url: &str| {
                url.strip_prefix("file://")
                    .is_some_and(|at| at.starts_with('/'))
            };
            let bucket = |url: &str| url.strip_prefix("s3://").is_some_and(|at| !at.is_empty());
            url::Url::parse(url).is_ok() && (absolute(url) || bucket(url))
        };
        if self.url().is_some_and(|url| !known(url)) {
            errors.push(key_error(
                "lake.url",
                "file:///FOLDER, s3://BUCKET, s3://BUCKET/FOLDER, or empty",
            ));
        }
        let endpoint = self.s3_endpoint.as_deref();
        if endpoint.is_some_and(|url| !super::is_base_url(url)) {
            errors.push(key_error(
                "lake.s3_endpoint",
                "http:// or https:// and a host, such as https://s3.example:9000",
            ));
        }
        if self.s3_region.as_deref().is_some_and(str::is_empty) {
            errors.push(key_error("lake.s3_region", "empty; leave it out for none"));
        }
        if self.s3_access_key_id.is_some() != self.s3_secret_access_key.is_some() {
            errors.push(key_error(
                "lake.s3_access_key_id",
                "needs lake.s3_secret_access_key, and the other way round",
            ));
        }
        if !(1..=256).contains(&self.buckets) {
            errors.push(key_error("lake.buckets", "from 1 to 256"));
        }
        if !(100..=86_400_000).contains(&self.flush_interval_ms) {
            errors.push(key_error(
                "lake.flush_interval_ms",
                "from 100 to 86400000 (a day)",
            ));
        }
        if !(1 << 20..=1 << 30).contains(&self.flush_bytes) {
            errors.push(key_error(
                "lake.flush_bytes",
                "from 1048576 (1 MiB) to 1073741824 (1 GiB)",
            ));
        }
        if self.tail_bytes < self.flush_bytes || self.tail_bytes > 8 << 30 {
            errors.push(key_error(
                "lake.tail_bytes",
                "from lake.flush_bytes to 8589934592 (8 GiB)",
            ));
        }
        errors
    }
}
