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

    /// Stops it gently and starts it again.
    fn restart(&mut self, listeners: &[&str]) -> anyhow::Result<()> {
        self.process.take().context("not running")?.stop(STARTS)?;
        self.start(listeners).map(drop)
    }

    fn running(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("not running")
    }
}

/// Collectors and an aggregator, with one site.
pub struct Stack {
    collectors: Vec<Server>,
    aggregator: Server,
    /// `http://HOST:PORT` of the first collector.
    pub collector_url: String,
    /// `http://HOST:PORT` of every collector.
    pub collector_urls: Vec<String>,
    /// `http://HOST:PORT` of the aggregator's API.
    pub api_url: String,
    /// Of the one site.
    pub write_key: String,
    site: u64,
    http: reqwest::Client,
    _data: TempDir,
}

impl Stack {
    /// Starts one of each on free ports, which they keep through every restart, and makes a site.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(1, &[]).await
    }

    /// The same with several collectors, and with further environment of the aggregator.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub async fn start_with(
        collectors: usize,
        aggregator_env: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
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
        aggregator.env.extend_from_slice(aggregator_env);
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

        let (mut servers, mut collector_urls) = (Vec::new(), Vec::new());
        for number in 0..collectors {
            let mut collector = server(
                "wakeline-collector",
                &format!("collector-{number}"),
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
            servers.push(collector);
            collector_urls.push(format!("http://127.0.0.1:{door}"));
        }

        let stack = Self {
            collectors: servers,
            aggregator,
            collector_url: collector_urls.first().context("no collector")?.clone(),
            collector_urls,
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
        for url in &stack.collector_urls {
            eventually("collector is ready", STARTS, || async {
                let answer = stack.http.get(format!("{url}/readyz")).send().await?;
                Ok(answer.status().is_success().then_some(()))
            })
            .await?;
        }
        Ok(stack)
    }

    /// `kill -9` of the collector, and a new one in its place.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub fn restart_collector(&mut self) -> anyhow::Result<()> {
        self.collectors[0].kill()?;
        self.collectors[0].start(COLLECTOR).map(drop)
    }

    /// Stops a collector gently, and starts it again; returns when it is ready.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub async fn cycle_collector(&mut self, number: usize) -> anyhow::Result<()> {
        self.collectors[number].restart(COLLECTOR)?;
        let url = &self.collector_urls[number];
        eventually("collector is ready again", STARTS, || async {
            let answer = self.http.get(format!("{url}/readyz")).send().await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await
    }

    /// Stops the aggregator gently, and starts it again.
    ///
    /// # Errors
    /// If a process does not start or end.
    pub fn cycle_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.restart(AGGREGATOR)
    }

    /// SIGSTOP of the collector, and SIGCONT after `pause`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause_collector(&self, pause: Duration) -> anyhow::Result<()> {
        hold(self.collectors[0].running()?, pause)
    }

    /// SIGSTOP of the aggregator, and SIGCONT after `pause`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause_aggregator(&self, pause: Duration) -> anyhow::Result<()> {
        hold(self.aggregator.running()?, pause)
    }

    /// The aggregator's process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn aggregator(&mut self) -> anyhow::Result<&mut Process> {
        self.aggregator.process.as_mut().context("not running")
    }

    /// The aggregator's folder.
    pub fn aggregator_data(&self) -> &std::path::Path {
        &self.aggregator.data
    }

    /// Starts a second aggregator on another folder, which takes the place of the first here, and gives the first one's
    /// process. If it does not start, the first one keeps its place.
    ///
    /// # Errors
    /// If it does not start; with what it printed.
    pub fn take_over(&mut self, data: PathBuf) -> anyhow::Result<Process> {
        let mut second = Server {
            name: self.aggregator.name,
            data,
            env: self.aggregator.env.clone(),
            process: None,
        };
        for listener in ["WAKELINE_HTTP__LISTEN", "WAKELINE_GRPC__LISTEN"] {
            second.env.push((listener, "127.0.0.1:0".to_owned()));
        }
        let ports = second.start(AGGREGATOR)?;
        self.api_url = format!("http://127.0.0.1:{}", ports[0]);
        let first = std::mem::replace(&mut self.aggregator, second);
        first.process.context("not running")
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
        self.collectors[0].kill()?;
        self.aggregator.kill()?;
        self.collectors[0].start(COLLECTOR)?;
        self.aggregator.start(AGGREGATOR).map(drop)
    }

    /// Process ids of both.
    pub fn processes(&self) -> Vec<u32> {
        self.collectors
            .iter()
            .chain([&self.aggregator])
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

    /// How the aggregator and its stores are.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn status(&self) -> anyhow::Result<Value> {
        self.get("status", &[]).await
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

    /// Gives the site further names, under which clients of other trackers know it: `TRACKER:NAME`.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn add_aliases(&self, aliases: &[&str]) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/sites/shop.example", self.api_url);
        let request = self.http.patch(url).bearer_auth(TOKEN);
        let request = request.json(&json!({"alias": aliases}));
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// The answer to a query about the site, of all time.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn query(&self, metrics: &[&str], dimensions: &[&str]) -> anyhow::Result<Value> {
        let question = json!({
            "site_id": self.site,
            "metrics": metrics,
            "dimensions": dimensions,
            "date_range": "all",
        });
        let url = format!("{}/api/v2/query", self.api_url);
        let request = self.http.post(url).bearer_auth(TOKEN).json(&question);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// visitors, visits, pageviews, events of all time.
    ///
    /// # Errors
    /// If the API does not answer as documented.
    pub async fn totals(&self) -> anyhow::Result<[u64; 4]> {
        let metrics = ["visitors", "visits", "pageviews", "events"];
        let answer = self.query(&metrics, &[]).await?;
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
        for url in &self.collector_urls {
            eventually("the spool is forwarded", STARTS, || async {
                let metrics = self.http.get(format!("{url}/metrics")).send().await?;
                let metrics = metrics.text().await?;
                let [acked, durable] = ["forward_acked_position", "spool_durable_position"]
                    .map(|name| sample(&metrics, name));
                Ok((acked? >= durable?).then_some(()))
            })
            .await?;
        }
        let at_rest = self.totals().await?;
        if at_rest != expected {
            bail!("expected {expected:?}, at rest {at_rest:?}");
        }
        Ok(())
    }
}

fn hold(process: &Process, pause: Duration) -> anyhow::Result<()> {
    process.pause()?;
    std::thread::sleep(pause); // the fault itself
    process.resume()
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
