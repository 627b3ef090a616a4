//! `wakeline-collector`: the collector as a server of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the data folder is in use.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wakeline_collector::inspect::InspectError;
use wakeline_collector::{
    Collector, Config, ConfigError, ServeOptions, StartError, TlsError, fetch_places, inspect,
    serve,
};

/// A request allocates some hundred times; glibc's allocator took a fifth of the processor's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes hits at the edge, makes them durable and forwards them to the aggregator.
#[derive(Parser)]
#[command(
    name = "wakeline-collector",
    version,
    after_help = "Every key of the configuration can also be given by the environment, as WAKELINE_<SECTION>__<KEY>.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the data folder is in use."
)]
struct Cli {
    /// Configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "WAKELINE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of spool, edge ids and cached snapshot; `data` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT.
    Serve(Serve),
    /// Fetch the public-domain database of countries into the data folder, with npm. A running collector takes it.
    Geoip {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look into the spool of a collector that does not run.
    Spool {
        #[command(subcommand)]
        command: SpoolCommand,
    },
}

#[derive(Args)]
struct Serve {
    /// Address to listen at; port 0 takes any free one, which is printed.
    #[arg(long, alias = "listen", value_name = "ADDRESS")]
    http_listen: Option<String>,
    /// The aggregator's gRPC.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes. If it can't be written, the code still tells.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return 2;
    }
    if error.is::<TlsError>() {
        return 2;
    }
    match error.downcast_ref() {
        Some(StartError::Config(_) | StartError::Upstream(_)) => return 2,
        Some(StartError::InUse(_)) => return 3,
        _ => {}
    }
    match error.downcast_ref() {
        Some(InspectError::InUse(_)) => 3,
        _ => 1,
    }
}

/// The allocator asks for huge pages, of which many idle connections use a part each: with them 10,000 took 237 MB, not 142.
#[cfg(target_os = "linux")]
fn use_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true); // a system without them refuses
}

#[cfg(not(target_os = "linux"))]
fn use_small_pages() {}

fn execute(cli: Cli) -> anyhow::Result<()> {
    use_small_pages();
    let mut flags = Vec::new();
    flags.extend(cli.data.map(|data| ("data", data)));
    if let Command::Serve(serve) = &cli.command {
        flags.extend(serve.http_listen.clone().map(|at| ("http.listen", at)));
        flags.extend(serve.upstream.clone().map(|url| ("upstream.url", url)));
    }
    // Variables that are not text configure nothing.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = Config::load(cli.config.as_deref(), "WAKELINE_", env, &flags)?;
    let runtime = tokio::runtime::Runtime::new().context("start runtime")?;
    match cli.command {
        Command::Serve(_) => runtime.block_on(run(config)),
        Command::Geoip { json } => {
            let path = fetch_places(&config.data)?;
            if json {
                writeln!(std::io::stdout(), "{}", serde_json::json!({"path": path}))?;
            } else {
                writeln!(std::io::stdout(), "{}", path.display())?;
            }
            Ok(())
        }
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
    let options = ServeOptions::open(&config.http)?;
    let (scheme, drain) = (options.scheme(), options.drain);
    let collector = Collector::start(config).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen at {listen}"))?;
    let address = listener.local_addr().context("own address")?;
    writeln!(std::io::stdout(), "listening at {scheme}://{address}/")?;

    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(
        listener,
        collector.entrance(collector.alone()),
        options,
        shutdown.clone(),
    ));
    terminated.await;
    tracing::info!("shutting down");
    shutdown.cancel();
    serving.await.context("server task")?;
    collector.shutdown(drain).await;
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
    writeln!(out, "only counted  {}", report.tallied)?;
    writeln!(out, "lost_corrupt  {}", report.lost_corrupt)?;
    Ok(())
}
