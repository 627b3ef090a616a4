//! Refused events, kept whole for a while.
//!
//! - A letter is known by (edge, spool position): writing it again changes nothing, also not that it was replayed.
//! - So is a copy of its event, by the event's id, which one without gets when it is replayed: an event that is refused
//!   again, sent by its client or by a replay, is the letter that it was.
//! - What [`DeadLetters::keep`] took is on disk when it returns; the log's offset is committed afterwards.
//! - Letters go when they are older than the limit, and the oldest first when all take more bytes than the limit.
//!
//! Everything is in one keyspace of a fjall database, for the reason given in `state/fjall.rs`:
//!
//! | table | rest of the key | value |
//! | --- | --- | --- |
//! | 0 letter | site u64, received at u64, edge u64, position u64 | [`Stored`] |
//! | 1 age | received at u64, site u64, edge u64, position u64 | – |
//! | 2 size | – | bytes of all letters u64 |
//! | 3 event | site u64, [`identity`] u64, 0, 0 | received at u64, edge u64, position u64 |

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use prost::Message as _;
use wakeline_proto::v1::Group;
use xxhash_rust::xxh3::xxh3_64;

const LETTER: u8 = 0;
const AGE: u8 = 1;
const SIZE: [u8; 1] = [2];
const EVENT: u8 = 3;
/// A table, and four numbers.
const KEY_BYTES: usize = 33;
/// What a letter takes besides its value: its key in both tables.
const KEYS_BYTES: u64 = 2 * KEY_BYTES as u64;
/// What the entry of its event takes.
const EVENT_BYTES: u64 = KEY_BYTES as u64 + 24;
const MEMTABLE_BYTES: u64 = 4 << 20;
const CACHE_BYTES: u64 = 1 << 20;
/// Letters that one reading looks at, at most.
const MAX_SCANNED: usize = 100_000;
/// Letters that are deleted at a time.
const DELETED_AT_ONCE: usize = 1_000;

/// Why dead letters can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The disk, or what is on it.
    #[error("use the dead letters")]
    Store(#[from] fjall::Error),
    /// A letter can't be read.
    #[error(
        "a dead letter is corrupt: delete the folder dead-letters to go on without the letters"
    )]
    Corrupt,
}

/// How long and how many letters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Age since the event was received, in ms.
    pub max_age_ms: u64,
    /// Bytes of all letters, before the store compresses them.
    pub max_bytes: u64,
}

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it is known.
    pub id: LetterId,
    /// Whose it is.
    pub site: u64,
    /// Name of a [`wakeline_proto::Reason`].
    pub reason: String,
    /// More on the reason, for people.
    pub detail: String,
    /// The event as it came, as JSON.
    pub payload: Bytes,
    /// When it was sent again, in ms since 1970-01-01 UTC, and what came of it.
    pub replayed: Option<(u64, String)>,
}

/// Names a letter of a site. As text: `RECEIVED-EDGE-POSITION`, in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// When the collector had it, in ms since 1970-01-01 UTC.
    pub received_at: u64,
    /// The edge id of the collector's spool.
    pub edge: u64,
    /// Its spool position.
    pub position: u64,
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (at, edge, position) = (self.received_at, self.edge, self.position);
        write!(f, "{at:x}-{edge:016x}-{position:x}")
    }
}

impl std::str::FromStr for LetterId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split('-').map(|hex| u64::from_str_radix(hex, 16));
        let mut next = || numbers.next().and_then(Result::ok).ok_or(());
        let id = Self {
            received_at: next()?,
            edge: next()?,
            position: next()?,
        };
        // One letter has one id.
        (id.to_string() == text).then_some(id).ok_or(())
    }
}

/// Which letters of a site are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this reason.
    pub reason: Option<String>,
    /// Received then or later, in ms.
    pub from_ms: u64,
    /// Received before, in ms.
    pub to_ms: u64,
    /// Only those that were not sent again.
    pub unreplayed: bool,
}

/// Letters, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// As many as were asked for, if there are.
    pub letters: Vec<DeadLetter>,
    /// Where to go on, if there may be more: the last letter that was looked at.
    pub next: Option<LetterId>,
}

/// What is kept of a letter besides its key.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    detail: String,
    #[prost(bytes = "bytes", tag = "3")]
    payload: Bytes,
    #[prost(uint64, tag = "4")]
    replayed_at: u64,
    #[prost(string, tag = "5")]
    outcome: String,
    /// 0: the event has no entry.
    #[prost(fixed64, tag = "6")]
    identity: u64,
}

impl Stored {
    /// Bytes that a letter of this encoded length takes.
    fn size(&self, length: usize) -> u64 {
        let event = u64::from(self.identity != 0) * EVENT_BYTES;
        length as u64 + KEYS_BYTES + event
    }
}

/// The letters in a folder; one process at a time.
pub struct DeadLetters {
    database: Database,
    letters: Keyspace,
    limits: Limits,
    /// Who changes letters holds it.
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    /// Bytes of all letters.
    bytes: u64,
    /// Something was written and is not known to be on disk.
    unsynced: bool,
}

impl DeadLetters {
    /// Opens or makes the letters in `dir`.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, DeadLetterError> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            .open()?;
        let letters = database.keyspace("letters", || {
            KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
        })?;
        let bytes = match letters.get(SIZE)? {
            Some(value) => {
                u64::from_be_bytes(value[..].try_into().map_err(|_| DeadLetterError::Corrupt)?)
            }
            None => 0,
        };
        Ok(Self {
            database,
            letters,
            limits,
            size: Mutex::new(Size {
                bytes,
                unsynced: false,
            }),
        })
    }

    /// Bytes of all letters.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Keeps letters that are not known yet and not too old at `now_ms`. They are on disk when this returns.
    pub fn keep(&self, letters: &[DeadLetter], now_ms: u64) -> Result<(), DeadLetterError> {
        let oldest = now_ms.saturating_sub(self.limits.max_age_ms);
        let mut held = self.lock();
        let mut batch = self.batch();
        let mut sum = held.bytes;
        let mut events = HashSet::new();
        for letter in letters {
            let key = letter_key(letter.site, letter.id);
            if letter.id.received_at < oldest || self.letters.contains_key(key)? {
                continue;
            }
            let identity = identity(letter).unwrap_or(0);
            let event = event_key(letter.site, identity);
            if identity != 0 {
                if !events.insert(event) || self.letters.contains_key(event)? {
                    continue;
                }
                batch.insert(&self.letters, event, place(letter.id));
            }
            let stored = Stored {
                reason: letter.reason.clone(),
                detail: letter.detail.clone(),
                payload: letter.payload.clone(),
                identity,
                ..Stored::default()
            };
            let value = stored.encode_to_vec();
            sum = sum.saturating_add(stored.size(value.len()));
            batch.insert(&self.letters, key, value);
            batch.insert(&self.letters, age_key(letter.site, letter.id), []);
        }
        if sum > held.bytes {
            self.write(&mut held, batch, sum)?;
        }
        self.sync(&mut held)?;
        self.shrink(&mut held, oldest)
    }

    /// Deletes what is too old at `now_ms`.
    pub fn expire(&self, now_ms: u64) -> Result<(), DeadLetterError> {
        let oldest = now_ms.saturating_sub(self.limits.max_age_ms);
        self.shrink(&mut self.lock(), oldest)
    }

    /// The letters of a site, newest first, before `before` if that is given; `limit` of them at most.
    pub fn list(
        &self,
        site: u64,
        filter: &Filter,
        before: Option<LetterId>,
        limit: usize,
    ) -> Result<Page, DeadLetterError> {
        let at = |received_at| {
            let first = LetterId {
                received_at,
                edge: 0,
                position: 0,
            };
            letter_key(site, first)
        };
        let end = before.map_or(at(filter.to_ms), |before| {
            letter_key(site, before).min(at(filter.to_ms))
        });
        let mut page = Page::default();
        if at(filter.from_ms) >= end {
            return Ok(page);
        }
        for (scanned, entry) in self
            .letters
            .range(at(filter.from_ms)..end)
            .rev()
            .enumerate()
        {
            let (key, value) = entry.into_inner()?;
            let (site, id) = read_key(&key)?;
            if page.letters.len() == limit || scanned == MAX_SCANNED {
                return Ok(page);
            }
            page.next = Some(id);
            let letter = read(site, id, &value)?;
            let wanted = filter
                .reason
                .as_ref()
                .is_none_or(|reason| *reason == letter.reason);
            if wanted && !(filter.unreplayed && letter.replayed.is_some()) {
                page.letters.push(letter);
            }
        }
        page.next = None;
        Ok(page)
    }

    /// A letter of a site.
    pub fn get(&self, site: u64, id: LetterId) -> Result<Option<DeadLetter>, DeadLetterError> {
        let value = self.letters.get(letter_key(site, id))?;
        value.map(|value| read(site, id, &value)).transpose()
    }

    /// Notes that letters of a site were sent again at `now_ms`, and what came of each.
    pub fn mark<'a>(
        &self,
        site: u64,
        outcomes: impl IntoIterator<Item = (LetterId, &'a str)>,
        now_ms: u64,
    ) -> Result<(), DeadLetterError> {
        let mut held = self.lock();
        let mut batch = self.batch();
        let mut sum = held.bytes;
        for (id, outcome) in outcomes {
            let key = letter_key(site, id);
            let Some(value) = self.letters.get(key)? else {
                continue; // expired meanwhile
            };
            let stored = Stored::decode(&value[..]).map_err(|_| DeadLetterError::Corrupt)?;
            let marked = Stored {
                replayed_at: now_ms.max(1),
                outcome: outcome.to_owned(),
                ..stored
            }
            .encode_to_vec();
            sum = (sum + marked.len() as u64).saturating_sub(value.len() as u64);
            batch.insert(&self.letters, key, marked);
        }
        self.write(&mut held, batch, sum)?;
        self.sync(&mut held)
    }

    /// Deletes letters received before `oldest`, and the oldest ones while there are too many bytes.
    fn shrink(&self, held: &mut Size, oldest: u64) -> Result<(), DeadLetterError> {
        loop {
            let mut batch = self.batch();
            let mut sum = held.bytes;
            let mut deleted = 0;
            for entry in self.letters.prefix([AGE]).take(DELETED_AT_ONCE) {
                let age = entry.key()?;
                let (received_at, site, edge, position) = numbers(&age)?;
                let id = LetterId {
                    received_at,
                    edge,
                    position,
                };
                if received_at >= oldest && sum <= self.limits.max_bytes {
                    break;
                }
                let key = letter_key(site, id);
                if let Some(value) = self.letters.get(key)? {
                    let stored =
                        Stored::decode(&value[..]).map_err(|_| DeadLetterError::Corrupt)?;
                    sum = sum.saturating_sub(stored.size(value.len()));
                    if stored.identity != 0 {
                        batch.remove(&self.letters, event_key(site, stored.identity));
                    }
                }
                batch.remove(&self.letters, key);
                batch.remove(&self.letters, age_key(site, id));
                deleted += 1;
            }
            if deleted == 0 {
                return Ok(());
            }
            self.write(held, batch, sum)?;
        }
    }

    fn write(
        &self,
        held: &mut Size,
        mut batch: OwnedWriteBatch,
        bytes: u64,
    ) -> Result<(), DeadLetterError> {
        batch.insert(&self.letters, SIZE, bytes.to_be_bytes());
        held.unsynced = true;
        batch.commit()?;
        held.bytes = bytes;
        Ok(())
    }

    fn sync(&self, held: &mut Size) -> Result<(), DeadLetterError> {
        if held.unsynced {
            self.database.persist(PersistMode::SyncData)?;
            held.unsynced = false;
        }
        Ok(())
    }

    fn batch(&self) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.database.clone(), 16)
    }

    fn lock(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refused events of a group that is at `position` of `edge`'s spool.
pub(crate) fn of_group(
    group: &Group,
    edge: u64,
    position: u64,
) -> impl Iterator<Item = DeadLetter> + '_ {
    let first = position.saturating_add(group.events.len() as u64);
    (first..)
        .zip(&group.rejected)
        .map(move |(position, rejected)| DeadLetter {
            id: LetterId {
                received_at: group.received_at,
                edge,
                position,
            },
            site: group.site,
            reason: rejected.reason.clone(),
            detail: rejected.detail.clone(),
            payload: rejected.payload.clone(),
            replayed: None,
        })
}

/// What copies of a refused event have in common and no other event of the site has: a hash of its id, or of the one that
/// a replay gives it, of its visitor, type and name. `None` if there is no event in it.
fn identity(letter: &DeadLetter) -> Option<u64> {
    let event = super::replay::revive(letter).ok()?;
    let members = ["id", "visitor", "type", "name"].map(|member| &event[member]);
    Some(xxh3_64(serde_json::json!(members).to_string().as_bytes()).max(1))
}

fn key(table: u8, parts: [u64; 4]) -> [u8; KEY_BYTES] {
    let mut key = [table; KEY_BYTES];
    for (part, room) in parts.iter().zip(key[1..].chunks_exact_mut(8)) {
        room.copy_from_slice(&part.to_be_bytes());
    }
    key
}

fn letter_key(site: u64, id: LetterId) -> [u8; KEY_BYTES] {
    key(LETTER, [site, id.received_at, id.edge, id.position])
}

fn age_key(site: u64, id: LetterId) -> [u8; KEY_BYTES] {
    key(AGE, [id.received_at, site, id.edge, id.position])
}

fn event_key(site: u64, identity: u64) -> [u8; KEY_BYTES] {
    key(EVENT, [site, identity, 0, 0])
}

/// Where a letter is, for whoever looks into the table.
fn place(id: LetterId) -> Vec<u8> {
    let parts = [id.received_at, id.edge, id.position];
    parts.into_iter().flat_map(u64::to_be_bytes).collect()
}

fn numbers(key: &[u8]) -> Result<(u64, u64, u64, u64), DeadLetterError> {
    let number = |at: usize| {
        let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u64::from_be_bytes)
            .ok_or(DeadLetterError::Corrupt)
    };
    Ok((number(1)?, number(9)?, number(17)?, number(25)?))
}

fn read_key(key: &[u8]) -> Result<(u64, LetterId), DeadLetterError> {
    let (site, received_at, edge, position) = numbers(key)?;
    let id = LetterId {
        received_at,
        edge,
        position,
    };
    Ok((site, id))
}

fn read(site: u64, id: LetterId, value: &[u8]) -> Result<DeadLetter, DeadLetterError> {
    let stored = Stored::decode(value).map_err(|_| DeadLetterError::Corrupt)?;
    Ok(DeadLetter {
        id,
        site,
        reason: stored.reason,
        detail: stored.detail,
        payload: stored.payload,
        replayed: (stored.replayed_at > 0).then_some((stored.replayed_at, stored.outcome)),
    })
}

#[cfg(test)]
mod tests {
    use super::{DeadLetter, DeadLetters, Filter, LetterId, Limits};

    const ALL: Filter = Filter {
        reason: None,
        from_ms: 0,
        to_ms: u64::MAX,
        unreplayed: false,
    };

    fn letter(site: u64, received_at: u64, position: u64) -> DeadLetter {
        DeadLetter {
            id: LetterId {
                received_at,
                edge: 9,
                position,
            },
            site,
            reason: if position.is_multiple_of(2) {
                "too_old"
            } else {
                "malformed"
            }
            .to_owned(),
            detail: "d".to_owned(),
            payload: vec![b'x'; 100].into(),
            replayed: None,
        }
    }

    fn open(dir: &tempfile::TempDir, max_bytes: u64) -> DeadLetters {
        let limits = Limits {
            max_age_ms: 1_000,
            max_bytes,
        };
        DeadLetters::open(dir.path(), limits).unwrap()
    }

    fn positions(letters: &DeadLetters, site: u64, filter: &Filter) -> Vec<u64> {
        let page = letters.list(site, filter, None, 100).unwrap();
        page.letters.iter().map(|one| one.id.position).collect()
    }

    #[test]
    fn a_letter_is_kept_once_and_stays_through_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let letters = open(&dir, 1 << 20);
        let mine = [letter(1, 500, 1), letter(1, 400, 2), letter(2, 450, 3)];
        letters.keep(&mine, 1_000).unwrap();
        let bytes = letters.bytes();
        letters.mark(1, [(mine[0].id, "accepted")], 700).unwrap();
        letters.keep(&mine, 1_000).unwrap();
        drop(letters);
        let letters = open(&dir, 1 << 20);
        assert_eq!(positions(&letters, 1, &ALL), [1, 2]);
        assert_eq!(positions(&letters, 2, &ALL), [3]);
        let found = letters.get(1, mine[0].id).unwrap().unwrap();
        assert_eq!(found.replayed, Some((700, "accepted".to_owned())));
        assert_eq!(found.payload, mine[0].payload);
        assert!((bytes..bytes + 32).contains(&letters.bytes()));
    }

    #[test]
    fn an_event_that_is_refused_again_is_the_letter_that_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let letters = open(&dir, 1 << 20);
        let with = |position, payload: &str| DeadLetter {
            payload: payload.as_bytes().to_vec().into(),
            ..letter(1, 500 + position, position)
        };
        let named = with(1, r#"{"type":"click","id":"a","visitor":"v"}"#);
        let bare = with(2, r#"{"type":"click","visitor":"v"}"#);
        letters.keep(&[named.clone(), bare.clone()], 1_000).unwrap();
        let bytes = letters.bytes();
        let again = [&named, &bare].map(|of| DeadLetter {
            id: LetterId {
                received_at: 900,
                edge: 10,
                position: of.id.position,
            },
            payload: super::super::replay::revive(of).unwrap().to_string().into(),
            ..of.clone()
        });
        for _ in 0..2 {
            letters.keep(&again, 1_000).unwrap();
            assert_eq!(positions(&letters, 1, &ALL), [2, 1]);
            assert_eq!(letters.bytes(), bytes);
        }
        let others = [
            with(3, r#"{"type":"click","id":"a","visitor":"w"}"#),
            with(4, r#"{"type":"click","visitor":"v"}"#),
        ];
        letters.keep(&others, 1_000).unwrap();
        assert_eq!(positions(&letters, 1, &ALL), [4, 3, 2, 1]);
        // Once the letter is gone, the event may be refused anew.
        letters.expire(1_600).unwrap();
        assert_eq!(letters.bytes(), 0);
        letters.keep(&again, 1_000).unwrap();
        assert_eq!(positions(&letters, 1, &ALL), [2, 1]);
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended_and_filters_hold() {
        let dir = tempfile::tempdir().unwrap();
        let letters = open(&dir, 1 << 20);
        let all: Vec<_> = (0..10).map(|at| letter(1, 100 + at, at)).collect();
        letters.keep(&all, 1_000).unwrap();
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let page = letters.list(1, &ALL, before, 3).unwrap();
            found.extend(page.letters.iter().map(|one| one.id.position));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        let old = Filter {
            reason: Some("too_old".to_owned()),
            from_ms: 102,
            to_ms: 108,
            ..ALL
        };
        assert_eq!(positions(&letters, 1, &old), [6, 4, 2]);
        letters.mark(1, [(all[4].id, "accepted")], 1).unwrap();
        let left = Filter {
            unreplayed: true,
            ..old
        };
        assert_eq!(positions(&letters, 1, &left), [6, 2]);
    }

    #[test]
    fn old_letters_go_and_so_do_the_oldest_when_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let letters = open(&dir, 1_000);
        letters.keep(&[letter(1, 5, 99)], 2_000).unwrap();
        assert_eq!(positions(&letters, 1, &ALL), [0; 0], "it was too old");
        let all: Vec<_> = (0..20).map(|at| letter(at % 2, 1_000 + at, at)).collect();
        letters.keep(&all, 1_000).unwrap();
        assert!(letters.bytes() <= 1_000);
        assert_eq!(positions(&letters, 1, &ALL)[..2], [19, 17]);
        letters.expire(3_000).unwrap();
        assert_eq!(letters.bytes(), 0);
        assert_eq!(positions(&letters, 1, &ALL), [0; 0]);
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is_one() {
        let id = letter(1, 0xabc, 7).id;
        assert_eq!(id.to_string(), "abc-0000000000000009-7");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "-",
            "abc",
            "abc-9-7",
            "0abc-0000000000000009-7",
            "abc-0000000000000009-7-1",
        ] {
            assert_eq!(text.parse::<LetterId>(), Err(()), "{text}");
        }
    }
}
