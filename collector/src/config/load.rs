//! Reading a configuration from its three sources, and saying all that is wrong with it.

use std::path::Path;

use super::Config;

/// All that is wrong with a configuration.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigError(Vec<Problem>);

/// One thing that is wrong, with its key.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Problem {
    /// As in the file: `section.key`.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl ConfigError {
    /// What is wrong, in no order.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl Config {
    /// Reads `file` (if given), puts `env` over it (variables that begin with `prefix`, as `PREFIX` `SECTION__KEY` and
    /// `PREFIX` `DATA`; others are ignored) and `flags` over that (keys as in the file).
    pub fn load(
        file: Option<&Path>,
        prefix: &str,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut settings: Vec<(String, Setting)> = Vec::new();
        if let Some(path) = file {
            match read_table(path) {
                Ok(table) => collect(table, &mut settings),
                Err(what) => problems.push(Problem {
                    key: path.display().to_string(),
                    what,
                }),
            }
        }
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(prefix) else {
                continue;
            };
            // Variables without a section are for other uses, but for the one key that has none.
            if rest.contains("__") || rest == "DATA" {
                let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
                settings.push((key, Setting::Text(value)));
            }
        }
        for (key, value) in flags {
            settings.push(((*key).to_owned(), Setting::Text(value.clone())));
        }

        let mut merged = toml::Table::new();
        for (key, setting) in settings {
            match setting.accepted(&key) {
                Ok(value) => insert(&mut merged, &key, value),
                Err(what) => problems.push(Problem { key, what }),
            }
        }
        let config = merged.try_into::<Self>().unwrap_or_else(|error| {
            problems.push(Problem {
                key: "(file)".to_owned(),
                what: error.message().to_owned(),
            });
            Self::default()
        });
        problems.extend(config.problems());
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Checks what types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(problems))
        }
    }
}

/// A value as it was given.
enum Setting {
    /// From a file.
    Toml(toml::Value),
    /// From an environment variable or flag, where all is text.
    Text(String),
}

impl Setting {
    /// The value with which `key` alone makes a [`Config`], or what is wrong with it.
    fn accepted(self, key: &str) -> Result<toml::Value, String> {
        let fits = |value: &toml::Value| {
            let mut table = toml::Table::new();
            insert(&mut table, key, value.clone());
            table
                .try_into::<Config>()
                .map_err(|error| error.message().to_owned())
        };
        match self {
            Self::Toml(value) => fits(&value).map(|_| value),
            Self::Text(text) => {
                let literal = format!("v = {text}")
                    .parse::<toml::Table>()
                    .ok()
                    .and_then(|mut table| table.remove("v"));
                let plain = toml::Value::String(text);
                match fits(&plain) {
                    Ok(_) => Ok(plain),
                    Err(what) => literal.filter(|value| fits(value).is_ok()).ok_or(what),
                }
            }
        }
    }
}

fn read_table(path: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse::<toml::Table>()
        .map_err(|error| error.to_string())
}

/// Lists the leaves of `table`, so that each can be judged alone.
fn collect(table: toml::Table, into: &mut Vec<(String, Setting)>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                for (key, value) in section {
                    into.push((format!("{name}.{key}"), Setting::Toml(value)));
                }
            }
            value => into.push((name, Setting::Toml(value))),
        }
    }
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    let Some((section, name)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let section = table
        .entry(section.to_owned())
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let toml::Value::Table(section) = section {
        section.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const EXAMPLE: &str = include_str!("../../wakeline-collector.toml");

    fn load(
        file: &str,
        env: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let flags: Vec<_> = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        Config::load(Some(&path), "WAKELINE_", env, &flags)
    }

    fn keys(result: Result<Config, ConfigError>) -> Vec<String> {
        result
            .unwrap_err()
            .problems()
            .iter()
            .map(|problem| problem.key.clone())
            .collect()
    }

    #[test]
    fn the_example_file_says_the_defaults() {
        assert_eq!(load(EXAMPLE, &[], &[]), Ok(Config::default()));
    }

    #[test]
    fn the_example_file_names_every_key() {
        let Ok(toml::Value::Table(all)) = toml::Value::try_from(Config::default()) else {
            panic!("a config is a table")
        };
        for (section, value) in all {
            assert!(EXAMPLE.contains(&section), "{section}");
            if let toml::Value::Table(keys) = value {
                for key in keys.keys() {
                    assert!(EXAMPLE.contains(&format!("\n{key} = ")), "{section}.{key}");
                }
            }
        }
        for optional in [
            "dir",
            "ca_file",
            "cert_file",
            "key_file",
            "geoip_database",
            "network_database",
        ] {
            assert!(
                EXAMPLE.contains(&format!("\n# {optional} = ")),
                "{optional}"
            );
        }
    }

    #[test]
    fn flags_win_over_environment_and_environment_over_the_file() {
        let config = load(
            "data = \"a\"\n[http]\nprefix = \"/f\"\nmax_connections = 1\ndrain_ms = 1",
            &[
                ("WAKELINE_HTTP__MAX_CONNECTIONS", "2"),
                ("WAKELINE_HTTP__DRAIN_MS", "2"),
                ("WAKELINE_DATA", "b"),
                ("WAKELINE_ADMIN_TOKEN", "for others"),
                ("WAKELINE_UPSTREAM__TOKEN", "12345"),
            ],
            &[("http.drain_ms", "3")],
        )
        .unwrap();
        assert_eq!(config.http.prefix, "/f");
        assert_eq!(config.http.max_connections, 2);
        assert_eq!(config.http.drain_ms, 3);
        assert_eq!(config.data, Path::new("b"));
        assert_eq!(config.upstream.token.reveal(), Some("12345"));
    }

    #[test]
    fn every_problem_is_reported_with_its_key() {
        let result = load(
            "colour = 1\n[http]\nlisten = 5\nprefix = \"w\"\n[sdk]\nscript = \"../x\"",
            &[
                ("WAKELINE_SPOOL__MAX_BYTES", "much"),
                ("WAKELINE_SPOL__MAX_BYTES", "1"),
            ],
            &[("limits.events", "5000")],
        );
        let mut found = keys(result);
        found.sort();
        assert_eq!(
            found,
            [
                "colour",
                "http.listen",
                "http.prefix",
                "limits.events",
                "sdk.script",
                "spol.max_bytes",
                "spool.max_bytes"
            ]
        );
    }

    #[test]
    fn only_loopback_goes_without_tls_unless_told_otherwise() {
        for url in ["http://10.0.0.1:9090", "http://example.org:9090"] {
            assert_eq!(
                keys(load("", &[], &[("upstream.url", url)])),
                ["upstream.url"]
            );
            assert!(
                load(
                    "",
                    &[],
                    &[("upstream.url", url), ("upstream.insecure", "true")]
                )
                .is_ok()
            );
        }
        for url in [
            "http://localhost:1",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "https://example.org",
        ] {
            assert!(load("", &[], &[("upstream.url", url)]).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_a_mistake() {
        for (key, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
            let (key, other) = (format!("http.{key}"), format!("http.{other}"));
            let alone = load("", &[], &[(&key, "a.pem")]);
            assert_eq!(keys(alone), ["http.cert_file"]);
            assert!(load("", &[], &[(&key, "a.pem"), (&other, "b.pem")]).is_ok());
        }
    }

    #[test]
    fn a_proxy_is_a_network_or_an_address() {
        let proxies = |list| load("", &[("WAKELINE_HTTP__PROXIES", list)], &[]);
        let config = proxies(r#"["10.0.0.0/8", "2001:db8::1"]"#).unwrap();
        let found = |ip: &str| {
            let mut all = config.http.proxies.iter();
            all.any(|network| network.contains(ip.parse().unwrap()))
        };
        assert!(found("10.1.2.3") && found("2001:db8::1") && !found("2001:db8::2"));
        assert_eq!(keys(proxies(r#"["10.0.0.0/99"]"#)), ["http.proxies"]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut config = Config::default();
        config.upstream.token = Secret::new("tok123");
        assert!(!format!("{config:?}").contains("tok123"));
    }
}
