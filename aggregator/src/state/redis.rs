//! State in Redis, 6.2 or newer: one server, whatever answers as one, or a cluster.
//!
//! All keys of a partition have the hash tag `{wl:P}`, so that one script can change them together, in a cluster, too.
//! Those of a generation other than the first have its number behind the tag: `{wl:P}3:p`.
//! Numbers in fields are big-endian with the sign bit flipped.
//!
//! | key | kind | content |
//! | --- | --- | --- |
//! | `{wl:P}:p` | hash | `offset`, `epoch` (20 digits), `owner`, `log`, `stamp`; `e` + edge: position; `r` + site: rules |
//! | `{wl:P}:v` | hash | site as varint, hash of the visitor: encoded visitor |
//! | `{wl:P}:n:SITE` | hash | page id: path |
//! | `{wl:P}:r:SITE:KIND:BLOCK` | hash | window, value: encoded row |
//! | `{wl:P}:i:SITE:KIND` | sorted set | blocks that have rows, all with score 0, so that they sort as bytes |
//! | `{wl:P}:d` | hash | mark: site, grain, window: offset |
//! | `{wl:P}:u:BLOCK` | hash | offset of a record: which of its events did not count; a block is 1,024 offsets |
//!
//! KIND is grain and dimension. A block is a day of minutes, 32 days of hours, 64 days, or one day by page.
//!
//! Visitors are fields of one big hash: beside the record (about 100 B for a visit of five pages) a field costs some
//! 75 B. Small hashes would cost less only while each value stays below `hash-max-listpack-value`, which is 64 B unless
//! an operator changes it, and a record is larger than that; a key per visitor costs more.
//!
//! Beside these there is `wl:lease`, which says who uses the state, and is all that expires. With `appendfsync everysec` a crash loses the last second of commits, which the log has.

mod commit;
mod keys;
mod lease;
mod link;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::{FromRedisValue, Script};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_util::sync::CancellationToken;
use wakeline_engine::{Dimension, Grain};

use self::keys::Part;
use self::lease::Lease;
pub use self::lease::Owner;
use self::link::{Line, Links};
pub use self::server::RedisStateError;
use super::{
    Changes, Mark, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRow,
    StoredRules, Uncounted, UncountedIn, VisitorKey,
};

/// Requests about different partitions that are on their way at a time.
const AT_A_TIME: usize = 16;
/// Keys that are removed by one command.
const REMOVED_AT_ONCE: usize = 512;

/// Marks that are changed by one request.
const MARKS_AT_ONCE: usize = 2_000;

/// A generation of state in Redis.
#[derive(Clone)]
pub struct RedisState {
    server: Arc<Server>,
    generation: u32,
}

/// What generations share.
struct Server {
    links: Arc<Links>,
    owner: Owner,
    /// The owner's, unless it had to be raised.
    epoch: AtomicU64,
    lease: Lease,
    /// For what workers ask.
    work: Arc<Line>,
    /// For queries, which can be long: workers do not wait behind them.
    queries: Line,
    commit: Script,
    claim: Script,
    unmark: Script,
}

impl RedisState {
    /// Connects to the server or cluster of `url`, makes sure that it can keep state, and takes the lease.
    ///
    /// URLs are `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `redis+cluster://` with any number of
    /// `HOST[:PORT]`, separated by commas; with `rediss` instead of `redis` it is TLS, and `ca` may name a file with the
    /// certificates (PEM) that the server's has to lead to; without it the system's are taken.
    pub async fn open(
        url: &str,
        ca: Option<&Path>,
        owner: Owner,
        generation: u32,
    ) -> Result<Self, StateError> {
        let links = Arc::new(Links::new(url, ca)?);
        let work = Arc::new(Line::new(&links)?);
        let queries = Line::new(&links)?;
        let version = check(&links, &work).await?;
        let lease = Lease::take(Arc::clone(&links), Arc::clone(&work), owner.clone()).await?;
        tracing::info!(
            server = links.name(),
            version,
            generation,
            epoch = owner.epoch,
            "state is in Redis"
        );
        let server = Server {
            links,
            epoch: AtomicU64::new(owner.epoch),
            owner,
            lease,
            work,
            queries,
            commit: commit::script(),
            claim: Script::new(include_str!("redis/claim.lua")),
            unmark: Script::new(include_str!("redis/unmark.lua")),
        };
        Ok(Self {
            server: Arc::new(server),
            generation,
        })
    }

    /// Another generation, in the same place.
    #[must_use]
    pub fn generation(&self, generation: u32) -> Self {
        Self {
            server: Arc::clone(&self.server),
            generation,
        }
    }

    /// Fires when another aggregator has the state: nothing can be committed any more.
    pub fn over(&self) -> &CancellationToken {
        self.server.lease.over()
    }

    /// Renews the lease no more, and lets it run out.
    pub fn abandon(&self) {
        self.server.lease.abandon();
    }

    /// Gives the lease back, and renews it no more.
    pub async fn release(&self) -> Result<(), StateError> {
        Ok(self.server.lease.release().await?)
    }

    /// Sees to it that this owner may claim this generation's partitions, unless they are of another log: whoever claimed
    /// them before is no more, since this one holds the lease. `raise` is asked for an epoch above one that is there, if there is one as high as this
    /// owner's, as after a start from an older copy of the data folder.
    pub(crate) async fn succeed<E: From<StateError>>(
        &self,
        partitions: u16,
        raise: impl FnOnce(u64) -> Result<u64, E>,
    ) -> Result<(), E> {
        let newest = self.newest_epoch(partitions).await?;
        if newest.is_some_and(|newest| newest >= self.epoch()) {
            let epoch = raise(newest.unwrap_or_default())?;
            tracing::warn!(
                found = newest,
                epoch,
                "the state was written by a later life of this folder than the folder knows of; nobody holds its lease, so \
                 this one goes on from there"
            );
            self.server.epoch.store(epoch, Ordering::Release);
        }
        Ok(())
    }

    /// The highest epoch that another owner of this log has claimed a partition of this generation in.
    async fn newest_epoch(&self, partitions: u16) -> Result<Option<u64>, StateError> {
        let Server {
            links, work, owner, ..
        } = &*self.server;
        let asked = (0..partitions).map(|partition| async move {
            let mut command = ::redis::cmd("HMGET");
            command.arg(keys::progress(self.part(partition)));
            command.arg("epoch").arg("owner").arg("log");
            let (epoch, name, log): (Option<Vec<u8>>, Option<String>, Option<String>) =
                work.ask(links, &command).await?;
            if log.is_some_and(|log| log != owner.log) {
                return Err(StateError::OtherLog { partition });
            }
            let epoch = epoch.filter(|_| name.as_ref() != Some(&owner.name));
            epoch.map(|digits| decimal(&digits)).transpose()
        });
        let asked: Vec<_> = asked.collect();
        futures_util::stream::iter(asked)
            .buffered(AT_A_TIME)
            .try_fold(None, async |newest: Option<u64>, found| {
                Ok(newest.max(found))
            })
            .await
    }

    fn epoch(&self) -> u64 {
        self.server.epoch.load(Ordering::Acquire)
    }

    /// Removes this generation, of which nothing is read or written any more, whoever made it of this log. Can be repeated if
    /// it fails.
    pub async fn wipe(&self, partitions: u16) -> Result<(), StateError> {
        let Server {
            links,
            queries,
            lease,
            ..
        } = &*self.server;
        lease.hold().await?;
        self.newest_epoch(partitions).await?; // which finds out whose log it is of
        // Keys of one partition are in one slot, and so on one server of a cluster.
        let mut partitions: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for key in queries.keys(links, &keys::all_of(self.generation)).await? {
            let tag = key.iter().position(|byte| *byte == b'}').unwrap_or(0);
            partitions.entry(key[..tag].to_vec()).or_default().push(key);
        }
        for keys in partitions.values() {
            for some in keys.chunks(REMOVED_AT_ONCE) {
                let _: u64 = queries.ask(links, ::redis::cmd("UNLINK").arg(some)).await?;
            }
        }
        Ok(())
    }

    fn part(&self, partition: u16) -> Part {
        Part {
            partition,
            generation: self.generation,
        }
    }

    /// Makes this owner the partition's.
    async fn claim(&self, partition: u16) -> Result<(), StateError> {
        let Server {
            owner, claim, work, ..
        } = &*self.server;
        let mut call = claim.key(keys::progress(self.part(partition)));
        call.arg(commit::epoch(self.epoch()))
            .arg(&owner.name)
            .arg(&owner.log);
        let answer = call.invoke_async(&mut work.link()).await;
        let (outcome, found): (String, String) =
            answer.map_err(|error| work.failed(&self.server.links, error))?;
        self.allowed(partition, &outcome, &found)
    }

    /// What a script that checks the owner says.
    fn allowed(&self, partition: u16, outcome: &str, found: &str) -> Result<(), StateError> {
        match outcome {
            "ok" => Ok(()),
            "log" => Err(StateError::OtherLog { partition }),
            "epoch" => {
                self.over().cancel();
                Err(StateError::Replaced {
                    partition,
                    epoch: self.epoch(),
                    found: decimal(found.as_bytes())?,
                })
            }
            _ => Err(StateError::Corrupt("unexpected answer of a script")),
        }
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
        let Server { links, work, .. } = &*self.server;
        let answers: Vec<Vec<Option<Vec<u8>>>> = work.ask_all(links, &pipeline).await?;
        for ((places, _), values) in hashes.into_values().zip(answers) {
            for (place, value) in places.into_iter().zip(values) {
                found[place] = value;
            }
        }
        Ok(found)
    }
}

/// Makes sure that all servers can keep state; gives the version of one.
async fn check(links: &Links, line: &Line) -> Result<String, StateError> {
    let mut version = String::new();
    for (server, text) in line.info(links).await? {
        let info = server::Info::new(text);
        info.check(&server)?;
        info.version().clone_into(&mut version);
    }
    Ok(version)
}

impl StateStore for RedisState {
    async fn load(&self, partition: u16) -> Result<Progress, StateError> {
        self.claim(partition).await?;
        let Server { links, work, .. } = &*self.server;
        let key = keys::progress(self.part(partition));
        let fields: Vec<(Vec<u8>, Vec<u8>)> =
            work.ask(links, ::redis::cmd("HGETALL").arg(key)).await?;
        let mut progress = Progress::default();
        for (field, value) in fields {
            match (field.as_slice(), field.split_first()) {
                (b"offset", _) => progress.next_offset = decimal(&value)?,
                (b"stamp", _) => progress.stamp_ms = decimal(&value)?,
                (b"epoch" | b"owner" | b"log", _) => {} // checked by the claim
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
        let Server { links, work, .. } = &*self.server;
        // One by one, since a cluster takes no pipeline over several slots.
        let asked = partitions.iter().map(|partition| {
            let key = keys::progress(self.part(*partition));
            async move {
                let mut command = ::redis::cmd("HGET");
                command.arg(key).arg("offset");
                let found: Option<u64> = work.ask(links, &command).await?;
                Ok(found.unwrap_or_default())
            }
        });
        let asked: Vec<_> = asked.collect();
        futures_util::stream::iter(asked)
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }

    async fn visitors(
        &self,
        partition: u16,
        keys: &[VisitorKey],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let fields = keys
            .iter()
            .map(|key| (keys::visitors(self.part(partition)), keys::visitor(key)));
        self.get_all(fields).await
    }

    async fn rows(
        &self,
        partition: u16,
        keys: &[RowAddress],
    ) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let fields = keys.iter().map(|row| {
            (
                keys::Block::of(row).rows(self.part(partition)),
                keys::row(row),
            )
        });
        self.get_all(fields).await
    }

    async fn commit(
        &self,
        partition: u16,
        expected_offset: u64,
        changes: Changes,
        next_offset: u64,
    ) -> Result<(), StateError> {
        let Server {
            links, owner, work, ..
        } = &*self.server;
        let call = commit::Call::new(self.part(partition), &changes, next_offset);
        let mut invocation = self.server.commit.prepare_invoke();
        invocation
            .arg(expected_offset)
            .arg(commit::epoch(self.epoch()))
            .arg(&owner.name)
            .arg(&owner.log)
            .arg(next_offset);
        call.add_to(&mut invocation);
        let (outcome, found): (String, String) = invocation
            .invoke_async(&mut work.link())
            .await
            .map_err(|error| work.failed(links, error))?;
        if outcome == "offset" {
            return Err(StateError::Fenced {
                partition,
                expected: expected_offset,
                found: decimal(found.as_bytes())?,
            });
        }
        self.allowed(partition, &outcome, &found)
    }

    async fn marks(&self, partition: u16, limit: usize) -> Result<Vec<Mark>, StateError> {
        let Server { links, queries, .. } = &*self.server;
        let mut marks = Vec::new();
        let mut cursor = 0_u64;
        while marks.len() < limit {
            let mut command = ::redis::cmd("HSCAN");
            command.arg(keys::marks(self.part(partition))).arg(cursor);
            command.arg("COUNT").arg(limit);
            let fields: Vec<(Vec<u8>, Vec<u8>)>;
            (cursor, fields) = queries.ask(links, &command).await?;
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
        let Server { links, queries, .. } = &*self.server;
        for some in windows.chunks(MARKS_AT_ONCE) {
            let mut pipeline = ::redis::pipe();
            for window in some {
                let mark = pipeline
                    .cmd("HSETNX")
                    .arg(keys::marks(self.part(partition)));
                mark.arg(keys::mark(window)).arg(0).ignore();
            }
            let () = queries.ask_all(links, &pipeline).await?;
        }
        Ok(())
    }

    async fn unmark(&self, partition: u16, marks: &[Mark]) -> Result<(), StateError> {
        let Server { links, queries, .. } = &*self.server;
        for some in marks.chunks(MARKS_AT_ONCE) {
            let mut invocation = self.server.unmark.prepare_invoke();
            invocation
                .key(keys::progress(self.part(partition)))
                .key(keys::marks(self.part(partition)))
                .arg(commit::epoch(self.epoch()));
            for (window, offset) in some {
                invocation.arg(keys::mark(window)).arg(*offset);
            }
            let done = invocation.invoke_async(&mut queries.link()).await;
            let () = done.map_err(|error| queries.failed(links, error))?;
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
        let part = self.part(partition);
        let Server { links, queries, .. } = &*self.server;
        let mut index = ::redis::cmd("ZRANGEBYLEX");
        index
            .arg(keys::index(part, site, grain, dimension))
            .arg([&b"["[..], &keys::signed(*blocks.start())].concat())
            .arg([&b"["[..], &keys::signed(*blocks.end())].concat());
        let mut known: Vec<Vec<u8>> = queries.ask(links, &index).await?;
        // All blocks are read at one moment; if a commit has made or removed one since the index was read, again.
        let hashes = loop {
            if known.is_empty() {
                return Ok(Vec::new());
            }
            let mut pipeline = ::redis::pipe();
            pipeline.atomic().add_command(index.clone());
            for block in &known {
                let block = keys::Block::new(site, grain, dimension, keys::read_signed(block)?);
                pipeline.cmd("HGETALL").arg(block.rows(part));
            }
            let mut answers: Vec<::redis::Value> = queries.ask_all(links, &pipeline).await?;
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
        command.arg(keys::names(self.part(partition), site));
        for id in ids {
            command.arg(&id.to_be_bytes());
        }
        let Server { links, queries, .. } = &*self.server;
        Ok(queries.ask(links, &command).await?)
    }

    async fn uncounted(
        &self,
        partition: u16,
        offsets: Range<u64>,
    ) -> Result<UncountedIn, StateError> {
        let part = self.part(partition);
        let mut pipeline = ::redis::pipe();
        let progress = keys::progress(part);
        pipeline.atomic().cmd("HGET").arg(progress).arg("offset");
        for block in keys::uncounted_blocks(&offsets) {
            pipeline.cmd("HGETALL").arg(keys::uncounted(part, block));
        }
        // Who asks is in the background, as workers are: that a connection broke is not first told to a query.
        let Server { links, work, .. } = &*self.server;
        let mut answers: Vec<::redis::Value> = work.ask_all(links, &pipeline).await?;
        let blocks = answers.split_off(1.min(answers.len()));
        let next_offset: Option<u64> = answers.pop().map_or(Ok(None), read)?;
        let mut found = UncountedIn {
            next_offset: next_offset.unwrap_or_default(),
            ..UncountedIn::default()
        };
        for block in blocks {
            let fields: Vec<(Vec<u8>, Vec<u8>)> = read(block)?;
            for (field, uncounted) in fields {
                let offset = number(&field)?;
                if offsets.contains(&offset) {
                    let uncounted = Uncounted::from_bytes(uncounted);
                    found.records.insert(offset, uncounted);
                }
            }
        }
        Ok(found)
    }

    /// The server does it, as its operator configured it. Says whether it is in a state to go on.
    async fn persist(&self) -> Result<(), StateError> {
        check(&self.server.links, &self.server.work).await.map(drop)
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
