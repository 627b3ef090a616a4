//! An InfluxDB 2 server in a folder of its own.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, cache};

const VERSION: &str = "2.7.12";
const STARTS: Duration = Duration::from_secs(60);
/// Ports are looked for and then taken by the server: another process may be quicker.
const TRIES: usize = 5;
const ORG: &str = "wakeline";
const TOKEN: &str = "testbed-token-0123456789abcdef";

/// A server on loopback, set up with an organisation and a token, and without a bucket of note.
pub struct Influx {
    port: u16,
    process: Option<Process>,
    data: PathBuf,
    temporary: Option<TempDir>,
}

impl Influx {
    /// Starts a server whose files go with it.
    ///
    /// # Errors
    /// If it is missing and may not be built, or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let data = TempDir::new()?;
        Self::start_with(data.path().to_owned(), Some(data)).await
    }

    /// Starts a server that keeps its files in a folder, or goes on with them.
    ///
    /// # Errors
    /// If it is missing and may not be built, or does not start.
    pub async fn start_in(data: &Path) -> anyhow::Result<Self> {
        Self::start_with(data.to_owned(), None).await
    }

    async fn start_with(data: PathBuf, temporary: Option<TempDir>) -> anyhow::Result<Self> {
        let mut influx = Self {
            port: 0,
            process: None,
            data,
            temporary,
        };
        let mut result = Ok(());
        for _ in 0..TRIES {
            influx.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            result = influx.run();
            if result.is_ok() {
                influx.set_up().await?;
                return Ok(influx);
            }
        }
        result.map(|()| influx)
    }

    fn run(&mut self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.data)?;
        let mut command = Command::new(program()?);
        command
            .arg("--bolt-path")
            .arg(self.data.join("influxd.bolt"))
            .arg("--sqlite-path")
            .arg(self.data.join("influxd.sqlite"))
            .arg("--engine-path")
            .arg(self.data.join("engine"))
            .args(["--http-bind-address", &self.address().to_string()])
            .args(["--reporting-disabled", "--log-level", "info"]);
        if self.temporary.is_none() {
            command.process_group(0); // Ctrl-C is for who uses it
        }
        let mut process = Process::start("influxd", &mut command)?;
        process.wait_for(STARTS, |line| {
            (line.contains("service=tcp-listener") && line.contains("msg=Listening")).then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        let http = reqwest::Client::new();
        let url = format!("{}/api/v2/setup", self.url());
        let told: Value = http.get(&url).send().await?.json().await?;
        if told["allowed"] != true {
            return Ok(());
        }
        let body = json!({
            "username": "testbed", "password": "testbed-password", "org": ORG, "bucket": "unused", "token": TOKEN,
        });
        http.post(&url)
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The organisation.
    pub fn org(&self) -> &'static str {
        ORG
    }

    /// A token that may do everything.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("not running")?.kill()
    }

    /// Starts it again with its files and on its port, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// If it does not start.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            bail!("it runs");
        }
        self.run()
    }

    /// SIGSTOP: it is there and does not answer.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT, after [`pause`](Self::pause).
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.id()?, signal)?)
    }

    fn id(&self) -> anyhow::Result<Pid> {
        let id = self.process.as_ref().context("not running")?.id();
        Pid::from_raw(i32::try_from(id)?).context("no process id")
    }

    /// Lets no file of the server grow any more, as if its disk were full; or lets them grow again.
    ///
    /// # Errors
    /// If it does not run.
    pub fn fill_disk(&self, full: bool) -> anyhow::Result<()> {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = if full { Some(1) } else { maximum };
        prlimit(
            Some(self.id()?),
            Resource::Fsize,
            Rlimit { current, maximum },
        )?;
        Ok(())
    }

    /// Writes lines with times in s; gives the status.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn write(&self, bucket: &str, lines: &str) -> anyhow::Result<u16> {
        let answer = reqwest::Client::new()
            .post(format!("{}/api/v2/write", self.url()))
            .query(&[("org", ORG), ("bucket", bucket), ("precision", "s")])
            .header("Authorization", format!("Token {TOKEN}"))
            .body(lines.to_owned())
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }

    /// Deletes a bucket with all its points.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn delete_bucket(&self, name: &str) -> anyhow::Result<()> {
        let (_, id) = self.bucket(name).await?;
        self.call(reqwest::Method::DELETE, &format!("buckets/{id}"), &[], None)
            .await
            .map(drop)
    }

    /// Has a bucket keep points for so many seconds, at least 3600.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn set_retention(&self, name: &str, seconds: u64) -> anyhow::Result<()> {
        let (_, id) = self.bucket(name).await?;
        let rules = json!({ "retentionRules": [
            { "type": "expire", "everySeconds": seconds, "shardGroupDurationSeconds": 3600 },
        ] });
        self.call(
            reqwest::Method::PATCH,
            &format!("buckets/{id}"),
            &[],
            Some(rules),
        )
        .await
        .map(drop)
    }

    /// Makes a token that may do with buckets only what `actions` (`read`, `write`) say.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn make_token(&self, actions: &[&str]) -> anyhow::Result<String> {
        let (org, _) = self.bucket("unused").await?;
        let buckets = actions.iter().map(
            |action| json!({ "action": action, "resource": { "type": "buckets", "orgID": org } }),
        );
        let orgs = json!({ "action": "read", "resource": { "type": "orgs", "id": org } });
        let permissions: Vec<Value> = buckets.chain([orgs]).collect();
        let body = json!({ "orgID": org, "permissions": permissions });
        let made = self
            .call(reqwest::Method::POST, "authorizations", &[], Some(body))
            .await?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    }

    /// Ids of the organisation and of a bucket.
    async fn bucket(&self, name: &str) -> anyhow::Result<(String, String)> {
        let query = [("org", ORG), ("name", name)];
        let found = self
            .call(reqwest::Method::GET, "buckets", &query, None)
            .await?;
        let bucket = &found["buckets"][0];
        let id = |name: &str| Some(bucket[name].as_str()?.to_owned());
        id("orgID").zip(id("id")).context("no bucket")
    }

    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = reqwest::Client::new()
            .request(method, format!("{}/api/v2/{path}", self.url()))
            .header("Authorization", format!("Token {TOKEN}"))
            .query(query);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Asks in Flux; gives the rows of the answer by column. Columns are those of the first table.
    ///
    /// # Errors
    /// If it refuses the query; with its words.
    pub async fn query(&self, flux: &str) -> anyhow::Result<Vec<Vec<(String, String)>>> {
        let answer = reqwest::Client::new()
            .post(format!("{}/api/v2/query", self.url()))
            .query(&[("org", ORG)])
            .header("Authorization", format!("Token {TOKEN}"))
            .header("Accept", "application/csv")
            .json(&json!({ "query": flux, "type": "flux", "dialect": { "annotations": [] } }))
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}\n{flux}");
        }
        let mut rows = Vec::new();
        let mut columns: Vec<&str> = Vec::new();
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            let cells: Vec<&str> = line.split(',').collect();
            if line.is_empty() {
                columns.clear();
            } else if columns.is_empty() {
                columns = cells;
            } else if columns.contains(&"error") {
                bail!("{line}\n{flux}");
            } else {
                let row = columns.iter().zip(cells);
                rows.push(
                    row.map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
                        .collect(),
                );
            }
        }
        Ok(rows)
    }
}

/// The binary; built if that is allowed. No registry has it.
fn program() -> anyhow::Result<PathBuf> {
    let name = format!("influxd-{VERSION}");
    cache::program(&name, "influxd", |folder| {
        std::fs::write(folder.join("go.mod"), GO_MOD)?;
        let wrapper = folder.join("rustc-wrap");
        std::fs::write(&wrapper, "#!/bin/sh\nexec \"$@\" --cap-lints allow\n")?;
        cache::run(folder, &[], &["chmod", "+x", "rustc-wrap"])?;
        cache::run(folder, &[], &["go", "mod", "tidy"])?;
        let tool = "github.com/influxdata/pkg-config";
        cache::run(folder, &[], &["go", "build", "-o", "pkg-config", tool])?;
        let pkg_config = folder.join("pkg-config");
        let env = [
            // Its Rust part denies warnings that newer compilers give.
            ("RUSTC_WRAPPER", wrapper.as_path()),
            ("RUSTUP_TOOLCHAIN", Path::new("stable")),
            ("PKG_CONFIG", &pkg_config),
        ];
        let daemon = "github.com/influxdata/influxdb/v2/cmd/influxd";
        let tags = "sqlite_foreign_keys,sqlite_json";
        cache::run(
            folder,
            &env,
            &["go", "build", "-tags", tags, "-o", "influxd", daemon],
        )
    })
}

const GO_MOD: &str = "\
module wakeline.local/influxd

go 1.24

require (
	github.com/influxdata/influxdb/v2 v2.7.12
	github.com/influxdata/pkg-config v0.2.14
)

replace github.com/nats-io/nats-streaming-server v0.11.2 => \
github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803

tool (
	github.com/influxdata/influxdb/v2/cmd/influxd
	github.com/influxdata/pkg-config
)
";
