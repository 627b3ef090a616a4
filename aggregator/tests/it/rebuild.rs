//! State is made anew from the log while everything goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wakeline_aggregator::admin::{AdminRequest, GenerationRequest, RebuildRequest, Replay};
use wakeline_aggregator::{Aggregator, Config};
use wakeline_testbed::Redis;

use super::edge::{Figures, Spool, config, connect, push, start, until};

fn rebuild() -> AdminRequest {
    AdminRequest::Rebuild(RebuildRequest::State)
}

/// Folders and keys of generations other than `number`.
fn folders(data: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("state"))
        .collect();
    names.sort();
    names
}

/// Rebuilds while a reader looks on and more comes in; returns the figures at the end.
async fn rebuild_under_way(config: &Config) -> (Aggregator, Figures) {
    let spool = Spool::without_copies();
    let aggregator = Arc::new(start(config).await);
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    let before = Figures::of(aggregator.metrics()).await.total();

    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (aggregator, done) = (Arc::clone(&aggregator), Arc::clone(&done));
        async move {
            let mut seen = before;
            while !done.load(Ordering::Acquire) {
                let metrics = aggregator.metrics();
                let pinned = metrics.pinned().unwrap();
                let days = pinned.totals(
                    super::edge::SITE,
                    wakeline_engine::Grain::Day,
                    i64::MIN..i64::MAX,
                );
                let mut total = wakeline_engine::Row::default();
                for (_, row) in days.await.unwrap() {
                    total.add(&row);
                }
                assert!(
                    total.pageviews >= seen.pageviews && total.visitors() >= seen.visitors(),
                    "figures stepped back from {seen:?} to {total:?}"
                );
                seen = total;
            }
        }
    });
    let first = aggregator.admin(rebuild()).await.unwrap();
    assert!(first["events"].as_u64().unwrap() > 0, "{first}");
    // More comes in during the next one.
    let (second, pushed) = tokio::join!(
        aggregator.admin(rebuild()),
        push(&channel, 7, spool.round(half, spool.next))
    );
    pushed.unwrap();
    assert!(second.unwrap()["generation"].as_u64() > first["generation"].as_u64());
    let after = Figures::of(aggregator.metrics()).await;
    done.store(true, Ordering::Release);
    reader.await.unwrap();
    drop(channel);
    (Arc::into_inner(aggregator).unwrap(), after)
}

async fn in_one_go() -> Figures {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let blocks = Spool::without_copies().blocks();
    push(&channel, 7, blocks).await.unwrap();
    Figures::of(aggregator.metrics()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_state_is_rebuilt_to_the_same_figures_while_readers_see_no_step_back() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let (aggregator, figures) = rebuild_under_way(&config).await;
    let expected = in_one_go().await;
    assert_eq!(figures, expected);
    until("of the old generations the last one is left", async || {
        folders(data.path()) == ["state-1", "state-2"]
    })
    .await;
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_redis_is_rebuilt_to_the_same_figures_and_leaves_nothing_behind() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.state.url = Some(redis.url());
    let (aggregator, figures) = rebuild_under_way(&config).await;
    let expected = in_one_go().await;
    assert_eq!(figures, expected);
    until("only the keys of two generations are left", async || {
        let keys = redis.command("KEYS *").unwrap();
        let keys = keys.lines().filter(|line| line.starts_with("{wl:"));
        let mut generations: Vec<_> = keys
            .filter_map(|key| Some(key.split_once('}')?.1.split_once(':')?.0.to_owned()))
            .collect();
        generations.sort();
        generations.dedup();
        generations == ["1", "2"]
    })
    .await;
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_begins_where_the_log_has_something_and_changes_no_figure() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, Spool::without_copies().blocks())
        .await
        .unwrap();
    let before = Figures::of(aggregator.metrics()).await;
    let replay = |from_offset, from_time: Option<&str>| {
        aggregator.admin(AdminRequest::Replay(Replay {
            from_offset,
            from_time: from_time.map(ToOwned::to_owned),
        }))
    };
    assert_eq!(replay(Some(1), None).await.unwrap()["from_offset"], 1);
    let by_time = replay(None, Some("2020-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(by_time["from_offset"], 0);
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    for nothing in [
        replay(Some(1 << 40), None).await,
        replay(None, Some("2999-01-01T00:00:00Z")).await,
    ] {
        let says = nothing.unwrap_err().to_string();
        assert!(says.contains("the log ends at"), "{says}");
    }
    // Nor does it help that more comes in meanwhile.
    let more = push(&channel, 8, Spool::of([super::edge::visit(1, 1)]).blocks());
    let (nothing, more) = tokio::join!(replay(None, Some("2999-01-01T00:00:00Z")), more);
    more.unwrap();
    let says = nothing.unwrap_err().to_string();
    assert!(says.contains("nothing was logged at 2999"), "{says}");
    let before = Figures::of(aggregator.metrics()).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_another_format_is_made_anew_from_the_log_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, Spool::without_copies().blocks())
        .await
        .unwrap();
    let before = Figures::of(aggregator.metrics()).await;
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let control = rusqlite::Connection::open(data.path().join("control.sqlite")).unwrap();
    control
        .execute("UPDATE generations SET format = 1", [])
        .unwrap();
    drop(control);
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    until("the old state is removed", async || {
        folders(data.path()) == ["state-1"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_leaves_the_old_state_and_the_next_one_works_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..20_000).map(|visitor| super::edge::visit(visitor, 4)));
    for from in (0..spool.next).step_by(20_000) {
        push(&channel, 7, spool.round(from, from + 20_000))
            .await
            .unwrap();
    }
    let before = Figures::of(aggregator.metrics()).await;
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;

    let command = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wakeline-aggregator"));
        command
            .args(["rebuild", "state", "--json"])
            .env("WAKELINE_DATA", data.path())
            .env(
                "WAKELINE_LOG__PARTITIONS",
                super::edge::PARTITIONS.to_string(),
            );
        command
    };
    let mut killed = command().spawn().unwrap();
    until("the new generation has begun", async || {
        folders(data.path()).len() == 2
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    until("what was begun is removed", async || {
        folders(data.path()) == ["state"]
    })
    .await;
    aggregator.shutdown(Duration::from_secs(10)).await;

    let done = command().output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["events"], 80_000);
    assert_eq!(folders(data.path()), ["state", "state-2"]);
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
}

/// Goes back and forth between generations while more comes in.
async fn go_back_and_forth(config: &Config) {
    let spool = Spool::without_copies();
    let aggregator = start(config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let third = spool.next / 3;
    push(&channel, 7, spool.round(0, third)).await.unwrap();
    let ask = |request| aggregator.admin(AdminRequest::Generation(request));
    let says = ask(GenerationRequest::Rollback)
        .await
        .unwrap_err()
        .to_string();
    assert!(says.contains("no previous generation"), "{says}");
    assert_eq!(aggregator.admin(rebuild()).await.unwrap()["generation"], 1);
    push(&channel, 7, spool.round(third, 2 * third))
        .await
        .unwrap();
    let before = Figures::of(aggregator.metrics()).await;

    let back = ask(GenerationRequest::Rollback).await.unwrap();
    assert_eq!(back["generation"], 0, "{back}");
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    let list = ask(GenerationRequest::List).await.unwrap();
    let expected = serde_json::json!([
        {"generation": 0, "is": "in_use"},
        {"generation": 1, "is": "previous"},
    ]);
    assert_eq!(list["generations"], expected);
    for (number, says) in [(0, "in use already"), (5, "the previous one is 1")] {
        let refused = ask(GenerationRequest::Switch { number }).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    push(&channel, 7, spool.round(2 * third, spool.next))
        .await
        .unwrap();
    let forth = ask(GenerationRequest::Switch { number: 1 }).await.unwrap();
    assert_eq!(forth["generation"], 1);
    let expected = in_one_go().await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    let back = AdminRequest::Generation(GenerationRequest::Rollback);
    assert_eq!(aggregator.admin(back).await.unwrap()["generation"], 0);
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generation_before_is_kept_and_catches_up_when_it_is_gone_back_to() {
    let data = tempfile::tempdir().unwrap();
    go_back_and_forth(&config(data.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generation_before_is_kept_in_redis_too() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.state.url = Some(redis.url());
    go_back_and_forth(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_generation_is_kept_where_there_is_to_be_none() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.state.keep_previous = false;
    let aggregator = start(&config).await;
    aggregator.admin(rebuild()).await.unwrap();
    until("the old generation is removed", async || {
        folders(data.path()) == ["state-1"]
    })
    .await;
    let back = AdminRequest::Generation(GenerationRequest::Rollback);
    assert!(aggregator.admin(back).await.is_err());
}
