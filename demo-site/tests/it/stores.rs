//! Real processes with state in a real Redis and figures in a real InfluxDB: each is killed, stopped, replaced, restarted,
//! and no figure changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use wakeline_demo_site::simulate::{self, Options};
use wakeline_testbed::{Influx, Nginx, Redis, Stack, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// Days, and minutes that are over, are written once a minute; after an outage there is a pause of up to 30 s.
const IN_INFLUX: Duration = Duration::from_secs(180);
const VISITORS_PER_SECOND: u64 = 200;
/// So many that hours of it are no burden.
const FEW_VISITORS_PER_SECOND: u64 = 40;
/// Within this, figures are fresh again after half an hour without stores.
const FRESH_WITHIN: Duration = Duration::from_secs(3_600);
/// Figures are fresh that have all that was logged, or what was logged less than this ago.
const FRESH: Duration = Duration::from_secs(2);

/// How long the load lasts; `WAKELINE_FAULT_SECONDS` makes it longer.
fn seconds() -> u64 {
    number("WAKELINE_FAULT_SECONDS").unwrap_or(16)
}

/// How long stores are away; `WAKELINE_OUTAGE_SECONDS` makes it longer.
fn outage() -> Duration {
    Duration::from_secs(number("WAKELINE_OUTAGE_SECONDS").unwrap_or(5))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Traffic whose totals are known, at a steady pace.
struct Load {
    done: Arc<AtomicBool>,
    run: tokio::task::JoinHandle<anyhow::Result<simulate::Truth>>,
}

impl Load {
    fn start(collector: &str, key: &str) -> Self {
        Self::of(collector, key, seconds(), VISITORS_PER_SECOND)
    }

    fn of(collector: &str, key: &str, seconds: u64, visitors_per_second: u64) -> Self {
        let options = Options {
            collector: collector.to_owned(),
            key: key.to_owned(),
            visitors: seconds * visitors_per_second,
            seed: fastrand::u64(..1 << 32),
            days: None,
            connections: 8,
            visitors_per_second: Some(visitors_per_second as u32),
            progress: false,
        };
        eprintln!("seed {}", options.seed);
        let done = Arc::new(AtomicBool::new(false));
        let run = tokio::spawn({
            let done = Arc::clone(&done);
            async move {
                let truth = simulate::run(options).await;
                done.store(true, Ordering::Release);
                truth
            }
        });
        Self { done, run }
    }

    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Acquire)
    }

    /// Waits for its end, and for the totals it must give.
    async fn expect(self, stack: &Stack) -> anyhow::Result<simulate::Truth> {
        let truth = self.run.await??;
        stack
            .expect([truth.visitors, truth.visits, truth.pageviews, truth.events])
            .await?;
        Ok(truth)
    }
}

async fn stack_on(redis: &Redis, collectors: usize) -> anyhow::Result<Stack> {
    let state = [("WAKELINE_STATE__URL", redis.url())];
    Stack::start_with(collectors, &state).await
}

/// Sums of all minutes and of all days in the generation that readers of InfluxDB are told to read.
const SUMS: &str = r#"
current = from(bucket: "wakeline")
    |> range(start: 2200-01-01T00:00:00Z, stop: 2200-01-01T00:00:01Z)
    |> filter(fn: (r) => r._measurement == "current" and r._field == "generation")
    |> findColumn(fn: (key) => true, column: "_value")
from(bucket: "wakeline")
    |> range(start: 0)
    |> filter(fn: (r) => r._measurement == "minute" or r._measurement == "day")
    |> filter(fn: (r) => r.generation == current[0])
    |> filter(fn: (r) => r._field == "visits" or r._field == "pageviews" or r._field == "events")
    |> group(columns: ["_measurement", "_field"])
    |> sum()
    |> map(fn: (r) => ({text: r._measurement + " " + r._field + " " + string(v: r._value)}))
    |> group()
    |> sort(columns: ["text"])
"#;

/// Waits until InfluxDB has the same totals, by minutes and by days.
async fn expect_in_influx(influx: &Influx, truth: &simulate::Truth) -> anyhow::Result<()> {
    let mut expected = Vec::new();
    for grain in ["day", "minute"] {
        expected.push(format!("{grain} events {}", truth.events));
        expected.push(format!("{grain} pageviews {}", truth.pageviews));
        expected.push(format!("{grain} visits {}", truth.visits));
    }
    eventually("totals in InfluxDB", IN_INFLUX, async || {
        let rows = influx.query(SUMS).await?.into_iter();
        let told = rows.filter_map(|row| Some(row.into_iter().find(|at| at.0 == "text")?.1));
        let told: Vec<String> = told.collect();
        ensure!(told == expected, "{told:?}, sent {expected:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_though_each_process_is_killed_and_stopped_in_turn() -> anyhow::Result<()>
{
    let mut redis = Redis::start(&[])?;
    let mut influx = Influx::start().await?;
    let stores = [
        ("WAKELINE_STATE__URL", redis.url()),
        ("WAKELINE_METRICS__URL", influx.url()),
        ("WAKELINE_METRICS__TOKEN", influx.token().to_owned()),
    ];
    let mut stack = Stack::start_with(1, &stores).await?;
    let load = Load::start(&stack.collector_url, &stack.write_key);
    let mut rng = fastrand::Rng::new();
    let mut strikes = 0_u32;
    while load.goes_on() {
        tokio::time::sleep(Duration::from_millis(rng.u64(200..700))).await; // the moment of the fault
        let pause = Duration::from_millis(rng.u64(200..1500));
        let hold = || std::thread::sleep(pause); // the fault itself
        tokio::task::block_in_place(|| match strikes % 8 {
            0 => stack.restart_collector(),
            1 => {
                redis.kill()?;
                redis.revive()
            }
            2 => {
                influx.kill()?;
                influx.revive()
            }
            3 => stack.restart_aggregator(),
            4 => stack.pause_collector(pause),
            5 => {
                redis.pause()?;
                hold();
                redis.resume()
            }
            6 => {
                influx.pause()?;
                hold();
                influx.resume()
            }
            _ => stack.pause_aggregator(pause),
        })?;
        strikes += 1;
    }
    ensure!(
        strikes >= 8,
        "only {strikes} faults struck: too short to show anything"
    );
    eprintln!("{strikes} faults");
    let truth = load.expect(&stack).await?;
    expect_in_influx(&influx, &truth).await
}

/// `WAKELINE_OUTAGE_SECONDS=1800` is what is promised for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_fresh_again_and_exact_after_both_stores_were_away_for_a_time()
-> anyhow::Result<()> {
    let mut redis = Redis::start(&[])?;
    let mut influx = Influx::start().await?;
    let stores = [
        ("WAKELINE_STATE__URL", redis.url()),
        ("WAKELINE_METRICS__URL", influx.url()),
        ("WAKELINE_METRICS__TOKEN", influx.token().to_owned()),
    ];
    let stack = Stack::start_with(1, &stores).await?;
    let seconds = outage().as_secs() + 10;
    let (collector, key) = (&stack.collector_url, &stack.write_key);
    let load = Load::of(collector, key, seconds, FEW_VISITORS_PER_SECOND);
    until_fresh(&stack).await?;
    redis.kill()?;
    influx.kill()?;
    tokio::time::sleep(outage()).await; // the fault itself
    let behind = age_of_figures(&stack).await?;
    ensure!(behind + FRESH >= outage(), "only {behind:?} behind");
    redis.revive()?;
    influx.revive()?;
    let begun = std::time::Instant::now();
    until_fresh(&stack).await?;
    let fresh = begun.elapsed();
    let truth = load.expect(&stack).await?;
    expect_in_influx(&influx, &truth).await?;
    let written = begun.elapsed();
    eprintln!(
        "{:?} without stores, {} events: figures fresh after {fresh:.1?}, all of them in InfluxDB by {written:.1?}",
        outage(),
        truth.events
    );
    Ok(())
}

/// How long ago what the figures have was logged; nothing if they have all.
async fn age_of_figures(stack: &Stack) -> anyhow::Result<Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let at = stack.status().await?["watermark"].take();
    let number = |name: &str| at[name].as_u64().context("no watermark");
    if number("applied")? > 0 && number("applied")? == number("log_end")? {
        return Ok(Duration::ZERO);
    }
    let at = Duration::from_millis(number("at_ms")?);
    Ok(now.saturating_sub(at))
}

async fn until_fresh(stack: &Stack) -> anyhow::Result<()> {
    eventually("fresh figures", FRESH_WITHIN, async || {
        Ok((age_of_figures(stack).await? < FRESH).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_behind_nginx_though_each_part_is_restarted_in_turn() -> anyhow::Result<()>
{
    let mut redis = Redis::start(&[])?;
    let mut stack = stack_on(&redis, 2).await?;
    let nginx = Nginx::start(&stack.collector_urls)?;
    let load = Load::start(&nginx.url, &stack.write_key);
    let mut restarts = 0_u32;
    while load.goes_on() {
        match restarts % 4 {
            0 => stack.cycle_collector(0).await?,
            1 => tokio::task::block_in_place(|| stack.cycle_aggregator())?,
            2 => stack.cycle_collector(1).await?,
            _ => tokio::task::block_in_place(|| redis.restart())?,
        }
        restarts += 1;
    }
    ensure!(
        restarts >= 4,
        "only {restarts} restarts: too short to show anything"
    );
    load.expect(&stack).await?;
    let statuses = nginx.statuses()?;
    let failed: Vec<_> = statuses
        .iter()
        .filter(|line| !line.starts_with('2'))
        .collect();
    ensure!(
        failed.is_empty(),
        "of {} requests: {failed:?}",
        statuses.len()
    );
    ensure!(!statuses.is_empty(), "no request went through nginx");
    Ok(())
}

/// An aggregator that stands still for longer than its lease is replaced from a copy of its folder; when it goes on it
/// finds that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_stood_still_is_replaced_once_its_lease_is_over_and_ends()
-> anyhow::Result<()> {
    let redis = Redis::start(&[])?;
    let mut stack = stack_on(&redis, 1).await?;
    let load = Load::start(&stack.collector_url, &stack.write_key);
    load.expect(&stack).await?;
    let totals = stack.totals().await?;
    stack.aggregator()?.pause()?;
    let copy = stack.aggregator_data().with_file_name("copy");
    copy_folder(stack.aggregator_data(), &copy)?;

    // While the lease lives the second one is refused.
    let mut take_over = || tokio::task::block_in_place(|| stack.take_over(copy.clone()));
    let refused = take_over().err().context("started beside another one")?;
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("in use by another aggregator"),
        "{refused}"
    );
    let begun = std::time::Instant::now();
    let mut old = loop {
        match take_over() {
            Ok(old) => break old,
            Err(error) => ensure!(begun.elapsed() < LIMIT, "never: {error:#}"),
        }
    };
    stack.expect(totals).await?;

    old.resume()?;
    let code = tokio::task::block_in_place(|| old.ended(LIMIT))?;
    ensure!(code == 3, "ended with {code}:\n{}", old.output());
    let says = old.output();
    ensure!(
        says.contains("another aggregator has taken the state over"),
        "{says}"
    );
    stack.expect(totals).await
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    let done = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(done.success(), "cp -r: {done}");
    let _ = std::fs::remove_file(to.join("admin.sock"));
    Ok(())
}
