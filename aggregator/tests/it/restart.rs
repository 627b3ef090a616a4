//! Stops, crashes and lost state: the figures stay what they were.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wakeline_aggregator::{Aggregator, StartError};

use super::edge::{Figures, Spool, config, connect, push, push_with, start, until, visit};

#[tokio::test]
async fn figures_survive_stops_and_drops_and_blocks_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let spool = Spool::of((0..200).map(|visitor| visit(visitor % 90, visitor % 4 + 1)));
    let mut before = None;
    for gently in [true, false, false, true] {
        let aggregator = start(&config).await;
        if let Some(before) = &before {
            assert_eq!(Figures::of(aggregator.metrics()).await, *before);
        }
        let channel = connect(aggregator.grpc_addr()).await;
        assert_eq!(
            push(&channel, 7, spool.blocks()).await.unwrap(),
            [spool.next]
        );
        let figures = Figures::of(aggregator.metrics()).await;
        assert_eq!(figures.total().visits, 90);
        assert_eq!(aggregator.metrics().watermark().log_end, 4, "logged once");
        before = Some(figures);
        drop(channel);
        if gently {
            aggregator.shutdown(Duration::from_secs(10)).await;
        } else {
            drop(aggregator);
        }
    }
}

#[tokio::test]
async fn a_deleted_state_is_rebuilt_from_the_log() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..300).map(|visitor| visit(visitor * 7 % 60, visitor % 9 + 1)));
    for from in (0..spool.next).step_by(100) {
        push(&channel, 7, spool.round(from, from + 100))
            .await
            .unwrap();
    }
    drop(channel);
    let before = Figures::of(aggregator.metrics()).await;
    let stamp = aggregator.metrics().watermark().at_ms;
    aggregator.shutdown(Duration::from_secs(10)).await;
    std::fs::remove_dir_all(data.path().join("state")).unwrap();

    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
    assert_eq!(aggregator.metrics().watermark().at_ms, stamp);
    // What is in the log is known from it: it is not logged again.
    let end = aggregator.metrics().watermark().log_end;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    assert_eq!(aggregator.metrics().watermark().log_end, end);
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
}

#[tokio::test]
async fn a_damaged_state_is_refused_with_what_to_do_and_doing_that_rebuilds_it() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path());
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..50).map(|visitor| visit(visitor, 3)));
    push(&channel, 7, spool.blocks()).await.unwrap();
    drop(channel);
    let before = Figures::of(aggregator.metrics()).await;
    aggregator.shutdown(Duration::from_secs(10)).await;
    let state = data.path().join("state");
    overwrite(&state);

    let refused = Aggregator::start(config.clone()).await.map(drop);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StartError::State(..)), "{refused:?}");
    let says = refused.to_string();
    assert!(says.contains(state.to_str().unwrap()), "{says}");
    assert!(says.contains("rebuilds it from the log"), "{says}");

    std::fs::rename(&state, data.path().join("damaged")).unwrap();
    let aggregator = start(&config).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, before);
}

/// Damages all files of a folder.
fn overwrite(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            overwrite(&path);
        } else {
            let length = std::fs::metadata(&path).unwrap().len().min(4096);
            std::fs::write(&path, vec![0xA5; length as usize]).unwrap();
        }
    }
}

#[tokio::test]
async fn the_number_of_partitions_is_fixed_with_the_log() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    start(&config).await.shutdown(Duration::from_secs(10)).await;
    config.log.partitions = 5.try_into().unwrap();
    let refused = Aggregator::start(config).await.map(drop).unwrap_err();
    assert!(
        matches!(refused, StartError::Partitions { configured: 5, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_second_aggregator_on_the_same_folder_exits_with_3() {
    let data = tempfile::tempdir().unwrap();
    let _aggregator = start(&config(data.path())).await;
    let second = command(data.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let says = String::from_utf8_lossy(&second.stderr);
    assert!(says.contains("in use"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_counted_twice_when_killed_under_load() {
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = {
        let calm = tempfile::tempdir().unwrap();
        let aggregator = start(&config(calm.path())).await;
        let channel = connect(aggregator.grpc_addr()).await;
        push(&channel, 7, spool.blocks()).await.unwrap();
        Figures::of(aggregator.metrics()).await
    };
    let acked = Arc::new(AtomicU64::new(0));
    let mut kills = 0;
    while acked.load(Ordering::Relaxed) < spool.next {
        let (mut server, address) = spawn(data.path());
        let pushing = tokio::spawn(push_on(spool.clone(), address, Arc::clone(&acked)));
        let from = acked.load(Ordering::Relaxed);
        // Each life gets a part of the way, then it is killed in the middle of work.
        until("some progress", async || {
            acked.load(Ordering::Relaxed) >= (from + spool.next / 8).min(spool.next)
        })
        .await;
        server.kill().unwrap();
        server.wait().unwrap();
        pushing.await.unwrap();
        kills += 1;
    }
    assert!(kills >= 3, "killed {kills} times");
    let aggregator = start(&config(data.path())).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

/// Pushes the spool from the last acknowledged position on, in small rounds, until the stream breaks.
async fn push_on(spool: Spool, address: SocketAddr, acked: Arc<AtomicU64>) {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let Ok(channel) = endpoint.connect().await else {
        return;
    };
    let mut step = 37;
    loop {
        let from = acked.load(Ordering::Relaxed);
        if from >= spool.next {
            return;
        }
        // Borders differ from those of the life before.
        step = step % 101 + 13;
        let rounds = [0, 1, 2, 3, 4, 5, 6, 7].map(|round| {
            let from = from + round * step;
            spool.round(from, from + step)
        });
        let progress = |position| acked.store(position, Ordering::Relaxed);
        if push_with(&channel, 7, rounds.concat(), progress)
            .await
            .is_err()
        {
            return;
        }
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeline-aggregator"));
    command
        .arg("serve")
        .env("RUST_LOG", "error")
        .env("WAKELINE_DATA", data)
        .env(
            "WAKELINE_LOG__PARTITIONS",
            super::edge::PARTITIONS.to_string(),
        )
        .env("WAKELINE_HTTP__LISTEN", "127.0.0.1:0")
        .env("WAKELINE_GRPC__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null());
    command
}

/// Starts the binary; returns where it takes blocks.
fn spawn(data: &Path) -> (Child, SocketAddr) {
    let mut server = command(data).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        if let Some(address) = line.strip_prefix("collectors push to: http://") {
            return (server, address.trim().parse().unwrap());
        }
    }
    panic!("the server said nothing: {:?}", server.wait());
}
