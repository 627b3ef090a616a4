//! The rounds that are on their way.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;

/// A round on its way.
pub(super) struct Sent {
    /// Below this position it has all.
    pub(super) complete_to: u64,
    pub(super) events: u64,
}

/// The rounds on their way, oldest first.
#[derive(Default)]
pub(super) struct Window {
    rounds: Mutex<Rounds>,
    acked: Notify,
    pushed: Notify,
}

#[derive(Default)]
struct Rounds {
    sent: VecDeque<Sent>,
    /// Since when nothing of them was acknowledged; none while there are none.
    waiting_since: Option<Instant>,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        lock(&self.rounds).sent.len()
    }

    pub(super) fn push(&self, sent: Sent) {
        let mut rounds = lock(&self.rounds);
        rounds.sent.push_back(sent);
        rounds.waiting_since.get_or_insert_with(Instant::now);
        self.pushed.notify_one();
    }

    /// Takes out the rounds up to `position`: the end of the last of them, and their events. `None` if it ends none.
    pub(super) fn acknowledge(&self, position: u64) -> Option<(u64, u64)> {
        let mut rounds = lock(&self.rounds);
        let mut done = None;
        let mut events = 0;
        while let Some(round) = rounds.sent.front()
            && round.complete_to <= position
        {
            done = Some(round.complete_to);
            events += round.events;
            rounds.sent.pop_front();
        }
        if done.is_some() {
            rounds.waiting_since = (!rounds.sent.is_empty()).then(Instant::now);
        }
        self.acked.notify_one();
        done.map(|position| (position, events))
    }

    /// Returns after the next acknowledgement.
    pub(super) async fn acknowledged(&self) {
        self.acked.notified().await;
    }

    /// Returns once rounds have been on their way for `longest` and none of them was acknowledged.
    pub(super) async fn overdue(&self, longest: Duration) {
        loop {
            let since = lock(&self.rounds).waiting_since;
            match since.map(|since| since + longest) {
                None => self.pushed.notified().await,
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => tokio::time::sleep_until(deadline).await,
            }
        }
    }
}
