//! `wakeline-demo-site`: the demo, and the traffic simulator.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wakeline_demo_site::{
    countries, demo,
    simulate::{self, Truth},
};

/// The Wakeline demo: a shop, both servers and the dashboard in one process.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the demo (what is done without a command, too).
    Serve(Serve),
    /// Send the traffic of invented visitors, with totals that are known beforehand.
    Simulate(Simulate),
}

#[derive(Args)]
struct Serve {
    /// Folder of all state. Settings: `WAKELINE_COLLECTOR__SECTION__KEY` and `WAKELINE_AGGREGATOR__SECTION__KEY`.
    #[arg(long, default_value = "data/demo")]
    data: PathBuf,
    /// Folder for the built browser SDK.
    #[arg(long, default_value_os_t = default_sdk())]
    sdk: PathBuf,
    /// Keep state in a real Redis and metrics in a real InfluxDB, which are started for the demo, with Grafana on top where
    /// that is installed. What else is missing is installed or built where `WAKELINE_TESTBED_INSTALL=1` is set.
    #[arg(long)]
    real: bool,
}

#[derive(Args)]
struct Simulate {
    /// `http://HOST:PORT` of a collector.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    collector: String,
    /// Write key of the site.
    #[arg(long, required_unless_present = "server_key")]
    key: Option<String>,
    /// How many visitors come.
    #[arg(long, default_value_t = 1_000)]
    visitors: u64,
    /// The same seed makes the same visitors, whose events are counted once however often they are sent.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the totals that reports must show, as JSON.
    #[arg(long)]
    truth: Option<PathBuf>,
    /// Spread the visitors over so many days before now, as history. Needs `--server-key`.
    #[arg(long, requires = "server_key")]
    days: Option<u32>,
    /// Secret key of the site, for history.
    #[arg(long, requires = "days")]
    server_key: Option<String>,
    /// Requests at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Visitors per second; as fast as they are served if not given.
    #[arg(long)]
    rate: Option<u32>,
    /// Print the totals as JSON.
    #[arg(long)]
    json: bool,
}

fn default_sdk() -> PathBuf {
    // Beside the binary: the target folder, wherever cargo was told to put it.
    let target = std::env::current_exe()
        .ok()
        .and_then(|binary| Some(binary.parent()?.parent()?.to_owned()));
    target
        .unwrap_or_else(|| PathBuf::from("target"))
        .join("wakeline-sdk")
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve(cli.serve).await,
        Some(Command::Serve(options)) => serve(options).await,
        Some(Command::Simulate(options)) => simulate(options).await,
    }
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let _ = stop_signal().await; // a signal that can't be listened to can't stop us either
            shutdown.cancel();
        }
    });
    // Whoever started the demo may have stopped reading when the countries are there.
    let tell = |told: &str| drop(writeln!(std::io::stdout(), "countries   {told}"));
    let places =
        wakeline_testbed::cache_folder().and_then(|cache| countries::fetch_beside(&cache, tell));
    let options = demo::Options {
        places: places
            .inspect_err(|error| tell(&format!("not known: {error:#}")))
            .ok(),
        data: options.data,
        sdk: options.sdk,
        real: options.real,
    };
    demo::run(options, shutdown, |at| {
        println!("shop        {}", at.shop);
        println!("dashboard   {}", at.dashboard);
        println!("write key   {}", at.write_key);
        println!("server key  {}", at.server_key);
        for (name, told) in &at.servers {
            println!("{name:<11} {told}");
        }
        println!("Click around the shop and watch the dashboard. Ctrl-C ends it.");
    })
    .await
}

async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

async fn simulate(options: Simulate) -> anyhow::Result<()> {
    let truth = simulate::run(simulate::Options {
        collector: options.collector,
        key: options.server_key.or(options.key).context("no key")?,
        visitors: options.visitors,
        seed: options.seed,
        days: options.days,
        connections: options.connections,
        visitors_per_second: options.rate,
        progress: true,
    })
    .await?;
    if let Some(path) = options.truth {
        std::fs::write(&path, serde_json::to_vec_pretty(&truth)?)
            .with_context(|| format!("write {}", path.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&truth)?);
    } else {
        print(&truth);
    }
    Ok(())
}

fn print(truth: &Truth) {
    println!("visitors   {}", truth.visitors);
    println!("visits     {}", truth.visits);
    println!("pageviews  {}", truth.pageviews);
    println!("events     {}", truth.events);
    println!("orders     {}", truth.orders);
    for (currency, minor) in &truth.revenue {
        println!("revenue    {}.{:02} {currency}", minor / 100, minor % 100);
    }
}
