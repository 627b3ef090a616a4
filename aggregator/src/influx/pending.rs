//! Which windows differ from what InfluxDB has: the marks of the state, in memory.
//!
//! A window is dirty from the commit that changed it until its rows are written. Marks that are not known here, because
//! the process is new, a commit's outcome was unknown or memory was short, are in the state: partitions with such marks
//! are listed, and while there is one nobody can tell what is clean.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wakeline_engine::Grain;

use crate::state::{Mark, SiteWindow};

/// Offsets at which partitions changed a window; ascending by partition.
pub(crate) type Marks = Vec<(u16, u64)>;

/// The marks of all partitions.
pub(crate) struct Pending {
    /// Marks that are kept in memory; others stay in the state until there is room.
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    windows: BTreeMap<SiteWindow, Marks>,
    marks: usize,
    /// On their way to InfluxDB: still dirty. With the number of the last event before they were taken.
    taken: BTreeMap<SiteWindow, u64>,
    /// Those whose marks were read from the state, until they are written once or refused.
    owed: BTreeSet<SiteWindow>,
    /// Partitions with marks that may not be in `windows`, and the number of the event that brought them here.
    unknown: HashMap<u16, u64>,
    /// When what is marked in a partition was last forgotten: marks that were taken before may be of lost commits.
    forgotten: HashMap<u16, u64>,
    events: u64,
}

impl Pending {
    /// Of a process that is new: the marks of all partitions are still to be read.
    pub(crate) fn new(partitions: u16, limit: usize) -> Self {
        let pending = Self {
            limit,
            inner: Mutex::default(),
        };
        pending.forget(0..partitions);
        pending
    }

    /// A commit of `partition` changed windows.
    pub(crate) fn changed(&self, partition: u16, windows: &[SiteWindow], offset: u64) {
        let mut inner = self.lock();
        for window in windows {
            self.add(&mut inner, partition, *window, offset);
        }
    }

    /// What is marked in partitions is not known any more. Marks that were known may be of commits that a store has lost, and
    /// that it will get again: to take one back then would be to take back the new one.
    pub(crate) fn forget(&self, partitions: Range<u16>) {
        let mut inner = self.lock();
        for partition in partitions.clone() {
            inner.unknown(partition);
            let event = inner.events;
            inner.forgotten.insert(partition, event);
        }
        let Inner {
            windows,
            marks,
            owed,
            ..
        } = &mut *inner;
        windows.retain(|window, of_window| {
            let before = of_window.len();
            of_window.retain(|(partition, _)| !partitions.contains(partition));
            *marks -= before - of_window.len();
            if of_window.is_empty() {
                owed.remove(window); // and owed again when its mark is read
            }
            !of_window.is_empty()
        });
    }

    /// Partitions whose marks have to be read from the state.
    pub(crate) fn unknown(&self) -> Vec<(u16, u64)> {
        let inner = self.lock();
        inner
            .unknown
            .iter()
            .map(|(at, event)| (*at, *event))
            .collect()
    }

    /// Whether there is room for marks that are read from the state.
    pub(crate) fn room(&self) -> usize {
        (self.limit / 2).saturating_sub(self.lock().marks)
    }

    /// Marks that the state has. `all`: no other; unless something happened after `event`.
    pub(crate) fn read(&self, partition: u16, event: u64, marks: Vec<Mark>, all: bool) {
        let mut inner = self.lock();
        for (window, offset) in marks {
            if self.add(&mut inner, partition, window, offset) {
                inner.owed.insert(window);
            }
        }
        if all && inner.unknown.get(&partition) == Some(&event) {
            inner.unknown.remove(&partition);
        }
    }

    /// Whether there is room for it.
    fn add(&self, inner: &mut Inner, partition: u16, window: SiteWindow, offset: u64) -> bool {
        if inner.marks >= self.limit && !inner.windows.contains_key(&window) {
            inner.unknown(partition); // it is in the state
            inner.owed.remove(&window); // and owed again when it is read
            return false;
        }
        let marks = inner.windows.entry(window).or_default();
        match marks.binary_search_by_key(&partition, |(partition, _)| *partition) {
            Ok(at) => marks[at].1 = marks[at].1.max(offset),
            Err(at) => {
                marks.insert(at, (partition, offset));
                inner.marks += 1;
            }
        }
        true
    }

    /// At most `most` of the windows that are `due`, taken until [`finished`](Self::finished).
    pub(crate) fn take(
        &self,
        most: usize,
        mut due: impl FnMut(&SiteWindow) -> bool,
    ) -> Vec<(SiteWindow, Marks)> {
        let mut inner = self.lock();
        let windows = inner.windows.keys().copied();
        let chosen: Vec<SiteWindow> = windows.filter(|window| due(window)).take(most).collect();
        let mut taken = Vec::with_capacity(chosen.len());
        for window in chosen {
            if let Some(marks) = inner.windows.remove(&window) {
                inner.marks -= marks.len();
                let event = inner.events;
                inner.taken.insert(window, event);
                taken.push((window, marks));
            }
        }
        taken
    }

    /// Of windows that were taken, the marks that have not been forgotten since.
    pub(crate) fn known(&self, windows: &[(SiteWindow, Marks)]) -> Vec<(SiteWindow, Marks)> {
        let inner = self.lock();
        let known = windows.iter().map(|(window, marks)| {
            let since = inner.taken.get(window).copied().unwrap_or_default();
            let marks = marks.iter().filter(|(at, _)| inner.knows(*at, since));
            (*window, marks.copied().collect())
        });
        known.collect()
    }

    /// Windows that were taken are written, and are clean unless they were changed meanwhile; or they are not, and are
    /// dirty as before.
    pub(crate) fn finished(&self, windows: Vec<(SiteWindow, Marks)>, written: bool) {
        let mut inner = self.lock();
        for (window, marks) in windows {
            let since = inner.taken.remove(&window).unwrap_or_default();
            if written {
                inner.owed.remove(&window);
                continue;
            }
            for (partition, offset) in marks {
                if inner.knows(partition, since) {
                    self.add(&mut inner, partition, window, offset);
                }
            }
        }
    }

    /// Windows that InfluxDB refuses: they stay dirty, but nothing waits for them.
    pub(crate) fn refused(&self, windows: &[SiteWindow]) {
        let mut inner = self.lock();
        for window in windows {
            inner.owed.remove(window);
        }
    }

    /// Whether everything that was marked when marks were last forgotten has been written once since, or refused.
    pub(crate) fn is_filled(&self) -> bool {
        let inner = self.lock();
        inner.unknown.is_empty() && inner.owed.is_empty()
    }

    /// The dirty ones of a site's windows, ascending; `None` if that can't be told.
    pub(crate) fn dirty(&self, site: u64, grain: Grain, windows: &Range<i64>) -> Option<Vec<i64>> {
        let inner = self.lock();
        if !inner.unknown.is_empty() {
            return None;
        }
        if windows.is_empty() {
            return Some(Vec::new());
        }
        let at = |window| SiteWindow {
            site,
            grain,
            window,
        };
        let range = at(windows.start)..at(windows.end);
        let changed = inner.windows.range(range.clone()).map(|(at, _)| at.window);
        let taken = inner.taken.range(range).map(|(at, _)| at.window);
        let mut dirty: Vec<i64> = changed.chain(taken).collect();
        dirty.sort_unstable();
        dirty.dedup();
        Some(dirty)
    }

    /// How many windows are known to be dirty.
    pub(crate) fn len(&self) -> usize {
        let inner = self.lock();
        inner.windows.len() + inner.taken.len()
    }

    /// Whether all that is marked is known, and nothing is.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.windows.is_empty() && inner.taken.is_empty() && inner.unknown.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn unknown(&mut self, partition: u16) {
        self.events += 1;
        self.unknown.insert(partition, self.events);
    }

    /// Whether the marks of a partition were not forgotten after that event.
    fn knows(&self, partition: u16, since: u64) -> bool {
        self.forgotten
            .get(&partition)
            .is_none_or(|forgotten| *forgotten <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::{Grain, Pending, SiteWindow};

    fn minute(window: i64) -> SiteWindow {
        SiteWindow {
            site: 1,
            grain: Grain::Minute,
            window,
        }
    }

    fn dirty(pending: &Pending) -> Option<Vec<i64>> {
        pending.dirty(1, Grain::Minute, &(0..100))
    }

    #[test]
    fn nobody_can_tell_what_is_clean_before_all_marks_are_read() {
        let pending = Pending::new(2, 100);
        assert_eq!(dirty(&pending), None);
        for (partition, event) in pending.unknown() {
            pending.read(
                partition,
                event,
                vec![(minute(i64::from(partition)), 3)],
                true,
            );
        }
        assert_eq!(dirty(&pending), Some(vec![0, 1]));
        let (partition, before) = (1, pending.unknown().len());
        assert_eq!(before, 0);
        pending.forget(1..2);
        let event = pending.unknown()[0].1;
        pending.forget(1..2);
        pending.read(partition, event, Vec::new(), true);
        assert_eq!(dirty(&pending), None, "forgotten again while it was read");
    }

    #[test]
    fn a_window_is_dirty_until_it_is_written_as_it_is() {
        let pending = Pending::new(0, 100);
        pending.changed(0, &[minute(5)], 10);
        pending.changed(1, &[minute(5)], 11);
        pending.changed(0, &[minute(5)], 12);
        let taken = pending.take(10, |_| true);
        assert_eq!(taken, [(minute(5), vec![(0, 12), (1, 11)])]);
        assert_eq!(dirty(&pending), Some(vec![5]), "not written yet");
        pending.changed(0, &[minute(5)], 13);
        pending.finished(taken, true);
        assert_eq!(dirty(&pending), Some(vec![5]), "changed meanwhile");
        let taken = pending.take(10, |_| true);
        assert_eq!(taken, [(minute(5), vec![(0, 13)])]);
        pending.finished(taken, false);
        let taken = pending.take(10, |_| true);
        assert_eq!(taken, [(minute(5), vec![(0, 13)])]);
        pending.finished(taken, true);
        assert_eq!(dirty(&pending), Some(Vec::new()));
        assert!(pending.is_drained());
    }

    #[test]
    fn what_was_read_from_the_state_is_owed_until_it_is_written_once_or_refused() {
        let pending = Pending::new(1, 100);
        assert!(!pending.is_filled());
        let event = pending.unknown()[0].1;
        let marks = [1, 2, 3].map(|at| (minute(at), 0));
        pending.read(0, event, marks.to_vec(), true);
        assert!(!pending.is_filled());
        let mut taken = pending.take(10, |_| true);
        pending.changed(0, &[minute(1), minute(9)], 5);
        pending.finished(taken.split_off(1), true);
        assert!(!pending.is_filled(), "one is on its way");
        pending.finished(taken, false);
        pending.refused(&[minute(1)]);
        assert!(pending.is_filled());
        assert!(!pending.is_drained());
        pending.forget(0..1);
        assert!(!pending.is_filled());
    }

    #[test]
    fn marks_of_commits_that_may_be_lost_are_neither_kept_nor_taken_back() {
        let pending = Pending::new(0, 100);
        pending.changed(0, &[minute(1), minute(2)], 10);
        let taken = pending.take(1, |_| true);
        assert_eq!(pending.known(&taken), taken);
        pending.changed(1, &[minute(2)], 11);
        pending.forget(0..1);
        assert_eq!(pending.known(&taken), [(minute(1), vec![])]);
        pending.finished(taken, false);
        assert_eq!(pending.take(9, |_| true), [(minute(2), vec![(1, 11)])]);
        // The state has them, as far as it fell back and as it gets them again.
        let event = pending.unknown()[0].1;
        pending.read(0, event, vec![(minute(1), 7)], true);
        pending.changed(0, &[minute(3)], 10);
        let taken = pending.take(9, |_| true);
        assert_eq!(
            taken,
            [(minute(1), vec![(0, 7)]), (minute(3), vec![(0, 10)])]
        );
        assert_eq!(pending.known(&taken), taken);
    }

    #[test]
    fn what_has_no_room_is_read_from_the_state_later() {
        let pending = Pending::new(0, 2);
        pending.changed(0, &[minute(1), minute(2), minute(3)], 10);
        assert_eq!(dirty(&pending), None);
        assert_eq!(pending.room(), 0);
        let taken = pending.take(10, |_| true);
        assert_eq!(taken.len(), 2);
        pending.finished(taken, true);
        let (partition, event) = pending.unknown()[0];
        pending.read(partition, event, vec![(minute(3), 10)], true);
        assert_eq!(dirty(&pending), Some(vec![3]));
    }
}
