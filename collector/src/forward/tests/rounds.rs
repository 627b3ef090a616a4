use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use wakeline_proto::limits::MAX_BLOCK_BYTES;
use wakeline_proto::v1;
use wakeline_spool::SegmentLog;

use crate::forward::round::{Round, Rounds};

fn rounds_of(log: &SegmentLog, partitions: u32) -> Vec<Round> {
    let mut rounds = Rounds::new(log.reader(0), partitions, u64::MAX).unwrap();
    std::iter::from_fn(|| rounds.next().unwrap()).collect()
}

fn groups_of(block: &v1::Block) -> Vec<(u64, v1::Group)> {
    let bytes = zstd::bulk::decompress(&block.payload, 8 << 20).unwrap();
    v1::BlockPayload::decode(Bytes::from(bytes))
        .unwrap()
        .groups
        .into_iter()
        .map(|group| (group.position, v1::Group::decode(group.group).unwrap()))
        .collect()
}

/// Text that does not compress to less than half.
fn noise(length: usize, seed: &mut u64) -> String {
    (0..length)
        .map(|_| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(33 + (*seed >> 33) as u8 % 90)
        })
        .collect()
}

#[tokio::test]
async fn a_group_too_long_for_a_block_is_divided_between_its_events() {
    let dir = tempfile::tempdir().unwrap();
    let log = super::open(dir.path());
    let mut seed = 1;
    let mut group = v1::Group {
        site: 9,
        visitor: "v".to_owned(),
        ..v1::Group::default()
    };
    for seq in 0..120 {
        group.events.push(v1::Event {
            stream: 1,
            seq,
            title: noise(30_000, &mut seed),
            ..v1::Event::default()
        });
    }
    for index in 0..3 {
        group.rejected.push(v1::Rejected {
            detail: index.to_string(),
            payload: noise(400_000, &mut seed).into(),
            ..v1::Rejected::default()
        });
    }
    let record = v1::SpoolRecord {
        groups: vec![group.encode_to_vec().into()],
        headers: vec![v1::GroupHeader {
            partition_hash: 5,
            events: 120,
            rejected: 3,
            ..v1::GroupHeader::default()
        }],
    };
    log.append(record.encode_to_vec().into(), 123)
        .await
        .unwrap();

    let rounds = rounds_of(&log, 3);
    assert_eq!(rounds.len(), 1);
    assert_eq!((rounds[0].complete_to, rounds[0].events), (123, 123));
    let blocks = &rounds[0].blocks;
    assert!(blocks.len() > 2);
    let (mut events, mut rejected, mut next) = (Vec::new(), Vec::new(), 0);
    for (index, block) in blocks.iter().enumerate() {
        assert!(block.payload.len() <= MAX_BLOCK_BYTES);
        assert_eq!((block.partition, block.partitions), (2, 3));
        assert_eq!(block.complete_to != 0, index + 1 == blocks.len());
        assert_eq!(block.first_position, next);
        let parts = groups_of(block);
        for (position, part) in parts {
            assert_eq!(position, next);
            assert_eq!((part.site, part.visitor.as_str()), (9, "v"));
            next += (part.events.len() + part.rejected.len()) as u64;
            assert!(
                rejected.is_empty() || part.events.is_empty(),
                "events come first"
            );
            events.extend(part.events);
            rejected.extend(part.rejected);
        }
        assert_eq!(block.last_position, next - 1);
    }
    assert!(events == group.events && rejected == group.rejected);
}

#[tokio::test]
async fn many_groups_make_blocks_of_moderate_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = super::open(dir.path());
    let mut expected = 0;
    for salt in 0..300 {
        let (payload, span, _) = super::record(salt, 300);
        log.append(payload, span).await.unwrap();
        expected += u64::from(span);
    }
    let rounds = rounds_of(&log, 2);
    let blocks: Vec<_> = rounds.iter().flat_map(|round| &round.blocks).collect();
    assert_eq!(
        rounds.iter().map(|round| round.events).sum::<u64>(),
        expected
    );
    assert_eq!(rounds.last().unwrap().complete_to, log.durable());
    assert!(blocks.len() > 4);
    for block in blocks {
        let bytes = zstd::bulk::decompress(&block.payload, 8 << 20)
            .unwrap()
            .len();
        assert!(bytes < 400 << 10, "{bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the records are, rounds get past them, and positions stay inside the records they are of.
    #[test]
    fn foreign_records_are_passed(
        payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 1_u32..6), 1..8),
        headers in prop::collection::vec((any::<u64>(), 0_u32..4, 0_u32..4), 0..4),
        groups in 0_usize..4,
        span in 1_u32..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let log = super::open(dir.path());
            for (payload, span) in payloads {
                log.append(payload.into(), span).await.unwrap();
            }
            let record = v1::SpoolRecord {
                groups: vec![Bytes::new(); groups],
                headers: headers
                    .into_iter()
                    .map(|(partition_hash, events, rejected)| v1::GroupHeader { partition_hash, events, rejected, ..v1::GroupHeader::default() })
                    .collect(),
            };
            log.append(record.encode_to_vec().into(), span).await.unwrap();
            let rounds = rounds_of(&log, 7);
            assert_eq!(rounds.last().unwrap().complete_to, log.durable());
            for block in rounds.iter().flat_map(|round| &round.blocks) {
                assert!(block.partition < 7);
                assert!(block.first_position <= block.last_position && block.last_position < log.durable());
            }
        });
    }
}
