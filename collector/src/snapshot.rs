//! What the collector knows of sites and keys, and how it stays up to date.
//!
//! Invariants:
//! - the newest snapshot is on disk (`DATA/snapshot.pb`, mode 0600, replaced by a rename), so that a collector starts
//!   without the aggregator;
//! - readers take an [`Rules`] from a watch channel and never wait for a writer.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use wakeline_proto::v1;

/// The newest rules; `None` until a first snapshot has come.
pub type RulesWatch = watch::Receiver<Option<Arc<Rules>>>;

/// A config snapshot, made for lookup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Of the snapshot.
    pub version: u64,
    /// Number of partitions of the aggregator's log; at least 1.
    pub partitions: u32,
    keys: HashMap<String, Grant>,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The site that it writes to.
    pub site: u64,
    /// It is a secret key of a server: times at any age are trusted.
    pub server: bool,
}

impl Grant {
    fn of(key: &v1::Key) -> Self {
        Self {
            site: key.site,
            server: key.kind() == v1::KeyKind::Server,
        }
    }
}

impl Rules {
    /// What `key` allows; `None` if this snapshot does not have it.
    pub fn grant(&self, key: &str) -> Option<Grant> {
        self.keys.get(key).copied()
    }
}

impl From<&v1::Snapshot> for Rules {
    /// Keys of sites that the snapshot does not have are left out.
    fn from(snapshot: &v1::Snapshot) -> Self {
        let sites: std::collections::HashSet<u64> =
            snapshot.sites.iter().map(|site| site.id).collect();
        Self {
            version: snapshot.version,
            partitions: snapshot.partitions.max(1),
            keys: snapshot
                .keys
                .iter()
                .filter(|key| sites.contains(&key.site))
                .map(|key| (key.key.clone(), Grant::of(key)))
                .collect(),
        }
    }
}
