//! Turns what is in the spool into rounds of blocks.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use wakeline_proto::limits::MAX_BLOCK_BYTES;
use wakeline_proto::{LOST_CORRUPT, partition_hash, v1};
use wakeline_spool::{Lost, ReadError, Reader, Record};

use crate::judge::groups::header;

/// Spool bytes of a round: eight of them in flight are 16 MiB.
const ROUND_BYTES: usize = 2 << 20;
/// A block ends before it is longer than this, uncompressed, unless one group alone is.
const BLOCK_BYTES: usize = 256 << 10;
const ZSTD_LEVEL: i32 = 1;

/// Why a round can't be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("compress a block")]
    Compress(#[source] std::io::Error),
}

/// The blocks of a run of spool records.
#[derive(Debug)]
pub(super) struct Round {
    /// In order for each partition. Empty if nothing in these records could be forwarded.
    pub(super) blocks: Vec<v1::Block>,
    /// The position after the last record.
    pub(super) complete_to: u64,
    /// Positions in it: events, rejected events and tallies.
    pub(super) events: u64,
    /// Records that are sound on disk but are not what they should be.
    pub(super) malformed: u64,
}

/// Makes rounds from some position on, up to a border between records.
pub(super) struct Rounds {
    reader: Reader,
    partitions: u32,
    limit: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

/// A group on its way into a block.
struct Group {
    partition: u32,
    /// Of its first event.
    position: u64,
    header: v1::GroupHeader,
    bytes: Bytes,
}

impl Rounds {
    /// Of records below `limit`.
    pub(super) fn new(reader: Reader, partitions: u32, limit: u64) -> Result<Self, RoundError> {
        Ok(Self {
            reader,
            partitions: partitions.max(1),
            limit,
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(RoundError::Compress)?,
        })
    }

    /// The position after what was put in rounds so far.
    pub(super) fn position(&self) -> u64 {
        self.reader.position().min(self.limit)
    }

    /// The next round; `None` if there is nothing new. Blocks the thread.
    pub(super) fn next(&mut self) -> Result<Option<Round>, RoundError> {
        let mut records = self.reader.next(ROUND_BYTES)?;
        records.retain(|record| record.position < self.limit);
        let mut lost = self.reader.take_lost();
        lost.retain(|lost| lost.from < self.limit);
        if records.is_empty() && lost.is_empty() {
            return Ok(None);
        }
        let mut lost = lost.into_iter().peekable();
        let mut round = Round {
            blocks: Vec::new(),
            complete_to: self.position(),
            events: 0,
            malformed: 0,
        };
        // By partition, what does not make a block yet.
        let mut open: BTreeMap<u32, (Vec<Group>, usize)> = BTreeMap::new();
        let mut all = Vec::new();
        for record in records {
            while let Some(lost) = lost.next_if(|lost| lost.from < record.position) {
                let to = lost.to.min(self.limit);
                all.push(self.lost(lost.from, Lost { to, ..lost }.positions()));
            }
            let Some(groups) = self.unpack(&record) else {
                tracing::error!(
                    position = record.position,
                    span = record.span,
                    "spool record is malformed"
                );
                round.malformed += 1;
                all.push(self.lost(record.position, record.span.into()));
                continue;
            };
            all.extend(groups);
        }
        for lost in lost {
            let to = lost.to.min(self.limit);
            all.push(self.lost(lost.from, Lost { to, ..lost }.positions()));
        }
        for group in all {
            let (waiting, bytes) = open.entry(group.partition).or_default();
            if !waiting.is_empty() && *bytes + group.bytes.len() > BLOCK_BYTES {
                *bytes = 0;
                self.pack(std::mem::take(waiting), &mut round)?;
            }
            *bytes += group.bytes.len();
            waiting.push(group);
        }
        for (groups, _) in open.into_values() {
            self.pack(groups, &mut round)?;
        }
        if let Some(last) = round.blocks.last_mut() {
            last.complete_to = round.complete_to;
        }
        Ok(Some(round))
    }

    /// Stands for events that were acknowledged and can't be read any more, where they were: they are counted, as nobody's,
    /// since whose they were is lost, too.
    fn lost(&self, position: u64, count: u64) -> Group {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let group = v1::Group {
            received_at: now.map_or(0, |now| now.as_millis() as u64),
            tallies: vec![v1::Tally {
                reason: LOST_CORRUPT.to_owned(),
                count,
            }],
            ..v1::Group::default()
        };
        let hash = partition_hash(group.site, &group.visitor);
        Group {
            partition: (hash % u64::from(self.partitions)) as u32,
            position,
            header: header(&group, hash),
            bytes: group.encode_to_vec().into(),
        }
    }

    /// The groups of a record; `None` if its parts contradict each other.
    fn unpack(&self, record: &Record) -> Option<Vec<Group>> {
        let v1::SpoolRecord { groups, headers } =
            v1::SpoolRecord::decode(record.payload.clone()).ok()?;
        let positions: u64 = headers.iter().map(count).sum();
        if groups.len() != headers.len() || positions > record.span.into() {
            return None;
        }
        let mut position = record.position;
        let groups = groups
            .into_iter()
            .zip(headers)
            .filter_map(|(bytes, header)| {
                let group = Group {
                    partition: (header.partition_hash % u64::from(self.partitions)) as u32,
                    position,
                    header,
                    bytes,
                };
                position += count(&header);
                (count(&header) > 0).then_some(group)
            });
        Some(groups.collect())
    }

    /// Adds a block of these groups of one partition, or several if one would be too long.
    fn pack(&mut self, groups: Vec<Group>, round: &mut Round) -> Result<(), RoundError> {
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
            return Ok(());
        };
        let payload = v1::BlockPayload {
            groups: groups
                .iter()
                .map(|group| v1::PositionedGroup {
                    position: group.position,
                    group: group.bytes.clone(),
                })
                .collect(),
        };
        let compressed = self
            .compressor
            .compress(&payload.encode_to_vec())
            .map_err(RoundError::Compress)?;
        if compressed.len() > MAX_BLOCK_BYTES {
            let (partition, first_position) = (first.partition, first.position);
            let Some((head, tail)) = halve(groups) else {
                tracing::error!("an event in the spool is too long for a block");
                round.malformed += 1;
                let unreadable = Group {
                    partition,
                    ..self.lost(first_position, 1)
                };
                return self.pack(vec![unreadable], round);
            };
            self.pack(head, round)?;
            return self.pack(tail, round);
        }
        let payload = Bytes::from(compressed);
        round.blocks.push(v1::Block {
            partition: first.partition,
            partitions: self.partitions,
            first_position: first.position,
            last_position: last.position + count(&last.header) - 1,
            events: groups.iter().map(|group| group.header.events).sum(),
            rejected: groups.iter().map(|group| group.header.rejected).sum(),
            tallies: groups.iter().map(|group| group.header.tallies).sum(),
            tallied: groups.iter().fold(0, |sum: u64, group| {
                sum.saturating_add(group.header.tallied)
            }),
            crc: crc32c::crc32c(&payload),
            payload,
            complete_to: 0,
            pending: 0,
        });
        round.events += groups.iter().map(|group| count(&group.header)).sum::<u64>();
        Ok(())
    }
}

/// Positions that a group takes.
fn count(header: &v1::GroupHeader) -> u64 {
    u64::from(header.events) + u64::from(header.rejected) + u64::from(header.tallies)
}

/// Two runs of groups instead of one; a single group becomes two with half of its events each. `None` if there is
/// nothing to divide.
fn halve(mut groups: Vec<Group>) -> Option<(Vec<Group>, Vec<Group>)> {
    if groups.len() > 1 {
        let tail = groups.split_off(groups.len() / 2);
        return Some((groups, tail));
    }
    let group = groups.pop()?;
    let mut head = v1::Group::decode(group.bytes).ok()?;
    let mut tail = v1::Group {
        events: Vec::new(),
        rejected: Vec::new(),
        tallies: Vec::new(),
        ..head.clone()
    };
    if head.events.len() > 1 {
        // Events come before all else, so the second half has all of that.
        tail.events = head.events.split_off(head.events.len() / 2);
        tail.rejected = std::mem::take(&mut head.rejected);
        tail.tallies = std::mem::take(&mut head.tallies);
    } else if head.events.len() + head.rejected.len() > 1 {
        let kept = usize::from(head.events.is_empty()) * (head.rejected.len() / 2);
        tail.rejected = head.rejected.split_off(kept);
        tail.tallies = std::mem::take(&mut head.tallies);
    } else {
        return None;
    }
    let part = |position: u64, part: &v1::Group| Group {
        partition: group.partition,
        position,
        header: header(part, group.header.partition_hash),
        bytes: part.encode_to_vec().into(),
    };
    let head = part(group.position, &head);
    let tail = part(group.position + count(&head.header), &tail);
    Some((vec![head], vec![tail]))
}
