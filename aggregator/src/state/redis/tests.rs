//! Against a real server.

use std::sync::Arc;

use wakeline_engine::{Dimension, Grain, RowKey};
use wakeline_testbed::{Redis, RedisCluster};

use super::{Owner, RedisState, RedisStateError};
use crate::state::{Changes, RowAddress, StateError, StateStore as _, VisitorKey, suite};

fn owner(epoch: u64, log: &str) -> Owner {
    Owner {
        epoch,
        name: format!("owner-{epoch}"),
        place: "here".to_owned(),
        log: log.to_owned(),
    }
}

async fn open_as(redis: &Redis, owner: Owner) -> Result<RedisState, StateError> {
    RedisState::open(&redis.url(), None, owner, 0).await
}

async fn open(redis: &Redis) -> RedisState {
    open_as(redis, owner(1, "log")).await.unwrap()
}

fn says(error: &StateError) -> String {
    crate::causes::Causes(error).to_string()
}

#[tokio::test]
async fn keeps_the_promises_of_a_state_store() {
    let redis = Redis::start(&[]).unwrap();
    suite::run(|| open(&redis)).await;
}

#[tokio::test]
async fn commits_survive_a_restart_of_the_server_and_the_connection_comes_back() {
    let mut redis = Redis::start(&[]).unwrap();
    let state = open(&redis).await;
    let ann = VisitorKey::new(300, "ann");
    let changes = || Changes {
        visitors: vec![(ann, vec![7; 300])],
        ..Changes::default()
    };
    state.commit(3, 0, changes(), 5).await.unwrap();
    redis.restart().unwrap();
    // The first request may be what finds the connection broken; scripts are gone, too.
    let mut done = state.commit(3, 5, changes(), 6).await;
    for _ in 0..5 {
        if done.is_ok() {
            break;
        }
        done = state.commit(3, 5, changes(), 6).await;
    }
    done.unwrap();
    assert_eq!(state.load(3).await.unwrap().next_offset, 6);
    let found = state.visitors(3, &[ann]).await.unwrap();
    assert_eq!(found, [Some(vec![7; 300])]);
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_gets_them_again() {
    let redis = Redis::start(&[]).unwrap();
    let state = open(&redis).await;
    state.commit(0, 0, Changes::default(), 1).await.unwrap();
    redis.command("SCRIPT FLUSH").unwrap();
    state.commit(0, 1, Changes::default(), 2).await.unwrap();
}

#[tokio::test]
async fn a_commit_can_be_as_large_as_the_workers_make_them() {
    let redis = Redis::start(&[]).unwrap();
    let state = open(&redis).await;
    let keys: Vec<_> = (0..20_000)
        .map(|number| VisitorKey::new(1, &format!("v{number}")))
        .collect();
    let changes = Changes {
        visitors: keys.iter().map(|key| (*key, vec![1; 100])).collect(),
        names: (0..9000).map(|id| (1, id, format!("/{id}"))).collect(),
        ..Changes::default()
    };
    state.commit(0, 0, changes, 1).await.unwrap();
    let found = state.visitors(0, &keys).await.unwrap();
    assert!(
        found
            .iter()
            .all(|found| found.as_deref() == Some(&[1; 100]))
    );
    let names = state.names(0, 1, &[8999, 9000]).await.unwrap();
    assert_eq!(names, [Some("/8999".to_owned()), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_sees_all_of_a_commit_or_nothing() {
    let redis = Redis::start(&[]).unwrap();
    let state = Arc::new(open(&redis).await);
    // One row, which each commit moves from one block to another, or back.
    let row = |window| RowAddress {
        site: 1,
        key: RowKey {
            grain: Grain::Day,
            window,
            dimension: Dimension::Page,
            value: 7,
        },
    };
    let commit = async |state: &RedisState, offset: u64| {
        let day = (offset % 5) as i64;
        let changes = Changes {
            rows: vec![(row((day + 4) % 5), None), (row(day), Some(vec![1]))],
            ..Changes::default()
        };
        state.commit(0, offset, changes, offset + 1).await.unwrap();
    };
    commit(&state, 0).await;
    let reading = Arc::clone(&state);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let reader = tokio::spawn(async move {
        let mut windows = std::collections::BTreeSet::new();
        while !*stopped.borrow() {
            let rows = reading.scan(0, 1, Grain::Day, Dimension::Page, i64::MIN..i64::MAX);
            let rows = rows.await.unwrap();
            assert_eq!(rows.len(), 1, "{rows:?}");
            windows.insert(rows[0].0);
        }
        windows.len()
    });
    for offset in 1..1000 {
        commit(&state, offset).await;
    }
    stop.send(true).unwrap();
    assert!(reader.await.unwrap() > 1, "the reader saw no commit");
}

#[tokio::test]
async fn a_newer_owner_fences_out_the_older_one_and_a_stranger_gets_nothing() {
    let redis = Redis::start(&[]).unwrap();
    let old = open(&redis).await;
    old.commit(0, 0, Changes::default(), 1).await.unwrap();
    let new = open_as(&redis, owner(2, "log")).await.unwrap();
    assert_eq!(new.load(0).await.unwrap().next_offset, 1);
    new.commit(0, 1, Changes::default(), 2).await.unwrap();
    let refused = [
        old.commit(0, 2, Changes::default(), 3).await.unwrap_err(),
        old.load(0).await.unwrap_err(),
    ];
    for refused in refused {
        assert!(
            matches!(
                refused,
                StateError::Replaced {
                    partition: 0,
                    epoch: 1,
                    found: 2
                }
            ),
            "{refused:?}"
        );
    }
    let stranger = open_as(&redis, owner(3, "another")).await.unwrap();
    let refused = [
        stranger
            .commit(0, 2, Changes::default(), 3)
            .await
            .unwrap_err(),
        stranger.load(0).await.unwrap_err(),
    ];
    for refused in refused {
        assert!(
            matches!(refused, StateError::OtherLog { partition: 0 }),
            "{refused:?}"
        );
    }
    let refused = stranger.wipe(1).await.unwrap_err();
    assert!(
        matches!(refused, StateError::OtherLog { partition: 0 }),
        "{refused:?}"
    );
    assert_eq!(new.load(0).await.unwrap().next_offset, 2);
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_said_to_be_that() {
    let redis = Redis::start(&["--requirepass", "right"]).unwrap();
    for user in ["", ":wrong@"] {
        let url = redis.url().replace("redis://", &format!("redis://{user}"));
        let refused = RedisState::open(&url, None, owner(1, "log"), 0)
            .await
            .map(drop);
        let refused = refused.unwrap_err();
        let text = says(&refused);
        assert!(text.contains("refuses the user or password"), "{text}");
        assert!(!text.contains("wrong@"), "{text}");
    }
    let url = redis.url().replace("redis://", "redis://:right@");
    let state = RedisState::open(&url, None, owner(1, "log"), 0)
        .await
        .unwrap();
    state.commit(0, 0, Changes::default(), 1).await.unwrap();
}

#[tokio::test]
async fn a_read_only_replica_is_refused_also_when_it_becomes_one() {
    let primary = Redis::start(&[]).unwrap();
    let replica = Redis::start(&[]).unwrap();
    let state = open(&replica).await;
    state.commit(0, 0, Changes::default(), 1).await.unwrap();
    let port = primary.address().port();
    replica
        .command(&format!("REPLICAOF 127.0.0.1 {port}"))
        .unwrap();
    let refused = state.persist().await.unwrap_err();
    assert!(says(&refused).contains("read-only replica"), "{refused:?}");
    // Until it is synchronised a replica may answer LOADING.
    let refused = loop {
        let refused = state.commit(0, 1, Changes::default(), 2).await.unwrap_err();
        if !says(&refused).contains("is loading its data") {
            break refused;
        }
    };
    assert!(
        says(&refused).contains("read-only replica")
            || matches!(refused, StateError::Fenced { .. }),
        "{refused:?}"
    );
    let opened = open_as(&replica, owner(1, "log")).await;
    let refused = opened.map(drop).unwrap_err();
    assert!(says(&refused).contains("read-only replica"), "{refused:?}");
}

#[tokio::test]
async fn a_full_server_changes_nothing_and_goes_on_when_it_has_room() {
    let redis = Redis::start(&[]).unwrap();
    let state = open(&redis).await;
    state.load(0).await.unwrap();
    let used = redis.info("used_memory").unwrap();
    redis
        .command(&format!("CONFIG SET maxmemory {used}"))
        .unwrap();
    let near = state.persist().await.unwrap_err();
    assert!(says(&near).contains("(maxmemory): raise it"), "{near:?}");
    let ann = VisitorKey::new(1, "ann");
    let large = || Changes {
        visitors: vec![(ann, vec![0; 1 << 20])],
        ..Changes::default()
    };
    redis.command("CONFIG SET maxmemory 1").unwrap();
    let full = state.commit(0, 0, large(), 1).await.unwrap_err();
    assert!(
        says(&full).contains("has reached its maxmemory"),
        "{full:?}"
    );
    assert_eq!(state.load(0).await.unwrap().next_offset, 0);
    assert_eq!(state.visitors(0, &[ann]).await.unwrap(), [None]);
    redis
        .command("CONFIG SET maxmemory-policy allkeys-lru")
        .unwrap();
    let evicts = state.persist().await.unwrap_err();
    assert!(
        says(&evicts).contains("maxmemory-policy allkeys-lru"),
        "{evicts:?}"
    );
    redis.command("CONFIG SET maxmemory 0").unwrap();
    state.persist().await.unwrap();
    state.commit(0, 0, large(), 1).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_and_a_url_that_is_none_are_said_to_be_that() {
    let mut redis = Redis::start(&[]).unwrap();
    redis.kill().unwrap();
    let opened = open_as(&redis, owner(1, "log")).await;
    let text = says(&opened.map(drop).unwrap_err());
    assert!(
        text.contains(&format!("ask Redis at {}", redis.address())),
        "{text}"
    );
    let opened = RedisState::open("nonsense", None, owner(1, "log"), 0).await;
    let Err(StateError::Store(error)) = opened.map(drop) else {
        panic!("opened");
    };
    assert!(matches!(
        error.downcast_ref(),
        Some(RedisStateError::Url(_))
    ));
}

async fn open_cluster(cluster: &RedisCluster) -> RedisState {
    RedisState::open(&cluster.url(), None, owner(1, "log"), 0)
        .await
        .unwrap()
}

/// Commits until it works, as a worker does; tells how often it failed.
async fn commit_at_last(
    state: &RedisState,
    partition: u16,
    at: u64,
    changes: impl Fn() -> Changes,
) {
    let begun = std::time::Instant::now();
    loop {
        // A commit that was said to fail may have happened.
        if state
            .load(partition)
            .await
            .is_ok_and(|progress| progress.next_offset == at + 1)
        {
            return;
        }
        if state.commit(partition, at, changes(), at + 1).await.is_ok() {
            return;
        }
        assert!(begun.elapsed().as_secs() < 60, "never committed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_promises_through_moved_slots_forgotten_scripts_and_a_fail_over() {
    const PARTITIONS: u16 = 12;
    let mut cluster = RedisCluster::start().await.unwrap();
    suite::run(|| open_cluster(&cluster)).await;

    let state = open_cluster(&cluster).await;
    let ann = VisitorKey::new(7, "ann");
    let changes = || Changes {
        visitors: vec![(ann, vec![9; 100])],
        names: vec![(7, 1, "/".to_owned())],
        ..Changes::default()
    };
    for partition in 4..PARTITIONS {
        state.commit(partition, 0, changes(), 1).await.unwrap();
    }
    cluster.command_all("SCRIPT FLUSH").unwrap();
    for partition in 4..PARTITIONS {
        commit_at_last(&state, partition, 1, changes).await;
    }
    // Half of partition 5's keys are on one server, half on another: a script waits until they are together.
    let during = async {
        let commit = state.commit(5, 2, changes(), 3).await;
        (commit, state.visitors(5, &[ann]).await)
    };
    let _either_way = cluster.move_slot("{wl:5}", during).await.unwrap();
    commit_at_last(&state, 5, 2, changes).await;
    // With both copies in step, a primary dies.
    cluster.command_all("WAIT 1 2000").unwrap_or_default();
    cluster.fail_over("{wl:4}").await.unwrap();
    for partition in (4..PARTITIONS).filter(|partition| *partition != 5) {
        commit_at_last(&state, partition, 2, changes).await;
        assert_eq!(state.load(partition).await.unwrap().next_offset, 3);
        let found = state.visitors(partition, &[ann]).await.unwrap();
        assert_eq!(found, [Some(vec![9; 100])]);
        assert_eq!(
            state.names(partition, 7, &[1]).await.unwrap(),
            [Some("/".to_owned())]
        );
    }
    assert_eq!(state.offsets(&[4, 5, 11]).await.unwrap(), [3, 3, 3]);
    state.persist().await.unwrap();
    state.wipe(PARTITIONS).await.unwrap();
    assert_eq!(state.offsets(&[1, 4, 11]).await.unwrap(), [0, 0, 0]);
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_certificates_vouch_for() {
    let tls = Redis::start_with_tls().unwrap();
    let open = async |ca| RedisState::open(&tls.url, ca, owner(1, "log"), 0).await;
    let state = open(Some(tls.certificate.as_path())).await.unwrap();
    state.commit(0, 0, Changes::default(), 1).await.unwrap();
    assert_eq!(state.load(0).await.unwrap().next_offset, 1);
    assert!(
        open(None).await.is_err(),
        "a certificate that nobody vouches for"
    );
}

#[tokio::test]
async fn the_state_is_leased_to_one_place_at_a_time() {
    let redis = Redis::start(&[]).unwrap();
    let first = open(&redis).await;
    let at = |epoch, name: &str, place: &str| Owner {
        name: name.to_owned(),
        place: place.to_owned(),
        ..owner(epoch, "log")
    };
    let refused = open_as(&redis, at(2, "second", "there")).await.map(drop);
    assert!(
        matches!(refused, Err(StateError::InUse { seconds: 1..=10 })),
        "{refused:?}"
    );
    // The next life at the same place need not wait, and the one before is over at its next renewal.
    let next = open_as(&redis, at(2, "next", "here")).await.unwrap();
    let over = first.over().cancelled();
    tokio::time::timeout(std::time::Duration::from_secs(10), over)
        .await
        .unwrap();
    assert!(!next.over().is_cancelled());
    next.release().await.unwrap();
    open_as(&redis, at(2, "third", "there")).await.unwrap();
}

#[tokio::test]
async fn copies_of_a_folder_that_count_epochs_alike_are_told_apart() {
    let redis = Redis::start(&[]).unwrap();
    let old = open(&redis).await;
    old.commit(0, 0, Changes::default(), 1).await.unwrap();
    let copy = Owner {
        name: "another".to_owned(),
        ..owner(1, "log")
    };
    let copy = open_as(&redis, copy).await.unwrap();
    let refused = copy.load(0).await.unwrap_err();
    assert!(
        matches!(refused, StateError::Replaced { .. }),
        "{refused:?}"
    );
    old.commit(0, 1, Changes::default(), 2).await.unwrap();
}
