//! Memory of what was used lately, bounded by bytes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use xxhash_rust::xxh3::Xxh3Default;

/// A map with a fixed and fast hash function. Its keys are made of hashes and ids that only collectors choose.
pub(super) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Xxh3Default>>;

/// Keeps what was used lately, in two generations: what is used moves to the young one, and when that holds half of
/// the bytes allowed, the old one is forgotten and the young one becomes old.
pub(super) struct Cache<K, V> {
    young: FastMap<K, (V, usize)>,
    old: FastMap<K, (V, usize)>,
    young_bytes: usize,
    max_bytes: usize,
}

/// What an entry takes beside its value.
const ENTRY_BYTES: usize = 64;

impl<K: Hash + Eq, V> Cache<K, V> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            young: FastMap::default(),
            old: FastMap::default(),
            young_bytes: 0,
            max_bytes,
        }
    }

    /// Takes an entry out: whoever changes it puts it back once the change is committed.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        if let Some((value, bytes)) = self.young.remove(key) {
            self.young_bytes -= bytes;
            return Some(value);
        }
        self.old.remove(key).map(|(value, _)| value)
    }

    /// Keeps a value of about `bytes` bytes.
    pub(super) fn put(&mut self, key: K, value: V, bytes: usize) {
        let bytes = bytes + ENTRY_BYTES;
        self.old.remove(&key);
        if let Some((_, before)) = self.young.insert(key, (value, bytes)) {
            self.young_bytes -= before;
        }
        self.young_bytes += bytes;
        if self.young_bytes > self.max_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.young = FastMap::default();
        self.old = FastMap::default();
        self.young_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, ENTRY_BYTES};

    #[test]
    fn what_was_used_lately_stays_and_the_rest_is_forgotten() {
        let mut cache = Cache::new(20 * (ENTRY_BYTES + 36));
        for key in 0..1000_u32 {
            cache.put(key, key, 36);
            let seven = cache.take(&7);
            assert_eq!(seven, (key >= 7).then_some(7), "after {key}");
            if seven.is_some() {
                cache.put(7, 7, 36);
            }
        }
        assert_eq!(cache.take(&0), None);
        assert_eq!(cache.take(&999), Some(999));
        assert!(cache.young.len() + cache.old.len() <= 20);
    }

    #[test]
    fn a_value_put_again_replaces_the_old_one() {
        let mut cache = Cache::new(1 << 20);
        cache.put(1, 'a', 1);
        cache.put(1, 'b', 1);
        assert_eq!(cache.take(&1), Some('b'));
        assert_eq!(cache.take(&1), None);
        assert_eq!(cache.young_bytes, 0);
    }
}
