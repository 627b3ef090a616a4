//! Figures in InfluxDB that are made anew: under a new generation, which readers get once it is complete.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use wakeline_aggregator::Aggregator;
use wakeline_aggregator::admin::{AdminRequest, RebuildRequest};
use wakeline_engine::Grain;
use wakeline_testbed::{Influx, eventually};

use super::{BUCKET, column, config_with, current, expected, rows, sample, scrape, settled};
use crate::edge::{NOON_MS, SITE, Spool, connect, push, start, until};

/// The generations that there are points of, ascending.
async fn generations(influx: &Influx) -> Vec<String> {
    // The index knows deleted tags for some time yet.
    let flux = format!(
        "from(bucket: \"{BUCKET}\") |> range(start: 0) |> filter(fn: (r) => r._field == \"pageviews\") \
         |> group(columns: [\"generation\"]) |> count() |> group()"
    );
    let mut found = column(influx, &flux, "generation").await;
    found.sort();
    found
}

/// Waits until all points are of one generation.
async fn only(influx: &Influx, generation: &str) {
    let limit = Duration::from_secs(30);
    eventually("older generations are deleted", limit, async || {
        let found = generations(influx).await;
        anyhow::ensure!(found == [generation], "{found:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    assert_eq!(current(influx).await, generation);
}

async fn rebuild(aggregator: &Aggregator, what: RebuildRequest) -> Value {
    let request = AdminRequest::Rebuild(what);
    aggregator.admin(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_written_anew_lack_what_should_not_be_there_and_the_old_ones_are_deleted() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    settled(&influx, &aggregator, &expected).await;
    only(&influx, "1").await;

    // Somebody else writes a minute in which nothing happened, and an hour as it was not.
    let (minute, hour) = (NOON_MS / 1000 + 40_000 * 60, NOON_MS / 1000);
    let stray = format!(
        "minute,generation=1,site={SITE} pageviews=5i,row=\"AAAA\" {minute}\n\
         hour,generation=1,site={SITE} pageviews=5i,row=\"\" {hour}\n"
    );
    assert_eq!(influx.write(BUCKET, &stray).await.unwrap(), 204);

    let written = rebuild(&aggregator, RebuildRequest::Metrics).await;
    let windows = expected.minutes.len() + expected.hours.len() + expected.days.len();
    assert_eq!(written["generation"], 2, "{written}");
    assert_eq!(written["windows"], windows, "{written}");
    assert_eq!(current(&influx).await, "2");
    assert_eq!(rows(&influx, Grain::Minute).await, expected.minutes);
    settled(&influx, &aggregator, &expected).await;
    only(&influx, "2").await;
    assert_eq!(sample(&aggregator, "failed_queries_total").await, 0);

    // State that is made anew is written anew.
    rebuild(&aggregator, RebuildRequest::State).await;
    until("a new generation", async || current(&influx).await == "3").await;
    settled(&influx, &aggregator, &expected).await;
    only(&influx, "3").await;

    // The next process goes on with it.
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(&config).await;
    settled(&influx, &aggregator, &expected).await;
    assert_eq!(sample(&aggregator, "lines_total").await, 0);
    only(&influx, "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_keep_the_old_generation_while_influxdb_is_away_and_more_comes_in() {
    let mut influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let mut aggregator = start(&config).await;
    let half = spool.next / 2;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    until("a first generation", async || current(&influx).await == "1").await;
    influx.kill().unwrap();
    // Who asked is told only when readers have it: killed here, as the server is.
    let asked = AdminRequest::Rebuild(RebuildRequest::Metrics);
    let asked = tokio::time::timeout(Duration::from_millis(300), aggregator.admin(asked));
    assert!(asked.await.is_err(), "done without InfluxDB");
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    influx.revive().unwrap();
    until("begun", async || {
        sample(&aggregator, "generation").await == 2
    })
    .await;
    drop(channel);
    drop(aggregator); // as by kill -9
    aggregator = start(&config).await;
    settled(&influx, &aggregator, &expected).await;
    only(&influx, "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_how_far_it_is_and_what_there_is_to_write_to() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config_with(data.path(), &influx);
    let command = || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wakeline-aggregator"));
        command
            .args(["rebuild", "metrics", "--json", "--data"])
            .arg(data.path())
            .env(
                "WAKELINE_LOG__PARTITIONS",
                crate::edge::PARTITIONS.to_string(),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let aggregator = start(&config).await;
    until("a bucket", async || {
        sample(&aggregator, "drained").await == 1
    })
    .await;
    influx.pause().unwrap();
    let mut running = command().spawn().unwrap();
    let mut steps = BufReader::new(running.stderr.take().unwrap()).lines();
    let step = steps.next_line().await.unwrap().unwrap();
    influx.resume().unwrap();
    let step: Value = serde_json::from_str(&step).unwrap();
    assert_eq!(step["step"]["written"], 0, "{step}");
    while steps.next_line().await.unwrap().is_some() {}
    let done = running.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["generation"], 2);
    aggregator.shutdown(Duration::from_secs(10)).await;

    let says = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let stopped = says(command().output().await.unwrap());
    assert!(stopped.contains("needs a running server"), "{stopped}");
    config.metrics.url = None;
    let _aggregator = start(&config).await;
    let without = says(command().output().await.unwrap());
    assert!(without.contains("metrics.url is not set"), "{without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_another_log_is_left_alone() {
    let influx = Influx::start().await.unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(one.path(), &influx)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    settled(&influx, &aggregator, &expected).await;
    let stranger = start(&config_with(other.path(), &influx)).await;
    until("it says whose it is", async || {
        let says = scrape(&stranger, "/readyz").await;
        says.contains("has the figures of another aggregator")
    })
    .await;
    settled(&influx, &aggregator, &expected).await;
    only(&influx, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_deleted_is_made_again_with_everything_in_it() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &influx)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let half = spool.next / 2;
    push(&channel, 7, spool.round(0, half)).await.unwrap();
    until("a start", async || {
        sample(&aggregator, "lines_total").await > 0
    })
    .await;
    influx.delete_bucket(BUCKET).await.unwrap();
    push(&channel, 7, spool.round(half, spool.next))
        .await
        .unwrap();
    settled(&influx, &aggregator, &expected).await;
}
