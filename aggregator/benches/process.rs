//! From log to committed state: events a second, with one worker and with one per core.
//!
//! `cargo bench -p wakeline-aggregator --bench process -- [redis] [events] [groups per round]`
//!
//! With `redis` the state is in a Redis server on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost::Message as _;
use wakeline_aggregator::log::{EventLog as _, SegmentEventLog};
use wakeline_aggregator::{Aggregator, Config};
use wakeline_proto::partition_hash;
use wakeline_proto::v1::{
    Acquisition, Agent, Block, BlockPayload, Event, EventType, Group, Location, PositionedGroup,
};
use wakeline_testbed::Redis;

const PARTITIONS: u64 = 32;
const EVENTS_PER_GROUP: u64 = 10;
const START_MS: u64 = 1_790_000_000_000;

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

/// Appends visits of ten page views; returns the bytes of all payloads.
async fn fill(
    dir: &Path,
    segment_bytes: u64,
    groups: u64,
    groups_per_round: u64,
) -> anyhow::Result<usize> {
    let log = SegmentEventLog::open(dir, segment_bytes)?;
    let mut bytes = 0;
    for begin in (0..groups).step_by(groups_per_round as usize) {
        let mut partitions: Vec<BlockPayload> = Vec::new();
        partitions.resize_with(PARTITIONS as usize, BlockPayload::default);
        for number in begin..groups.min(begin + groups_per_round) {
            let group = visit(number);
            let partition = partition_hash(group.site, &group.visitor) % PARTITIONS;
            partitions[partition as usize].groups.push(PositionedGroup {
                position: number * EVENTS_PER_GROUP,
                group: group.encode_to_vec().into(),
            });
        }
        let mut appends = Vec::new();
        for (partition, payload) in (0..).zip(partitions) {
            let Some(last) = payload.groups.last() else {
                continue;
            };
            let block = Block {
                partition,
                partitions: PARTITIONS as u32,
                first_position: payload.groups[0].position,
                last_position: last.position + EVENTS_PER_GROUP - 1,
                events: payload.groups.len() as u32 * EVENTS_PER_GROUP as u32,
                payload: zstd::bulk::compress(&payload.encode_to_vec(), 1)?.into(),
                ..Block::default()
            };
            bytes += block.payload.len();
            appends.push(log.append(1, block));
        }
        for append in appends {
            append.await.context("append")?;
        }
    }
    log.close().await;
    Ok(bytes)
}

/// The visits of the benchmark: 10 events of a visitor, spread over an hour of a day.
fn visit(number: u64) -> Group {
    let begin = START_MS + number * 180 % 3_600_000;
    let events = (0..EVENTS_PER_GROUP).map(|seq| {
        let page = number * 7 + seq * 13;
        Event {
            stream: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            seq,
            time: begin + seq * 7_000,
            r#type: if seq % 3 == 2 {
                EventType::Click.into()
            } else {
                EventType::PageView.into()
            },
            hostname: "shop.example".into(),
            path: format!("/products/{}", page % 500),
            referrer: "https://search.example/".into(),
            title: "Something to buy".into(),
            acquisition: number.is_multiple_of(3).then(|| Acquisition {
                channel: 1,
                source: format!("Search {}", number % 40),
                utm_campaign: format!("campaign {}", number % 200),
                ..Acquisition::default()
            }),
            ..Event::default()
        }
    });
    Group {
        site: 1,
        visitor: format!(
            "{:032x}",
            u128::from(number) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835
        ),
        received_at: begin + 100_000,
        events: events.collect(),
        agent: Some(Agent {
            device: 1 + number as u32 % 2,
            browser: 2 + number as u32 % 5,
            os: 2 + number as u32 % 6,
            ..Agent::default()
        }),
        location: Some(Location {
            country: ["DE", "FR", "US", "IN"][number as usize % 4].into(),
            ..Location::default()
        }),
        ..Group::default()
    }
}

fn memory(redis: &Redis) -> anyhow::Result<u64> {
    redis.info("used_memory")
}

fn size(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}
