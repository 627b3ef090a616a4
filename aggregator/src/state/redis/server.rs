//! What is wrong with a server, said precisely.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::state::StateError;

/// Oldest version that is known to work.
const OLDEST: (u32, u32) = (6, 2);
/// Beyond this share of `maxmemory`, in percent, the server is too full to rely on.
const FULL_PERCENT: u64 = 90;

/// Why Redis can't keep state.
#[derive(Debug, thiserror::Error)]
pub enum RedisStateError {
    /// The URL can't be used.
    #[error("state.url is no URL of a Redis server or cluster")]
    Url(#[source] RedisError),
    /// The URL names no server.
    #[error("state.url names no server")]
    NoServer,
    /// The certificates can't be read.
    #[error("read state.ca")]
    Ca(#[source] std::io::Error),
    /// Wrong or missing user or password, or too few rights.
    #[error(
        "Redis at {server} refuses the user or password of state.url, or gives it too few rights"
    )]
    Credentials {
        /// Its address.
        server: String,
        /// What it answers.
        #[source]
        source: RedisError,
    },
    /// It does not take writes.
    #[error("Redis at {0} is a read-only replica: state.url has to lead to the primary")]
    ReadOnly(String),
    /// It reads its files.
    #[error("Redis at {0} is loading its data from disk, which it answers nothing before")]
    Loading(String),
    /// It has no room for a commit; the log keeps what can't be committed.
    #[error("Redis at {0} has reached its maxmemory: raise it")]
    Full(String),
    /// It will soon have no room.
    #[error("Redis at {server} uses {used} of {max} bytes (maxmemory): raise it")]
    NearlyFull {
        /// Its address.
        server: String,
        /// Bytes in use.
        used: u64,
        /// `maxmemory`.
        max: u64,
    },
    /// It would throw state away.
    #[error(
        "Redis at {server} has maxmemory-policy {policy} and would evict state: set noeviction"
    )]
    Evicts {
        /// Its address.
        server: String,
        /// `maxmemory-policy`.
        policy: String,
    },
    /// It is too old.
    #[error("Redis at {server} is version {found}: {}.{} or newer is needed", OLDEST.0, OLDEST.1)]
    Version {
        /// Its address.
        server: String,
        /// Its version.
        found: String,
    },
    /// It is not there, does not answer, …
    #[error("ask Redis at {server}")]
    Other {
        /// Its address.
        server: String,
        /// What happened.
        #[source]
        source: RedisError,
    },
}

impl From<RedisStateError> for StateError {
    fn from(error: RedisStateError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl RedisStateError {
    /// Whether it can change without a change of the configuration.
    pub(crate) const fn may_pass(&self) -> bool {
        !matches!(self, Self::Url(_) | Self::NoServer | Self::Ca(_))
    }

    pub(super) fn of(server: String, source: RedisError) -> Self {
        let credentials = matches!(
            source.kind(),
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm)
        );
        // A script passes the error of a command on, with its code in front or in the text.
        let text = source.to_string();
        let says = |code| source.code() == Some(code) || text.contains(code);
        if credentials || says("NOAUTH") || says("WRONGPASS") {
            Self::Credentials { server, source }
        } else if source.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) || says("READONLY")
        {
            Self::ReadOnly(server)
        } else if source.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
            || says("LOADING")
        {
            Self::Loading(server)
        } else if says("OOM") {
            Self::Full(server)
        } else {
            Self::Other { server, source }
        }
    }
}

/// The answer to `INFO`.
pub(super) struct Info(String);

impl Info {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.trim_end().split_once(':')?;
            (key == name).then_some(value)
        })
    }

    fn number(&self, name: &str) -> u64 {
        let value = self.field(name).and_then(|value| value.parse().ok());
        value.unwrap_or_default()
    }

    pub(super) fn version(&self) -> &str {
        self.field("redis_version").unwrap_or("unknown")
    }

    /// Whether the server of that name can keep state.
    pub(super) fn check(&self, server: &str) -> Result<(), RedisStateError> {
        let server = || server.to_owned();
        let mut parts = self.version().split('.').map(str::parse::<u32>);
        if let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next())
            && (major, minor) < OLDEST
        {
            return Err(RedisStateError::Version {
                server: server(),
                found: self.version().to_owned(),
            });
        }
        if self.field("loading") == Some("1") {
            return Err(RedisStateError::Loading(server()));
        }
        if self.field("role") == Some("slave") {
            return Err(RedisStateError::ReadOnly(server()));
        }
        let (used, max) = (self.number("used_memory"), self.number("maxmemory"));
        if max == 0 {
            return Ok(());
        }
        let policy = self.field("maxmemory_policy").unwrap_or_default();
        if policy.starts_with("allkeys") {
            return Err(RedisStateError::Evicts {
                server: server(),
                policy: policy.to_owned(),
            });
        }
        if used / FULL_PERCENT >= max / 100 {
            return Err(RedisStateError::NearlyFull {
                server: server(),
                used,
                max,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Info, RedisStateError};

    fn check(text: &str) -> Result<(), RedisStateError> {
        Info::new(text.replace('\n', "\r\n")).check("here:1")
    }

    #[test]
    fn a_server_that_can_not_keep_state_is_told_why() {
        let cases = [
            ("redis_version:6.0.16\n", "version 6.0.16: 6.2 or newer"),
            ("redis_version:7.0.1\nrole:slave\n", "read-only replica"),
            ("redis_version:7.0.1\nloading:1\n", "is loading its data"),
            (
                "maxmemory:1000000\nused_memory:10\nmaxmemory_policy:allkeys-lru\n",
                "maxmemory-policy allkeys-lru",
            ),
            (
                "maxmemory:1000000\nused_memory:900000\nmaxmemory_policy:noeviction\n",
                "uses 900000 of 1000000 bytes",
            ),
        ];
        for (info, says) in cases {
            let why = check(info).unwrap_err().to_string();
            assert!(why.contains(says), "{info:?}: {why}");
        }
        check("redis_version:6.2.0\nrole:master\nmaxmemory:0\nused_memory:9\n").unwrap();
        check("redis_version:8.0\nmaxmemory:1000000\nused_memory:890000\n").unwrap();
    }
}
