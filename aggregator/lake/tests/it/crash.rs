//! Each event is there once, whatever fails and whenever the process dies.

use std::sync::Arc;

use proptest::prelude::*;
use wakeline_lake::{Lake, LakeError, Snapshot, Store};

use crate::broken::{Broken, Fault};
use crate::history::{BUCKETS, Found, LOG, Log, Seen, day, expected, found, rows, visitor};
use crate::scan::scanned;

/// Something that is done to a lake.
#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Flush,
    Compact,
    Erase(Seen),
    Expire {
        site: u64,
        days: u32,
    },
    Clean,
    /// Another process goes on with what the store has.
    Crash,
    Break(u32, Fault),
}

const NOW: i64 = 10 * 86_400_000;

fn seen() -> impl Strategy<Value = Seen> {
    (1..5_u64, 0..4_u8, 0..NOW).prop_map(|(site, visitor, time)| Seen {
        site,
        visitor,
        time,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop::sample::select(vec![Fault::Refused, Fault::Unanswered, Fault::Late]);
    prop_oneof![
        6 => (1..8_u64).prop_map(Step::Append),
        6 => Just(Step::Flush),
        4 => Just(Step::Compact),
        1 => seen().prop_map(Step::Erase),
        1 => (1..5_u64, 0..10_u32).prop_map(|(site, days)| Step::Expire { site, days }),
        1 => Just(Step::Clean),
        2 => Just(Step::Crash),
        4 => (0..6_u32, fault).prop_map(|(calls, fault)| Step::Break(calls, fault)),
    ]
}

struct Run {
    store: Broken,
    log: Log,
    lake: Lake,
    processes: u32,
    /// What was asked to be erased, and may have been.
    erased: Vec<Seen>,
    /// The first day that is kept of a site, as far as that was ever asked for.
    first_days: Vec<(u64, i32)>,
    /// When it is cleaned next, in ms.
    clock: i64,
}

async fn open(store: &Broken, process: u32) -> Result<Lake, LakeError> {
    let store = Store::of(Arc::new(store.clone()));
    Lake::open(store, LOG, BUCKETS, &format!("writer {process}")).await
}

impl Run {
    fn append(&self, count: u64) -> Result<(), LakeError> {
        let from = self.lake.snapshot().end;
        let to = (from + count).min(self.log.len() as u64);
        self.lake.append(from, to, &rows(&self.log, from, to))
    }

    async fn step(&mut self, step: Step) -> Result<(), LakeError> {
        match step {
            Step::Append(count) => self.append(count),
            Step::Flush => self.lake.flush().await.map(drop),
            Step::Compact => self.lake.compact().await.map(drop),
            Step::Erase(seen) => {
                self.erased.push(seen);
                let visitor = visitor(seen.visitor);
                let erased = self.lake.erase(seen.site, &visitor, seen.time).await;
                erased.map(drop)
            }
            Step::Expire { site, days } => {
                self.first_days.push((site, day(NOW) - days as i32));
                self.lake.retain(site, Some(days)).await?;
                self.lake.expire(|_| day(NOW)).await.map(drop)
            }
            Step::Clean => {
                self.clock += 400_000;
                self.lake.clean(self.clock).await.map(drop)
            }
            Step::Crash => {
                self.processes += 1;
                self.lake = open(&self.store, self.processes).await?;
                Ok(())
            }
            Step::Break(calls, fault) => {
                self.store.plan(calls, Some(fault));
                Ok(())
            }
        }
    }

    /// Nothing is there twice, or that should not be, and all of it is there that nobody wanted to be gone.
    async fn check(&self) {
        let snapshot = self.lake.snapshot();
        let found = found(&self.lake, &snapshot).await.unwrap();
        let all = expected(&self.log, snapshot.end, |_| false);
        let least = expected(&self.log, snapshot.end, |seen| self.may_be_gone(seen));
        for key in least.keys() {
            assert!(found.contains_key(key), "{key:?} is lost");
        }
        for (key, seen) in &found {
            assert_eq!(all.get(key), Some(seen), "{key:?} was never there");
        }
        self.check_scans(&snapshot, &found).await;
    }

    /// A scan finds what is there of a site and of some times, but no one who is erased.
    async fn check_scans(&self, snapshot: &Snapshot, found: &Found) {
        // One record more than the lake has, as of the log.
        let next = (snapshot.end + 1).min(self.log.len() as u64);
        let beyond = [rows(&self.log, snapshot.end, next)];
        let erased = |seen: &Seen| {
            let visitor = visitor(seen.visitor);
            let mut tombs = snapshot.manifest.erased.iter();
            tombs.any(|tomb| {
                (tomb.site, &tomb.visitor) == (seen.site, &visitor) && seen.time <= tomb.until_ms
            })
        };
        let mut all = found.clone();
        all.extend(
            expected(&self.log, next, |_| false)
                .into_iter()
                .filter(|((offset, _), _)| *offset >= snapshot.end),
        );
        for (site, times) in [
            (1, 0..NOW),
            (2, NOW / 3..NOW / 2),
            (3, NOW / 2..NOW),
            (4, i64::MIN..NOW / 2),
        ] {
            let mut expected = all.clone();
            expected
                .retain(|_, seen| seen.site == site && times.contains(&seen.time) && !erased(seen));
            let scanned = scanned(&self.lake, snapshot, &beyond, (site, times));
            assert_eq!(scanned.await.unwrap(), expected);
        }
    }

    fn may_be_gone(&self, seen: &Seen) -> bool {
        self.is_erased(seen)
            || self
                .first_days
                .iter()
                .any(|(site, first)| *site == seen.site && day(seen.time) < *first)
    }

    fn is_erased(&self, seen: &Seen) -> bool {
        let same = |gone: &&Seen| (gone.site, gone.visitor) == (seen.site, seen.visitor);
        self.erased
            .iter()
            .filter(same)
            .any(|gone| seen.time <= gone.time)
    }

    /// With a store that works again, what was asked for is true in the end.
    async fn finish(&mut self) {
        self.store.plan(0, None);
        self.processes += 1;
        // What was late comes with the first call, and may be the manifest that is written next.
        while open(&self.store, self.processes).await.is_err() {}
        self.lake = open(&self.store, self.processes).await.unwrap();
        for seen in self.erased.clone() {
            let visitor = visitor(seen.visitor);
            while self
                .lake
                .erase(seen.site, &visitor, seen.time)
                .await
                .is_err()
            {}
        }
        let end = self.log.len() as u64;
        // What a dead process wrote last may come only now: then its offset is where to go on.
        while self.lake.flush().await.is_err() || self.lake.snapshot().end < end {
            self.append(5).unwrap();
        }
        while self.lake.flush().await.unwrap() {}
        while self.lake.compact().await.unwrap() {}
        self.lake.expire(|_| day(NOW)).await.unwrap();
        for _ in 0..3 {
            self.clock += 400_000;
            self.lake.clean(self.clock).await.unwrap();
        }
        self.lake.verify().await.unwrap();
        let snapshot = self.lake.snapshot();
        let retention = snapshot.manifest.retention.clone();
        let expired = |seen: &Seen| {
            retention
                .iter()
                .any(|kept| kept.site == seen.site && day(seen.time) < day(NOW) - kept.days as i32)
        };
        let found = found(&self.lake, &snapshot).await.unwrap();
        let gone = |seen: &Seen| self.is_erased(seen) || expired(seen);
        let mut expected = expected(&self.log, end, gone);
        // What another retention let go before is gone.
        expected.retain(|key, seen| found.contains_key(key) || !self.may_be_gone(seen));
        assert!(
            found == expected,
            "{} events, not {}",
            found.len(),
            expected.len()
        );
        let paths = self.store.objects.clone();
        let listed = Store::of(paths);
        let left = futures_util::StreamExt::count(listed.objects().list(Some(&"events".into())));
        assert_eq!(
            left.await,
            snapshot.manifest.files.len(),
            "files that nobody names"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_there_once_whatever_fails_and_whenever_the_process_dies(
        log in prop::collection::vec(prop::collection::vec(seen(), 0..4), 0..60),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Broken::default();
            let lake = open(&store, 0).await.unwrap();
            let mut run = Run {
                store, log, lake, processes: 0, erased: Vec::new(), first_days: Vec::new(), clock: 0,
            };
            for step in steps {
                // What fails is tried again later, or by the next process.
                let crash = matches!(step, Step::Crash);
                let _ = run.step(step).await;
                if crash {
                    run.check().await;
                }
            }
            run.finish().await;
        });
    }
}

#[tokio::test]
async fn a_kill_after_any_write_of_a_flush_loses_and_doubles_nothing() {
    let event = |site| Seen {
        site,
        visitor: 1,
        time: 5,
    };
    let log: Log = (0..10).map(|_| (1..8).map(event).collect()).collect();
    for fault in [Fault::Refused, Fault::Unanswered, Fault::Late] {
        for calls in 0..6 {
            let store = Broken::default();
            let lake = open(&store, 0).await.unwrap();
            lake.append(0, 6, &rows(&log, 0, 6)).unwrap();
            store.plan(calls, Some(fault));
            let _ = lake.flush().await;
            drop(lake);
            store.plan(0, None);
            let lake = open(&store, 1).await.unwrap();
            let from = lake.snapshot().end;
            assert!(from == 0 || from == 6, "all of the flush or nothing");
            lake.append(from, 10, &rows(&log, from, 10)).unwrap();
            let done = lake.flush().await;
            if done.is_err() {
                // What the dead process wrote last came just now.
                assert_eq!(fault, Fault::Late);
                let from = lake.snapshot().end;
                lake.append(from, 10, &rows(&log, from, 10)).unwrap();
                lake.flush().await.unwrap();
            }
            let found = found(&lake, &lake.snapshot()).await.unwrap();
            assert_eq!(
                found,
                expected(&log, 10, |_| false),
                "{fault:?} after {calls}"
            );
        }
    }
}
