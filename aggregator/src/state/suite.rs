//! The promises of [`StateStore`], as a test that every implementation calls.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test, wherever it is called"
)]

use wakeline_engine::{Dimension, Grain, RowKey};

use super::{
    Changes, Progress, RowAddress, SiteWindow, StateError, StateStore, StoredRules, Uncounted,
    VisitorKey,
};

fn row(site: u64, window: i64, value: u64) -> RowAddress {
    RowAddress {
        site,
        key: RowKey {
            grain: Grain::Day,
            window,
            dimension: Dimension::Page,
            value,
        },
    }
}

/// Runs the suite on a store of at least 4 partitions; `open` opens the same, at first empty, store again and again.
pub async fn run<S: StateStore, F: Future<Output = S>>(open: impl Fn() -> F) {
    let store = open().await;
    starts_empty(&store).await;
    commits_everything_together(&store).await;
    refuses_a_writer_that_was_overtaken(&store).await;
    scans_windows_in_order(&store).await;
    marks_what_changed_until_that_is_exported(&store).await;
    notes_which_events_did_not_count(&store).await;
    store.persist().await.unwrap();
    drop(store);
    keeps_everything_across_a_restart(&open().await).await;
}

async fn starts_empty(store: &impl StateStore) {
    assert_eq!(store.load(1).await.unwrap(), Progress::default());
    let nobody = VisitorKey::new(1, "nobody");
    assert_eq!(store.visitors(1, &[nobody]).await.unwrap(), [None]);
}

async fn commits_everything_together(store: &impl StateStore) {
    let rules = StoredRules {
        timezone: "Europe/Berlin".into(),
        gap_ms: 1_800_000,
    };
    let (ann, ben) = (VisitorKey::new(1, "ann"), VisitorKey::new(1, "ben"));
    let changes = Changes {
        visitors: vec![(ann, b"a".to_vec())],
        rows: vec![
            (row(1, -1, 7), Some(b"r".to_vec())),
            (row(1, 5, 7), Some(b"s".to_vec())),
        ],
        names: vec![(1, 7, "/ä".into())],
        rules: vec![(1, rules.clone())],
        edges: vec![(99, 1234)],
        stamp_ms: Some(42),
        ..Changes::default()
    };
    store.commit(1, 0, changes, 10).await.unwrap();
    assert_eq!(
        store.load(1).await.unwrap(),
        Progress {
            next_offset: 10,
            stamp_ms: 42,
            edges: [(99, 1234)].into(),
            rules: [(1, rules)].into(),
        }
    );
    assert_eq!(
        store.visitors(1, &[ben, ann]).await.unwrap(),
        [None, Some(b"a".to_vec())]
    );
    assert_eq!(store.visitors(2, &[ann]).await.unwrap(), [None]);
    assert_eq!(
        store.rows(1, &[row(1, 5, 7), row(2, 5, 7)]).await.unwrap(),
        [Some(b"s".to_vec()), None]
    );
    assert_eq!(
        store.names(1, 1, &[8, 7]).await.unwrap(),
        [None, Some("/ä".into())]
    );
}

async fn refuses_a_writer_that_was_overtaken(store: &impl StateStore) {
    let late = Changes {
        visitors: vec![(VisitorKey::new(1, "ann"), b"stale".to_vec())],
        ..Changes::default()
    };
    assert!(matches!(
        store.commit(1, 0, late, 11).await,
        Err(StateError::Fenced {
            partition: 1,
            expected: 0,
            found: 10
        })
    ));
    assert_eq!(store.load(1).await.unwrap().next_offset, 10);
    assert_eq!(store.offsets(&[1, 2]).await.unwrap(), [10, 0]);
    assert_eq!(
        store
            .visitors(1, &[VisitorKey::new(1, "ann")])
            .await
            .unwrap(),
        [Some(b"a".to_vec())]
    );
}

async fn scans_windows_in_order(store: &impl StateStore) {
    let changes = Changes {
        rows: [(1, 0, 3), (1, 0, 2), (1, 6, 1), (2, 0, 1)]
            .map(|(site, window, value)| (row(site, window, value), Some(b"t".to_vec())))
            .into(),
        ..Changes::default()
    };
    store.commit(1, 10, changes, 11).await.unwrap();
    let removal = Changes {
        rows: vec![(row(1, 5, 7), None)],
        ..Changes::default()
    };
    store.commit(1, 11, removal, 12).await.unwrap();
    let scan = |windows| store.scan(1, 1, Grain::Day, Dimension::Page, windows);
    assert_eq!(
        scan(-1..6).await.unwrap(),
        [
            (-1, 7, b"r".to_vec()),
            (0, 2, b"t".to_vec()),
            (0, 3, b"t".to_vec())
        ]
    );
    assert_eq!(scan(i64::MIN..i64::MAX).await.unwrap().len(), 4);
    assert_eq!(scan(3..3).await.unwrap(), []);
}

async fn marks_what_changed_until_that_is_exported(store: &impl StateStore) {
    let [minute, hour, day] = [Grain::Minute, Grain::Hour, Grain::Day].map(|grain| SiteWindow {
        site: 1,
        grain,
        window: -7,
    });
    let marks = async || {
        let mut marks = store.marks(2, 100).await.unwrap();
        marks.sort_unstable_by_key(|(window, _)| window.grain);
        marks
    };
    let changes = |marks: &[SiteWindow]| Changes {
        marks: marks.to_vec(),
        ..Changes::default()
    };
    assert_eq!(marks().await, []);
    store
        .commit(2, 0, changes(&[minute, day]), 5)
        .await
        .unwrap();
    assert_eq!(marks().await, [(minute, 5), (day, 5)]);
    // What changes while it is exported stays marked.
    store.commit(2, 5, changes(&[minute]), 6).await.unwrap();
    store.unmark(2, &[(minute, 5), (day, 5)]).await.unwrap();
    assert_eq!(marks().await, [(minute, 6)]);
    // Who was overtaken marks nothing.
    assert!(store.commit(2, 5, changes(&[day]), 7).await.is_err());
    store.mark(2, &[minute, hour]).await.unwrap();
    assert_eq!(marks().await, [(minute, 6), (hour, 0)]);
    assert_eq!(store.marks(2, 1).await.unwrap().len(), 1);
    assert_eq!(store.marks(1, 100).await.unwrap(), []);
    store.unmark(2, &[(hour, 0), (day, 5)]).await.unwrap();
}

async fn notes_which_events_did_not_count(store: &impl StateStore) {
    let some = Uncounted::of(&[true, false]).unwrap();
    let notes = |offsets: &[u64]| Changes {
        uncounted: offsets.iter().map(|at| (*at, some.clone())).collect(),
        ..Changes::default()
    };
    let found = async |offsets| {
        let found = store.uncounted(3, offsets).await.unwrap();
        (
            found.next_offset,
            found.records.into_keys().collect::<Vec<_>>(),
        )
    };
    assert_eq!(found(0..100).await, (0, vec![]));
    store.commit(3, 0, notes(&[1, 1023]), 1024).await.unwrap();
    store
        .commit(3, 1024, notes(&[1024, 5000]), 5001)
        .await
        .unwrap();
    assert_eq!(found(0..6000).await, (5001, vec![1, 1023, 1024, 5000]));
    assert_eq!(found(1023..1025).await, (5001, vec![1023, 1024]));
    assert_eq!(found(2..1023).await, (5001, vec![]));
    assert_eq!(found(7..7).await, (5001, vec![]));
    // Who was overtaken notes nothing.
    assert!(store.commit(3, 1024, notes(&[2000]), 2001).await.is_err());
    assert_eq!(found(1025..5000).await, (5001, vec![]));
    let one = store.uncounted(3, 1..2).await.unwrap();
    assert_eq!(one.records[&1], some);
    assert_eq!(store.uncounted(1, 0..6000).await.unwrap().records.len(), 0);
}

async fn keeps_everything_across_a_restart(store: &impl StateStore) {
    let progress = store.load(1).await.unwrap();
    assert_eq!((progress.next_offset, progress.stamp_ms), (12, 42));
    assert_eq!(store.marks(2, 100).await.unwrap().len(), 1);
    let noted = store.uncounted(3, 0..6000).await.unwrap();
    assert_eq!((noted.next_offset, noted.records.len()), (5001, 4));
    assert!(matches!(
        store.commit(1, 0, Changes::default(), 13).await,
        Err(StateError::Fenced { found: 12, .. })
    ));
    store.commit(1, 12, Changes::default(), 13).await.unwrap();
    assert_eq!(store.load(1).await.unwrap().next_offset, 13);
}
