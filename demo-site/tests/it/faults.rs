//! What a `kill -9` at any moment costs: nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wakeline_demo_site::simulate::{self, Options};

use wakeline_testbed::Stack;

/// Visitors of a run; enough for some seconds of load.
fn visitors() -> u64 {
    std::env::var("WAKELINE_KILL_VISITORS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3_000)
}

fn seed() -> u64 {
    let seed = std::env::var("WAKELINE_KILL_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    seed.unwrap_or_else(|| fastrand::u64(..1 << 32))
}

/// Runs the simulator against a stack while `fault` strikes again and again at random moments, then compares.
async fn totals_survive(
    mut fault: impl FnMut(&mut Stack, &mut fastrand::Rng) -> anyhow::Result<()>,
) -> anyhow::Result<u32> {
    let seed = seed();
    eprintln!("seed {seed} (WAKELINE_KILL_SEED repeats the traffic and the moments)");
    let mut stack = Stack::start().await?;
    let done = Arc::new(AtomicBool::new(false));
    let options = Options {
        collector: stack.collector_url.clone(),
        key: stack.write_key.clone(),
        visitors: visitors(),
        seed,
        days: None,
        connections: 8,
        // Slow enough that the faults strike while events are on their way.
        visitors_per_second: Some(400),
        progress: false,
    };
    let run = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let truth = simulate::run(options).await;
            done.store(true, Ordering::Release);
            truth
        }
    });
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut strikes = 0;
    while !done.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..900))).await; // the moment of the fault, not a wait for something
        tokio::task::block_in_place(|| fault(&mut stack, &mut rng))?;
        strikes += 1;
    }
    let truth = run.await??;
    stack
        .expect([truth.visitors, truth.visits, truth.pageviews, truth.events])
        .await?;
    assert!(
        strikes >= 3,
        "only {strikes} faults struck: the run was too short to show anything"
    );
    Ok(strikes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_though_the_collector_is_killed() -> anyhow::Result<()> {
    totals_survive(|stack, _| stack.restart_collector())
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_though_the_aggregator_is_killed() -> anyhow::Result<()> {
    totals_survive(|stack, _| stack.restart_aggregator())
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_though_any_part_is_killed() -> anyhow::Result<()> {
    totals_survive(|stack, rng| match rng.u8(..3) {
        0 => stack.restart_collector(),
        1 => stack.restart_aggregator(),
        _ => stack.restart_both(),
    })
    .await
    .map(drop)
}
