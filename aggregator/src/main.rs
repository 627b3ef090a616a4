//! `wakeline-aggregator`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use wakeline_aggregator::{Aggregator, Config, StartError};

/// Time for connections and commits to end after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            match error.downcast_ref() {
                Some(StartError::InUse(_)) => ExitCode::from(3),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let config = Config::load(None, "WAKELINE_", std::env::vars(), [])?;
    let mut terminate = signal(SignalKind::terminate())?;
    let aggregator = Aggregator::start(config).await?;
    writeln!(
        std::io::stdout(),
        "dashboard and API: http://{}\ncollectors push to: http://{}",
        aggregator.http_addr(),
        aggregator.grpc_addr()
    )?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done?,
    }
    aggregator.shutdown(DEADLINE).await;
    Ok(())
}
