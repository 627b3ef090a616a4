//! An InfluxDB that is away, busy, full, misconfigured, or will not have something: it is said what is wrong, writing backs
//! off, nothing is lost, and all of it drains by itself.

use std::path::Path;
use std::time::Duration;

use wakeline_aggregator::{Aggregator, Config};
use wakeline_engine::Grain;
use wakeline_testbed::{Influx, eventually};

use super::front::{Fault, Front};
use super::{BUCKET, config_with, expected, rows, sample, scrape, settled};
use crate::edge::{Figures, Spool, connect, push, start, until};

/// Waits until readiness, the status and `/metrics` say that figures can't be written, and why.
async fn says(aggregator: &Aggregator, why: &str) {
    until(why, async || {
        scrape(aggregator, "/readyz").await.contains(why)
    })
    .await;
    let (_, token) = aggregator.control().create_token("test").unwrap();
    let url = format!("http://{}/api/v1/status", aggregator.http_addr());
    let status = reqwest::Client::new().get(url).bearer_auth(token).send();
    let status: serde_json::Value = status.await.unwrap().json().await.unwrap();
    let metrics = &status["metrics"];
    let trouble = metrics["write_trouble"].as_str().unwrap_or_default();
    assert!(trouble.contains(why), "{status}");
    assert!(metrics["behind_since_ms"].is_number(), "{status}");
    assert_eq!(sample(aggregator, "failing").await, 1);
}

/// An aggregator that gets everything while something is wrong, says `why`, and is not asked to do anything about it:
/// `mend` does.
async fn everything_is_there_once_it_is_mended(
    influx: &Influx,
    config: &Config,
    why: &str,
    mend: impl AsyncFnOnce(),
) {
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    says(&aggregator, why).await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    mend().await;
    settled(influx, &aggregator, &expected).await;
    assert_eq!(scrape(&aggregator, "/readyz").await, "ready\n");
    assert_eq!(sample(&aggregator, "behind_seconds").await, 0);
    assert_eq!(sample(&aggregator, "quarantined_lines_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_influxdb_that_is_killed_under_load_gets_everything_when_it_is_back() {
    let mut influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    // It need not be there at the start.
    influx.kill().unwrap();
    let mut aggregator = start(&config).await;
    until("it says so", async || {
        scrape(&aggregator, "/readyz")
            .await
            .contains("reach InfluxDB")
    })
    .await;
    let parts = 6;
    for part in 0..parts {
        let channel = connect(aggregator.grpc_addr()).await;
        let step = spool.next / parts + 1;
        let round = spool.round(part * step, (part + 1) * step);
        push(&channel, 7, round).await.unwrap();
        // Reports go on meanwhile.
        let figures = Figures::of(aggregator.metrics()).await;
        assert!(figures.total().events > 0);
        match part {
            0 | 3 => influx.revive().unwrap(),
            1 => {
                until("something is written", async || {
                    sample(&aggregator, "lines_total").await > 0
                })
                .await;
            }
            2 => influx.kill().unwrap(),
            4 => {
                drop(channel);
                drop(aggregator); // as by kill -9
                aggregator = start(&config).await;
            }
            _ => {}
        }
    }
    settled(&influx, &aggregator, &expected).await;
    assert!(!scrape(&aggregator, "/readyz").await.contains("InfluxDB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_named_and_nothing_is_lost() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let right = config_with(data.path(), &influx);
    let mut wrong = right.clone();
    wrong.metrics.token = Some("wrong".into());
    let aggregator = start(&wrong).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    until("it says what to do", async || {
        scrape(&aggregator, "/readyz")
            .await
            .contains("metrics.token (401)")
    })
    .await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(&right).await;
    settled(&influx, &aggregator, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_another_type_is_quarantined_and_the_others_are_written() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    // The bucket has to be there for somebody else to have been wrong in it.
    let aggregator = start(&config_with(data.path(), &influx)).await;
    let noon = crate::edge::NOON_MS / 1000;
    until("a bucket", async || {
        let lines = format!("hour,site=9 visits=1.5 {noon}\n");
        influx.write(BUCKET, &lines).await.unwrap() == 204
    })
    .await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    // Days, and minutes that are over, are written once a minute.
    eventually(
        "all but hours is written, and those are refused",
        Duration::from_secs(90),
        async || {
            let written = rows(&influx, Grain::Minute).await == expected.minutes
                && rows(&influx, Grain::Day).await == expected.days;
            let refused = sample(&aggregator, "quarantined_lines_total").await;
            Ok((written && refused == expected.hours.len() as u64).then_some(()))
        },
    )
    .await
    .unwrap();
    let file = data.path().join("quarantine/influxdb.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("field type conflict"), "{text}");
    // What InfluxDB will not have, the state answers.
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_influxdb_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let front = Front::start(&influx).await;
    let config = through(&front, data.path(), &influx);
    for (status, words) in [(429, "org over its limit"), (503, "engine is starting")] {
        front.fault(Fault::answer(status, words, Some(2)));
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            data: data.path().to_owned(),
            ..config.clone()
        };
        let why = format!("({status}): {words}");
        everything_is_there_once_it_is_mended(&influx, &config, &why, async || {
            until("a second write", async || front.writes().len() >= 2).await;
            let writes = front.writes();
            let pause = writes[1] - writes[0];
            assert!(pause >= Duration::from_secs(2), "{pause:?}");
            front.mend();
        })
        .await;
        influx.delete_bucket(BUCKET).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_back_off_further_and_further_while_influxdb_fails_without_a_word() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let front = Front::start(&influx).await;
    front.fault(Fault::answer(500, "something", None));
    let config = through(&front, data.path(), &influx);
    everything_is_there_once_it_is_mended(&influx, &config, "(500): something", async || {
        until("four writes", async || front.writes().len() >= 4).await;
        let writes = front.writes();
        let pauses: Vec<Duration> = writes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            pauses[0] >= Duration::from_secs(1) && pauses[2] >= Duration::from_secs(4),
            "{pauses:?}"
        );
        front.mend();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_made_but_never_answered_is_made_again_and_counts_once() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let front = Front::start(&influx).await;
    front.fault(Fault::Swallow);
    let config = through(&front, data.path(), &influx);
    everything_is_there_once_it_is_mended(&influx, &config, "reach InfluxDB", async || {
        front.mend();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_influxdb_that_stands_still_is_waited_for() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    influx.pause().unwrap();
    everything_is_there_once_it_is_mended(&influx, &config, "reach InfluxDB", async || {
        influx.resume().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_influxdb_whose_files_cannot_grow_gets_everything_once_they_can() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    // The bucket first: without room it could not be made, either.
    let aggregator = start(&config).await;
    until("a bucket", async || {
        sample(&aggregator, "drained").await == 1
    })
    .await;
    aggregator.shutdown(Duration::from_secs(10)).await;
    influx.fill_disk(true).unwrap();
    everything_is_there_once_it_is_mended(&influx, &config, "file too large", async || {
        influx.fill_disk(false).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_a_bucket_keeps_is_answered_by_the_state_and_nobody_is_alarmed() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config_with(data.path(), &influx)).await;
    let channel = connect(aggregator.grpc_addr()).await;
    until("a bucket", async || {
        sample(&aggregator, "drained").await == 1
    })
    .await;
    // The aggregator takes it to keep everything; writes are answered 422 now.
    influx.set_retention(BUCKET, 3600).await.unwrap();
    push(&channel, 7, spool.blocks()).await.unwrap();
    until("a new look at the bucket", async || {
        sample(&aggregator, "generation").await == 2 && sample(&aggregator, "drained").await == 1
    })
    .await;
    assert_eq!(Figures::of(aggregator.metrics()).await, expected);
    assert!(rows(&influx, Grain::Minute).await.is_empty());
    assert_eq!(sample(&aggregator, "quarantined_lines_total").await, 0);
    assert_eq!(scrape(&aggregator, "/readyz").await, "ready\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_is_not_there_is_named() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config_with(data.path(), &influx);
    config.metrics.org = "nobody".into();
    let aggregator = start(&config).await;
    says(&aggregator, "no organisation nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_and_may_not_be_made_is_named() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config_with(data.path(), &influx);
    config.metrics.token = Some(influx.make_token(&["read"]).await.unwrap());
    let why = "make buckets of its organisation";
    let aggregator = start(&config).await;
    says(&aggregator, why).await;
}

fn through(front: &Front, data: &Path, influx: &Influx) -> Config {
    let mut config = config_with(data, influx);
    config.metrics.url = Some(front.url());
    config
}
