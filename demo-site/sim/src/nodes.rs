//! The hosts that run collectors and the aggregator: each is started again when it can't start.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use turmoil::net::TcpListener;
use wakeline_aggregator::control::Control;
use wakeline_aggregator::headless::Headless;
use wakeline_aggregator::influx::model::ModelInflux;
use wakeline_collector::Collector;
use wakeline_collector::upstream::Upstream;

use crate::store::ModelState;
use crate::{machine, net, trace};

/// The aggregator's host.
pub(crate) const AGGREGATOR: &str = "aggregator";
/// Partitions of its log.
pub(crate) const PARTITIONS: u16 = 4;
/// A supervisor waits so long before it starts a program again.
const RESTART: Duration = Duration::from_millis(500);
/// What a gRPC server notices dead connections by, as the real one has it.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Small, so that there are several.
const SEGMENT_BYTES: u64 = 8 << 10;

/// The program that runs on a host, while it does.
pub(crate) type Slot<T> = Rc<RefCell<Option<T>>>;

/// Runs a collector for ever.
pub(crate) async fn collector(
    host: String,
    folder: PathBuf,
    skew_ms: i64,
    slot: Slot<Collector>,
) -> turmoil::Result {
    machine::set_skew(&host, skew_ms);
    let mut config = wakeline_collector::Config {
        data: folder,
        ..wakeline_collector::Config::default()
    };
    config.upstream.url = format!("http://{AGGREGATOR}");
    config.upstream.insecure = true;
    config.spool.segment_bytes = SEGMENT_BYTES;
    let upstream = Upstream::with_connector(&config.upstream, net::connector())?;
    let collector = loop {
        match Collector::start_over(upstream.clone(), config.clone()).await {
            Ok(collector) => break collector,
            Err(error) => trace::event(format_args!("{host}: can't start: {error:?}")),
        }
        tokio::time::sleep(RESTART).await;
    };
    trace::event(format_args!("{host}: started"));
    let router = collector.alone();
    *slot.borrow_mut() = Some(collector);
    let listener = TcpListener::bind(("0.0.0.0", net::PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// How the aggregator is set up in `folder`.
pub(crate) fn aggregator_config(folder: PathBuf) -> wakeline_aggregator::Config {
    let mut config = wakeline_aggregator::Config {
        data: folder,
        workers: 2,
        ..wakeline_aggregator::Config::default()
    };
    config.log.partitions = PARTITIONS.try_into().unwrap_or(config.log.partitions);
    config.log.segment_bytes = SEGMENT_BYTES;
    config
}

/// Runs the aggregator for ever.
pub(crate) async fn aggregator(
    folder: PathBuf,
    skew_ms: i64,
    control: Arc<Control>,
    store: Arc<ModelState>,
    influx: Arc<ModelInflux>,
    slot: Slot<Headless>,
) -> turmoil::Result {
    machine::set_skew(AGGREGATOR, skew_ms);
    let config = aggregator_config(folder);
    let headless = loop {
        let (control, store) = (Arc::clone(&control), Arc::clone(&store));
        match Headless::start_with(&config, control, store, Arc::clone(&influx)).await {
            Ok(headless) => break headless,
            Err(error) => trace::event(format_args!("aggregator: can't start: {error:?}")),
        }
        tokio::time::sleep(RESTART).await;
    };
    trace::event("aggregator: started");
    let routes = headless.routes();
    *slot.borrow_mut() = Some(headless);
    let listener = TcpListener::bind(("0.0.0.0", net::PORT)).await?;
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_routes(routes)
        .serve_with_incoming(net::incoming(listener))
        .await?;
    Ok(())
}
