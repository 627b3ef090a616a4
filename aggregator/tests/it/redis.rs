//! State in a real Redis that restarts, crashes, forgets: the figures stay what they were.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use wakeline_aggregator::admin::{AdminRequest, RebuildRequest};
use wakeline_aggregator::{Aggregator, Config, StartError};
use wakeline_testbed::Redis;

use super::edge::{Figures, Spool, config, connect, push, push_with, start, until, visit};

fn rebuild() -> AdminRequest {
    AdminRequest::Rebuild(RebuildRequest::State)
}

fn config_with(data: &Path, redis: &Redis) -> Config {
    let mut config = config(data);
    config.state.url = Some(redis.url());
    config
}

/// What an aggregator with embedded state makes of it.
async fn expected(spool: &Spool) -> Figures {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    Figures::of(aggregator.metrics()).await
}

/// Pushes the whole spool in small rounds.
async fn push_slowly(spool: Spool, channel: Channel, acked: Arc<AtomicU64>) {
    let mut from = 0;
    while from < spool.next {
        let rounds = [0, 1, 2, 3].map(|round| {
            let from = from + round * 53;
            spool.round(from, from + 53)
        });
        push_with(&channel, 7, rounds.concat(), |at| from = at)
            .await
            .unwrap();
        acked.store(from, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_from_redis_are_those_of_the_embedded_state() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &redis);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    // Another life goes on there, and does not read the log again.
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    assert_eq!(sample(&aggregator, "commits_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_counted_twice_when_redis_is_killed_under_load() {
    let mut redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let acked = Arc::new(AtomicU64::new(0));
    let pushing = tokio::spawn(push_slowly(spool.clone(), channel, Arc::clone(&acked)));
    for part in 1..=4 {
        until("some progress", async || {
            acked.load(Ordering::Relaxed) >= spool.next * part / 6
        })
        .await;
        redis.kill().unwrap();
        // Collectors are answered meanwhile: the log is what counts.
        until("progress without Redis", async || {
            acked.load(Ordering::Relaxed) >= spool.next * (2 * part + 1) / 12
        })
        .await;
        redis.revive().unwrap();
    }
    pushing.await.unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    assert!(sample(&aggregator, "state_failures_total").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_waited_for_while_collectors_are_answered() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    redis.pause().unwrap();
    let rest = spool.round(half, spool.next);
    assert_eq!(push(&channel, 7, rest).await.unwrap(), [spool.next]);
    until("a timeout", async || {
        sample(&aggregator, "state_failures_total").await > 0
    })
    .await;
    redis.resume().unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_under_load_gets_everything_from_the_log() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let acked = Arc::new(AtomicU64::new(0));
    let pushing = tokio::spawn(push_slowly(spool.clone(), channel, Arc::clone(&acked)));
    for part in 1..=3 {
        until("some progress", async || {
            acked.load(Ordering::Relaxed) >= spool.next * part / 4
        })
        .await;
        redis.flush().unwrap();
    }
    pushing.await.unwrap();
    settled(&aggregator, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_while_nothing_happens_is_filled_again() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &redis);
    let spool = Spool::without_copies();
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    let before = Figures::of(aggregator.metrics()).await;
    redis.flush().unwrap();
    until("noticed", async || {
        sample(&aggregator, "state_fallbacks_total").await >= 4
    })
    .await;
    settled(&aggregator, &before).await;
    // And while no aggregator runs.
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    redis.flush().unwrap();
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_its_last_commits_gets_them_from_the_log() {
    let redis = Redis::start(&[]).unwrap();
    let backup = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    Figures::of(aggregator.metrics()).await;
    copy(&redis, &backup).await;
    let rest = spool.round(half, spool.next);
    push(&channel, 7, rest).await.unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    copy(&backup, &redis).await;
    until("noticed", async || {
        sample(&aggregator, "state_fallbacks_total").await > 0
    })
    .await;
    settled(&aggregator, &expected).await;
    // Each partition once: it fell back, and not again after it was restored.
    assert_eq!(sample(&aggregator, "state_fallbacks_total").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_with_another_log_is_refused_by_a_redis_in_use() {
    let redis = Redis::start(&[]).unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let aggregator = start(&config_with(first.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, Spool::without_copies().blocks())
        .await
        .unwrap();
    let before = Figures::of(aggregator.metrics()).await;
    let refusal = async || {
        let refused = Aggregator::start(config_with(second.path(), &redis)).await;
        format!("{:#}", anyhow::Error::from(refused.map(drop).unwrap_err()))
    };
    let refused = refusal().await;
    assert!(
        refused.contains("in use by another aggregator"),
        "{refused}"
    );
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let refused = refusal().await;
    assert!(refused.contains("made from another log"), "{refused}");
    // Who was refused does not keep the lease.
    let aggregator = Aggregator::start(config_with(first.path(), &redis));
    let aggregator = aggregator.await.unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    aggregator.admin(rebuild()).await.unwrap();
    aggregator.shutdown(Duration::from_secs(10)).await;
    // Nor does it clear a place there for state of a newer format.
    let control = rusqlite::Connection::open(second.path().join("control.sqlite")).unwrap();
    let older = control.execute("UPDATE generations SET format = format - 1", []);
    assert_eq!(older.unwrap(), 1);
    drop(control);
    let refused = refusal().await;
    assert!(refused.contains("made from another log"), "{refused}");
    let aggregator = start(&config_with(first.path(), &redis)).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    assert_eq!(sample(&aggregator, "commits_total").await, 0);
}

/// A copy of a stopped server's folder.
fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(folder.join("."))
        .arg(copy.path())
        .status();
    assert!(done.unwrap().success());
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_folder_goes_on_where_nobody_has_the_lease() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &redis);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    let before = Figures::of(aggregator.metrics()).await;
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let copy = copy_of(data.path());
    for _ in 0..3 {
        let later = start(&config).await;
        assert_eq!(Figures::of(later.metrics()).await, before);
        let refused = Aggregator::start(config_with(copy.path(), &redis)).await;
        assert!(
            matches!(refused, Err(StartError::StateInUse(_))),
            "one at a time"
        );
        later.shutdown(Duration::from_secs(10)).await;
    }
    let aggregator = start(&config_with(copy.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let rest = spool.round(half, spool.next);
    push(&channel, 7, rest).await.unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    // The folder that it was copied from does not have all that is in the state now, and says so.
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let behind = Aggregator::start(config.clone())
        .await
        .map(drop)
        .unwrap_err();
    let says = format!("{:#}", anyhow::Error::from(behind));
    assert!(says.contains("more than this folder has"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_clears_what_a_copy_of_the_folder_left_under_its_number() {
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &redis);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    Figures::of(aggregator.metrics()).await;
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let copy = copy_of(data.path());
    // The copy makes generation 1, and has more sites than the folder it is of.
    let other = start(&config_with(copy.path(), &redis)).await;
    for _ in 0..2 {
        other.admin(rebuild()).await.unwrap();
    }
    other.shutdown(Duration::from_secs(10)).await;
    for generation in [1, 2] {
        let foreign = format!("HSET {{wl:1}}{generation}:r:77:10:0 field value");
        redis.command(&foreign).unwrap();
    }

    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    let rebuilt = aggregator.admin(rebuild()).await.unwrap();
    assert_eq!(rebuilt["generation"], 1);
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    let left = redis.command("KEYS {wl:1}1:r:77*").unwrap();
    assert!(!left.contains("r:77"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_starts_while_redis_is_away_and_collectors_are_answered() {
    let mut redis = Redis::start(&["--requirepass", "right"]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let mut config = config_with(data.path(), &redis);
    let with_password = redis.url().replace("redis://", "redis://:right@");
    config.state.url = Some(with_password.clone());
    redis.kill().unwrap();
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    let acked = push(&channel, 7, spool.round(0, half)).await.unwrap();
    assert_eq!(acked.len(), 1);
    let says = readiness(&aggregator).await;
    assert!(
        says.contains("ask Redis at") && says.contains("nothing is lost"),
        "{says}"
    );
    assert!(!says.contains("right"), "{says}");
    let days = aggregator.metrics();
    let days = days.totals(super::edge::SITE, wakeline_engine::Grain::Day, 0..1);
    assert!(days.await.is_err(), "figures without a state");
    // A collector that did not get the answer sends it again.
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    redis.revive().unwrap();
    until("ready", async || readiness(&aggregator).await == "ready\n").await;
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;

    // A wrong password is waited for, too: it may be Redis that is to be changed.
    config.state.url = Some(redis.url().replace("redis://", "redis://:wrong@"));
    let aggregator = start(&config).await;
    let says = readiness(&aggregator).await;
    assert!(says.contains("refuses the user or password"), "{says}");
    assert!(!says.contains("wrong"), "{says}");
    aggregator.shutdown(Duration::from_secs(10)).await;
    config.state.url = Some(with_password);
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_at_the_start_is_waited_for_until_it_is_the_primary() {
    let primary = Redis::start(&[]).unwrap();
    let redis = Redis::start(&[]).unwrap();
    let port = primary.address().port();
    redis
        .command(&format!("REPLICAOF 127.0.0.1 {port}"))
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::without_copies();
    push(&channel, 7, spool.blocks()).await.unwrap();
    let says = readiness(&aggregator).await;
    assert!(says.contains("read-only replica"), "{says}");
    redis.command("REPLICAOF NO ONE").unwrap();
    until("ready", async || readiness(&aggregator).await == "ready\n").await;
    assert_eq!(
        Figures::of(aggregator.metrics()).await,
        expected(&spool).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loads_its_data_is_waited_for_at_the_start_and_under_way() {
    let mut redis = Redis::start(&["--enable-debug-command", "yes"]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &redis);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    Figures::of(aggregator.metrics()).await;
    redis.populate(50_000).unwrap();

    redis.kill().unwrap();
    redis.revive_slowly().unwrap();
    let loads =
        async |aggregator: &Aggregator| readiness(aggregator).await.contains("is loading its data");
    until("it says so", async || loads(&aggregator).await).await;
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    settled(&aggregator, &expected).await;
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;

    redis.kill().unwrap();
    redis.revive_slowly().unwrap();
    let aggregator = start(&config).await;
    assert!(loads(&aggregator).await, "{}", readiness(&aggregator).await);
    until("ready", async || readiness(&aggregator).await == "ready\n").await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

async fn readiness(aggregator: &Aggregator) -> String {
    let url = format!("http://{}/readyz", aggregator.http_addr());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// Everything counts: the records, their dedupe, the server's overhead, and the rows and names beside them.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_with_a_visit_of_five_pages_takes_at_most_250_bytes_of_redis() {
    const VISITORS: u64 = 20_000;
    let redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let before = redis.info("used_memory").unwrap();
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..VISITORS).map(|number| visit(number, 5)));
    for from in (0..spool.next).step_by(25_000) {
        push(&channel, 7, spool.round(from, from + 25_000))
            .await
            .unwrap();
    }
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!((total.visits, total.pageviews), (20_000, 100_000));
    let bytes = (redis.info("used_memory").unwrap() - before) / VISITORS;
    println!("{bytes} B of Redis per visitor");
    assert!((90..=250).contains(&bytes), "{bytes} B per visitor");
}

/// A door before Redis that shuts itself when progress has been loaded often enough.
struct Door {
    url: String,
    /// Loads that it still lets through.
    loads: Arc<AtomicI64>,
    shut: Arc<AtomicBool>,
}

impl Door {
    async fn before(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            url: format!("redis://{}", listener.local_addr().unwrap()),
            loads: Arc::new(AtomicI64::new(i64::MAX)),
            shut: Arc::default(),
        };
        let to = redis.url().trim_start_matches("redis://").to_owned();
        let (loads, shut) = (Arc::clone(&door.loads), Arc::clone(&door.shut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to, loads, shut) = (to.clone(), Arc::clone(&loads), Arc::clone(&shut));
                tokio::spawn(async move {
                    if !shut.load(Ordering::SeqCst) {
                        let server = TcpStream::connect(to).await.unwrap();
                        let _ = Self::pass(client, server, &loads, &shut).await;
                    }
                });
            }
        });
        door
    }

    async fn pass(
        mut client: TcpStream,
        mut server: TcpStream,
        loads: &AtomicI64,
        shut: &AtomicBool,
    ) -> std::io::Result<()> {
        let (mut asked, mut said) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let asked = &asked[..read?];
                    let text = String::from_utf8_lossy(asked);
                    let keys = text.split("HGETALL\r\n").skip(1);
                    let keys = keys.filter_map(|rest| rest.split("\r\n").nth(1));
                    for _ in keys.filter(|key| key.ends_with(":p")) {
                        if loads.fetch_sub(1, Ordering::SeqCst) <= 0 {
                            shut.store(true, Ordering::SeqCst);
                        }
                    }
                    if asked.is_empty() || shut.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    server.write_all(asked).await?;
                }
                read = server.read(&mut said) => {
                    let said = &said[..read?];
                    if said.is_empty() || shut.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    client.write_all(said).await?;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_whose_end_finds_redis_away_goes_on_counting_when_it_is_back() {
    let redis = Redis::start(&[]).unwrap();
    let door = Door::before(&redis).await;
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.state.url = Some(door.url.clone());
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    Figures::of(aggregator.metrics()).await;
    // The new generation is loaded twice: when it is begun, and when it has taken the other's place.
    let partitions = i64::from(config.log.partitions.get());
    door.loads.store(partitions, Ordering::SeqCst);
    let back = async {
        until("the door is shut", async || {
            door.shut.load(Ordering::SeqCst)
        })
        .await;
        let url = format!("http://{}/readyz", aggregator.http_addr());
        until("readiness says so", async || {
            let answer = reqwest::get(&url).await.unwrap();
            answer.text().await.unwrap().contains("ask Redis at")
        })
        .await;
        door.loads.store(i64::MAX, Ordering::SeqCst);
        door.shut.store(false, Ordering::SeqCst);
    };
    let (rebuilt, ()) = tokio::join!(aggregator.admin(rebuild()), back);
    assert_eq!(rebuilt.unwrap()["generation"], 1);
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_that_redis_is_gone_or_nearly_full() {
    let mut redis = Redis::start(&[]).unwrap();
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config_with(data.path(), &redis)).await;
    let says = async |text: &str| {
        let url = format!("http://{}/readyz", aggregator.http_addr());
        let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
        answer.contains(text)
    };
    until("ready", async || says("ready").await).await;
    redis.command("CONFIG SET maxmemory 1000000").unwrap();
    until("nearly full", async || says("maxmemory").await).await;
    redis.command("CONFIG SET maxmemory 0").unwrap();
    until("ready again", async || says("ready\n").await).await;
    redis.kill().unwrap();
    until("gone", async || says("ask Redis at").await).await;
    redis.revive().unwrap();
    until("back", async || says("ready\n").await).await;
}

/// Waits until the figures are as expected, and stay so.
async fn settled(aggregator: &Aggregator, expected: &Figures) {
    until("the figures are right", async || {
        // While something is applied again, a page's name may not be there yet.
        let metrics = aggregator.metrics();
        let pages = metrics.breakdown(
            super::edge::SITE,
            wakeline_engine::Dimension::Page,
            i64::MIN..i64::MAX,
        );
        pages.await.is_ok() && Figures::of(metrics).await == *expected
    })
    .await;
    assert_eq!(Figures::of(aggregator.metrics()).await, *expected);
}

async fn sample(aggregator: &Aggregator, name: &str) -> u64 {
    let url = format!("http://{}/metrics", aggregator.http_addr());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| {
        line.strip_prefix("wakeline_aggregator_")?
            .strip_prefix(name)?
            .strip_prefix(' ')
    });
    line.unwrap().parse().unwrap()
}

/// Makes `to` what `from` is.
async fn copy(from: &Redis, to: &Redis) {
    let port = from.address().port();
    to.command(&format!("REPLICAOF 127.0.0.1 {port}")).unwrap();
    until("synchronised", async || {
        let answer = to.command("INFO replication").unwrap_or_default();
        answer.contains("master_link_status:up")
    })
    .await;
    to.command("REPLICAOF NO ONE").unwrap();
}
