//! A collector's half of the protocol, and an aggregator to push to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Request, Status};
use wakeline_aggregator::metrics::{MetricStore, ValueRow};
use wakeline_aggregator::{Aggregator, Config};
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_proto::partition_hash;
use wakeline_proto::v1::ingest_client::IngestClient;
use wakeline_proto::v1::{
    Acquisition, Agent, Block, BlockPayload, Event, EventType, Group, Location, PositionedGroup,
};

/// The site of all events here.
pub(crate) const SITE: u64 = 1;
/// Noon of a day, UTC.
pub(crate) const NOON_MS: u64 = 20_000 * 86_400_000 + 43_200_000;
/// Partitions of the aggregators here.
pub(crate) const PARTITIONS: u32 = 4;

/// A configuration on free ports that keeps everything in `data`.
pub(crate) fn config(data: &Path) -> Config {
    let mut config = Config {
        data: data.to_owned(),
        workers: 2,
        ..Config::default()
    };
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    config.log.partitions = u16::try_from(PARTITIONS).unwrap().try_into().unwrap();
    config
}

/// Starts an aggregator, waiting for the end of an earlier one of the same folder that was dropped.
pub(crate) async fn start(config: &Config) -> Aggregator {
    let begun = std::time::Instant::now();
    loop {
        match Aggregator::start(config.clone()).await {
            Ok(aggregator) => return aggregator,
            Err(error) if begun.elapsed() > Duration::from_secs(10) => panic!("{error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until `done`.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let begun = std::time::Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything about the site and its pages, once all that is in the log is applied.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) minutes: Vec<(i64, Row)>,
    pub(crate) hours: Vec<(i64, Row)>,
    pub(crate) days: Vec<(i64, Row)>,
    /// Of every dimension that breaks the site down.
    pub(crate) values: BTreeMap<Dimension, Vec<ValueRow>>,
}

impl Figures {
    pub(crate) async fn of(metrics: &Arc<dyn MetricStore>) -> Self {
        until("the log is applied", async || {
            let at = metrics.watermark();
            at.applied == at.log_end
        })
        .await;
        let totals = |grain| metrics.totals(SITE, grain, i64::MIN..i64::MAX);
        let mut values = BTreeMap::new();
        for dimension in &Dimension::ALL[1..] {
            let rows = metrics.breakdown(SITE, *dimension, i64::MIN..i64::MAX);
            values.insert(*dimension, rows.await.unwrap());
        }
        Self {
            minutes: totals(Grain::Minute).await.unwrap(),
            hours: totals(Grain::Hour).await.unwrap(),
            days: totals(Grain::Day).await.unwrap(),
            values,
        }
    }

    /// The sum of all days.
    pub(crate) fn total(&self) -> Row {
        let mut total = Row::default();
        for (_, row) in &self.days {
            total.add(row);
        }
        total
    }
}

/// A visit of `views` page views, a second apart, by an SDK.
pub(crate) fn visit(visitor: u64, views: u64) -> Group {
    let events = (0..views).map(|seq| Event {
        stream: visitor + 1,
        seq,
        time: NOON_MS + visitor * 1000 + seq * 1000,
        r#type: EventType::PageView.into(),
        hostname: "shop.example".into(),
        path: format!("/{}", seq % 5),
        acquisition: Some(Acquisition {
            channel: 1,
            source: "Google".into(),
            ..Acquisition::default()
        }),
        ..Event::default()
    });
    Group {
        site: SITE,
        visitor: format!("visitor-{visitor}"),
        received_at: NOON_MS + 3_600_000,
        events: events.collect(),
        agent: Some(Agent {
            device: 1,
            browser: 2,
            browser_version: "141".into(),
            os: 2,
            os_version: "11".into(),
        }),
        location: Some(Location {
            country: "DE".into(),
            ..Location::default()
        }),
        ..Group::default()
    }
}

/// Groups with their places in a spool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spool {
    pub(crate) groups: Vec<(u64, Group)>,
    pub(crate) next: u64,
}

impl Spool {
    pub(crate) fn of(groups: impl IntoIterator<Item = Group>) -> Self {
        let mut spool = Self::default();
        for group in groups {
            spool.put(group);
        }
        spool
    }

    /// Visitors who come again and again; no event is a copy of another, which would make up for a loss.
    pub(crate) fn without_copies() -> Self {
        Self::of((0..4000).map(|number| {
            let mut group = visit(number % 700, number % 5 + 1);
            for event in &mut group.events {
                event.stream = number + 1;
                event.time += number / 700 * 300_000;
            }
            group
        }))
    }

    pub(crate) fn put(&mut self, group: Group) {
        let position = self.next;
        self.next += positions(&group);
        self.groups.push((position, group));
    }

    /// One round: the blocks of the groups that begin in `from..to`.
    pub(crate) fn round(&self, from: u64, to: u64) -> Vec<Block> {
        let mut partitions: BTreeMap<u32, Vec<&(u64, Group)>> = BTreeMap::new();
        let mut complete_to = from;
        for positioned in &self.groups {
            let (position, group) = positioned;
            if (from..to).contains(position) {
                let hash = partition_hash(group.site, &group.visitor);
                let partition = (hash % u64::from(PARTITIONS)) as u32;
                partitions.entry(partition).or_default().push(positioned);
                complete_to = position + positions(group);
            }
        }
        let mut blocks: Vec<Block> = partitions
            .into_iter()
            .map(|(partition, groups)| block(partition, &groups))
            .collect();
        if let Some(last) = blocks.last_mut() {
            last.complete_to = complete_to;
        }
        blocks
    }

    /// All of it in one round.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.round(0, self.next)
    }
}

/// Spool positions that a group takes.
fn positions(group: &Group) -> u64 {
    (group.events.len() + group.rejected.len() + group.tallies.len()) as u64
}

fn block(partition: u32, groups: &[&(u64, Group)]) -> Block {
    let count = |of: fn(&Group) -> usize| groups.iter().map(|(_, group)| of(group)).sum::<usize>();
    let events = count(|group| group.events.len());
    let rejected = count(|group| group.rejected.len());
    let (last, last_group) = groups[groups.len() - 1];
    let payload = BlockPayload {
        groups: groups
            .iter()
            .map(|(position, group)| PositionedGroup {
                position: *position,
                group: group.encode_to_vec().into(),
            })
            .collect(),
    };
    let size = positions(last_group);
    seal(Block {
        partition,
        partitions: PARTITIONS,
        first_position: groups[0].0,
        last_position: last + size - 1,
        events: events as u32,
        rejected: rejected as u32,
        tallies: count(|group| group.tallies.len()) as u32,
        tallied: groups
            .iter()
            .flat_map(|(_, group)| &group.tallies)
            .map(|tally| tally.count)
            .sum(),
        payload: zstd::bulk::compress(&payload.encode_to_vec(), 1)
            .unwrap()
            .into(),
        ..Block::default()
    })
}

/// Makes the checksum right.
pub(crate) fn seal(mut block: Block) -> Block {
    block.crc = crc32c::crc32c(&block.payload);
    block
}

/// A connection to an aggregator.
pub(crate) async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// A stream's metadata.
pub(crate) fn as_edge<T>(edge: u64, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = format!("{edge:016x}").parse().unwrap();
    request.metadata_mut().insert("wakeline-edge", id);
    request
}

/// Pushes blocks on a stream of their own, and returns the positions acknowledged.
pub(crate) async fn push(
    channel: &Channel,
    edge: u64,
    blocks: Vec<Block>,
) -> Result<Vec<u64>, Status> {
    let mut positions = Vec::new();
    push_with(channel, edge, blocks, |position| positions.push(position)).await?;
    Ok(positions)
}

/// Pushes blocks on a stream of their own, and tells each position as it is acknowledged.
pub(crate) async fn push_with(
    channel: &Channel,
    edge: u64,
    blocks: Vec<Block>,
    mut acked: impl FnMut(u64),
) -> Result<(), Status> {
    let mut client = IngestClient::new(channel.clone());
    let mut acks = client
        .push(as_edge(edge, tokio_stream::iter(blocks)))
        .await?
        .into_inner();
    while let Some(ack) = acks.message().await? {
        acked(ack.position);
    }
    Ok(())
}
