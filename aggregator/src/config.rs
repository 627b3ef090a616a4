//! Configuration: a TOML file, overridden by the environment, overridden by flags.
//!
//! A [`Config`] that was loaded is valid. Whatever is wrong is reported at once, each error with its key.

mod lake;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

pub use self::lake::LakeConfig;

/// Everything that can be configured. The annotated defaults are in `wakeline-aggregator.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of all embedded state; made if it is not there.
    pub data: PathBuf,
    /// Threads that process events; 0: one per core.
    pub workers: usize,
    /// Dashboard and API.
    pub http: HttpConfig,
    /// The door of collectors.
    pub grpc: GrpcConfig,
    /// The log of everything that came in.
    pub log: LogConfig,
    /// What is known of visitors, and rollups.
    pub state: StateConfig,
    /// Answers to questions.
    pub query: QueryConfig,
    /// Refused events.
    pub dead_letters: DeadLettersConfig,
    /// What became of everything.
    pub ledger: LedgerConfig,
    /// Figures in InfluxDB.
    pub metrics: MetricsConfig,
    /// Every event as Parquet.
    pub lake: LakeConfig,
}

/// Dashboard and API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Port 0: any, printed.
    pub listen: SocketAddr,
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Longest time for a request's head to arrive, in ms; also how long an idle connection is kept.
    pub header_timeout_ms: u64,
    /// Where pages reach the collector: for the dashboard's installation hint, and to send refused events again.
    pub collector_url: Option<String>,
}

/// The door of collectors.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Port 0: any, printed.
    pub listen: SocketAddr,
    /// What collectors have to show as `authorization: Bearer …`; none: whoever reaches the port may push.
    pub token: Option<String>,
    /// PEM file of the certificate and those that lead to it; none: without TLS.
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub key_file: Option<PathBuf>,
    /// PEM file of the certificates that collectors' own have to lead to (mTLS); none: collectors show none.
    pub client_ca_file: Option<PathBuf>,
    /// Listen on other addresses than loopback although there is no TLS, or nothing that collectors have to show.
    pub insecure: bool,
}

/// The log of everything that came in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Into how many parts visitors are divided. Fixed once the log is made.
    pub partitions: NonZeroU16,
    /// A segment file is closed once it is this long.
    pub segment_bytes: u64,
}

/// What is known of visitors, and rollups.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `redis+cluster://` and some of a cluster's servers,
    /// separated by commas; `rediss` is TLS. None or empty: embedded, in the data folder.
    pub url: Option<String>,
    /// File of the certificates (PEM) that a TLS server's has to lead to; none: the system's.
    pub ca: Option<PathBuf>,
    /// Whether the generation before the one in use is kept, to go back to.
    pub keep_previous: bool,
    /// Memory for visitors, over all workers.
    pub visitor_cache_bytes: usize,
    /// Memory for rollup rows and page names, over all workers.
    pub row_cache_bytes: usize,
    /// Memory for blocks that the embedded state read from disk.
    pub block_cache_bytes: u64,
}

/// Answers to questions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Values of a dimension that are told apart a day; the others, with fewer visitors, are summed up.
    pub max_values: usize,
    /// Memory for the events that one question reads.
    pub max_memory_bytes: usize,
    /// How long one question may read events.
    pub max_time_ms: u64,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            max_values: 10_000,
            max_memory_bytes: 512 << 20,
            max_time_ms: 30_000,
        }
    }
}

/// Refused events, which are kept so that they can be looked at and sent again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// How long they are kept after they were received, in days.
    pub max_age_days: u32,
    /// Bytes of all of them; beyond, the oldest go.
    pub max_bytes: u64,
}

impl DeadLettersConfig {
    pub(crate) fn limits(&self) -> crate::ledger::Limits {
        crate::ledger::Limits {
            max_age_ms: u64::from(self.max_age_days) * 86_400_000,
            max_bytes: self.max_bytes,
        }
    }
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self {
            max_age_days: 7,
            max_bytes: 1 << 30,
        }
    }
}

/// What became of everything that was received, and of what never came.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// How long after the last event of a page load or process the ledger says how many of its events never came, in hours.
    pub grace_hours: u32,
}

impl LedgerConfig {
    pub(crate) fn grace_ms(&self) -> i64 {
        i64::from(self.grace_hours) * 3_600_000
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { grace_hours: 24 }
    }
}

/// Figures in InfluxDB.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// `http://HOST:PORT` of an InfluxDB 2; none or empty: figures are only in the state.
    pub url: Option<String>,
    /// Its organisation.
    pub org: String,
    /// The bucket; made if it is not there.
    pub bucket: String,
    /// What it is asked with. Has to be set if `url` is.
    pub token: Option<String>,
    /// How long a bucket that is made keeps points, in days; 0: for ever.
    pub retention_days: u16,
    /// Marks of windows that wait to be written which are kept in memory; more stay in the state. 16 bytes and more.
    pub pending_marks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            workers: 0,
            http: HttpConfig::default(),
            grpc: GrpcConfig::default(),
            log: LogConfig::default(),
            state: StateConfig::default(),
            query: QueryConfig::default(),
            dead_letters: DeadLettersConfig::default(),
            ledger: LedgerConfig::default(),
            metrics: MetricsConfig::default(),
            lake: LakeConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            max_connections: 2_000,
            header_timeout_ms: 15_000,
            collector_url: None,
        }
    }
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            token: None,
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            insecure: false,
        }
    }
}

impl fmt::Debug for GrpcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcConfig")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("client_ca_file", &self.client_ca_file)
            .field("insecure", &self.insecure)
            .finish()
    }
}

impl fmt::Debug for StateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateConfig")
            .field("url", &self.url.as_ref().map(|_| "…")) // it may have a password
            .field("ca", &self.ca)
            .field("keep_previous", &self.keep_previous)
            .field("visitor_cache_bytes", &self.visitor_cache_bytes)
            .field("row_cache_bytes", &self.row_cache_bytes)
            .field("block_cache_bytes", &self.block_cache_bytes)
            .finish()
    }
}

impl fmt::Debug for MetricsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsConfig")
            .field("url", &self.url)
            .field("org", &self.org)
            .field("bucket", &self.bucket)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("retention_days", &self.retention_days)
            .field("pending_marks", &self.pending_marks)
            .finish()
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            url: None,
            org: "wakeline".to_owned(),
            bucket: "wakeline".to_owned(),
            token: None,
            retention_days: 0,
            pending_marks: 1_000_000,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            partitions: NonZeroU16::MIN.saturating_add(31),
            segment_bytes: 64 << 20,
        }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            url: None,
            ca: None,
            keep_previous: true,
            visitor_cache_bytes: 32 << 20,
            row_cache_bytes: 16 << 20,
            block_cache_bytes: 16 << 20,
        }
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Each with the key that it is about.
    pub errors: Vec<KeyError>,
}

/// What is wrong with one key.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyError {
    /// `section.key`, or the file.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        for KeyError { key, message } in &self.errors {
            write!(f, "\n  {key}: {message}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads `file`, then the variables of `env` that begin with `prefix` (`WAKELINE_` in the binary), then `flags`.
    ///
    /// A variable is `PREFIX` + `SECTION__KEY`, or `PREFIX` + `KEY` for keys without a section; a flag's key is
    /// `section.key`. Their values are taken as strings where the key wants one, else read as TOML.
    pub fn load(
        file: Option<&Path>,
        prefix: &str,
        env: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut errors = Vec::new();
        let mut table = match file.map(read_file).transpose() {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                errors.push(error);
                Table::new()
            }
        };
        let env = env
            .into_iter()
            .filter_map(|(name, value)| Some((env_key(name.strip_prefix(prefix)?)?, value)));
        for (key, text) in env.chain(flags) {
            match typed(&key, text) {
                Ok(value) => set(&mut table, &key, value),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(leaves(&table).into_iter().filter_map(|(key, leaf)| {
            let error = Self::deserialize(leaf).err()?;
            Some(key_error(&key, error.message()))
        }));
        if errors.is_empty() {
            match Self::deserialize(table) {
                Ok(config) => {
                    errors.extend(config.check());
                    if errors.is_empty() {
                        return Ok(config);
                    }
                }
                Err(error) => errors.push(key_error("configuration", error.message())),
            }
        }
        errors.sort_by(|a, b| a.key.cmp(&b.key));
        Err(ConfigError { errors })
    }

    /// What types can't say.
    pub(crate) fn check(&self) -> Vec<KeyError> {
        let mut errors = Vec::new();
        errors.extend(self.check_grpc());
        if !(1..=1_000_000).contains(&self.http.max_connections) {
            errors.push(key_error("http.max_connections", "from 1 to 1000000"));
        }
        if !(1..=600_000).contains(&self.http.header_timeout_ms) {
            errors.push(key_error("http.header_timeout_ms", "from 1 to 600000"));
        }
        if self
            .http
            .collector_url
            .as_deref()
            .is_some_and(|url| !is_base_url(url))
        {
            errors.push(key_error(
                "http.collector_url",
                "http:// or https:// and a host, such as https://collect.example",
            ));
        }
        if !(1 << 20..=1 << 32).contains(&self.log.segment_bytes) {
            errors.push(key_error(
                "log.segment_bytes",
                "from 1048576 (1 MiB) to 4294967296 (4 GiB)",
            ));
        }
        if self.log.partitions.get() > 4096 {
            errors.push(key_error("log.partitions", "from 1 to 4096"));
        }
        if self.redis().is_some_and(|url| !is_redis_url(url)) {
            errors.push(key_error(
                "state.url",
                "redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],…, \
                 with rediss for TLS, or empty",
            ));
        }
        if !(1..=1_000_000).contains(&self.query.max_values) {
            errors.push(key_error("query.max_values", "from 1 to 1000000"));
        }
        if !(1 << 10..=1 << 40).contains(&self.query.max_memory_bytes) {
            errors.push(key_error(
                "query.max_memory_bytes",
                "from 1024 (1 KiB) to 1099511627776 (1 TiB)",
            ));
        }
        if !(100..=3_600_000).contains(&self.query.max_time_ms) {
            errors.push(key_error("query.max_time_ms", "from 100 to 3600000"));
        }
        if !(1..=366).contains(&self.dead_letters.max_age_days) {
            errors.push(key_error("dead_letters.max_age_days", "from 1 to 366"));
        }
        if self.ledger.grace_hours > 720 {
            errors.push(key_error("ledger.grace_hours", "from 0 to 720"));
        }
        if !(1 << 20..=1 << 40).contains(&self.dead_letters.max_bytes) {
            errors.push(key_error(
                "dead_letters.max_bytes",
                "from 1048576 (1 MiB) to 1099511627776 (1 TiB)",
            ));
        }
        if self.state.ca.is_some() && !self.redis().is_some_and(|url| url.starts_with("rediss")) {
            errors.push(key_error("state.ca", "only with rediss in state.url"));
        }
        errors.extend(self.check_metrics());
        errors.extend(self.lake.check());
        if self.workers > 1024 {
            errors.push(key_error("workers", "from 0 to 1024"));
        }
        errors
    }

    fn check_grpc(&self) -> Vec<KeyError> {
        let grpc = &self.grpc;
        let mut errors = Vec::new();
        let tls = grpc.cert_file.is_some();
        let secret = grpc.token.is_some() || grpc.client_ca_file.is_some();
        let open = !grpc.listen.ip().is_loopback() && !grpc.insecure;
        if open && !tls {
            errors.push(key_error(
                "grpc.listen",
                "without TLS (grpc.cert_file) only a loopback address, unless grpc.insecure = true",
            ));
        } else if open && !secret {
            errors.push(key_error(
                "grpc.listen",
                "whoever reaches it may push: set grpc.token or grpc.client_ca_file, or grpc.insecure = true",
            ));
        }
        if tls != grpc.key_file.is_some() {
            errors.push(key_error(
                "grpc.cert_file",
                "needs grpc.key_file, and the other way round",
            ));
        }
        if grpc.client_ca_file.is_some() && !tls {
            errors.push(key_error("grpc.client_ca_file", "only with grpc.cert_file"));
        }
        if grpc.token.as_ref().is_some_and(String::is_empty) {
            errors.push(key_error("grpc.token", "empty; leave it out for none"));
        }
        errors
    }

    fn check_metrics(&self) -> Vec<KeyError> {
        let mut errors = Vec::new();
        let metrics = &self.metrics;
        if let Some(url) = self.influx() {
            let path = url::Url::parse(url).map(|url| url.path().to_owned());
            if !is_base_url(url) || path.as_deref() != Ok("/") {
                errors.push(key_error(
                    "metrics.url",
                    "http:// or https://, a host and perhaps a port, such as http://127.0.0.1:8086; or empty",
                ));
            }
            if metrics.token.as_ref().is_none_or(String::is_empty) {
                errors.push(key_error(
                    "metrics.token",
                    "missing: a token of InfluxDB that may read and write the bucket",
                ));
            }
        }
        if metrics
            .token
            .as_ref()
            .is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            errors.push(key_error("metrics.token", "printable ASCII without spaces"));
        }
        for (key, name) in [
            ("metrics.org", &metrics.org),
            ("metrics.bucket", &metrics.bucket),
        ] {
            if name.is_empty() || name.len() > 200 || name.starts_with('_') {
                errors.push(key_error(key, "1 to 200 bytes, not beginning with _"));
            }
        }
        if metrics.retention_days > 20_000 {
            errors.push(key_error("metrics.retention_days", "from 0 to 20000"));
        }
        if !(1_000..=100_000_000).contains(&metrics.pending_marks) {
            errors.push(key_error("metrics.pending_marks", "from 1000 to 100000000"));
        }
        errors
    }

    /// The InfluxDB that figures are exported to, if there is one.
    pub(crate) fn influx(&self) -> Option<&str> {
        self.metrics.url.as_deref().filter(|url| !url.is_empty())
    }

    /// The Redis server that keeps the state, if there is one.
    pub(crate) fn redis(&self) -> Option<&str> {
        self.state.url.as_deref().filter(|url| !url.is_empty())
    }

    /// Threads that process events: `workers`, or one per core.
    pub(crate) fn worker_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = if self.workers == 0 {
            cores()
        } else {
            self.workers
        };
        wanted.min(usize::from(self.log.partitions.get()))
    }
}

/// Whether paths can be put after it, and it into a page as it is.
pub(crate) fn is_base_url(given: &str) -> bool {
    let plain = !given.contains(|c: char| c.is_whitespace() || "\"'<>&".contains(c));
    plain
        && url::Url::parse(given).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}

/// Whether it is of one of the kinds that the store knows.
fn is_redis_url(given: &str) -> bool {
    given
        .split_once("://")
        .is_some_and(|(scheme, servers)| match scheme {
            "redis" | "rediss" => !servers.is_empty(),
            // Clusters have no databases.
            "redis+cluster" | "rediss+cluster" => {
                let hosts = servers.rsplit('@').next().unwrap_or_default();
                !hosts.contains('/') && hosts.split(',').all(|host| !host.is_empty())
            }
            _ => false,
        })
}

fn key_error(key: &str, message: impl Into<String>) -> KeyError {
    KeyError {
        key: key.to_owned(),
        message: message.into(),
    }
}

fn read_file(file: &Path) -> Result<Table, KeyError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| key_error(&name, e.to_string()))?;
    text.parse()
        .map_err(|e: toml::de::Error| key_error(&name, e.to_string()))
}

/// `HTTP__LISTEN` → `http.listen`; `None` for variables that configure something else.
fn env_key(name: &str) -> Option<String> {
    let key = name.to_ascii_lowercase().replace("__", ".");
    // The demo's variables for its two servers, and variables that are no configuration: WAKELINE_ADMIN_TOKEN.
    let others = key.starts_with("collector.") || key.starts_with("aggregator.");
    let ours = key.contains('.') || matches!(key.as_str(), "data" | "workers");
    (ours && !others).then_some(key)
}

/// The value that `text` stands for where `key` takes it: itself if a string fits, else what it is in TOML.
fn typed(key: &str, text: String) -> Result<Value, KeyError> {
    let as_toml = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    let mut first = None;
    for value in [Some(Value::String(text)), as_toml].into_iter().flatten() {
        let mut leaf = Table::new();
        set(&mut leaf, key, value.clone());
        match Config::deserialize(leaf) {
            Ok(_) => return Ok(value),
            Err(error) => first = first.or(Some(key_error(key, error.message()))),
        }
    }
    Err(first.unwrap_or_else(|| key_error(key, "no value")))
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let entry = table
                .entry(section.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            if let Value::Table(section) = entry {
                set(section, rest, value);
            }
        }
    }
}

/// Each key of the file, as a configuration that has nothing else.
fn leaves(table: &Table) -> Vec<(String, Table)> {
    let mut leaves = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => {
                for (key, value) in section {
                    let key = format!("{name}.{key}");
                    let mut leaf = Table::new();
                    set(&mut leaf, &key, value.clone());
                    leaves.push((key, leaf));
                }
            }
            value => leaves.push((
                name.clone(),
                [(name.clone(), value.clone())].into_iter().collect(),
            )),
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};

    fn load(
        toml: &str,
        env: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigError> {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aggregator.toml");
        std::fs::write(&file, toml).unwrap();
        Config::load(Some(&file), "WAKELINE_", own(env), own(flags))
    }

    fn wrong_keys(result: Result<Config, ConfigError>) -> Vec<String> {
        let errors = result.unwrap_err().errors;
        errors.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn the_example_file_says_what_the_defaults_are() {
        let example = include_str!("../wakeline-aggregator.toml");
        assert_eq!(load(example, &[], &[]).unwrap(), Config::default());
        // Keys that are commented out are named rightly, too.
        let all: String = example
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let all = load(&all, &[], &[]).unwrap();
        assert_eq!(all.grpc.token.as_deref(), Some("SECRET"));
        assert!(all.http.collector_url.is_some());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let config = load(
            "[http]\nlisten = '127.0.0.1:1'\n[grpc]\nlisten = '127.0.0.1:2'\n[log]\npartitions = 3",
            &[
                ("WAKELINE_HTTP__LISTEN", "127.0.0.1:10"),
                ("WAKELINE_GRPC__LISTEN", "127.0.0.1:20"),
                ("WAKELINE_GRPC__TOKEN", "123"),
                ("WAKELINE_GRPC__INSECURE", "true"),
                ("WAKELINE_DATA", "there"),
                ("WAKELINE_ADMIN_TOKEN", "no configuration"),
                ("HOME", "/"),
            ],
            &[("http.listen", "127.0.0.1:100"), ("workers", "5")],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 100);
        assert_eq!(config.grpc.listen.port(), 20);
        assert_eq!(config.grpc.token.as_deref(), Some("123"));
        assert!(config.grpc.insecure);
        assert_eq!(config.log.partitions.get(), 3);
        assert_eq!(config.workers, 5);
        assert_eq!(config.data.to_str(), Some("there"));
    }

    #[test]
    fn every_error_is_reported_at_once_with_its_key() {
        let result = load(
            "color = 'red'\nworkers = -1\n[grpc]\ntoken = 7\n[nothing]\nhere = 1",
            &[("WAKELINE_HTTP__LISTEN", "8090"), ("WAKELINE_LOG__X", "1")],
            &[("log.partitions", "0")],
        );
        assert_eq!(
            wrong_keys(result),
            [
                "color",
                "grpc.token",
                "http.listen",
                "log.partitions",
                "log.x",
                "nothing.here",
                "workers"
            ]
        );
    }

    #[test]
    fn listening_beyond_loopback_without_tls_has_to_be_wanted() {
        let open = "[grpc]\nlisten = '0.0.0.0:9090'\n";
        assert_eq!(wrong_keys(load(open, &[], &[])), ["grpc.listen"]);
        let wanted = load(open, &[], &[("grpc.insecure", "true")]).unwrap();
        assert!(wanted.grpc.insecure);
        let tls = [("grpc.cert_file", "a.pem"), ("grpc.key_file", "a.key")];
        assert_eq!(
            wrong_keys(load(open, &[], &tls)),
            ["grpc.listen"],
            "whoever reaches it may push"
        );
        for secret in [("grpc.client_ca_file", "ca.pem"), ("grpc.token", "t")] {
            assert!(load(open, &[], &[tls[0], tls[1], secret]).is_ok());
        }
    }

    #[test]
    fn certificate_and_key_come_together() {
        for key in ["grpc.cert_file", "grpc.key_file"] {
            assert_eq!(
                wrong_keys(load("", &[], &[(key, "a.pem")])),
                ["grpc.cert_file"]
            );
        }
        let ca = [("grpc.client_ca_file", "ca.pem")];
        assert_eq!(wrong_keys(load("", &[], &ca)), ["grpc.client_ca_file"]);
    }

    #[test]
    fn the_collectors_url_is_one() {
        for wrong in [
            "collect.example",
            "ftp://a",
            "https://",
            "https://a?b",
            "https://a\"b",
        ] {
            let given = [("http.collector_url", wrong)];
            assert_eq!(wrong_keys(load("", &[], &given)), ["http.collector_url"]);
        }
        let given = [("http.collector_url", "https://collect.example")];
        assert!(load("", &[], &given).is_ok());
    }

    #[test]
    fn state_is_embedded_or_in_redis() {
        let redis = |url| load("", &[("WAKELINE_STATE__URL", url)], &[]);
        assert_eq!(redis("").unwrap().redis(), None);
        let url = "redis://here:7000/2";
        assert_eq!(redis(url).unwrap().redis(), Some(url));
        for url in [
            "rediss://:secret@here",
            "redis+cluster://one:7000,two:7001",
            "rediss+cluster://me:secret@one",
        ] {
            assert_eq!(redis(url).unwrap().redis(), Some(url));
        }
        for wrong in [
            "http://here",
            "redis://",
            "redis+cluster://one,,two",
            "redis+cluster://one/3",
        ] {
            assert_eq!(wrong_keys(redis(wrong)), ["state.url"], "{wrong}");
        }
        let with_ca = |url| {
            load(
                "",
                &[("WAKELINE_STATE__URL", url)],
                &[("state.ca", "ca.pem")],
            )
        };
        assert_eq!(wrong_keys(with_ca("redis://here")), ["state.ca"]);
        assert!(with_ca("rediss://here").is_ok());
    }

    #[test]
    fn secrets_are_not_shown_in_debug_output() {
        let config = load(
            "[grpc]\ntoken = 'hunter2'\n[state]\nurl = 'redis://:hunter2@here'",
            &[],
            &[],
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
