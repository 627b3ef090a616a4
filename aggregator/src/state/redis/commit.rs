//! Changes of a partition as arguments of the script that makes them.

use std::collections::BTreeMap;

use ::redis::{Script, ScriptInvocation};

use super::keys::{self, Block, Part};
use crate::state::Changes;

pub(super) fn script() -> Script {
    Script::new(include_str!("commit.lua"))
}

/// Digits that sort as the numbers do.
pub(super) fn epoch(epoch: u64) -> String {
    format!("{epoch:020}")
}

/// What a hash gets and loses.
#[derive(Default)]
struct Hash<'a> {
    /// Fields and values in turn.
    set: Vec<Bytes<'a>>,
    removed: Vec<Vec<u8>>,
}

enum Bytes<'a> {
    Own(Vec<u8>),
    Of(&'a [u8]),
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Of(bytes) => bytes,
        }
    }
}

/// Keys and arguments of a commit.
pub(super) struct Call<'a> {
    /// The first is the partition's progress.
    hashes: Vec<(String, Hash<'a>)>,
    /// Of each index its blocks: place of the hash, member.
    indexes: BTreeMap<String, Vec<(usize, [u8; 8])>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(part: Part, changes: &'a Changes, next_offset: u64) -> Self {
        let mut progress = Hash::default();
        if let Some(stamp_ms) = changes.stamp_ms {
            progress.put(b"stamp".to_vec(), stamp_ms.to_string().into_bytes());
        }
        for (edge, position) in &changes.edges {
            let position = position.to_string().into_bytes();
            progress.put(keys::tagged(b'e', *edge), position);
        }
        for (site, rules) in &changes.rules {
            let rules = format!("{} {}", rules.gap_ms, rules.timezone);
            progress.put(keys::tagged(b'r', *site), rules.into_bytes());
        }
        let mut hashes = vec![(keys::progress(part), progress)];

        let mut visitors = Hash::default();
        for (key, encoded) in &changes.visitors {
            visitors.put_ref(keys::visitor(key), encoded);
        }
        hashes.push((keys::visitors(part), visitors));

        let mut names: BTreeMap<u64, Hash<'_>> = BTreeMap::new();
        for (site, id, path) in &changes.names {
            let of_site = names.entry(*site).or_default();
            of_site.put_ref(id.to_be_bytes().to_vec(), path.as_bytes());
        }
        hashes.extend(
            names
                .into_iter()
                .map(|(site, names)| (keys::names(part, site), names)),
        );

        if !changes.marks.is_empty() {
            let mut marks = Hash::default();
            for window in &changes.marks {
                marks.put(keys::mark(window), next_offset.to_string().into_bytes());
            }
            hashes.push((keys::marks(part), marks));
        }

        let mut uncounted: BTreeMap<u64, Hash<'_>> = BTreeMap::new();
        for (offset, some) in &changes.uncounted {
            let block = uncounted.entry(keys::uncounted_block(*offset)).or_default();
            block.put_ref(offset.to_be_bytes().to_vec(), some.as_bytes());
        }
        hashes.extend(
            uncounted
                .into_iter()
                .map(|(block, some)| (keys::uncounted(part, block), some)),
        );

        let mut blocks: BTreeMap<Block, Hash<'_>> = BTreeMap::new();
        for (row, encoded) in &changes.rows {
            let block = blocks.entry(Block::of(row)).or_default();
            match encoded {
                Some(encoded) => block.put_ref(keys::row(row), encoded),
                None => block.removed.push(keys::row(row)),
            }
        }
        let mut indexes: BTreeMap<String, Vec<(usize, [u8; 8])>> = BTreeMap::new();
        for (block, rows) in blocks {
            hashes.push((block.rows(part), rows));
            let index = indexes.entry(block.index(part)).or_default();
            index.push((hashes.len(), keys::signed(block.number)));
        }
        Self { hashes, indexes }
    }

    pub(super) fn add_to(&self, invocation: &mut ScriptInvocation<'_>) {
        for (key, _) in &self.hashes {
            invocation.key(key);
        }
        for key in self.indexes.keys() {
            invocation.key(key);
        }
        invocation.arg(self.hashes.len());
        for (_, hash) in &self.hashes {
            invocation.arg(hash.set.len()).arg(hash.removed.len());
            for bytes in &hash.set {
                invocation.arg(bytes.get());
            }
            for field in &hash.removed {
                invocation.arg(field);
            }
        }
        for blocks in self.indexes.values() {
            invocation.arg(blocks.len());
            for (place, member) in blocks {
                invocation.arg(*place).arg(member);
            }
        }
    }
}

impl<'a> Hash<'a> {
    fn put(&mut self, field: Vec<u8>, value: Vec<u8>) {
        self.set.extend([Bytes::Own(field), Bytes::Own(value)]);
    }

    fn put_ref(&mut self, field: Vec<u8>, value: &'a [u8]) {
        self.set.extend([Bytes::Own(field), Bytes::Of(value)]);
    }
}
