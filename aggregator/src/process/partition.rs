//! What a worker does with records of one partition: decode, apply, commit, tell.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use wakeline_engine::{Dimension, Event, Fate, Number, Row, SiteRules, Visitor, apply};
use wakeline_proto::LOST_CORRUPT;
use wakeline_proto::v1::LogRecord;

use super::Shared;
use super::cache::{Cache, FastMap};
use super::decode::{Decoded, Decoder, Origin, Positioned, texts};
use super::numbers::{self, News};
use super::{rules, tell};
use crate::causes::Causes;
use crate::config::StateConfig;
use crate::ledger::book::Book;
use crate::ledger::dead_letters::{self, DeadLetter};
use crate::state::{
    Changes, Progress, RowAddress, SiteWindow, StateError, StateStore, Uncounted, VisitorKey,
};

/// A partition as its owner knows it.
pub(super) struct Owned {
    pub(super) progress: Progress,
    rules: HashMap<u64, SiteRules>,
}

impl Owned {
    pub(super) fn new(progress: Progress) -> Self {
        let rules = progress
            .rules
            .iter()
            .map(|(site, stored)| (*site, rules::engine_rules(*site, stored)))
            .collect();
        Self { progress, rules }
    }
}

/// Groups of one visitor, in the order of the log.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) groups: Vec<Positioned>,
    /// Of each group the record that it came in, as its place among those that are applied together.
    records: Vec<usize>,
    events: Vec<Event>,
    numbers: Vec<Number>,
    visitor: Visitor,
    /// Of `events`, in their order.
    pub(super) fates: Vec<Fate>,
}

impl Arrivals {
    /// Notes which events counted.
    fn note(&self, records: &mut [Record]) {
        let mut fates = self.fates.iter();
        for (at, record) in self.groups.iter().zip(&self.records) {
            for (place, fate) in at.places.iter().zip(fates.by_ref()) {
                records[*record].counted[*place as usize] = *fate == Fate::Counted;
            }
        }
    }

    /// Forgets events of repeated groups, but for those that are counted: their first copies were in records that the
    /// log lost.
    fn forget_repeated(&mut self) {
        if self.groups.iter().all(|at| !at.repeated) {
            return;
        }
        let events = std::mem::take(&mut self.events);
        let mut decided = events.into_iter().zip(std::mem::take(&mut self.fates));
        for at in &mut self.groups {
            at.group.events.retain(|_| {
                let Some((event, fate)) = decided.next() else {
                    return false; // each has one
                };
                let kept = !at.repeated || fate == Fate::Counted;
                if kept {
                    self.events.push(event);
                    self.fates.push(fate);
                }
                kept
            });
        }
    }

    /// Enters what became of the events.
    fn enter(&self, book: &mut Book) {
        let mut fates = &self.fates[..];
        for at in &self.groups {
            let (of_group, rest) = fates.split_at(at.group.events.len());
            if at.repeated {
                book.judged(&at.group);
            }
            book.applied(&at.group, of_group);
            fates = rest;
        }
    }
}

/// Memory of what partitions of one worker used lately; always as committed.
pub(super) struct Memory {
    visitors: Cache<(u16, VisitorKey), Visitor>,
    rows: Cache<(u16, RowAddress), Row>,
    names: Cache<(u16, u64, u64), ()>,
}

impl Memory {
    pub(super) fn new(config: &StateConfig, workers: usize) -> Self {
        Self {
            visitors: Cache::new(config.visitor_cache_bytes / workers),
            rows: Cache::new(config.row_cache_bytes / workers * 3 / 4),
            names: Cache::new(config.row_cache_bytes / workers / 4),
        }
    }

    pub(super) fn clear(&mut self) {
        self.visitors.clear();
        self.rows.clear();
        self.names.clear();
    }
}

/// A visitor or row in memory takes about this many times its encoded form.
const IN_MEMORY: usize = 4;

/// Applies records of a partition, in order and without others of it in between, and commits.
///
/// On failure nothing is remembered of it; whether it was committed is unknown.
pub(super) async fn process<S: StateStore>(
    shared: &Shared<S>,
    memory: &mut Memory,
    decoder: &mut Decoder,
    partition: u16,
    owned: &mut Owned,
    records: &[(u64, LogRecord)],
) -> Result<(), StateError> {
    let expected = owned.progress.next_offset;
    let records = &records[records.partition_point(|(offset, _)| *offset < expected)..];
    let Some((last, _)) = records.last() else {
        return Ok(());
    };
    let mut changes = Changes::default();
    let Gathered {
        records: mut noted,
        mut arrivals,
        mut book,
        letters,
    } = gather(shared, decoder, owned, records, &mut changes);
    load_visitors(shared, memory, partition, &mut arrivals).await?;
    let new_rules = find_rules(shared, owned, &arrivals);
    let mut rows: FastMap<u64, wakeline_engine::Changes> = FastMap::default();
    let (mut counted, mut duplicate, mut late) = (0, 0, 0);
    let mut news = News::default();
    for (key, arrivals) in &mut arrivals {
        let Some(rules) = owned.rules.get(&key.site) else {
            continue; // found above for every site
        };
        let site = rows.entry(key.site).or_default();
        arrivals.fates = apply(&mut arrivals.visitor, rules, &arrivals.events, site);
        arrivals.note(&mut noted);
        arrivals.forget_repeated();
        arrivals.enter(&mut book);
        let of = |fate| count(&arrivals.fates, fate);
        let new = of(Fate::Counted);
        counted += new;
        duplicate += of(Fate::Duplicate);
        late += of(Fate::Late);
        let more = arrivals.visitor.hear(&arrivals.numbers, site);
        news.note(key.site, more);
        if new > 0 || more.is_some() {
            let mut encoded = Vec::new();
            arrivals.visitor.encode(&mut encoded);
            changes.visitors.push((*key, encoded));
        }
    }
    let mut texts = texts_of(&arrivals);
    texts.extend(news.texts());
    book.post(
        |site, key, row| rows.entry(site).or_default().add(key, row),
        |site, id, name| {
            texts.insert((site, id), name);
        },
    );
    let rows = sum_rows(shared, memory, partition, rows, &mut changes).await?;
    still_at(shared, partition, expected).await?;
    name_texts(memory, partition, texts, &mut changes);
    keep(shared, &letters)?;
    changes.rules.clone_from(&new_rules);
    changes.marks = marks(shared, &changes.rows);
    changes.uncounted = uncounted(&noted);

    let sizes: FastMap<VisitorKey, usize> = changes
        .visitors
        .iter()
        .map(|(key, encoded)| (*key, encoded.len()))
        .collect();
    let names: Vec<_> = changes
        .names
        .iter()
        .map(|(site, id, _)| (*site, *id))
        .collect();
    let edges = changes.edges.clone();
    let marks = changes.marks.clone();
    let stamp_ms = changes.stamp_ms.unwrap_or(owned.progress.stamp_ms);
    shared
        .store
        .commit(partition, expected, changes, last + 1)
        .await?;

    if let Some(pending) = &shared.pending {
        pending.changed(partition, &marks, last + 1);
    }
    shared.stats.committed(counted, duplicate, late);
    news.count(&shared.stats);
    owned.progress.next_offset = last + 1;
    owned.progress.stamp_ms = stamp_ms;
    owned.progress.edges.extend(edges);
    owned.progress.rules.extend(new_rules);
    for (address, row, bytes) in rows {
        memory
            .rows
            .put((partition, address), row, bytes * IN_MEMORY);
    }
    for (site, id) in names {
        memory.names.put((partition, site, id), (), 24);
    }
    shared.board.applied(partition, last + 1, stamp_ms);
    tell::watchers(&shared.live, &arrivals);
    for (key, arrivals) in arrivals {
        let bytes = sizes.get(&key).map_or(64, |bytes| bytes * IN_MEMORY);
        memory
            .visitors
            .put((partition, key), arrivals.visitor, bytes);
    }
    Ok(())
}

/// A record, and which of its events counted.
struct Record {
    offset: u64,
    counted: Vec<bool>,
}

/// What records hold.
struct Gathered {
    records: Vec<Record>,
    arrivals: Vec<(VisitorKey, Arrivals)>,
    /// What collectors decided.
    book: Book,
    letters: Vec<DeadLetter>,
}

fn count(fates: &[Fate], wanted: Fate) -> u64 {
    fates.iter().filter(|fate| **fate == wanted).count() as u64
}

/// What is kept of records some events of which did not count.
fn uncounted(records: &[Record]) -> Vec<(u64, Uncounted)> {
    let noted = records.iter();
    noted
        .filter_map(|record| Some((record.offset, Uncounted::of(&record.counted)?)))
        .collect()
}

/// The windows of rows whose figures are exported, each once; none if nothing is exported.
fn marks<S>(shared: &Shared<S>, rows: &[(RowAddress, Option<Vec<u8>>)]) -> Vec<SiteWindow> {
    if shared.pending.is_none() {
        return Vec::new();
    }
    let window = |(row, _): &(RowAddress, _)| SiteWindow {
        site: row.site,
        grain: row.key.grain,
        window: row.key.window,
    };
    let exported = rows
        .iter()
        .filter(|(row, _)| row.key.dimension != Dimension::Fate);
    let mut windows: Vec<SiteWindow> = exported.map(window).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// Reads the records: groups by visitor, and in `changes` the edges' positions and the newest stamp.
fn gather<S>(
    shared: &Shared<S>,
    decoder: &mut Decoder,
    owned: &Owned,
    records: &[(u64, LogRecord)],
    changes: &mut Changes,
) -> Gathered {
    let mut noted = Vec::with_capacity(records.len());
    let mut arrivals: Vec<(VisitorKey, Arrivals)> = Vec::new();
    let mut book = Book::default();
    let mut letters = Vec::new();
    let mut of_visitor: FastMap<VisitorKey, usize> = FastMap::default();
    let mut edges: HashMap<u64, u64> = HashMap::new();
    for (offset, record) in records {
        let edge = record.edge;
        let Some(block) = &record.block else {
            // Stands for records that are lost, see `Entry::applied`. When they were logged is known to about here.
            let stamp_ms = changes.stamp_ms.unwrap_or(owned.progress.stamp_ms);
            book.lost(edge, stamp_ms);
            continue;
        };
        changes.stamp_ms = Some(record.appended_at);
        let highest = edges.get(&edge).or_else(|| owned.progress.edges.get(&edge));
        let highest = highest.copied();
        let held = decoder.groups(block, highest).unwrap_or_else(|error| {
            tracing::error!(error = %Causes(&error), offset, edge, "a record of the log can't be read");
            shared.stats.records_unreadable.add(1);
            book.unreadable(block, record.appended_at);
            Decoded::default()
        });
        noted.push(Record {
            offset: *offset,
            counted: vec![false; held.events as usize],
        });
        edges.insert(edge, highest.unwrap_or(0).max(block.last_position));
        for positioned in held.groups {
            let group = &positioned.group;
            if !positioned.repeated {
                book.judged(group); // else once it is known what is new
            }
            for tally in &group.tallies {
                if tally.reason == LOST_CORRUPT {
                    shared.stats.events_lost_corrupt.add(tally.count);
                } else {
                    shared.stats.events_tallied.add(tally.count);
                }
            }
            if group.events.is_empty() && group.rejected.is_empty() {
                continue; // nobody's: it only counts
            }
            letters.extend(dead_letters::of_group(group, edge, positioned.position));
            let key = VisitorKey::new(group.site, &group.visitor);
            let at = *of_visitor.entry(key).or_insert_with(|| {
                arrivals.push((key, Arrivals::default()));
                arrivals.len() - 1
            });
            let (_, arrivals) = &mut arrivals[at];
            arrivals.numbers.extend(numbers::of_group(group));
            let positions = positioned.position..;
            let origin = Origin::of(group, edge, record.appended_at);
            let events = positions.zip(&group.events);
            arrivals
                .events
                .extend(events.map(|(position, event)| origin.event(event, position)));
            let rejected = group.rejected.len() as u64;
            shared.stats.events_rejected.add(rejected);
            arrivals.groups.push(positioned);
            arrivals.records.push(noted.len() - 1);
        }
    }
    changes.edges = edges.into_iter().collect();
    Gathered {
        records: noted,
        arrivals,
        book,
        letters,
    }
}

async fn load_visitors<S: StateStore>(
    shared: &Shared<S>,
    memory: &mut Memory,
    partition: u16,
    arrivals: &mut [(VisitorKey, Arrivals)],
) -> Result<(), StateError> {
    let mut missing = Vec::new();
    let mut keys = Vec::new();
    for (at, (key, arrivals)) in arrivals.iter_mut().enumerate() {
        if let Some(visitor) = memory.visitors.take(&(partition, *key)) {
            arrivals.visitor = visitor;
        } else {
            missing.push(at);
            keys.push(*key);
        }
    }
    let found = shared.store.visitors(partition, &keys).await?;
    for (at, encoded) in missing.into_iter().zip(found) {
        if let Some(encoded) = encoded {
            arrivals[at].1.visitor =
                Visitor::decode(&encoded).map_err(|_| StateError::Corrupt("visitor"))?;
        }
    }
    Ok(())
}

/// Makes sure that the rules of every site are known; returns those that are new.
fn find_rules<S>(
    shared: &Shared<S>,
    owned: &mut Owned,
    arrivals: &[(VisitorKey, Arrivals)],
) -> Vec<(u64, crate::state::StoredRules)> {
    let mut new = Vec::new();
    for (key, _) in arrivals {
        if let Entry::Vacant(unknown) = owned.rules.entry(key.site) {
            let stored = rules::at_first_event(&shared.control.snapshot(), key.site);
            unknown.insert(rules::engine_rules(key.site, &stored));
            new.push((key.site, stored));
        }
    }
    new
}

/// Adds the changes to the rows as they are; returns the sums, with their encoded lengths.
async fn sum_rows<S: StateStore>(
    shared: &Shared<S>,
    memory: &mut Memory,
    partition: u16,
    deltas: FastMap<u64, wakeline_engine::Changes>,
    changes: &mut Changes,
) -> Result<Vec<(RowAddress, Row, usize)>, StateError> {
    let mut rows: Vec<(RowAddress, Row, usize)> = Vec::new();
    let mut missing = Vec::new();
    let mut addresses = Vec::new();
    for (site, deltas) in deltas {
        for (key, delta) in deltas {
            let address = RowAddress { site, key };
            if let Some(mut row) = memory.rows.take(&(partition, address)) {
                row.add(&delta);
                rows.push((address, row, 0));
            } else {
                missing.push(rows.len());
                addresses.push(address);
                rows.push((address, delta, 0));
            }
        }
    }
    let found = shared.store.rows(partition, &addresses).await?;
    for (at, encoded) in missing.into_iter().zip(found) {
        if let Some(encoded) = encoded {
            let stored = Row::decode(&encoded).map_err(|_| StateError::Corrupt("row"))?;
            rows[at].1.add(&stored);
        }
    }
    for (address, row, bytes) in &mut rows {
        let encoded = (!row.is_zero()).then(|| {
            let mut encoded = Vec::new();
            row.encode(&mut encoded);
            encoded
        });
        *bytes = encoded.as_ref().map_or(0, Vec::len);
        changes.rows.push((*address, encoded));
    }
    Ok(rows)
}

/// What was read is of the offset that the commit expects, and not what a store had that fell back meanwhile. The
/// commit's own check does not show that: a commit that happens late may find that what was lost has been applied again.
async fn still_at<S: StateStore>(
    shared: &Shared<S>,
    partition: u16,
    expected: u64,
) -> Result<(), StateError> {
    match shared.store.offsets(&[partition]).await?[..] {
        [found] if found != expected => Err(StateError::Fenced {
            partition,
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

/// The texts that ids of these events stand for, by site and id.
fn texts_of(arrivals: &[(VisitorKey, Arrivals)]) -> FastMap<(u64, u64), &str> {
    let mut all: FastMap<(u64, u64), &str> = FastMap::default();
    for (key, arrivals) in arrivals {
        let events = arrivals.groups.iter().flat_map(|at| &at.group.events);
        for (event, seen) in events.zip(&arrivals.events) {
            texts(event, seen, |id, text| {
                all.insert((key.site, id), text);
            });
        }
    }
    all
}

/// Stores the texts whose ids were not named lately.
fn name_texts(
    memory: &mut Memory,
    partition: u16,
    texts: FastMap<(u64, u64), &str>,
    changes: &mut Changes,
) {
    for ((site, id), text) in texts {
        let known = (partition, site, id);
        match memory.names.take(&known) {
            Some(()) => memory.names.put(known, (), 24),
            None => changes.names.push((site, id, text.to_owned())),
        }
    }
}

/// Refused events are on disk before the offset that is after them.
fn keep<S>(shared: &Shared<S>, letters: &[DeadLetter]) -> Result<(), StateError> {
    let (Some(store), false) = (&shared.letters, letters.is_empty()) else {
        return Ok(());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as u64);
    store
        .keep(letters, now_ms)
        .map_err(|error| StateError::Store(Box::new(error)))
}

/// A commit that only moves the offset, so that a restart need not read what is not for this partition.
pub(super) async fn checkpoint<S: StateStore>(
    shared: &Arc<Shared<S>>,
    partition: u16,
    owned: &mut Owned,
    offset: u64,
) -> Result<(), StateError> {
    let expected = owned.progress.next_offset;
    if expected < offset {
        shared
            .store
            .commit(partition, expected, Changes::default(), offset)
            .await?;
        owned.progress.next_offset = offset;
        shared
            .board
            .applied(partition, offset, owned.progress.stamp_ms);
    }
    Ok(())
}
