//! What `kill -9` of an app costs: at most what it recorded within the flush interval, of orders nothing.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use wakeline_testbed::{Process, Stack, eventually, mobile_sdk};

use super::{LIMIT, by, kotlin, python, run, told};

/// The longest that a flush interval may be.
const FLUSHED: Duration = Duration::from_secs(1);
/// Long enough to be in the middle of writing, sending and waiting for answers.
const RUNS: Duration = Duration::from_millis(2_500);
const KILLS: usize = 2;
/// Events with a name in common.
const BUCKET: u64 = 20;

/// What an app said that it had recorded, and when.
#[derive(Default)]
struct Said {
    events: Vec<(u64, Instant)>,
    orders: u64,
}

/// Lets the app run until it is killed.
fn killed(mut command: Command) -> anyhow::Result<(Said, Instant)> {
    let mut app = Process::start("app", &mut command)?;
    let mut said = Said::default();
    let mut end = None;
    loop {
        let line = app.wait_for(LIMIT, |line| Some(line.to_owned()))?;
        let now = Instant::now();
        match line.split_once(' ') {
            Some(("order", _)) => said.orders += 1,
            Some(("event", number)) => said.events.push((number.parse()?, now)),
            _ => anyhow::bail!("unexpected: {line}"),
        }
        if now > *end.get_or_insert(now + RUNS) {
            break;
        }
    }
    let at = Instant::now();
    app.kill()?;
    // What it had said that was not read yet.
    while let Ok(line) = app.wait_for(LIMIT, |line| Some(line.to_owned())) {
        said.orders += u64::from(line.starts_with("order "));
    }
    Ok((said, at))
}

/// How many events have that name: each fiftieth is an order.
fn recorded_as(name: &str) -> Option<u64> {
    let bucket: u64 = name.strip_prefix("load-")?.parse().ok()?;
    let numbers = bucket * BUCKET..(bucket + 1) * BUCKET;
    Some(numbers.filter(|number| number % 50 != 49).count() as u64)
}

/// `app` makes the command that runs the load of a language in a mode: `load` until it is killed, `drain` to send the rest.
async fn nothing_that_was_promised_is_lost(
    app: impl Fn(&str, &Path) -> anyhow::Result<Command>,
) -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    for _ in 0..KILLS {
        let before: BTreeMap<String, u64> = names(&stack).await?;
        let orders_before = orders(&stack).await?;
        let data = tempfile::tempdir()?;
        let mut load = app("load", data.path())?;
        told(&mut load, &stack);
        let (said, at) = tokio::task::block_in_place(|| killed(load))?;
        let mut drain = app("drain", data.path())?;
        told(&mut drain, &stack);
        let status = tokio::task::block_in_place(|| run("drain", &mut drain))?;

        let wanted = orders_before + said.orders;
        eventually("the orders", LIMIT, || async {
            Ok((orders(&stack).await? >= wanted).then_some(()))
        })
        .await
        .with_context(|| format!("{} orders; {status}", said.orders))?;
        let mut durable: BTreeMap<String, u64> = BTreeMap::new();
        for (number, returned) in &said.events {
            if at.duration_since(*returned) > FLUSHED {
                *durable
                    .entry(format!("load-{}", number / BUCKET))
                    .or_default() += 1;
            }
        }
        ensure!(durable.len() > 5, "no load: {} events", said.events.len());
        stack.expect(stack.totals().await?).await?;
        let counted = names(&stack).await?;
        let of = |names: &BTreeMap<String, u64>, name: &str| names.get(name).copied().unwrap_or(0);
        for (name, promised) in &durable {
            let arrived = of(&counted, name) - of(&before, name);
            ensure!(
                arrived >= *promised,
                "{name}: {arrived} of {promised} arrived; {status}"
            );
        }
        for name in counted.keys() {
            let arrived = of(&counted, name) - of(&before, name);
            let recorded = recorded_as(name).unwrap_or(arrived);
            ensure!(
                arrived <= recorded,
                "{name}: {arrived} of {recorded} arrived"
            );
        }
        // The last call may have taken an order without having said so.
        let arrived = orders(&stack).await? - orders_before;
        ensure!(
            arrived <= said.orders + 1,
            "{arrived} of {} orders",
            said.orders
        );
    }
    Ok(())
}

async fn names(stack: &Stack) -> anyhow::Result<BTreeMap<String, u64>> {
    Ok(by(stack, "event:name", "events")
        .await?
        .into_iter()
        .collect())
}

async fn orders(stack: &Stack) -> anyhow::Result<u64> {
    let answer = stack.query(&["orders"], &[]).await?;
    answer["results"][0]["metrics"][0]
        .as_u64()
        .context("no orders")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kotlin_process_that_is_killed_under_load_loses_nothing_older_than_the_flush_interval()
-> anyhow::Result<()> {
    let kotlin = kotlin()?;
    nothing_that_was_promised_is_lost(|mode, data| {
        let mut command = kotlin.program("wakeline.Load")?;
        command.arg(mode).arg(data);
        Ok(command)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_process_that_is_killed_under_load_loses_nothing_older_than_the_flush_interval()
-> anyhow::Result<()> {
    let python = python()?;
    let load = mobile_sdk()?.join("python/tests/load.py");
    nothing_that_was_promised_is_lost(|mode, data| {
        let mut command = python.program();
        command.arg(&load).arg(mode).arg(data);
        Ok(command)
    })
    .await
}
