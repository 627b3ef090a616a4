//! What happens now, for whoever watches a site.
//!
//! Nothing is kept for sites that nobody watches. A watcher that is too slow misses messages and is told so by its
//! receiver; it never holds up the workers that publish.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::broadcast;

/// Messages that a watcher may lag behind before it misses some.
const BUFFERED: usize = 1024;
/// [`LiveMessage::Changed`] comes at most this often per site.
const CHANGED_EVERY: Duration = Duration::from_millis(200);

/// Something about a site.
#[derive(Clone, Debug)]
pub enum LiveMessage {
    /// An event was decided on.
    Event(LiveEvent),
    /// The site's figures changed; at most every 200 ms.
    Changed,
}

/// An event and its fate.
#[derive(Clone, Debug, Serialize)]
pub struct LiveEvent {
    /// When the collector had it, in ms since 1970-01-01 UTC.
    pub received_at: u64,
    /// When it happened, corrected, in ms since 1970-01-01 UTC.
    pub time: u64,
    /// `counted`, `duplicate`, `late` or `rejected`.
    pub fate: &'static str,
    /// Why it was rejected: a name of [`wakeline_proto::Reason`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More on the reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// A name of [`wakeline_proto::v1::EventType`]; empty if the event could not be read.
    pub event_type: String,
    /// Name of a custom event.
    pub name: String,
    /// Path of the page or name of the screen.
    pub path: String,
    /// First eight hex digits of a hash of the visitor.
    pub visitor: String,
}

/// The watchers of all sites.
#[derive(Debug, Default)]
pub struct Live {
    sites: Mutex<HashMap<u64, Watched>>,
}

#[derive(Debug)]
struct Watched {
    sender: broadcast::Sender<Arc<LiveMessage>>,
    changed: Changed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    /// When [`LiveMessage::Changed`] was last sent.
    sent: Option<Instant>,
    /// One is owed: the figures changed too soon after.
    owed: bool,
}

impl Live {
    /// Everything about `site` from now on.
    pub fn subscribe(&self, site: u64) -> broadcast::Receiver<Arc<LiveMessage>> {
        self.lock()
            .entry(site)
            .or_insert_with(|| Watched {
                sender: broadcast::channel(BUFFERED).0,
                changed: Changed::default(),
            })
            .sender
            .subscribe()
    }

    /// Whether anybody watches `site`: if not, there is no need to make messages.
    pub fn watched(&self, site: u64) -> bool {
        self.lock()
            .get(&site)
            .is_some_and(|watched| watched.sender.receiver_count() > 0)
    }

    /// Tells the watchers of `site`. Of [`LiveMessage::Changed`] one in 200 ms is passed on; a last one that came
    /// too early is sent by [`flush`](Self::flush).
    pub fn publish(&self, site: u64, message: LiveMessage) {
        self.publish_at(site, message, Instant::now());
    }

    fn publish_at(&self, site: u64, message: LiveMessage, now: Instant) {
        let mut sites = self.lock();
        let Some(watched) = sites.get_mut(&site) else {
            return;
        };
        if matches!(message, LiveMessage::Changed) && !watched.changed.due(now) {
            watched.changed.owed = true;
            return;
        }
        if watched.sender.send(Arc::new(message)).is_err() {
            sites.remove(&site);
        }
    }

    /// Sends what is owed. The aggregator calls this regularly.
    pub(crate) fn flush(&self, now: Instant) {
        self.lock().retain(|_, watched| {
            if watched.changed.owed && watched.changed.due(now) {
                watched.sender.send(Arc::new(LiveMessage::Changed)).is_ok()
            } else {
                watched.sender.receiver_count() > 0
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Watched>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changed {
    fn due(&mut self, now: Instant) -> bool {
        let due = self
            .sent
            .is_none_or(|sent| now.duration_since(sent) >= CHANGED_EVERY);
        if due {
            *self = Self {
                sent: Some(now),
                owed: false,
            };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::{Live, LiveMessage};

    #[test]
    fn figures_that_change_quickly_are_announced_once_and_owed_later() {
        let live = Live::default();
        let mut receiver = live.subscribe(1);
        let start = std::time::Instant::now();
        for _ in 0..10 {
            live.publish_at(1, LiveMessage::Changed, start);
        }
        assert!(matches!(
            receiver.try_recv().as_deref(),
            Ok(LiveMessage::Changed)
        ));
        assert!(receiver.try_recv().is_err());
        live.flush(start + super::CHANGED_EVERY / 2);
        assert!(receiver.try_recv().is_err());
        live.flush(start + super::CHANGED_EVERY);
        assert!(matches!(
            receiver.try_recv().as_deref(),
            Ok(LiveMessage::Changed)
        ));
    }

    #[test]
    fn a_site_is_watched_while_somebody_holds_a_receiver() {
        let live = Live::default();
        assert!(!live.watched(1));
        let receiver = live.subscribe(1);
        assert!(live.watched(1));
        assert!(!live.watched(2));
        drop(receiver);
        assert!(!live.watched(1));
    }
}
