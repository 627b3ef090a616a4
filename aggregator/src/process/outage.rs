//! Says once that the state store fails, and once that it works again, however many workers find that out how often.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::causes::Causes;

/// The partitions that can't go on.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<BTreeSet<u16>>);

impl Outage {
    /// The store failed; true if this is the beginning of an outage, which is logged.
    pub(super) fn fails(&self, partition: u16, error: &(dyn Error + 'static)) -> bool {
        let mut failing = self.lock();
        let begins = failing.is_empty();
        failing.insert(partition);
        let error = Causes(error);
        if begins {
            tracing::error!(%error, partition, "use the state; trying again until it works");
        } else {
            tracing::debug!(%error, partition, "use the state, still");
        }
        begins
    }

    /// The partition goes on; true if this is the end of an outage, which is logged.
    pub(super) fn works(&self, partition: u16) -> bool {
        let mut failing = self.lock();
        let ends = failing.remove(&partition) && failing.is_empty();
        if ends {
            tracing::info!("the state can be used again");
        }
        ends
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Outage;

    #[test]
    fn an_outage_begins_and_ends_once_whoever_notices() {
        let outage = Outage::default();
        let error = std::io::Error::other("away");
        assert!(!outage.works(1));
        let begins = [1, 2, 1, 2].map(|partition| outage.fails(partition, &error));
        assert_eq!(begins, [true, false, false, false]);
        let ends = [2, 2, 3, 1, 1].map(|partition| outage.works(partition));
        assert_eq!(ends, [false, false, false, true, false]);
        assert!(outage.fails(3, &error));
    }
}
