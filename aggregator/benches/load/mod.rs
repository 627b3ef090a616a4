//! A log full of visits.

use std::path::Path;

use anyhow::Context as _;
use prost::Message as _;
use wakeline_aggregator::log::{EventLog as _, SegmentEventLog};
use wakeline_proto::partition_hash;
use wakeline_proto::v1::{
    Acquisition, Agent, Block, BlockPayload, Event, EventType, Group, Location, PositionedGroup,
};

/// As by default.
const PARTITIONS: u64 = 32;
const START_MS: u64 = 1_790_000_000_000;

/// Appends visits of so many events each; returns the bytes of all payloads.
pub(crate) async fn fill(
    dir: &Path,
    segment_bytes: u64,
    groups: u64,
    events: u64,
    groups_per_round: u64,
) -> anyhow::Result<usize> {
    let log = SegmentEventLog::open(dir, segment_bytes)?;
    let mut bytes = 0;
    for begin in (0..groups).step_by(groups_per_round as usize) {
        let mut partitions: Vec<BlockPayload> = Vec::new();
        partitions.resize_with(PARTITIONS as usize, BlockPayload::default);
        for number in begin..groups.min(begin + groups_per_round) {
            let group = visit(number, events);
            let partition = partition_hash(group.site, &group.visitor) % PARTITIONS;
            partitions[partition as usize].groups.push(PositionedGroup {
                position: number * events,
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
                last_position: last.position + events - 1,
                events: payload.groups.len() as u32 * events as u32,
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

/// A visit of a visitor of its own, some time in an hour of a day.
fn visit(number: u64, events: u64) -> Group {
    let begin = START_MS + number * 180 % 3_600_000;
    let events = (0..events).map(|seq| {
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

/// Bytes of all files below a folder.
pub(crate) fn size(dir: &Path) -> std::io::Result<u64> {
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
