//! The demo as a real process.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, binary};

/// The first start builds the SDK, which takes minutes on a machine that never did.
const STARTS: Duration = Duration::from_secs(1_200);
const STOPS: Duration = Duration::from_secs(60);

/// `wakeline-demo-site`, with its own folder and ports.
pub struct Demo {
    /// The shop.
    pub shop: String,
    /// The dashboard, with a sign-in in its fragment.
    pub dashboard: String,
    /// The site's write key.
    pub write_key: String,
    process: Process,
    folder: TempDir,
}

impl Demo {
    /// Starts it on free ports.
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let any = "127.0.0.1:0";
        let (process, [shop, dashboard, write_key]) =
            start(folder.path().join("data"), any, any, &[])?;
        Ok(Self {
            shop,
            dashboard,
            write_key,
            process,
            folder,
        })
    }

    /// Starts it with `--real`; gives the addresses of Redis and of InfluxDB, too, a token for InfluxDB, and what is said of Grafana.
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub fn start_real() -> anyhow::Result<(Self, [String; 4])> {
        let folder = TempDir::new()?;
        let any = "127.0.0.1:0";
        let (mut process, [shop, dashboard, write_key]) =
            start(folder.path().join("data"), any, any, &["--real"])?;
        let redis = printed(&mut process, "redis ")?;
        let influx = printed(&mut process, "influxdb ")?;
        let (influx, token) = influx.split_once("  token ").context("no token")?;
        let grafana = printed(&mut process, "grafana ")?;
        let servers = [redis, influx.to_owned(), token.to_owned(), grafana];
        let demo = Self {
            shop,
            dashboard,
            write_key,
            process,
            folder,
        };
        Ok((demo, servers))
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop(STOPS)
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again where it was, on the same ports, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let address = |url: &str| {
            url.trim_start_matches("http://")
                .split('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let (shop, dashboard) = (address(&self.shop), address(&self.dashboard));
        let (process, [shop, dashboard, _]) =
            start(self.folder.path().join("data"), &shop, &dashboard, &[])?;
        (self.process, self.shop, self.dashboard) = (process, shop, dashboard);
        Ok(())
    }

    /// visitors, visits, pageviews, events of a `date_range`, as the API has them.
    ///
    /// # Errors
    /// If it does not do that; with what it printed.
    pub async fn totals(&self, date_range: &str) -> anyhow::Result<Vec<u64>> {
        let (api, token) = self.dashboard.split_once("#token=").context("a sign-in")?;
        let answer: Value = reqwest::Client::new()
            .post(format!("{api}api/v2/query"))
            .bearer_auth(token)
            .json(&json!({
                "site_id": "shop.example",
                "metrics": ["visitors", "visits", "pageviews", "events"],
                "date_range": date_range,
            }))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let metrics = answer["results"][0]["metrics"]
            .as_array()
            .context("no metrics")?;
        Ok(metrics.iter().filter_map(Value::as_u64).collect())
    }
}

fn start(
    data: PathBuf,
    shop: &str,
    dashboard: &str,
    more: &[&str],
) -> anyhow::Result<(Process, [String; 3])> {
    let mut command = Command::new(binary("wakeline-demo-site")?);
    command.arg("serve").arg("--data").arg(data).args(more);
    command.env("WAKELINE_COLLECTOR__HTTP__LISTEN", shop);
    command.env("WAKELINE_AGGREGATOR__HTTP__LISTEN", dashboard);
    command.env("WAKELINE_AGGREGATOR__GRPC__LISTEN", "127.0.0.1:0");
    let mut process = Process::start("wakeline-demo-site", &mut command)?;
    let addresses = [
        printed(&mut process, "shop ")?,
        printed(&mut process, "dashboard ")?,
        printed(&mut process, "write key ")?,
    ];
    Ok((process, addresses))
}

/// What the demo tells under a name.
fn printed(process: &mut Process, name: &str) -> anyhow::Result<String> {
    process.wait_for(STARTS, |line| {
        Some(line.strip_prefix(name)?.trim().to_owned())
    })
}
