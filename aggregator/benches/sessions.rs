//! The aggregator as a process, and what a million open sessions take: memory, and time to be back after `kill -9`; events
//! a second from log to committed state on one core, and with Redis and InfluxDB on all.
//!
//! `cargo bench -p wakeline-aggregator --bench sessions -- [sessions]`

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wakeline_aggregator::Config;
use wakeline_testbed::{Influx, Process, Redis};

use self::load::{fill, size};

mod load;

/// Of a session: as many as the promise of 250 B in Redis is made for.
const PAGES: u64 = 5;
/// Visits a round of a collector.
const ROUND: u64 = 10_000;
const LIMIT: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let sessions: u64 = given.unwrap_or(1_000_000);
    let filled = tempfile::tempdir()?;
    let segments = filled.path().join("log/segments");
    fill(
        &segments,
        Config::default().log.segment_bytes,
        sessions,
        PAGES,
        ROUND,
    )
    .await?;
    let events = sessions * PAGES;
    println!(
        "{sessions} sessions of {PAGES} page views, {events} events, log {} MB",
        size(filled.path())? >> 20
    );

    let data = copy(filled.path())?;
    let (server, took) = Server::start(data.path(), &["taskset", "-c", "0"], &[])?;
    report("embedded, one core", events, took);
    server.tell_memory("embedded")?;
    println!(
        "embedded: state {} MB on disk",
        size(&data.path().join("state"))? >> 20
    );
    recover("embedded", server, data.path(), &[])?;

    let redis = Redis::start(&[])?;
    let data = copy(filled.path())?;
    let stores = [("WAKELINE_STATE__URL", redis.url())];
    let empty = redis.info("used_memory")?;
    let (server, took) = Server::start(data.path(), &[], &stores)?;
    report("Redis, all cores", events, took);
    server.tell_memory("Redis")?;
    let used = redis.info("used_memory")? - empty;
    println!(
        "Redis: used_memory {} MB, {} B a session",
        used / 1_000_000,
        used / sessions
    );
    recover("Redis", server, data.path(), &stores)?;
    drop(redis);

    let (redis, influx) = (Redis::start(&[])?, Influx::start().await?);
    let data = copy(filled.path())?;
    let stores = [
        ("WAKELINE_STATE__URL", redis.url()),
        ("WAKELINE_METRICS__URL", influx.url()),
        ("WAKELINE_METRICS__TOKEN", influx.token().to_owned()),
    ];
    let (server, took) = Server::start(data.path(), &[], &stores)?;
    report("Redis and InfluxDB, all cores", events, took);
    server.tell_memory("Redis and InfluxDB")?;
    drop(server);
    Ok(())
}

fn report(what: &str, events: u64, took: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    println!("{what}: {events} events in {took:.2?}, {rate:.0} events/s from log to state");
}

/// `kill -9`, and how long it takes until a new process has applied all and is ready.
fn recover(
    what: &str,
    server: Server,
    data: &Path,
    stores: &[(&str, String)],
) -> anyhow::Result<()> {
    drop(server); // that is how it ends
    let (server, took) = Server::start(data, &[], stores)?;
    println!("{what}: ready {took:.2?} after kill -9");
    server.tell_memory(&format!("{what}, after kill -9"))
}

/// A running aggregator; killed on drop.
struct Server {
    process: Process,
}

impl Server {
    /// Starts one on free ports; gives how long it took until it was ready and had applied its log.
    fn start(
        data: &Path,
        before: &[&str],
        stores: &[(&str, String)],
    ) -> anyhow::Result<(Self, Duration)> {
        let program = env!("CARGO_BIN_EXE_wakeline-aggregator");
        let words = [before, &[program, "serve", "--data"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(data);
        command.args([
            "--http-listen",
            "127.0.0.1:0",
            "--grpc-listen",
            "127.0.0.1:0",
        ]);
        command.envs(stores.iter().map(|(key, value)| (*key, value)));
        let begun = Instant::now();
        let mut process = Process::start("wakeline-aggregator", &mut command)?;
        let url = process.wait_for(LIMIT, |line| {
            Some(line.strip_prefix("dashboard and API: ")?.to_owned())
        })?;
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        while !is_done(address)? {
            if begun.elapsed() > LIMIT {
                bail!("not in {LIMIT:?}:\n{}", process.output());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok((Self { process }, begun.elapsed()))
    }

    fn tell_memory(&self, what: &str) -> anyhow::Result<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            Some(kilobytes * 1_024 / 1_000_000)
        };
        let [now, most] = ["VmRSS:", "VmHWM:"].map(megabytes);
        println!(
            "{what}: aggregator {} MB resident, {} MB at most",
            now.context("VmRSS")?,
            most.context("VmHWM")?
        );
        Ok(())
    }
}

/// Whether it is ready, and all of the log is in the state.
fn is_done(address: &str) -> anyhow::Result<bool> {
    if !ask(address, "/readyz")?.starts_with("HTTP/1.1 200") {
        return Ok(false);
    }
    let samples = ask(address, "/metrics")?;
    let sample = |name: &str| {
        let name = format!("wakeline_aggregator_{name} ");
        samples
            .lines()
            .find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    let (applied, end) = (sample("applied_offset"), sample("log_end_offset"));
    Ok(applied.is_some() && applied == end)
}

fn ask(address: &str, path: &str) -> anyhow::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut connection = std::net::TcpStream::connect(address)?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn copy(from: &Path) -> anyhow::Result<tempfile::TempDir> {
    let to = tempfile::tempdir()?;
    let done = Command::new("cp")
        .arg("-r")
        .arg(from.join("log"))
        .arg(to.path())
        .status()?;
    if !done.success() {
        bail!("cp -r: {done}");
    }
    Ok(to)
}
