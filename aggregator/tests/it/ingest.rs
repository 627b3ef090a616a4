//! Blocks on their way into log and figures.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use wakeline_aggregator::live::LiveMessage;
use wakeline_engine::Dimension;
use wakeline_proto::v1::ingest_client::IngestClient;
use wakeline_proto::v1::{Block, Event, EventType, Group, Rejected};

use super::edge::{
    Figures, NOON_MS, PARTITIONS, SITE, Spool, as_edge, config, connect, push, seal, start, until,
    visit,
};

#[tokio::test]
async fn what_is_pushed_is_acknowledged_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..50).map(|visitor| visit(visitor, 3)));
    assert_eq!(push(&channel, 7, spool.blocks()).await.unwrap(), [150]);

    let figures = Figures::of(aggregator.metrics()).await;
    let total = figures.total();
    assert_eq!((total.pageviews, total.events), (150, 150));
    assert_eq!((total.visits, total.bounces, total.visitors()), (50, 0, 50));
    assert_eq!(total.duration_ms, 50 * 2000);
    let paths: Vec<_> = figures.values[&Dimension::Page]
        .iter()
        .map(|(_, path, _)| path)
        .collect();
    assert_eq!(paths, ["/0", "/1", "/2"]);
    assert_eq!(figures.values[&Dimension::EntryPage].len(), 1);
    let at = aggregator.metrics().watermark();
    assert!(at.at_ms > NOON_MS);
}

#[tokio::test]
async fn blocks_sent_again_are_counted_once_whatever_their_borders() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    // Events without an id: only their place in the spool tells copies.
    let mut spool = Spool::of((0..40).map(|visitor| {
        let mut group = visit(visitor % 8, 2);
        for event in &mut group.events {
            event.stream = 0;
        }
        group
    }));
    for to in [20, 20, 50, 80] {
        push(&channel, 7, spool.round(0, to)).await.unwrap();
    }
    assert_eq!(push(&channel, 7, spool.round(30, 80)).await.unwrap(), [80]);
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!((total.pageviews, total.visits), (80, 8));

    // Another edge has places of its own.
    push(&channel, 8, spool.blocks()).await.unwrap();
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!((total.pageviews, total.visits), (160, 8));

    // And what comes behind is counted still.
    spool.put(visit(100, 5));
    push(&channel, 7, spool.blocks()).await.unwrap();
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!((total.pageviews, total.visits), (165, 9));
}

#[tokio::test]
async fn events_with_an_id_are_counted_once_through_whichever_edge_they_come() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let groups = || (0..20).map(|visitor| visit(visitor, 4));
    let spool = Spool::of(groups().chain(groups().rev()));
    push(&channel, 7, spool.blocks()).await.unwrap();
    push(&channel, 8, spool.blocks()).await.unwrap();
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!((total.pageviews, total.visits), (80, 20));

    let metrics = reqwest::get(format!("http://{}/metrics", aggregator.http_addr()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    has("wakeline_aggregator_events_counted_total 80");
    has("wakeline_aggregator_events_duplicate_total 240");
}

#[tokio::test]
async fn acks_come_in_order_while_the_stream_is_open() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..300).map(|visitor| visit(visitor, 1)));
    let (blocks, stream) = mpsc::channel(1000);
    let mut client = IngestClient::new(channel);
    let stream = as_edge(7, ReceiverStream::new(stream));
    let mut acks = client.push(stream).await.unwrap().into_inner();
    for from in (0..300).step_by(10) {
        for block in spool.round(from, from + 10) {
            blocks.send(block).await.unwrap();
        }
    }
    // A round may have nothing to log.
    let end = Block {
        partitions: PARTITIONS,
        complete_to: 1000,
        ..Block::default()
    };
    blocks.send(end).await.unwrap();
    for to in (10..=300).step_by(10).chain([1000]) {
        let ack = acks.message().await.unwrap().unwrap();
        assert_eq!(ack.position, to);
    }
}

#[tokio::test]
async fn two_live_streams_of_one_edge_are_both_ended() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let (_blocks, stream) = mpsc::channel::<Block>(1);
    let mut client = IngestClient::new(channel.clone());
    let stream = as_edge(7, ReceiverStream::new(stream));
    let mut first = client.push(stream).await.unwrap().into_inner();

    let second = push(&channel, 7, Vec::new()).await.unwrap_err();
    assert_eq!(second.code(), Code::Aborted);
    assert_eq!(first.message().await.unwrap_err().code(), Code::Aborted);

    until("the edge is free again", async || {
        push(&channel, 7, Vec::new()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_damaged_block_ends_the_stream_and_is_not_logged() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..10).map(|visitor| visit(visitor, 1)));
    let mut damaged = spool.round(5, 10);
    damaged[0].crc ^= 1;
    let blocks = [spool.round(0, 5), damaged].concat();
    let status = push(&channel, 7, blocks).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!(total.pageviews, 5, "what came before it is kept");

    push(&channel, 7, spool.blocks()).await.unwrap();
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!(total.pageviews, 10);
}

#[tokio::test]
async fn blocks_that_make_no_sense_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let good = Spool::of([visit(1, 2)]).blocks().remove(0);
    let bad = |change: fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        seal(block)
    };
    for (block, code) in [
        (bad(|b| b.partitions = 8), Code::FailedPrecondition),
        (bad(|b| b.partition = PARTITIONS), Code::InvalidArgument),
        (bad(|b| b.partition = u32::MAX), Code::InvalidArgument),
        (bad(|b| b.first_position = 5), Code::InvalidArgument),
        (
            bad(|b| b.payload = vec![0; (1 << 20) + 1].into()),
            Code::OutOfRange,
        ),
        (
            bad(|b| b.payload = vec![0; 2 << 20].into()),
            Code::OutOfRange,
        ),
    ] {
        let status = push(&channel, 7, vec![block]).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    assert_eq!(aggregator.metrics().watermark().log_end, 0);

    let mut client = IngestClient::new(channel.clone());
    let nobody = tonic::Request::new(tokio_stream::empty());
    let status = client.push(nobody).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_block_that_cannot_be_read_is_passed_over() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let spool = Spool::of((0..20).map(|visitor| visit(visitor, 1)));
    let poison = |partition| {
        seal(Block {
            partition,
            partitions: PARTITIONS,
            events: 1,
            payload: b"no zstd at all"[..].into(),
            ..Block::default()
        })
    };
    let poison = (0..PARTITIONS).map(poison).collect();
    push(&channel, 6, poison).await.unwrap();
    push(&channel, 7, spool.blocks()).await.unwrap();
    let total = Figures::of(aggregator.metrics()).await.total();
    assert_eq!(total.pageviews, 20);
}

#[tokio::test]
async fn a_token_is_wanted_where_one_is_set() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.grpc.token = Some("s3cret".into());
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let status = push(&channel, 7, Vec::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    for (token, right) in [("Bearer wrong", false), ("Bearer s3cret", true)] {
        let mut request = as_edge(7, tokio_stream::empty());
        let token = token.parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let result = IngestClient::new(channel.clone()).push(request).await;
        assert_eq!(result.is_ok(), right);
    }
}

#[tokio::test]
async fn watchers_see_each_event_with_its_fate() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let mut seen = aggregator.live().subscribe(SITE);
    let event = Event {
        stream: 5,
        time: NOON_MS,
        r#type: EventType::Custom.into(),
        name: "signup".into(),
        path: "/join".into(),
        ..Event::default()
    };
    let group = Group {
        site: SITE,
        visitor: "v".into(),
        received_at: NOON_MS + 1,
        events: vec![event.clone(), event],
        rejected: vec![Rejected {
            reason: "invalid_name".into(),
            detail: "name: empty".into(),
            payload: br#"{"type":"custom","name":""}"#[..].into(),
            ..Rejected::default()
        }],
        ..Group::default()
    };
    push(&channel, 7, Spool::of([group]).blocks())
        .await
        .unwrap();
    let mut fates = Vec::new();
    while let LiveMessage::Event(event) = &*seen.recv().await.unwrap() {
        assert_eq!(event.event_type, "custom");
        assert_eq!(event.visitor.len(), 8);
        fates.push((event.fate, event.reason.clone()));
    }
    let refused = Some("invalid_name".to_owned());
    assert_eq!(
        fates,
        [
            ("counted", None),
            ("duplicate", None),
            ("rejected", refused)
        ]
    );
}
