//! From log to committed state: events a second, with one worker and with one per core.
//!
//! `cargo bench -p wakeline-aggregator --bench process -- [redis] [events] [groups per round]`
//!
//! With `redis` the state is in a Redis server on this machine.

use std::time::{Duration, Instant};

use wakeline_aggregator::{Aggregator, Config};
use wakeline_testbed::Redis;

use self::load::{fill, size};

mod load;

const EVENTS_PER_GROUP: u64 = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let events = numbers.next().unwrap_or(200_000);
    // What a collector forwards in one round: few when events trickle in, many when it has been waiting.
    let groups_per_round = numbers.next().unwrap_or(1000);
    let in_redis = std::env::args().any(|argument| argument == "redis");
    for workers in [1, 0] {
        let data = tempfile::tempdir()?;
        let mut config = Config {
            data: data.path().to_owned(),
            workers,
            ..Config::default()
        };
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        let redis = in_redis.then(|| Redis::start(&[])).transpose()?;
        config.state.url = redis.as_ref().map(Redis::url);
        let empty = redis.as_ref().map(memory).transpose()?;
        let bytes = fill(
            &data.path().join("log/segments"),
            config.log.segment_bytes,
            events / EVENTS_PER_GROUP,
            EVENTS_PER_GROUP,
            groups_per_round,
        )
        .await?;
        let begun = Instant::now();
        let aggregator = Aggregator::start(config).await?;
        loop {
            let at = aggregator.metrics().watermark();
            if at.applied == at.log_end {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        aggregator.shutdown(Duration::from_secs(10)).await;
        let per_second = events as f64 / took.as_secs_f64();
        let state = match (&redis, empty) {
            (Some(redis), Some(empty)) => memory(redis)?.saturating_sub(empty),
            _ => size(&data.path().join("state"))?,
        };
        let state = state as f64 / events as f64;
        let log = bytes as f64 / events as f64;
        println!(
            "workers {workers} (0: one per core): {events} events in {took:.2?}, {per_second:.0} events/s; \
             bytes per event: log {log:.1}, state {state:.1}"
        );
    }
    Ok(())
}

fn memory(redis: &Redis) -> anyhow::Result<u64> {
    redis.info("used_memory")
}
