//! How far processing is, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::metrics::Watermark;

/// Progress of all partitions.
#[derive(Debug)]
pub(crate) struct Board {
    /// Offset after the newest durable record.
    log_end: watch::Receiver<u64>,
    /// Every record below was handed to its worker, or needs none.
    read: AtomicU64,
    partitions: Vec<Slot>,
    /// Newest append stamp applied.
    stamp_ms: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// Offset after the newest record that was handed over.
    handed: AtomicU64,
    /// All records below are applied: where the partition was when it last had nothing to do.
    floor: AtomicU64,
    /// Its committed offset.
    applied: AtomicU64,
}

impl Board {
    pub(crate) fn new(
        log_end: watch::Receiver<u64>,
        read: u64,
        applied: impl Iterator<Item = u64>,
        stamp_ms: u64,
    ) -> Self {
        Self {
            log_end,
            read: AtomicU64::new(read),
            partitions: applied
                .map(|applied| Slot {
                    handed: AtomicU64::new(0),
                    floor: AtomicU64::new(0),
                    applied: AtomicU64::new(applied),
                })
                .collect(),
            stamp_ms: AtomicU64::new(stamp_ms),
        }
    }

    /// A record is about to be handed to its worker.
    pub(super) fn hand_over(&self, partition: u16, offset: u64) {
        if let Some(slot) = self.partitions.get(usize::from(partition)) {
            if slot.applied.load(Ordering::Acquire) >= slot.handed.load(Ordering::Relaxed) {
                slot.floor.store(offset, Ordering::Release);
            }
            slot.handed.store(offset + 1, Ordering::Release);
        }
    }

    /// Every record below `offset` was handed over.
    pub(super) fn read_to(&self, offset: u64) {
        // Where processing began again there is nothing to do below what had been handed over before.
        self.read.fetch_max(offset, Ordering::AcqRel);
    }

    /// A partition was committed.
    pub(super) fn applied(&self, partition: u16, next_offset: u64, stamp_ms: u64) {
        if let Some(slot) = self.partitions.get(usize::from(partition)) {
            slot.applied.store(next_offset, Ordering::Release);
        }
        self.stamp_ms.fetch_max(stamp_ms, Ordering::Relaxed);
    }

    /// A store forgot commits: the partition, where it had been applied to `reach`, is at `next_offset` again.
    pub(super) fn fell_back(&self, partition: u16, next_offset: u64, reach: u64) {
        if let Some(slot) = self.partitions.get(usize::from(partition)) {
            slot.handed.fetch_max(reach, Ordering::Release);
            slot.applied.store(next_offset, Ordering::Release);
            slot.floor.store(next_offset, Ordering::Release);
        }
    }

    pub(crate) fn watermark(&self) -> Watermark {
        // Read first: what is handed over later has higher offsets.
        let read = self.read.load(Ordering::Acquire);
        let behind = self.partitions.iter().filter_map(|slot| {
            let handed = slot.handed.load(Ordering::Acquire);
            let applied = slot.applied.load(Ordering::Acquire);
            (applied < handed).then(|| applied.max(slot.floor.load(Ordering::Acquire)))
        });
        Watermark {
            applied: behind.fold(read, u64::min),
            log_end: *self.log_end.borrow(),
            at_ms: self.stamp_ms.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::Board;

    #[test]
    fn a_partition_that_fell_back_holds_back_until_it_is_applied_again() {
        let (_end, log_end) = watch::channel(100);
        let board = Board::new(log_end, 50, [50, 50].into_iter(), 5);
        board.fell_back(1, 3, 50);
        assert_eq!(board.watermark().applied, 3);
        board.applied(1, 30, 5);
        assert_eq!(board.watermark().applied, 30);
        board.applied(1, 50, 5);
        assert_eq!(board.watermark().applied, 50);
    }

    #[test]
    fn the_slowest_partition_that_has_work_decides_how_far_all_are() {
        let (_end, log_end) = watch::channel(100);
        let board = Board::new(log_end, 10, [10, 4].into_iter(), 5);
        let applied = || board.watermark().applied;
        assert_eq!(applied(), 10, "an idle partition does not hold it back");
        board.hand_over(1, 20);
        board.read_to(21);
        assert_eq!(applied(), 20, "nothing below 20 waits");
        board.hand_over(1, 21);
        board.hand_over(0, 22);
        board.read_to(23);
        board.applied(1, 21, 6);
        assert_eq!(applied(), 21);
        board.applied(0, 23, 9);
        assert_eq!(applied(), 21);
        board.applied(1, 22, 7);
        assert_eq!(applied(), 23);
        assert_eq!(board.watermark().at_ms, 9);
        assert_eq!(board.watermark().log_end, 100);
    }
}
