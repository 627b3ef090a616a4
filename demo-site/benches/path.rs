//! The whole path, measured: `cargo bench -p wakeline-demo-site`. Needs the release binaries beside it
//! (`cargo build --release --workspace --bins`); all parts run on this machine.
//!
//! 1. `enter`: the simulator's events from the first request to the moment when reports show all of them.
//! 2. `latency`: batches of 10 events at a fixed rate: time to the 202, beside the time of a bare fdatasync of as many
//!    bytes on the same disk in the same run.
//! 3. `idle`: resident memory of both servers before and after.
//! 4. `click`: from a single click in a browser to the changed figure on a dashboard in another one, and the demo's memory.

use std::{
    fs::File,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;
use tokio::{sync::Mutex, task::JoinSet};
use wakeline_demo_site::simulate::{self, Options};
use wakeline_testbed::{Browser, Demo, Stack, eventually};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    click().await?;
    let stack = Stack::start().await?;
    println!(
        "idle: {} MB resident (collector and aggregator)",
        resident(&stack.processes())? >> 20
    );
    latency(&stack).await?;
    let before = stack.totals().await?;
    enter(&stack, before).await?;
    println!(
        "after: {} MB resident (collector and aggregator)",
        resident(&stack.processes())? >> 20
    );
    Ok(())
}

/// Single clicks, one after the other.
async fn click() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    println!(
        "demo: {} MB resident when idle",
        resident(&[demo.id()])? >> 20
    );
    let shop = Browser::start(800, 600).await?;
    shop.page.goto(&demo.shop).await?;
    let dashboard = Browser::start(1280, 900).await?;
    dashboard.page.goto(&demo.dashboard).await?;
    eventually("the figures", Duration::from_secs(30), || async {
        Ok((!dashboard.run(EVENTS).await?.is_null()).then_some(()))
    })
    .await?;
    dashboard
        .run(
            "window.seen = {};
            new MutationObserver(() => {
                for (const figure of document.querySelectorAll('.figure'))
                    if (figure.querySelector('.figure-name').textContent === 'Events')
                        window.seen[figure.querySelector('.figure-value').textContent] ??= Date.now();
            }).observe(document.body, { subtree: true, childList: true, characterData: true })",
        )
        .await?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let before: u64 = dashboard
            .run(EVENTS)
            .await?
            .as_str()
            .context("a figure")?
            .parse()?;
        let clicked = shop
            .run("wakeline.track('bench'); return Date.now()")
            .await?
            .as_f64()
            .context("a time")?;
        let script = format!("return window.seen[{}]", before + 1);
        let seen = eventually("the next figure", Duration::from_secs(10), || async {
            Ok(dashboard.run(&script).await?.as_f64())
        })
        .await?;
        times.push(seen - clicked);
    }
    times.sort_unstable_by(f64::total_cmp);
    println!(
        "click: to the changed figure: median {:.0} ms, slowest of 20 {:.0} ms",
        times[10], times[19]
    );
    shop.close().await?;
    dashboard.close().await
}

const EVENTS: &str = "return [...document.querySelectorAll('.figure')]
    .find((figure) => figure.querySelector('.figure-name').textContent === 'Events')
    ?.querySelector('.figure-value').textContent";

/// At least a million events in, processed and visible.
async fn enter(stack: &Stack, before: [u64; 4]) -> anyhow::Result<()> {
    let wanted = number("WAKELINE_BENCH_EVENTS", 1_000_000);
    let mut visitors = wanted / 12;
    let mut truth = simulate::truth(1, visitors);
    while truth.sent < wanted {
        visitors += visitors / 50 + 1;
        truth = simulate::truth(1, visitors);
    }
    let start = Instant::now();
    simulate::run(Options {
        collector: stack.collector_url.clone(),
        key: stack.write_key.clone(),
        visitors,
        seed: 1,
        days: None,
        connections: number("WAKELINE_BENCH_CONNECTIONS", 64) as usize,
        visitors_per_second: None,
        progress: false,
    })
    .await?;
    let acknowledged = start.elapsed();
    let expected = [
        before[0] + truth.visitors,
        before[1] + truth.visits,
        before[2] + truth.pageviews,
        before[3] + truth.events,
    ];
    eventually("totals", Duration::from_secs(300), || async {
        Ok((stack.totals().await? == expected).then_some(()))
    })
    .await?;
    let visible = start.elapsed();
    println!(
        "enter: {} events of {visitors} visitors: acknowledged in {:.1} s, visible in {:.1} s ({:.0} events/s)",
        truth.sent,
        acknowledged.as_secs_f64(),
        visible.as_secs_f64(),
        truth.sent as f64 / visible.as_secs_f64()
    );
    Ok(())
}

/// 10-event batches at a steady rate, each request timed from when it was due.
async fn latency(stack: &Stack) -> anyhow::Result<()> {
    let rate = number("WAKELINE_BENCH_RATE", 1_000);
    let seconds = number("WAKELINE_BENCH_SECONDS", 10);
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(256)
        .tcp_nodelay(true)
        .build()?;
    let url = format!("{}/w/1/events", stack.collector_url);
    let times = Arc::new(Mutex::new(Vec::with_capacity((rate * seconds) as usize)));
    let mut running = JoinSet::new();
    let start = tokio::time::Instant::now();
    for number in 0..rate * seconds {
        let due = start + Duration::from_nanos(1_000_000_000 / rate * number);
        tokio::time::sleep_until(due).await;
        let events: Vec<_> = (0..10)
            .map(|event| json!({ "type": "page_view", "visitor": format!("latency-{number}"), "url": format!("https://shop.example/{event}") }))
            .collect();
        let request = http
            .post(&url)
            .bearer_auth(&stack.write_key)
            .body(serde_json::to_vec(&events)?);
        let times = Arc::clone(&times);
        running.spawn(async move {
            let status = request.send().await?.status();
            anyhow::ensure!(status == 202, "{status}");
            times.lock().await.push(due.elapsed());
            Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    let mut times = times.lock().await;
    times.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
    let sync = fdatasync_p99()?;
    println!(
        "latency: {rate} batches/s of 10 events for {seconds} s: p50 {p50:?}, p99 {p99:?}; bare fdatasync p99 {sync:?}"
    );
    Ok(())
}

/// p99 of write + fdatasync of 4 KiB appended to a file.
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

/// Bytes resident in memory.
fn resident(processes: &[u32]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for id in processes {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        bytes += line.trim().trim_end_matches(" kB").parse::<u64>()? << 10;
    }
    Ok(bytes)
}
