//! Which edges have a live stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Live streams by edge id: at most one each.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<u64, CancellationToken>>);

/// A live stream. Its edge is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    sessions: Arc<Sessions>,
    edge: u64,
    /// Another stream of the edge came: two collectors run with copies of one spool.
    pub(super) contested: CancellationToken,
}

impl Sessions {
    /// A session for `edge`; `None`, and the end of the other one, if it has one already.
    pub(super) fn begin(self: &Arc<Self>, edge: u64) -> Option<Session> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = live.get(&edge) {
            other.cancel();
            return None;
        }
        let contested = CancellationToken::new();
        live.insert(edge, contested.clone());
        Some(Session {
            sessions: Arc::clone(self),
            edge,
            contested,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut live = self
            .sessions
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        live.remove(&self.edge);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Sessions;

    #[test]
    fn a_second_stream_of_an_edge_ends_the_first_and_is_refused() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.begin(1).unwrap();
        let other = sessions.begin(2).unwrap();
        assert!(sessions.begin(1).is_none());
        assert!(first.contested.is_cancelled());
        assert!(!other.contested.is_cancelled());
        drop(first);
        assert!(sessions.begin(1).is_some());
    }
}
