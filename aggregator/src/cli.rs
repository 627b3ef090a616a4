//! The command line of `wakeline-aggregator`.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data folder or state are in use by
//! another aggregator.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Aggregator, Config, StartError,
    admin::{self, AdminError, AdminRequest},
    config::ConfigError,
    control::ControlError,
    generations::{RebuildError, Step},
};

mod table;

/// How long what is in progress may take after a signal.
const DRAIN: Duration = Duration::from_secs(20);
/// Characters that a token given by the operator has at least.
const MIN_TOKEN: usize = 16;

/// The centre of Wakeline: takes events from collectors, counts them, and serves dashboard and API.
#[derive(Debug, Parser)]
#[command(
    name = "wakeline-aggregator",
    version,
    after_help = "Every key of the configuration can also be given by the environment, as WAKELINE_<SECTION>__<KEY>.\n\
                  All commands but serve talk to the server that runs on the data folder; if none runs, they open the \
                  folder themselves.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data folder or state are in \
                  use by another aggregator."
)]
struct Cli {
    /// Configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "WAKELINE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of all that the server keeps; `data` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT.
    #[command(
        after_help = "The first admin token is WAKELINE_ADMIN_TOKEN (at least 16 characters); without it one is made and printed once."
    )]
    Serve(Serve),
    #[command(flatten)]
    Admin(AdminRequest),
}

#[derive(Debug, Args)]
struct Serve {
    /// Address of dashboard and API; port 0: any, printed.
    #[arg(long, value_name = "ADDRESS")]
    http_listen: Option<String>,
    /// Address that collectors push to; port 0: any, printed.
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(
        "WAKELINE_ADMIN_TOKEN is shorter than {MIN_TOKEN} characters: whoever guesses it can do everything. Give a longer \
         one, such as the output of `openssl rand -hex 32`, or none: then one is made and printed"
    )]
    ShortToken,
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    #[error("print the answer")]
    Print(#[source] io::Error),
}

impl CliError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::ShortToken => 2,
            Self::Start(error) | Self::Admin(AdminError::Rebuild(RebuildError::Open(error))) => {
                start_code(error)
            }
            Self::Admin(AdminError::InUse(_)) => 3,
            Self::Admin(AdminError::Open(error)) => start_code(error),
            _ => 1,
        }
    }
}

const fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Config(_) => 2,
        StartError::InUse(_) | StartError::StateInUse(_) | StartError::Replaced => 3,
        _ => 1,
    }
}

/// Does what the arguments (the program's name first) and the environment say.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, errors to stderr; if neither can be written to, the code still tells.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", with_causes(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: Cli) -> Result<(), CliError> {
    let mut flags = Vec::new();
    let mut flag = |key: &str, value: Option<String>| {
        flags.extend(value.map(|value| (key.to_owned(), value)));
    };
    flag(
        "data",
        cli.data.map(|data| data.to_string_lossy().into_owned()),
    );
    if let Command::Serve(serve) = &cli.command {
        flag("http.listen", serve.http_listen.clone());
        flag("grpc.listen", serve.grpc_listen.clone());
    }
    // Variables that are not text configure nothing.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = Config::load(cli.config.as_deref(), "WAKELINE_", env, flags)?;
    match cli.command {
        Command::Serve(_) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(CliError::Runtime)?;
            runtime.block_on(serve(config, cli.json))
        }
        Command::Admin(request) => {
            if admin::needs_state(&request) {
                log_to_stderr("warn");
            }
            let answer = admin::ask(&config, &request, |step| show(step, cli.json))?;
            if cli.json {
                print(&format!("{answer}\n"))
            } else {
                print(&table::render(&answer))
            }
        }
    }
}

/// Logs what `RUST_LOG` says, else what `filter` does.
fn log_to_stderr(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter));
    // A second subscriber is refused: then somebody else has seen to it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// How far a long command is. What is printed at its end goes to stdout, this does not.
fn show(step: Step, as_json: bool) {
    let mut err = io::stderr();
    let _ = if as_json {
        writeln!(err, "{}", json!({ "step": step }))
    } else {
        match step {
            Step::State { applied, log_end } => {
                let percent = applied * 100 / log_end.max(1);
                writeln!(err, "{applied} of {log_end} of the log, {percent} %")
            }
            Step::Metrics {
                written,
                waiting,
                trouble,
            } => {
                let trouble = trouble.map_or_else(String::new, |why| format!("; {why}"));
                writeln!(err, "{written} windows written, {waiting} wait{trouble}")
            }
        }
    };
}

async fn serve(config: Config, as_json: bool) -> Result<(), CliError> {
    log_to_stderr("info,fjall=warn,lsm_tree=warn");
    // From here on a signal stops gently, however early it comes.
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    let given = std::env::var("WAKELINE_ADMIN_TOKEN").ok();
    let length = given.as_deref().map_or(0, |token| token.chars().count());
    if (1..MIN_TOKEN).contains(&length) {
        return Err(CliError::ShortToken);
    }
    let aggregator = Aggregator::start(config).await?;
    let token = admin::first_token(aggregator.control(), given.as_deref())?;
    print(&started(&aggregator, token.as_deref(), as_json))?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = aggregator.failed() => Some(error),
    };
    tracing::info!("stopping");
    let patience = if failed.is_none() {
        DRAIN
    } else {
        Duration::ZERO
    };
    aggregator.shutdown(patience).await;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// What whoever started the server has to know.
fn started(aggregator: &Aggregator, token: Option<&str>, as_json: bool) -> String {
    let (http, grpc) = (aggregator.http_addr(), aggregator.grpc_addr());
    if as_json {
        let http = format!("http://{http}");
        let grpc = format!("http://{grpc}");
        return format!(
            "{}\n",
            json!({ "http": http, "grpc": grpc, "admin_token": token })
        );
    }
    let mut text = format!("dashboard and API: http://{http}\ncollectors push to: http://{grpc}\n");
    if let Some(token) = token {
        text.push_str("admin token, shown this once: ");
        text.push_str(token);
        text.push('\n');
    }
    text
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(CliError::Print),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat their cause.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
