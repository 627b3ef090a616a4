//! A steady load on Redis and InfluxDB: 10,000 events a second of 100 sites, pushed as a collector does.
//!
//! - lines to InfluxDB per 1,000 events;
//! - from the ack of an event to the answer that has it;
//! - how long it takes until InfluxDB has all that it missed while it stood still.
//!
//! `cargo bench -p wakeline-aggregator --bench stores -- [seconds] [seconds of the outage]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use prost::Message as _;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use wakeline_aggregator::{Aggregator, Config};
use wakeline_engine::Grain;
use wakeline_proto::partition_hash;
use wakeline_proto::v1::ingest_client::IngestClient;
use wakeline_proto::v1::{
    Acquisition, Agent, Block, BlockPayload, Event, EventType, Group, Location, PositionedGroup,
};
use wakeline_testbed::{Influx, Redis};

const PARTITIONS: u64 = 32;
const SITES: u64 = 100;
/// A visit goes on by so many page views in each round that it is part of.
const VIEWS: u64 = 5;
const ROUNDS_PER_SECOND: u64 = 10;
const GROUPS_PER_ROUND: u64 = 10_000 / ROUNDS_PER_SECOND / VIEWS;
/// Visitors of all sites who come again and again.
const VISITORS: u64 = 200_000;
/// Between two probes of freshness.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// The site of the probes.
const PROBED: u64 = SITES + 1;
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut given = std::env::args().filter_map(|argument| argument.parse().ok());
    let seconds = given.next().unwrap_or(180);
    let outage = Duration::from_secs(given.next().unwrap_or(60));
    let (redis, influx) = (Redis::start(&[])?, Influx::start().await?);
    let data = tempfile::tempdir()?;
    let mut config = Config {
        data: data.path().to_owned(),
        ..Config::default()
    };
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    config.state.url = Some(redis.url());
    config.metrics.url = Some(influx.url());
    config.metrics.token = Some(influx.token().to_owned());
    let aggregator = Aggregator::start(config).await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", aggregator.grpc_addr()))?;
    let channel = endpoint.connect().await?;

    let end = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(channel.clone(), Arc::clone(&end)));
    tokio::time::sleep(Duration::from_secs(10)).await; // caches fill
    let before = samples(&aggregator).await?;
    let mut times = probe(&aggregator, channel.clone(), Duration::from_secs(seconds)).await?;
    let after = samples(&aggregator).await?;
    let events = after.events - before.events;
    let lines = after.lines - before.lines;
    println!(
        "{events} events in {seconds} s, {:.0} a second: {lines} lines, {:.1} per 1,000 events",
        events as f64 / seconds as f64,
        lines as f64 * 1_000.0 / events as f64
    );
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "from ack to answer, {} probes: p50 {:.0?}, p99 {:.0?}, slowest {:.0?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );

    influx.pause()?;
    tokio::time::sleep(outage).await;
    let behind = samples(&aggregator).await?;
    influx.resume()?;
    let begun = Instant::now();
    while samples(&aggregator).await?.behind > 0 {
        if begun.elapsed() > LIMIT {
            bail!("InfluxDB is behind after {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "InfluxDB stood still for {outage:?}, {} windows waited: all written {:.1?} after it went on",
        behind.waiting,
        begun.elapsed()
    );
    end.store(true, Ordering::Release);
    let worst = load.await??;
    println!("the slowest round of the load was acknowledged after {worst:.0?}");
    aggregator.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// What the server tells of itself.
struct Samples {
    events: u64,
    lines: u64,
    waiting: u64,
    behind: u64,
}

async fn samples(aggregator: &Aggregator) -> anyhow::Result<Samples> {
    let url = format!("http://{}/metrics", aggregator.http_addr());
    let text = reqwest::get(url).await?.text().await?;
    let sample = |name: &str| {
        let name = format!("wakeline_aggregator_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name)?.parse().ok())
            .with_context(|| format!("no {name}"))
    };
    Ok(Samples {
        events: sample("events_counted_total")?,
        lines: sample("influx_lines_total")?,
        waiting: sample("influx_pending_windows")?,
        behind: sample("influx_behind_seconds")?,
    })
}

/// Pushes rounds at a steady rate until `end`; gives the longest wait for an ack.
async fn load(channel: Channel, end: Arc<AtomicBool>) -> anyhow::Result<Duration> {
    let mut every = tokio::time::interval(Duration::from_millis(1_000 / ROUNDS_PER_SECOND));
    let (mut position, mut number, mut worst) = (0, 0, Duration::ZERO);
    while !end.load(Ordering::Acquire) {
        every.tick().await;
        let groups: Vec<Group> = (number..number + GROUPS_PER_ROUND)
            .map(|number| {
                let site = 1 + number % SITES;
                group(
                    site,
                    number.wrapping_mul(0x9e37_79b9) % VISITORS,
                    number,
                    VIEWS,
                )
            })
            .collect();
        number += GROUPS_PER_ROUND;
        let begun = Instant::now();
        push(&channel, 1, &mut position, groups).await?;
        worst = worst.max(begun.elapsed());
    }
    Ok(worst)
}

/// Sends an event now and then, and waits for the answer that has it.
async fn probe(
    aggregator: &Aggregator,
    channel: Channel,
    lasts: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let (mut position, mut times) = (0, Vec::new());
    let begun = Instant::now();
    let mut every = tokio::time::interval(PROBE_EVERY);
    while begun.elapsed() < lasts {
        every.tick().await;
        let number = position;
        push(
            &channel,
            2,
            &mut position,
            vec![group(PROBED, 0, number, 1)],
        )
        .await?;
        let acked = Instant::now();
        loop {
            let found = aggregator.metrics();
            let found = found.totals(PROBED, Grain::Day, i64::MIN..i64::MAX);
            let seen: i64 = found.await?.iter().map(|(_, row)| row.pageviews).sum();
            if seen as u64 >= position {
                break;
            }
            if acked.elapsed() > LIMIT {
                bail!("{seen} of {position} probes are in the answer");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        times.push(acked.elapsed());
    }
    Ok(times)
}

/// Pushes groups as one round of an edge, and waits for the ack.
async fn push(
    channel: &Channel,
    edge: u64,
    position: &mut u64,
    groups: Vec<Group>,
) -> anyhow::Result<()> {
    let mut partitions: BTreeMap<u64, (BlockPayload, u64)> = BTreeMap::new();
    for group in groups {
        let partition = partition_hash(group.site, &group.visitor) % PARTITIONS;
        let (payload, events) = partitions.entry(partition).or_default();
        payload.groups.push(PositionedGroup {
            position: *position,
            group: group.encode_to_vec().into(),
        });
        *position += group.events.len() as u64;
        *events += group.events.len() as u64;
    }
    let mut blocks = Vec::new();
    for (partition, (payload, events)) in partitions {
        let bytes = zstd::bulk::compress(&payload.encode_to_vec(), 1)?;
        let last = payload.groups.last().context("a group")?;
        let size = Group::decode(last.group.clone())?.events.len() as u64;
        blocks.push(Block {
            partition: partition as u32,
            partitions: PARTITIONS as u32,
            first_position: payload.groups[0].position,
            last_position: last.position + size - 1,
            events: events as u32,
            crc: crc32c::crc32c(&bytes),
            payload: bytes.into(),
            ..Block::default()
        });
    }
    blocks.last_mut().context("a block")?.complete_to = *position;
    let mut request = Request::new(tokio_stream::iter(blocks));
    let id = format!("{edge:016x}").parse()?;
    request.metadata_mut().insert("wakeline-edge", id);
    let mut acks = IngestClient::new(channel.clone())
        .push(request)
        .await?
        .into_inner();
    while acks.message().await?.is_some() {}
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Page views of a visitor, the last one now.
fn group(site: u64, visitor: u64, stream: u64, views: u64) -> Group {
    let now = now_ms();
    let events = (0..views).map(|seq| Event {
        stream: stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        seq,
        time: now - (views - 1 - seq) * 300,
        r#type: EventType::PageView.into(),
        hostname: format!("shop-{site}.example"),
        path: format!("/products/{}", (stream * 7 + seq * 13) % 500),
        acquisition: visitor.is_multiple_of(3).then(|| Acquisition {
            channel: 1,
            source: format!("Search {}", visitor % 40),
            utm_campaign: format!("campaign {}", visitor % 200),
            ..Acquisition::default()
        }),
        ..Event::default()
    });
    Group {
        site,
        visitor: format!("{visitor:032x}"),
        received_at: now,
        events: events.collect(),
        agent: Some(Agent {
            device: 1 + visitor as u32 % 2,
            browser: 2 + visitor as u32 % 5,
            os: 2 + visitor as u32 % 6,
            ..Agent::default()
        }),
        location: Some(Location {
            country: ["DE", "FR", "US", "IN"][visitor as usize % 4].into(),
            ..Location::default()
        }),
        ..Group::default()
    }
}
