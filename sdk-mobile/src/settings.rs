//! What an app says of itself once, as JSON. Unknown keys are refused, so that a misspelt one is found at once.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use wakeline_client::v1::{self, Consent};

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not JSON, a key is not known, or a value is of the wrong type.
    #[error("the settings can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A value is out of its range.
    #[error("{key}: {what}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What to do.
        what: String,
    },
}

/// The settings. Only the first three are needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The site's write key.
    pub key: String,
    /// The collector: `https://collector.example`.
    pub url: String,
    /// A folder of the app's own, made if need be. Several processes may share it.
    pub data_dir: PathBuf,

    /// Name of the layer over the core. Default: `mobile`.
    #[serde(default = "default_sdk")]
    pub sdk: String,
    /// What the person agreed to, until `set_consent` says otherwise: `granted`, `denied`, `pending`, or `none`. Default:
    /// `none`, the site does not ask.
    #[serde(default = "default_consent")]
    pub consent: String,
    /// Properties that every event gets. Default: none.
    #[serde(default)]
    pub defaults: Map<String, Value>,

    /// Version of the app. Default: empty, unknown, as with the next ones.
    #[serde(default)]
    pub app_version: String,
    /// Name of the system: `Android`, `iOS`, …
    #[serde(default)]
    pub os: String,
    /// Version of the system.
    #[serde(default)]
    pub os_version: String,
    /// Model of the device.
    #[serde(default)]
    pub model: String,
    /// `mobile`, `tablet`, `desktop` or `tv`. Default: `mobile` on Android and iOS, else `desktop`.
    #[serde(default)]
    pub form: String,
    /// Language, BCP 47.
    #[serde(default)]
    pub language: String,
    /// Time zone, IANA.
    #[serde(default)]
    pub timezone: String,
    /// Width of the screen in points. Default: 0, unknown.
    #[serde(default)]
    pub screen_width: u32,
    /// Height of the screen in points. Default: 0, unknown.
    #[serde(default)]
    pub screen_height: u32,

    /// A session ends after so many minutes without an event. Default: 30. From 1 to 240.
    #[serde(default = "default_session_gap")]
    pub session_gap_minutes: u32,
    /// Within so many ms an event is on disk, in ms. Default: 500. From 10 to 1,000. An order is at once.
    #[serde(default = "default_flush_interval")]
    pub flush_interval_ms: u64,
    /// Bytes of events that wait on disk. Default: 10 MiB. From 64 KiB to 1 GiB.
    #[serde(default = "default_queue_bytes")]
    pub queue_max_bytes: u64,
    /// Days after which an event that could not be sent is given up. Default, and at most: 30.
    #[serde(default = "default_queue_days")]
    pub queue_max_age_days: u32,
    /// Longest wait of an event for company, in ms, while the app is seen and the network is not metered. Default: 5,000.
    /// From 0 to 600,000.
    #[serde(default = "default_batch_wait")]
    pub batch_wait_ms: u64,
    /// Events that are sent without waiting further. Default: 50. From 1 to 500.
    #[serde(default = "default_batch_events")]
    pub batch_events: usize,
    /// Who sends: `host`, by `next_task`, or `built_in`, if the library has it. Default: `host`.
    #[serde(default = "default_http")]
    pub http: String,
}

/// Where events go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The site's write key; `None`: as before.
    pub key: Option<String>,
    /// The collector; `None`: as before.
    pub url: Option<String>,
}

fn default_sdk() -> String {
    "mobile".to_owned()
}

fn default_consent() -> String {
    "none".to_owned()
}

fn default_session_gap() -> u32 {
    30
}

fn default_flush_interval() -> u64 {
    500
}

fn default_queue_bytes() -> u64 {
    10 << 20
}

fn default_queue_days() -> u32 {
    30
}

fn default_batch_wait() -> u64 {
    5_000
}

fn default_batch_events() -> usize {
    50
}

fn default_http() -> String {
    "host".to_owned()
}

impl Settings {
    /// Reads and checks settings.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        let mut settings: Self = serde_json::from_str(json)?;
        check_key(&settings.key)?;
        settings.url = checked_url(&settings.url)?;
        settings.check()?;
        if settings.form.is_empty() {
            let mobile =
                ["android", "ios", "ipados"].contains(&settings.os.to_ascii_lowercase().as_str());
            let form = if mobile { "mobile" } else { "desktop" };
            form.clone_into(&mut settings.form);
        }
        Ok(settings)
    }

    /// What the person agreed to at the start.
    pub(crate) fn consent(&self) -> Consent {
        consent(&self.consent).unwrap_or_default()
    }

    /// What batches say of the device.
    pub(crate) fn device(&self) -> v1::Device {
        v1::Device {
            language: self.language.clone(),
            timezone: self.timezone.clone(),
            screen_width: self.screen_width,
            screen_height: self.screen_height,
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            model: self.model.clone(),
            app_version: self.app_version.clone(),
        }
    }

    fn check(&self) -> Result<(), SettingsError> {
        let one_of = |key, value: &str, words: &[&str]| {
            let what = format!("must be one of {}", words.join(", "));
            ensure(words.contains(&value), key, &what)
        };
        ensure(
            !self.data_dir.as_os_str().is_empty(),
            "data_dir",
            "name a folder of the app's own",
        )?;
        ensure(
            consent(&self.consent).is_some(),
            "consent",
            "must be one of granted, denied, pending, none",
        )?;
        one_of(
            "form",
            &self.form,
            &["", "mobile", "tablet", "desktop", "tv"],
        )?;
        one_of("http", &self.http, &["host", "built_in"])?;
        ensure(
            cfg!(feature = "http") || self.http == "host",
            "http",
            "this library was built without the feature `http`: send by `next_task`",
        )?;
        ensure(
            (1..=240).contains(&self.session_gap_minutes),
            "session_gap_minutes",
            "must be from 1 to 240",
        )?;
        ensure(
            (10..=1_000).contains(&self.flush_interval_ms),
            "flush_interval_ms",
            "must be from 10 to 1,000",
        )?;
        ensure(
            (64 << 10..=1 << 30).contains(&self.queue_max_bytes),
            "queue_max_bytes",
            "must be from 65,536 to 1,073,741,824",
        )?;
        ensure(
            (1..=30).contains(&self.queue_max_age_days),
            "queue_max_age_days",
            "must be from 1 to 30",
        )?;
        ensure(
            self.batch_wait_ms <= 600_000,
            "batch_wait_ms",
            "must be at most 600,000",
        )?;
        ensure(
            (1..=500).contains(&self.batch_events),
            "batch_events",
            "must be from 1 to 500",
        )?;
        for (key, text) in [
            ("sdk", &self.sdk),
            ("app_version", &self.app_version),
            ("os", &self.os),
            ("os_version", &self.os_version),
            ("model", &self.model),
            ("language", &self.language),
            ("timezone", &self.timezone),
        ] {
            let fine = text.len() <= 128 && !text.contains(char::is_control);
            ensure(
                fine,
                key,
                "must be at most 128 bytes, without control characters",
            )?;
        }
        Ok(())
    }
}

impl Target {
    /// Reads and checks where events go.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        let mut target: Self = serde_json::from_str(json)?;
        target.key.as_deref().map_or(Ok(()), check_key)?;
        target.url = target.url.as_deref().map(checked_url).transpose()?;
        Ok(target)
    }
}

/// What a word of consent means.
pub(crate) fn consent(word: &str) -> Option<Consent> {
    Some(match word {
        "granted" => Consent::Granted,
        "denied" => Consent::Denied,
        "pending" => Consent::Pending,
        "none" => Consent::Unspecified,
        _ => return None,
    })
}

fn check_key(key: &str) -> Result<(), SettingsError> {
    let fine = (1..=256).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    ensure(fine, "key", "must be the site's write key")
}

/// The URL without slashes at its end.
fn checked_url(url: &str) -> Result<String, SettingsError> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let fine = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':', '@'])
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
    });
    let what = "must be the collector's, as https://collector.example, without ? and #";
    ensure(fine && url.len() <= 2_000, "url", what)?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn ensure(fine: bool, key: &'static str, what: &str) -> Result<(), SettingsError> {
    if fine {
        return Ok(());
    }
    Err(SettingsError::Invalid {
        key,
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<Settings, String> {
        let json =
            format!(r#"{{"key":"wk_1","url":"https://c.example/","data_dir":"/tmp/x"{more}}}"#);
        Settings::parse(&json).map_err(|error| error.to_string())
    }

    #[test]
    fn three_keys_are_enough() {
        let settings = parse("").unwrap();
        assert_eq!(settings.url, "https://c.example");
        assert_eq!(
            (settings.sdk.as_str(), settings.form.as_str()),
            ("mobile", "desktop")
        );
        assert_eq!(parse(r#","os":"Android""#).unwrap().form, "mobile");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, named) in [
            (r#","colour":"red""#, "colour"),
            (r#","consent":"maybe""#, "consent"),
            (r#","flush_interval_ms":5000"#, "flush_interval_ms"),
            (r#","session_gap_minutes":0"#, "session_gap_minutes"),
            (r#","http":"carrier pigeon""#, "http"),
            (r#","queue_max_bytes":1"#, "queue_max_bytes"),
            (r#","app_version":"a\u0000b""#, "app_version"),
        ] {
            let found = parse(more);
            assert!(
                found.as_ref().is_err_and(|error| error.contains(named)),
                "{more}: {found:?}"
            );
        }
    }

    #[test]
    fn urls_that_are_no_collector_s_are_refused() {
        for url in [
            "",
            "c.example",
            "ftp://c.example",
            "https://",
            "https:///x",
            "https://c.example/?a",
            "https://c .example",
            "https://ü.example",
        ] {
            let found = Target::parse(&serde_json::json!({"url": url}).to_string());
            assert!(found.is_err(), "{url}");
        }
        let target = Target::parse(r#"{"url":"http://127.0.0.1:8080/base/"}"#).unwrap();
        assert_eq!(target.url.as_deref(), Some("http://127.0.0.1:8080/base"));
    }
}
