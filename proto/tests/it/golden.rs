//! Bytes that older and newer versions must be able to read: if one of these tests fails, the wire has changed.

use prost::Message;
use wakeline_proto::v1;
use wakeline_proto::v1::{Consent, EventType};

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, golden: &str) {
    let bytes = message.encode_to_vec();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex.concat(), golden);
    let bytes: Vec<u8> = (0..golden.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap_or_default())
        .collect();
    assert_eq!(&M::decode(bytes.as_slice()).unwrap_or_default(), message);
}

fn order() -> v1::Order {
    v1::Order {
        id: "o1".into(),
        currency: "EUR".into(),
        value: 1999,
        items: vec![v1::Item {
            sku: "s".into(),
            name: "Tea".into(),
            price: 999,
            quantity: 2,
        }],
    }
}

fn group() -> v1::Group {
    v1::Group {
        site: 1,
        visitor: "v".into(),
        received_at: 1_790_000_000_000,
        first_day: 20_717,
        client: Some(v1::Client {
            name: "web".into(),
            version: "0.1.0".into(),
        }),
        device: Some(v1::Device {
            language: "de".into(),
            timezone: "Europe/Berlin".into(),
            screen_width: 390,
            screen_height: 844,
            os: "Android".into(),
            os_version: "16".into(),
            model: "P".into(),
            app_version: "2".into(),
        }),
        consent: Consent::Granted.into(),
        rules_version: 7,
        events: vec![v1::Event {
            stream: 0x00c0_ffee_00c0_ffee,
            seq: 3,
            client_id: "c".into(),
            time: 1_789_999_999_000,
            time_clamped: true,
            r#type: EventType::Order.into(),
            name: "n".into(),
            hostname: "shop.example".into(),
            path: "/thanks".into(),
            query: "a=b".into(),
            referrer: "r".into(),
            title: "t".into(),
            properties: [
                v1::value::Kind::Text("x".into()),
                v1::value::Kind::Integer(-1),
                v1::value::Kind::Number(0.5),
                v1::value::Kind::Flag(true),
                v1::value::Kind::Timestamp(1),
            ]
            .map(|kind| v1::Property {
                name: "p".into(),
                value: Some(v1::Value { kind: Some(kind) }),
            })
            .into(),
            order: Some(order()),
            engagement: Some(v1::Engagement {
                time_ms: 5_000,
                scroll_percent: 80,
            }),
            exposure: Some(v1::Exposure {
                experiment: "e".into(),
                variant: "b".into(),
            }),
            passive: true,
            user: "u".into(),
            predecessor: 5,
            predecessor_last_seq: 9,
            acquisition: Some(v1::Acquisition {
                channel: 1,
                source: "Google".into(),
                utm_medium: "m".into(),
                utm_source: "s".into(),
                utm_campaign: "c".into(),
                utm_content: "o".into(),
                utm_term: "t".into(),
                click_id: "gclid".into(),
            }),
        }],
        rejected: vec![v1::Rejected {
            reason: "too_old".into(),
            detail: "d".into(),
            payload: b"{}".as_slice().into(),
            ..v1::Rejected::default()
        }],
        agent: Some(v1::Agent {
            device: 1,
            browser: 2,
            browser_version: "140".into(),
            os: 3,
            os_version: "15".into(),
        }),
        location: Some(v1::Location {
            country: "DE".into(),
            region: "DE-BE".into(),
            city: "Berlin".into(),
        }),
        tallies: vec![v1::Tally {
            reason: "no_consent".into(),
            count: 3,
        }],
    }
}

#[test]
fn batch_is_encoded_as_ever() {
    let batch = v1::Batch {
        key: "k".into(),
        visitor: "v".into(),
        first_day: 20_717,
        client: Some(v1::Client::default()),
        device: Some(v1::Device::default()),
        consent: Consent::Denied.into(),
        sent_at: 1_790_000_000_000,
        user: "u".into(),
        strings: vec!["n".into(), "https://a.example/".into()],
        numbers: vec![0.5],
        integers: vec![i64::MIN],
        kinds: vec![v1::Kind {
            r#type: EventType::Custom.into(),
            name: 1,
            properties: vec![0, 1],
            passive: true,
        }],
        streams: vec![v1::Stream {
            id: 0x00c0_ffee_00c0_ffee,
            predecessor: 5,
            predecessor_last_seq: 9,
            clock: v1::Clock::Wall.into(),
            pages: vec![v1::Page {
                url: 2,
                referrer: 1,
                title: 1,
            }],
            events: vec![v1::BatchEvent {
                kind: 1,
                values: vec![0, 5, 300],
                age_delta: -300,
                page: 1,
                skip: 2,
                order: Some(order()),
                engagement: Some(v1::Engagement::default()),
                exposure: Some(v1::Exposure::default()),
            }],
        }],
    };
    check(&batch, include_str!("golden/batch.hex"));
}

#[test]
fn batch_reply_is_encoded_as_ever() {
    let reply = v1::BatchReply {
        accepted: 2,
        rejected: vec![v1::BatchRejection {
            index: 1,
            reason: "too_old".into(),
            detail: "d".into(),
        }],
        settings: String::new(),
    };
    check(&reply, include_str!("golden/batch_reply.hex"));
}

#[test]
fn group_is_encoded_as_ever() {
    check(&group(), include_str!("golden/group.hex"));
}

#[test]
fn spool_record_is_encoded_as_ever() {
    let record = v1::SpoolRecord {
        groups: vec![b"g".as_slice().into()],
        headers: vec![v1::GroupHeader {
            partition_hash: 0x0123_4567_89ab_cdef,
            events: 2,
            rejected: 1,
            ..v1::GroupHeader::default()
        }],
    };
    check(&record, include_str!("golden/spool_record.hex"));
}

#[test]
fn block_and_log_record_are_encoded_as_ever() {
    let payload = v1::BlockPayload {
        groups: vec![v1::PositionedGroup {
            position: 300,
            group: b"g".as_slice().into(),
        }],
    };
    check(&payload, include_str!("golden/block_payload.hex"));
    let block = v1::Block {
        partition: 3,
        partitions: 32,
        first_position: 300,
        last_position: 302,
        events: 2,
        rejected: 1,
        crc: 0xdead_beef,
        payload: b"zstd".as_slice().into(),
        complete_to: 303,
        ..v1::Block::default()
    };
    let record = v1::LogRecord {
        appended_at: 1_790_000_000_000,
        edge: 7,
        block: Some(block),
    };
    check(&record, include_str!("golden/log_record.hex"));
}

#[test]
fn partition_hash_is_as_ever() {
    assert_eq!(
        wakeline_proto::partition_hash(1, "visitor"),
        9_581_502_443_813_153_858
    );
}
