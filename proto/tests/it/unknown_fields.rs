//! A newer version's fields: old readers skip them, and carriers carry them.

use prost::Message as _;
use wakeline_proto::{batch, v1};

/// Field 1000, a text, as a newer version might add it to any message.
const NEWER: &[u8] = b"\xc2\x3e\x05newer";

#[test]
fn fields_that_are_not_known_yet_are_skipped() -> Result<(), Box<dyn std::error::Error>> {
    let with_newer = |bytes: Vec<u8>| [bytes.as_slice(), NEWER].concat();
    let event = v1::BatchEvent {
        kind: 1,
        ..v1::BatchEvent::default()
    };
    let stream = v1::Stream {
        id: 1,
        ..v1::Stream::default()
    };
    let event = with_newer(event.encode_to_vec());
    let mut stream = with_newer(stream.encode_to_vec());
    stream.extend([0x32, event.len() as u8]);
    stream.extend(&event);
    let mut bytes = with_newer(
        v1::Batch {
            kinds: vec![v1::Kind {
                r#type: v1::EventType::PageView.into(),
                ..v1::Kind::default()
            }],
            ..v1::Batch::default()
        }
        .encode_to_vec(),
    );
    bytes.extend([0x6a, stream.len() as u8]);
    bytes.extend(&stream);

    let batch = batch::decode(&bytes)?;
    let events: Vec<_> = batch::expand(&batch).collect();
    assert_eq!(events.len(), 1);
    assert!(events.iter().all(Result::is_ok));
    Ok(())
}

#[test]
fn a_group_keeps_a_newer_collectors_fields_on_its_way_through_spool_block_and_log()
-> Result<(), Box<dyn std::error::Error>> {
    let group = v1::Group {
        site: 1,
        ..v1::Group::default()
    };
    let group = [group.encode_to_vec().as_slice(), NEWER].concat();

    let spooled = v1::SpoolRecord {
        groups: vec![group.clone().into()],
        headers: vec![v1::GroupHeader::default()],
    }
    .encode_to_vec();
    // The forwarder decodes the record, never the group.
    let spooled = v1::SpoolRecord::decode(spooled.as_slice())?;
    let payload = v1::BlockPayload {
        groups: vec![v1::PositionedGroup {
            position: 0,
            group: spooled.groups[0].clone(),
        }],
    };
    let block = v1::Block {
        payload: payload.encode_to_vec().into(),
        ..v1::Block::default()
    };
    let sent = block.encode_to_vec();
    // So does the aggregator's ingest.
    let logged = v1::LogRecord {
        block: Some(v1::Block::decode(sent.as_slice())?),
        ..v1::LogRecord::default()
    }
    .encode_to_vec();
    let block = v1::LogRecord::decode(logged.as_slice())?
        .block
        .ok_or("no block")?;
    let payload = v1::BlockPayload::decode(block.payload)?;

    assert_eq!(payload.groups[0].group, group);
    assert_eq!(v1::Group::decode(group.as_slice())?.site, 1);
    Ok(())
}
