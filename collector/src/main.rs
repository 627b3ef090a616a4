//! `wakeline-collector`: the collector as a server of its own.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wakeline_collector::{Collector, Config, ServeOptions, inspect, serve};

/// Takes hits at the edge, makes them durable and forwards them to the aggregator.
#[derive(Parser)]
#[command(name = "wakeline-collector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve,
    /// Look into the spool of a collector that does not run.
    Spool {
        #[command(subcommand)]
        command: SpoolCommand,
    },
}

#[derive(Subcommand)]
enum SpoolCommand {
    /// Say what is in the spool.
    Inspect {
        /// Print JSON, with the first events.
        #[arg(long)]
        json: bool,
        /// How many events to list.
        #[arg(long, default_value_t = 1000)]
        events: usize,
    },
}

#[derive(Args)]
struct Settings {
    /// TOML file with settings; WAKELINE_<SECTION>__<KEY> and flags win over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of spool, edge id and cached snapshot.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// Address to listen at; port 0 takes any free one.
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// The aggregator's gRPC.
    #[arg(long, global = true, value_name = "URL")]
    upstream: Option<String>,
}

impl Settings {
    fn load(self) -> anyhow::Result<Config> {
        let flags: Vec<_> = [
            ("data", self.data),
            ("http.listen", self.listen),
            ("upstream.url", self.upstream),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        Ok(Config::load(
            self.config.as_deref(),
            "WAKELINE_",
            std::env::vars(),
            &flags,
        )?)
    }
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let cli = Cli::parse();
    let config = cli.settings.load()?;
    let runtime = tokio::runtime::Runtime::new().context("start runtime")?;
    match cli.command {
        Command::Serve => runtime.block_on(run(config)),
        Command::Spool {
            command: SpoolCommand::Inspect { json, events },
        } => {
            let report = runtime.block_on(inspect::inspect(
                &config.data,
                if json { events } else { 0 },
            ))?;
            print(&report, json)
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let terminated = termination()?;
    let listen = config.http.listen;
    let options = ServeOptions::from(&config.http);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen at {listen}"))?;
    let address = listener.local_addr().context("own address")?;
    let collector = Collector::start(config).await?;
    writeln!(std::io::stdout(), "listening at http://{address}/")?;

    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(
        listener,
        collector.alone(),
        options,
        shutdown.clone(),
    ));
    terminated.await;
    tracing::info!("shutting down");
    shutdown.cancel();
    serving.await.context("server task")?;
    collector.shutdown(options.drain).await;
    Ok(())
}

/// Resolves at SIGTERM or SIGINT.
fn termination() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn print(report: &inspect::Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    for range in &report.edges {
        writeln!(
            out,
            "edge          {} from {}",
            range.edge, range.first_position
        )?;
    }
    writeln!(
        out,
        "positions     {} to {}",
        report.first_position, report.next_position
    )?;
    writeln!(
        out,
        "bytes         {} in {} segments",
        report.bytes, report.segments
    )?;
    writeln!(out, "records       {}", report.records)?;
    writeln!(out, "accepted      {}", report.accepted)?;
    writeln!(out, "rejected      {}", report.rejected)?;
    writeln!(out, "lost_corrupt  {}", report.lost_corrupt)?;
    Ok(())
}
