//! Collector and aggregator as real processes, which can be killed and started again in the same folders.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, binary, eventually};

const TOKEN: &str = "end-to-end-token-0123456789abcdef";
/// What the servers print before their URLs.
const AGGREGATOR: &[&str] = &["dashboard and API: ", "collectors push to: "];
const COLLECTOR: &[&str] = &["listening at "];
const STARTS: Duration = Duration::from_secs(60);

/// One server: how to start it, and where it listens once it was started for the first time.
struct Server {
    name: &'static str,
    data: PathBuf,
    env: Vec<(&'static str, String)>,
    process: Option<Process>,
}

impl Server {
    /// Starts it, and gives the ports of the URLs that it prints after `listeners`, in that order.
    fn start(&mut self, listeners: &[&str]) -> anyhow::Result<Vec<u16>> {
        let mut command = Command::new(binary(self.name)?);
        command.arg("serve").arg("--data").arg(&self.data);
        command.envs(self.env.iter().map(|(key, value)| (*key, value)));
        let mut process = Process::start(self.name, &mut command)?;
        let ports = listeners
            .iter()
            .map(|listener| {
                process.wait_for(STARTS, |line| {
                    let (_, port) = line.strip_prefix(listener)?.rsplit_once(':')?;
                    port.trim_end_matches('/').parse().ok()
                })
            })
            .collect::<anyhow::Result<_>>()?;
        self.process = Some(process);
        Ok(ports)
    }

    fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("not running")?.kill()
    }
}

/// Both servers, with one site.
pub struct Stack {
    collector: Server,
    aggregator: Server,
    /// `http://HOST:PORT` of the collector.
    pub collector_url: String,
    /// `http://HOST:PORT` of the aggregator's API.
    pub api_url: String,
    /// Of the one site.
    pub write_key: String,
    site: u64,
    http: reqwest::Client,
    _data: TempDir,
}

impl Stack {
    /// Starts both on free ports, which they keep through every restart, and makes a site.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub async fn start() -> anyhow::Result<Self> {
        let data = TempDir::new()?;
        let server = |name, folder: &str, env| Server {
            name,
            data: data.path().join(folder),
            env,
            process: None,
        };
        let mut aggregator = server(
            "wakeline-aggregator",
            "aggregator",
            vec![
                ("WAKELINE_ADMIN_TOKEN", TOKEN.to_owned()),
                ("WAKELINE_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
                ("WAKELINE_GRPC__LISTEN", "127.0.0.1:0".to_owned()),
            ],
        );
        let [http, grpc] = aggregator.start(AGGREGATOR)?[..] else {
            bail!("two listeners")
        };
        aggregator
            .env
            .push(("WAKELINE_HTTP__LISTEN", format!("127.0.0.1:{http}")));
        aggregator
            .env
            .push(("WAKELINE_GRPC__LISTEN", format!("127.0.0.1:{grpc}")));

        let created = Command::new(binary("wakeline-aggregator")?)
            .args([
                "site",
                "create",
                "--domain",
                "shop.example",
                "--json",
                "--data",
            ])
            .arg(&aggregator.data)
            .output()?;
        if !created.status.success() {
            bail!("site create: {}", String::from_utf8_lossy(&created.stderr));
        }
        let created: Value = serde_json::from_slice(&created.stdout)?;

        let mut collector = server(
            "wakeline-collector",
            "collector",
            vec![
                ("WAKELINE_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
                ("WAKELINE_UPSTREAM__URL", format!("http://127.0.0.1:{grpc}")),
            ],
        );
        let [door] = collector.start(COLLECTOR)?[..] else {
            bail!("one listener")
        };
        collector
            .env
            .push(("WAKELINE_HTTP__LISTEN", format!("127.0.0.1:{door}")));

        let stack = Self {
            collector,
            aggregator,
            collector_url: format!("http://127.0.0.1:{door}"),
            api_url: format!("http://127.0.0.1:{http}"),
            write_key: created["write_key"]
                .as_str()
                .context("write_key")?
                .to_owned(),
            site: created["site_id"].as_u64().context("site_id")?,
            // A server that was killed leaves dead connections behind.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()?,
            _data: data,
        };
        eventually("collector is ready", STARTS, || async {
            let answer = stack
                .http
                .get(format!("{}/readyz", stack.collector_url))
                .send()
                .await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        Ok(stack)
    }

    /// `kill -9` of the collector, and a new one in its place.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub fn restart_collector(&mut self) -> anyhow::Result<()> {
        self.collector.kill()?;
        self.collector.start(COLLECTOR).map(drop)
    }

    /// `kill -9` of the aggregator, and a new one in its place.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub fn restart_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.kill()?;
        self.aggregator.start(AGGREGATOR).map(drop)
    }

    /// `kill -9` of both at once, and new ones; the collector first, while there is no aggregator.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub fn restart_both(&mut self) -> anyhow::Result<()> {
        self.collector.kill()?;
        self.aggregator.kill()?;
        self.collector.start(COLLECTOR)?;
        self.aggregator.start(AGGREGATOR).map(drop)
    }

    /// Process ids of both.
    pub fn processes(&self) -> Vec<u32> {
        [&self.collector, &self.aggregator]
            .into_iter()
            .filter_map(Server::id)
            .collect()
    }

    /// Sends JSON to the events door with that key: the status, and the answer as JSON.
    ///
    /// # Errors
    /// If the collector does not answer.
    pub async fn send(&self, key: &str, events: &Value) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/w/1/events", self.collector_url);
        let response = self.http.post(url).bearer_auth(key).json(events).send();
        let response = response.await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// Sends a native batch: the answer.
    ///
    /// # Errors
    /// If the collector does not take it.
    pub async fn send_batch(&self, batch: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/w/1/batch", self.collector_url);
        let request = self.http.post(url).header("content-type", "text/plain");
        let response = request.body(batch).send().await?.error_for_status()?;
        Ok(response.bytes().await?.to_vec())
    }

    /// Asks for the pixel: why its event was refused, if it was.
    ///
    /// # Errors
    /// If the collector does not answer.
    pub async fn pixel(&self, query: &str) -> anyhow::Result<Option<String>> {
        let key = &self.write_key;
        let url = format!("{}/w/1/pixel.gif?k={key}&{query}", self.collector_url);
        let response = self.http.get(url).send().await?.error_for_status()?;
        let reason = response.headers().get("wakeline-rejected");
        Ok(reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()))
    }

    /// The ledger of a site.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn ledger(&self, site: &str, interval: &str) -> anyhow::Result<Value> {
        self.get("ledger", &[("site_id", site), ("interval", interval)])
            .await
    }

    /// The dead letters of the site, newest first, up to 500.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn dead_letters(&self, query: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let query = [&[("site_id", "shop.example"), ("limit", "500")], query].concat();
        let mut answer = self.get("dead-letters", &query).await?;
        serde_json::from_value(answer["letters"].take()).context("letters")
    }

    /// Replays dead letters of the site through the collector.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn replay(&self, which: &Value) -> anyhow::Result<Value> {
        let mut request = which.clone();
        request["site_id"] = json!("shop.example");
        request["collector"] = json!(self.collector_url);
        let url = format!("{}/api/v1/dead-letters/replay", self.api_url);
        let request = self.http.post(url).bearer_auth(TOKEN).json(&request);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.api_url);
        let request = self.http.get(url).bearer_auth(TOKEN).query(query);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// visitors, visits, pageviews, events of all time.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn totals(&self) -> anyhow::Result<[u64; 4]> {
        let answer: Value = self
            .http
            .post(format!("{}/api/v2/query", self.api_url))
            .bearer_auth(TOKEN)
            .json(&json!({
                "site_id": self.site,
                "metrics": ["visitors", "visits", "pageviews", "events"],
                "date_range": "all",
            }))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let metrics = answer["results"][0]["metrics"]
            .as_array()
            .context("no metrics")?;
        let numbers: Vec<u64> = metrics.iter().filter_map(Value::as_u64).collect();
        numbers
            .try_into()
            .map_err(|_| anyhow::anyhow!("not four numbers: {answer}"))
    }

    /// Waits until the totals are `expected`, and until nothing is on its way any more; then they must be so still.
    ///
    /// # Errors
    /// If they are not, with both.
    pub async fn expect(&self, expected: [u64; 4]) -> anyhow::Result<()> {
        let seen = std::cell::Cell::new([0; 4]);
        eventually("totals", Duration::from_secs(120), || async {
            seen.set(self.totals().await?);
            Ok((seen.get() == expected).then_some(()))
        })
        .await
        .with_context(|| format!("expected {expected:?}, seen {:?}", seen.get()))?;
        eventually(
            "the spool is forwarded",
            Duration::from_secs(60),
            || async {
                let metrics = self
                    .http
                    .get(format!("{}/metrics", self.collector_url))
                    .send()
                    .await?
                    .text()
                    .await?;
                let [acked, durable] = ["forward_acked_position", "spool_durable_position"]
                    .map(|name| sample(&metrics, name));
                Ok((acked? >= durable?).then_some(()))
            },
        )
        .await?;
        let at_rest = self.totals().await?;
        if at_rest != expected {
            bail!("expected {expected:?}, at rest {at_rest:?}");
        }
        Ok(())
    }
}

/// The value of one of the collector's samples without labels.
fn sample(metrics: &str, name: &str) -> anyhow::Result<u64> {
    let line = metrics.lines().find_map(|line| {
        line.strip_prefix("wakeline_collector_")?
            .strip_prefix(name)?
            .strip_prefix(' ')
    });
    Ok(line
        .with_context(|| format!("no {name} in:\n{metrics}"))?
        .trim()
        .parse()?)
}
