//! What the collector knows of sites and keys, and how it stays up to date.
//!
//! Invariants:
//! - the newest snapshot is on disk (`DATA/snapshot.pb`, mode 0600, replaced by a rename), so that a collector starts
//!   without the aggregator;
//! - readers take the [`Rules`] from a watch channel and never wait for the network or the disk.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wakeline_proto::v1;
use wakeline_proto::v1::config_client::ConfigClient;

use crate::rules::SiteRules;
use crate::upstream::Upstream;

/// The newest rules; `None` until a first snapshot has come.
pub type RulesWatch = watch::Receiver<Option<Arc<Rules>>>;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Below the 5 s in which a revoked key must stop working once the aggregator is back.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);
/// A snapshot has all keys of all sites, so it may be large.
const MAX_SNAPSHOT_BYTES: usize = 64 << 20;

/// A config snapshot, made for lookup.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Of the snapshot.
    pub version: u64,
    /// Number of partitions of the aggregator's log; at least 1.
    pub partitions: u32,
    keys: HashMap<String, Grant>,
    /// Names that other trackers have for sites, as `TRACKER:ID`: at those trackers' doors they write like a public key.
    names: HashMap<String, Grant>,
    sites: HashMap<u64, Arc<SiteRules>>,
    trackers: HashMap<u64, TrackerRules>,
}

/// What doors for other trackers need of a site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackerRules {
    /// ISO 4217; of amounts that come without one.
    pub currency: String,
    salts: Vec<Salt>,
}

#[derive(Clone, PartialEq)]
struct Salt {
    from: u64,
    bytes: Bytes,
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Salt({})", self.from)
    }
}

impl TrackerRules {
    /// The salt that holds at `now` (ms since 1970-01-01 UTC); of a collector that was long without news, the last.
    pub fn salt(&self, now: u64) -> Option<&Bytes> {
        let held = self.salts.iter().rev().find(|salt| salt.from <= now);
        held.or_else(|| self.salts.first()).map(|salt| &salt.bytes)
    }
}

/// What a key allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The site that it writes to.
    pub site: u64,
    /// It is a secret key of a server: times at any age are trusted.
    pub server: bool,
    /// Ids of the apps that may send with it; none: whoever has it.
    pub apps: Option<Arc<[String]>>,
}

impl From<&v1::Key> for Grant {
    fn from(key: &v1::Key) -> Self {
        Self {
            site: key.site,
            server: key.kind() == v1::KeyKind::Server,
            apps: (!key.apps.is_empty()).then(|| key.apps.as_slice().into()),
        }
    }
}

impl Rules {
    /// What `key` allows; `None` if this snapshot does not have it.
    pub fn grant(&self, key: &str) -> Option<Grant> {
        self.keys.get(key).cloned()
    }

    /// What the client of another tracker may write that calls the site `name` (`TRACKER:ID`); `None` if this snapshot
    /// does not have it.
    pub fn grant_of_name(&self, name: &str) -> Option<Grant> {
        self.names.get(name).cloned()
    }

    /// The rules of a site; `None` if this snapshot does not have it.
    pub(crate) fn site(&self, id: u64) -> Option<Arc<SiteRules>> {
        self.sites.get(&id).cloned()
    }

    /// Settings of a site for the doors of other trackers; `None` if this snapshot does not have it.
    pub fn tracker_rules(&self, id: u64) -> Option<&TrackerRules> {
        self.trackers.get(&id)
    }
}

impl From<&v1::Snapshot> for Rules {
    /// Keys of sites that the snapshot does not have are left out. Plausible's clients know a site by its domain, so
    /// that is an alias by itself, and no other site's, whatever an older aggregator says.
    fn from(snapshot: &v1::Snapshot) -> Self {
        let rules = |site: &v1::Site| (site.id, Arc::new(SiteRules::from(site)));
        let sites: HashMap<_, _> = snapshot.sites.iter().map(rules).collect();
        let name = |tracker: &str, id: &str, site| {
            let grant = Grant {
                site,
                server: false,
                apps: None,
            };
            (format!("{tracker}:{id}"), grant)
        };
        let aliases = snapshot.sites.iter().flat_map(|site| {
            let aliases = site.aliases.iter();
            aliases.map(|alias| name(&alias.tracker, &alias.id, site.id))
        });
        let mut names: HashMap<String, Grant> = aliases.collect();
        let domains = snapshot.sites.iter();
        names.extend(domains.map(|site| name("plausible", &site.domain, site.id)));
        let keys = snapshot
            .keys
            .iter()
            .filter(|key| sites.contains_key(&key.site))
            .map(|key| (key.key.clone(), Grant::from(key)))
            .collect();
        Self {
            version: snapshot.version,
            partitions: snapshot.partitions.max(1),
            keys,
            names,
            trackers: snapshot.sites.iter().map(tracker_rules).collect(),
            sites,
        }
    }
}

fn tracker_rules(site: &v1::Site) -> (u64, TrackerRules) {
    let salts = site.salts.iter().map(|salt| Salt {
        from: salt.from,
        bytes: salt.salt.clone(),
    });
    let rules = TrackerRules {
        currency: site.currency.clone(),
        salts: salts.collect(),
    };
    (site.id, rules)
}

/// Follows the aggregator's config.
pub(crate) struct Watcher {
    upstream: Upstream,
    edge: u64,
    path: PathBuf,
    rules: watch::Sender<Option<Arc<Rules>>>,
}

impl Watcher {
    /// Begins with the snapshot in `path`, if there is one.
    pub(crate) fn open(upstream: Upstream, edge: u64, path: PathBuf) -> (Self, RulesWatch) {
        let (rules, receiver) = watch::channel(load(&path).map(Arc::new));
        let watcher = Self {
            upstream,
            edge,
            path,
            rules,
        };
        (watcher, receiver)
    }

    /// Returns when `stop` fires. Connects again whenever the stream ends.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let seen = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                seen = self.follow() => seen,
            };
            match seen {
                Ok(snapshots) => {
                    tracing::debug!(snapshots, "config stream ended");
                    if snapshots > 0 {
                        backoff = FIRST_BACKOFF;
                    }
                }
                Err(error) => {
                    tracing::info!(error = %error.message(), code = %error.code(), "config can't be followed");
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered(backoff)) => {}
            }
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Takes snapshots until the stream ends; how many came.
    async fn follow(&self) -> Result<u64, tonic::Status> {
        let mut client = ConfigClient::new(self.upstream.channel())
            .max_decoding_message_size(MAX_SNAPSHOT_BYTES);
        // Version 0: the whole snapshot at once. An aggregator whose control store was made anew begins with small
        // versions again, and must not be taken for old.
        let request = self.upstream.request(v1::WatchRequest {
            edge: self.edge,
            version: 0,
        });
        let mut stream = client.watch(request).await?.into_inner();
        let mut snapshots = 0;
        while let Some(snapshot) = stream.message().await? {
            let version = snapshot.version;
            self.take(snapshot).await;
            snapshots += 1;
            let confirm = v1::ConfirmRequest {
                edge: self.edge,
                version,
            };
            if let Err(error) = client.confirm(self.upstream.request(confirm)).await {
                // Only shown there; an aggregator of an earlier version does not ask.
                tracing::debug!(error = %error.message(), "snapshot can't be confirmed");
            }
        }
        Ok(snapshots)
    }

    async fn take(&self, snapshot: v1::Snapshot) {
        let rules = Rules::from(&snapshot);
        tracing::info!(
            version = rules.version,
            keys = rules.keys.len(),
            "config snapshot"
        );
        // First of all it counts: a revocation must not wait for a disk.
        self.rules.send_replace(Some(Arc::new(rules)));
        let path = self.path.clone();
        let saved =
            wakeline_spool::work::spawn_blocking(move || save(&path, &snapshot.encode_to_vec()))
                .await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "config snapshot can't be kept"),
            Err(error) => tracing::error!(%error, "config snapshot can't be kept"),
        }
    }
}

/// Half to all of `backoff`, so that collectors do not come back all at once.
fn jittered(backoff: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    backoff.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

fn load(path: &Path) -> Option<Rules> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "kept config snapshot can't be read");
            return None;
        }
    };
    match v1::Snapshot::decode(bytes.as_slice()) {
        Ok(snapshot) => Some(Rules::from(&snapshot)),
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "kept config snapshot is broken");
            None
        }
    }
}

/// Replaces the file at `path`, durably: after a crash there is the old one or the new one.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn snapshot() -> v1::Snapshot {
        v1::Snapshot {
            version: 3,
            partitions: 0,
            sites: vec![v1::Site {
                id: 1,
                ..v1::Site::default()
            }],
            keys: vec![
                v1::Key {
                    key: "a".to_owned(),
                    site: 1,
                    kind: v1::KeyKind::Server.into(),
                    ..v1::Key::default()
                },
                v1::Key {
                    key: "b".to_owned(),
                    site: 2,
                    kind: v1::KeyKind::Write.into(),
                    ..v1::Key::default()
                },
            ],
        }
    }

    #[test]
    fn a_kept_snapshot_is_read_back_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.pb");
        assert!(load(&path).is_none());
        save(&path, &snapshot().encode_to_vec()).unwrap();
        let rules = load(&path).unwrap();
        assert_eq!(
            (rules.version, rules.keys),
            (3, Rules::from(&snapshot()).keys)
        );
        assert_eq!(rules.partitions, 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_a_site_that_is_not_known_grants_nothing() {
        let rules = Rules::from(&snapshot());
        assert_eq!(
            rules.grant("a"),
            Some(Grant {
                site: 1,
                server: true,
                apps: None,
            })
        );
        assert_eq!(rules.grant("b"), None);
    }

    #[test]
    fn a_broken_snapshot_does_not_keep_a_collector_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.pb");
        std::fs::write(&path, [0xff; 20]).unwrap();
        assert!(load(&path).is_none());
    }
}
