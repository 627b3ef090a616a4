//! Deterministic simulation of Wakeline: the real SDK core, collectors and aggregator, on a simulated network, clock and
//! disk, under faults that a seed draws; and judged by what a naive model makes of what was logged.
//!
//! Each seed is a process of its own. A seed that fails is printed with the command that replays it.

mod client;
mod disk;
mod faults;
mod machine;
mod model;
mod net;
mod nodes;
mod oracle;
mod store;
mod trace;
mod world;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;

/// Simulates clients, collectors and an aggregator under faults.
#[derive(Parser)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Simulations at a time; 0: one per core.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Run this seed alone, in this process.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print what happens.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.seed {
        Some(seed) => run_one(seed, cli.trace),
        None => run_many(&cli),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed on a thread of its own, which has drawn no random numbers yet; true if all promises were kept.
fn run_one(seed: u64, print: bool) -> anyhow::Result<bool> {
    // In memory where there is such a folder: nothing of it has to outlive the process.
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let root = tempfile::Builder::new()
        .prefix("wakeline-sim-")
        .tempdir_in(parent)?;
    if print {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .without_time()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .init();
    }
    let folder = root.path().to_owned();
    let outcome = thread::spawn(move || {
        if print {
            trace::print();
        }
        world::run(seed, &folder)
    });
    let outcome = outcome
        .join()
        .map_err(|_| anyhow::anyhow!("a program panicked"))??;
    println!("{:016x} {}", outcome.hash, outcome.summary);
    Ok(true)
}

/// Runs many seeds, each in a process of its own; true if none failed.
fn run_many(cli: &Cli) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("find this program")?;
    let begun = Instant::now();
    let seeds: VecDeque<u64> = (cli.from..cli.from.saturating_add(cli.seeds)).collect();
    let seeds = Mutex::new(seeds);
    let failed = Mutex::new(Vec::new());
    let jobs = match cli.jobs {
        0 => thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let next = || {
        let mut seeds = seeds.lock().unwrap_or_else(PoisonError::into_inner);
        seeds.pop_front()
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let run = Command::new(&program)
                        .args(["--seed", &seed.to_string()])
                        .stdin(Stdio::null())
                        .output();
                    if let Some(reason) = failure(run) {
                        eprintln!(
                            "seed {seed} fails: {reason}\nreplay: cargo run --release -p wakeline-sim -- --seed {seed} --trace"
                        );
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds from {}: {} failed {failed:?}, {seconds:.1} s, {:.0} ms of one of {jobs} jobs each",
        cli.seeds,
        cli.from,
        failed.len(),
        seconds * 1000.0 * jobs as f64 / cli.seeds.max(1) as f64
    );
    Ok(failed.is_empty())
}

/// Why a run failed, if it did.
fn failure(run: std::io::Result<Output>) -> Option<String> {
    match run {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
