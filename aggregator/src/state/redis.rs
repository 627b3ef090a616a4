//! State in Redis, 6.2 or newer: one server, or whatever answers as one.
//!
//! All keys of a partition have the hash tag `{wl:P}`, so that one script can change them together, in a cluster, too.
//! Numbers in fields are big-endian with the sign bit flipped.
//!
//! | key | kind | content |
//! | --- | --- | --- |
//! | `{wl:P}:p` | hash | `offset`, `epoch` (20 digits), `log`, `stamp`; `e` + edge: position; `r` + site: rules |
//! | `{wl:P}:v` | hash | site as varint, hash of the visitor: encoded visitor |
//! | `{wl:P}:n:SITE` | hash | page id: path |
//! | `{wl:P}:r:SITE:KIND:BLOCK` | hash | window, value: encoded row |
//! | `{wl:P}:i:SITE:KIND` | sorted set | blocks that have rows, all with score 0, so that they sort as bytes |
//! | `{wl:P}:d` | hash | mark: site, grain, window: offset |
//!
//! KIND is grain and dimension. A block is a day of minutes, 32 days of hours, 64 days, or one day by page.
//!
//! Visitors are fields of one big hash: beside the record (about 100 B for a visit of five pages) a field costs some
//! 75 B. Small hashes would cost less only while each value stays below `hash-max-listpack-value`, which is 64 B unless
//! an operator changes it, and a record is larger than that; a key per visitor costs more.
//!
//! Nothing here expires. With `appendfsync everysec` a crash loses the last second of commits, which the log has.

mod commit;
mod keys;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};
use wakeline_engine::{Dimension, Grain};

pub use self::server::RedisStateError;
use super::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    StoredRules, VisitorKey,
};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// A lost connection is tried again once after this; whoever asked waits longer and longer before the next time.
const RECONNECT: Duration = Duration::from_millis(50);

/// Marks that are changed by one request.
const MARKS_AT_ONCE: usize = 2_000;

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Grows with each owner of the state: one that was replaced can't write any more. A commit is refused if its
    /// partition was committed to with a higher one. One aggregator that locks its folder needs only one epoch; several
    /// get theirs from whatever assigns partitions to them.
    pub epoch: u64,
    /// The log that the state is made of. State of another log is refused.
    pub log: String,
}

/// State in Redis.
pub struct RedisState {
    client: Client,
    owner: Owner,
    /// For what workers ask.
    work: Mutex<ConnectionManager>,
    /// For queries, which can be long: workers do not wait behind them.
    queries: Mutex<ConnectionManager>,
    script: ::redis::Script,
    unmark: ::redis::Script,
}

impl RedisState {
    /// Connects to the server of a `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]` URL, and makes sure that it can
    /// keep state.
    pub async fn open(url: &str, owner: Owner) -> Result<Self, StateError> {
        let client = Client::open(url).map_err(RedisStateError::Url)?;
        let state = Self {
            work: Mutex::new(connection(&client)?),
            queries: Mutex::new(connection(&client)?),
            client,
            owner,
            script: commit::script(),
            unmark: ::redis::Script::new(include_str!("redis/unmark.lua")),
        };
        let info = state.info().await?;
        info.check(&state.name())?;
        tracing::info!(
            server = state.name(),
            version = info.version(),
            "state is in Redis"
        );
        Ok(state)
    }

    /// The server, without a password.
    fn name(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    async fn info(&self) -> Result<server::Info, StateError> {
        let text: String = self.ask(&self.work, &::redis::cmd("INFO")).await?;
        Ok(server::Info::new(text))
    }

    async fn ask<T: FromRedisValue>(
        &self,
        by: &Mutex<ConnectionManager>,
        command: &Cmd,
    ) -> Result<T, StateError> {
        let answer = command.query_async(&mut take(by)).await;
        answer.map_err(|error| self.failed(by, error))
    }

    async fn ask_all<T: FromRedisValue>(
        &self,
        by: &Mutex<ConnectionManager>,
        commands: &Pipeline,
    ) -> Result<T, StateError> {
        let answers = commands.query_async(&mut take(by)).await;
        answers.map_err(|error| self.failed(by, error))
    }

    fn failed(&self, by: &Mutex<ConnectionManager>, error: RedisError) -> StateError {
        // A primary that became a replica keeps its connections, a server that is gone without a word leaves them open,
        // and a manager does not try again after a wrong password: look anew for what is behind the name. Should the
        // old connection still deliver a commit, the fence takes care of it.
        let for_good = error.is_timeout()
            || matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly) | ErrorKind::AuthenticationFailed
            );
        if for_good && let Ok(new) = connection(&self.client) {
            *by.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        RedisStateError::of(self.name(), error).into()
    }

    /// Values of fields of several hashes, in the order asked for.
    async fn get_all(
        &self,
        fields: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let mut hashes: BTreeMap<String, (Vec<usize>, Vec<Vec<u8>>)> = BTreeMap::new();
        let mut count = 0;
        for (key, field) in fields {
            let (places, fields) = hashes.entry(key).or_default();
            places.push(count);
            fields.push(field);
            count += 1;
        }
        let mut found = vec![None; count];
        if count == 0 {
            return Ok(found);
        }
        let mut pipeline = ::redis::pipe();
        for (key, (_, fields)) in &hashes {
            pipeline.cmd("HMGET").arg(key).arg(fields);
        }
        let answers: Vec<Vec<Option<Vec<u8>>>> = self.ask_all(&self.work, &pipeline).await?;
        for ((places, _), values) in hashes.into_values().zip(answers) {
            for (place, value) in places.into_iter().zip(values) {
                found[place] = value;
            }
        }
        Ok(found)
    }
}

fn connection(client: &Client) -> Result<ConnectionManager, StateError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER))
        .set_number_of_retries(1)
        .set_min_delay(RECONNECT);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
        .map_err(|error| RedisStateError::Url(error).into())
}

/// Connections are shared: many requests are on their way at a time.
fn take(connection: &Mutex<ConnectionManager>) -> ConnectionManager {
    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    connection.clone()
}

impl StateStore for RedisState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        let key = keys::progress(partition);
        let fields: Vec<(Vec<u8>, Vec<u8>)> = self
            .ask(&self.work, ::redis::cmd("HGETALL").arg(key))
            .await?;
        let mut progress = Progress::default();
        for (field, value) in fields {
            match (field.as_slice(), field.split_first()) {
                (b"offset", _) => progress.next_offset = decimal(&value)?,
                (b"stamp", _) => progress.stamp_ms = decimal(&value)?,
                (b"epoch", _) => {
                    let found = decimal(&value)?;
                    if found > self.owner.epoch {
                        return Err(self.replaced(partition, found));
                    }
                }
                (b"log", _) => {
                    if value != self.owner.log.as_bytes() {
                        return Err(StateError::OtherLog { partition });
                    }
                }
                (_, Some((b'e', edge))) => {
                    progress.edges.insert(number(edge)?, decimal(&value)?);
                }
                (_, Some((b'r', site))) => {
                    progress.rules.insert(number(site)?, rules(&value)?);
                }
                _ => return Err(StateError::Corrupt("progress")),
            }
        }
        Ok(progress)
    }

    async fn offsets(&self, partitions: &[u16]) -> Result<Vec<u64>, StateError> {
        let mut pipeline = ::redis::pipe();
        for partition in partitions {
            let key = keys::progress(*partition);
            pipeline.cmd("HGET").arg(key).arg("offset");
        }
        let found: Vec<Option<u64>> = self.ask_all(&self.work, &pipeline).await?;
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let fields = keys
            .iter()
            .map(|key| (keys::visitors(partition), keys::visitor(key)));
        self.get_all(fields).await
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let fields = keys
            .iter()
            .map(|row| (keys::Block::of(row).rows(partition), keys::row(row)));
        self.get_all(fields).await
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        let call = commit::Call::new(partition, &changes, next_offset);
        let mut invocation = self.script.prepare_invoke();
        invocation
            .arg(expected_offset)
            .arg(commit::epoch(self.owner.epoch))
            .arg(&self.owner.log)
            .arg(next_offset);
        call.add_to(&mut invocation);
        let (outcome, found): (String, String) = invocation
            .invoke_async(&mut take(&self.work))
            .await
            .map_err(|error| self.failed(&self.work, error))?;
        match outcome.as_str() {
            "ok" => Ok(()),
            "log" => Err(StateError::OtherLog { partition }),
            "epoch" => Err(self.replaced(partition, decimal(found.as_bytes())?)),
            _ => Err(StateError::Fenced {
                partition,
                expected: expected_offset,
                found: decimal(found.as_bytes())?,
            }),
        }
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        let mut marks = Vec::new();
        let mut cursor = 0_u64;
        while marks.len() < limit {
            let mut command = ::redis::cmd("HSCAN");
            command.arg(keys::marks(partition)).arg(cursor);
            command.arg("COUNT").arg(limit);
            let fields: Vec<(Vec<u8>, Vec<u8>)>;
            (cursor, fields) = self.ask(&self.queries, &command).await?;
            for (field, offset) in fields {
                marks.push((keys::read_mark(&field)?, decimal(&offset)?));
            }
            if cursor == 0 {
                break;
            }
        }
        marks.truncate(limit);
        Ok(marks)
    }

    async fn mark(&self, partition: u16, windows: &[SiteWindow]) -> Result<(), StateError> {
        for some in windows.chunks(MARKS_AT_ONCE) {
            let mut pipeline = ::redis::pipe();
            for window in some {
                let mark = pipeline.cmd("HSETNX").arg(keys::marks(partition));
                mark.arg(keys::mark(window)).arg(0).ignore();
            }
            let () = self.ask_all(&self.queries, &pipeline).await?;
        }
        Ok(())
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        for some in marks.chunks(MARKS_AT_ONCE) {
            let mut invocation = self.unmark.prepare_invoke();
            invocation
                .key(keys::progress(partition))
                .key(keys::marks(partition))
                .arg(commit::epoch(self.owner.epoch));
            for (window, offset) in some {
                invocation.arg(keys::mark(window)).arg(*offset);
            }
            let done = invocation.invoke_async(&mut take(&self.queries)).await;
            let () = done.map_err(|error| self.failed(&self.queries, error))?;
        }
        Ok(())
    }

    async fn scan(
        &self,
        partition: u16,
        site: u64,
        grain: Grain,
        dimension: Dimension,
        windows: Range<i64>,
    ) -> Result<Vec<StoredRow>, StateError> {
        let Some(blocks) = keys::Block::range(grain, dimension, &windows) else {
            return Ok(Vec::new());
        };
        let mut index = ::redis::cmd("ZRANGEBYLEX");
        index
            .arg(keys::index(partition, site, grain, dimension))
            .arg([&b"["[..], &keys::signed(*blocks.start())].concat())
            .arg([&b"["[..], &keys::signed(*blocks.end())].concat());
        let mut known: Vec<Vec<u8>> = self.ask(&self.queries, &index).await?;
        // All blocks are read at one moment; if a commit has made or removed one since the index was read, again.
        let hashes = loop {
            if known.is_empty() {
                return Ok(Vec::new());
            }
            let mut pipeline = ::redis::pipe();
            pipeline.atomic().add_command(index.clone());
            for block in &known {
                let block = keys::Block::new(site, grain, dimension, keys::read_signed(block)?);
                pipeline.cmd("HGETALL").arg(block.rows(partition));
            }
            let mut answers: Vec<::redis::Value> = self.ask_all(&self.queries, &pipeline).await?;
            let hashes = answers.split_off(1.min(answers.len()));
            let index = answers.pop().map_or(Ok(Vec::new()), read)?;
            if index == known {
                break hashes;
            }
            known = index;
        };
        let mut rows = Vec::new();
        for hash in hashes {
            let fields: Vec<(Vec<u8>, Vec<u8>)> = read(hash)?;
            for (field, encoded) in fields {
                let (window, value) = keys::read_row(&field)?;
                if windows.contains(&window) {
                    rows.push((window, value, encoded));
                }
            }
        }
        rows.sort_unstable_by_key(|(window, value, _)| (*window, *value));
        Ok(rows)
    }

    async fn names(
        &self,
        partition: u16,
        site: u64,
        ids: &[u64],
    ) -> Result<Vec<Option<String>>, StateError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = ::redis::cmd("HMGET");
        command.arg(keys::names(partition, site));
        for id in ids {
            command.arg(&id.to_be_bytes());
        }
        self.ask(&self.queries, &command).await
    }

    /// The server does it, as its operator configured it. Says whether it is in a state to go on.
    async fn persist(&self) -> Result<(), StateError> {
        Ok(self.info().await?.check(&self.name())?)
    }
}

impl RedisState {
    fn replaced(&self, partition: u16, found: u64) -> StateError {
        StateError::Replaced {
            partition,
            epoch: self.owner.epoch,
            found,
        }
    }
}

fn read<T: FromRedisValue>(value: ::redis::Value) -> Result<T, StateError> {
    T::from_redis_value(value).map_err(|_| StateError::Corrupt("unexpected kind of value"))
}

fn decimal(text: &[u8]) -> Result<u64, StateError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(StateError::Corrupt("number"))
}

fn number(bytes: &[u8]) -> Result<u64, StateError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StateError::Corrupt("number"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn rules(value: &[u8]) -> Result<StoredRules, StateError> {
    let text = std::str::from_utf8(value).ok();
    let (gap_ms, timezone) = text
        .and_then(|text| text.split_once(' '))
        .ok_or(StateError::Corrupt("rules"))?;
    Ok(StoredRules {
        timezone: timezone.to_owned(),
        gap_ms: gap_ms.parse().map_err(|_| StateError::Corrupt("rules"))?,
    })
}
