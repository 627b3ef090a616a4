//! Which config snapshot each connected collector obeys, as they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The collectors that follow the config.
#[derive(Debug, Default)]
pub struct Followers(Mutex<HashMap<u64, Follower>>);

#[derive(Debug, Default)]
struct Follower {
    /// Streams of it that are open: for a moment two, when it connects again.
    streams: u32,
    /// The snapshot that it said it obeys.
    obeys: Option<u64>,
}

/// A collector that follows. It is forgotten when its last one is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    followers: Arc<Followers>,
    edge: u64,
}

impl Followers {
    /// A collector begins to follow.
    pub(crate) fn begin(self: &Arc<Self>, edge: u64) -> Following {
        self.lock().entry(edge).or_default().streams += 1;
        Following {
            followers: Arc::clone(self),
            edge,
        }
    }

    /// A collector that follows says which snapshot it obeys. Of one that does not follow nothing is kept.
    pub(crate) fn confirm(&self, edge: u64, version: u64) {
        if let Some(follower) = self.lock().get_mut(&edge) {
            follower.obeys = Some(version);
        }
    }

    /// How many collectors are connected, and how many of them obey the snapshot of that version or a later one.
    pub(crate) fn at(&self, version: u64) -> (usize, usize) {
        let followers = self.lock();
        let obey = followers
            .values()
            .filter(|follower| follower.obeys.is_some_and(|obeys| obeys >= version));
        (followers.len(), obey.count())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Follower>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followers = self.followers.lock();
        if let Some(follower) = followers.get_mut(&self.edge) {
            follower.streams -= 1;
            if follower.streams == 0 {
                followers.remove(&self.edge);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Followers;

    #[test]
    fn collectors_count_while_they_are_connected_and_obey_what_they_said() {
        let followers = Arc::new(Followers::default());
        let one = followers.begin(1);
        let again = followers.begin(1);
        let two = followers.begin(2);
        assert_eq!(followers.at(0), (2, 0), "nobody said anything yet");
        followers.confirm(1, 7);
        followers.confirm(2, 6);
        followers.confirm(3, 9);
        assert_eq!(followers.at(7), (2, 1));
        drop(one);
        assert_eq!(followers.at(7), (2, 1), "its other stream goes on");
        drop((again, two));
        assert_eq!(followers.at(0), (0, 0));
    }
}
