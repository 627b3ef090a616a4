//! A Grafana with the dashboards of `aggregator/grafana`, where one is installed.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{Influx, Process, debian};

const STARTS: Duration = Duration::from_secs(120);
/// Where packages put what the program needs; `GF_PATHS_HOME` says otherwise.
const HOME: &str = "/usr/share/grafana";

/// A server on loopback that shows everybody there the figures in an InfluxDB.
pub struct Grafana {
    address: SocketAddr,
    _process: Process,
}

impl Grafana {
    /// Starts one that keeps its files in a folder; `None` if neither `grafana-server` nor `grafana` is on `PATH`.
    ///
    /// # Errors
    /// If it does not start; with what it printed.
    pub fn start_in(data: &Path, influx: &Influx, bucket: &str) -> anyhow::Result<Option<Self>> {
        let found = [("grafana-server", None), ("grafana", Some("server"))]
            .into_iter()
            .find_map(|(name, command)| Some((debian::find(name)?, command)));
        let Some((program, subcommand)) = found else {
            return Ok(None);
        };
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = command(program, subcommand, data, address)?;
        command
            .env("WAKELINE_INFLUX_URL", influx.url())
            .env("WAKELINE_INFLUX_ORG", influx.org())
            .env("WAKELINE_INFLUX_BUCKET", bucket)
            .env("WAKELINE_INFLUX_TOKEN", influx.token());
        let mut process = Process::start("grafana", &mut command)?;
        process.wait_for(STARTS, |line| {
            line.contains("HTTP Server Listen").then_some(())
        })?;
        Ok(Some(Self {
            address,
            _process: process,
        }))
    }

    /// `http://HOST:PORT` of the dashboard with the present.
    pub fn url(&self) -> String {
        format!("http://{}/d/wakeline-live", self.address)
    }
}

fn command(
    program: PathBuf,
    subcommand: Option<&str>,
    data: &Path,
    address: SocketAddr,
) -> anyhow::Result<Command> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../aggregator/grafana");
    let shipped = shipped
        .canonicalize()
        .context("the dashboards of this checkout")?;
    std::fs::create_dir_all(data)?;
    let data = data.canonicalize()?;
    let home = std::env::var_os("GF_PATHS_HOME").unwrap_or_else(|| HOME.into());
    let mut command = Command::new(program);
    command
        .args(subcommand)
        .arg("--homepath")
        .arg(home)
        .env("GF_PATHS_DATA", &data)
        .env("GF_PATHS_LOGS", data.join("log"))
        .env("GF_PATHS_PROVISIONING", shipped.join("provisioning"))
        .env("WAKELINE_GRAFANA_DASHBOARDS", shipped.join("dashboards"))
        .env("GF_SERVER_HTTP_ADDR", address.ip().to_string())
        .env("GF_SERVER_HTTP_PORT", address.port().to_string())
        .env("GF_AUTH_ANONYMOUS_ENABLED", "true") // whoever reaches loopback may look
        .env("GF_LOG_MODE", "console")
        .env("GF_ANALYTICS_REPORTING_ENABLED", "false")
        .env("GF_ANALYTICS_CHECK_FOR_UPDATES", "false")
        .process_group(0); // Ctrl-C is for who uses it
    Ok(command)
}
