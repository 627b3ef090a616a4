//! The collector as a process, and nginx beside it: `cargo bench -p wakeline-collector --bench edge`. The servers run on the
//! first core, the load on the second.
//!
//! 1. `nginx`: bodies of 10 events into a buffered access log, which is not durable; requests a second.
//! 2. `durable`: the same bodies into the collector, each answered once it is fsynced; requests a second, and the ratio.
//! 3. `offered`: a million events in 10 s; statuses, and that the spool of the killed collector has each of them.
//! 4. `latency`: at 10,000 events a second, from when a request was due to its answer, beside the time of a bare fdatasync;
//!    and the collector's memory.
//! 5. `idle`: its memory with 10,000 idle connections.
//!
//! The aggregator is away, so nothing is forwarded. `WAKELINE_BENCH_COLLECTOR` names another executable to measure than the one
//! that was built with the bench: an earlier one, say. Files are where `TMPDIR` says.

mod load;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use wakeline_proto::v1;
use wakeline_testbed::{Nginx, Process};

use load::{Load, Outcome};

const KEY: &str = "wk_bench";
const EVENTS: u64 = 10;
/// As many requests wait for their answers at a time: an edge has many clients, and a group commit takes the time of its disk.
const CONNECTIONS: usize = 512;
const STARTS: Duration = Duration::from_secs(30);
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

fn main() -> anyhow::Result<()> {
    let pinned = Command::new("taskset")
        .args(["-cp", LOAD_CORE, &std::process::id().to_string()])
        .output()?;
    ensure!(pinned.status.success(), "taskset (util-linux) failed");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, measure())
}

async fn measure() -> anyhow::Result<()> {
    let seconds = Duration::from_secs(number("WAKELINE_BENCH_SECONDS", 10));
    let nginx = {
        let server = Nginx::logging(SERVER_CORE)?;
        let load = Load::new(&server.url, batch())?;
        load.run(CONNECTIONS, None, seconds).await?
    };
    nginx.print("nginx", "a buffered log");
    let data = Data::new()?;
    let collector = data.start()?;
    let load = Load::new(&collector.url, batch())?;
    let durable = load.run(CONNECTIONS, None, seconds).await?;
    durable.print("durable", "fsynced");
    println!(
        "ratio: {:.2} x the requests, {:.1} x the events",
        durable.rate() / nginx.rate(),
        durable.rate() * EVENTS as f64 / nginx.rate()
    );
    drop(collector);
    data.check(&durable).await?;

    let data = Data::new()?;
    let collector = data.start()?;
    let load = Load::new(&collector.url, batch())?;
    let offered = number("WAKELINE_BENCH_OFFERED", 1_000_000) / EVENTS;
    let rate = offered as f64 / 10.0;
    let million = load.run(256, Some(rate), Duration::from_secs(10)).await?;
    million.print("offered", "256 connections");
    drop(collector);
    data.check(&million).await?;

    let data = Data::new()?;
    let collector = data.start()?;
    let load = Load::new(&collector.url, batch())?;
    let steady = load.run(64, Some(1_000.0), seconds).await?;
    steady.print("latency", "10,000 events/s");
    println!(
        "bare fdatasync: p99 {:?}; collector: {} MB resident at most",
        fdatasync_p99()?,
        status(collector.process.id(), "VmHWM:")? >> 20
    );
    idle(&collector).await?;
    drop(collector);
    data.check(&steady).await
}

/// Memory with many connections that have asked once and stay.
async fn idle(collector: &Collector) -> anyhow::Result<()> {
    let wanted = number("WAKELINE_BENCH_CONNECTIONS", 10_000);
    let mut connections: Vec<TcpStream> = Vec::new();
    for _ in 0..wanted {
        let mut stream = TcpStream::connect(collector.url.trim_start_matches("http://")).await?;
        load::ask(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
        connections.push(stream);
    }
    println!(
        "idle: {} MB resident with {} connections",
        status(collector.process.id(), "VmRSS:")? >> 20,
        connections.len()
    );
    Ok(())
}

/// A batch as a shop's page sends it: a visitor's views, clicks and an order, with properties.
fn batch() -> Vec<u8> {
    let strings = [
        "https://shop.example/cups/blue-mug?utm_source=newsletter&utm_medium=email",
        "https://www.google.com/",
        "Blue mug – Shop",
        "add_to_cart",
        "product",
        "price",
        "blue-mug-350ml",
        "https://shop.example/checkout",
        "Checkout – Shop",
    ];
    let kinds = vec![
        v1::Kind {
            r#type: v1::EventType::PageView.into(),
            ..v1::Kind::default()
        },
        v1::Kind {
            r#type: v1::EventType::Custom.into(),
            name: 4,
            properties: vec![4, 5],
            ..v1::Kind::default()
        },
    ];
    let pages = vec![
        v1::Page {
            url: 1,
            referrer: 2,
            title: 3,
        },
        v1::Page {
            url: 8,
            referrer: 1,
            title: 9,
        },
    ];
    let events = (0..EVENTS)
        .map(|number| v1::BatchEvent {
            kind: 1 + u32::from(number % 2 == 1),
            values: if number % 2 == 1 {
                vec![6 << 3, (1290 << 4) | 1]
            } else {
                Vec::new()
            },
            age_delta: if number == 0 { 4_000 } else { -300 },
            page: 1 + u32::from(number >= EVENTS / 2),
            ..v1::BatchEvent::default()
        })
        .collect();
    let batch = v1::Batch {
        key: KEY.to_owned(),
        visitor: "0190a5b2-7d3c-7f00-8e6b-3c1f5a9d2e47".to_owned(),
        first_day: 20_000,
        device: Some(v1::Device {
            language: "de-DE".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            screen_width: 1920,
            screen_height: 1080,
            ..v1::Device::default()
        }),
        strings: strings.map(ToOwned::to_owned).to_vec(),
        kinds,
        streams: vec![v1::Stream {
            id: load::ID,
            pages,
            events,
            ..v1::Stream::default()
        }],
        ..v1::Batch::default()
    };
    batch.encode_to_vec()
}

/// A collector's folder.
struct Data(TempDir);

impl Data {
    /// With a site, as the aggregator would have told it.
    fn new() -> anyhow::Result<Self> {
        let data = TempDir::new()?;
        let snapshot = v1::Snapshot {
            version: 1,
            partitions: 4,
            sites: vec![v1::Site {
                id: 1,
                domain: "shop.example".to_owned(),
                ..v1::Site::default()
            }],
            keys: vec![v1::Key {
                key: KEY.to_owned(),
                site: 1,
                kind: v1::KeyKind::Write.into(),
                ..v1::Key::default()
            }],
        };
        std::fs::write(data.path().join("snapshot.pb"), snapshot.encode_to_vec())?;
        Ok(Self(data))
    }

    /// A collector in it, on one core.
    fn start(&self) -> anyhow::Result<Collector> {
        let mut command = Command::new("taskset");
        command
            .args(["-c", SERVER_CORE])
            .arg(executable())
            .args(["serve", "--http-listen", "127.0.0.1:0", "--data"])
            .arg(self.0.path())
            .args(["--upstream", "http://127.0.0.1:1"])
            .env("WAKELINE_HTTP__MAX_CONNECTIONS", "20000")
            .env("RUST_LOG", "off");
        let mut process = Process::start("wakeline-collector", &mut command)?;
        let url = process.wait_for(STARTS, |line| {
            let url = line.strip_prefix("listening at ")?;
            Some(url.trim_end_matches('/').to_owned())
        })?;
        Ok(Collector { url, process })
    }

    /// Whether the spool has every event that was acknowledged. The collector was killed.
    async fn check(self, outcome: &Outcome) -> anyhow::Result<()> {
        let path: &Path = self.0.path();
        let report = wakeline_collector::inspect::inspect(path, 0)
            .await
            .context("inspect")?;
        let acknowledged = outcome.answered(202) * EVENTS;
        ensure!(
            report.accepted >= acknowledged,
            "{acknowledged} events were acknowledged, {} are in the spool",
            report.accepted
        );
        println!(
            "spool: {} events for {acknowledged} that were acknowledged, after kill -9",
            report.accepted
        );
        Ok(())
    }
}

struct Collector {
    url: String,
    process: Process,
}

/// The collector that is measured.
fn executable() -> OsString {
    let named = std::env::var_os("WAKELINE_BENCH_COLLECTOR");
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_wakeline-collector").into())
}

/// The number that an environment variable has.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// p99 of write + fdatasync of 4 KiB appended to a file on the disk that the servers' folders are on.
fn fdatasync_p99() -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("file"))?;
    let block = [0x5a; 4096];
    let mut times: Vec<Duration> = (0..1_000)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect::<std::io::Result<_>>()?;
    times.sort_unstable();
    Ok(times[times.len() * 99 / 100])
}

/// Bytes that `/proc` says of a process.
fn status(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let text = line.with_context(|| format!("no {name}"))?;
    Ok(text.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
