//! nginx before collectors, and beside them.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;
use tempfile::TempDir;

use crate::{Process, debian};

const STARTS: Duration = Duration::from_secs(30);

/// nginx on loopback. As a proxy it divides requests among servers, and tries another one only where it can't connect.
pub struct Nginx {
    /// `http://HOST:PORT`.
    pub url: String,
    folder: TempDir,
    _process: Process,
}

impl Nginx {
    /// Starts it before servers at `http://HOST:PORT`.
    ///
    /// # Errors
    /// If it is missing and may not be installed, or does not start.
    pub fn start(servers: &[String]) -> anyhow::Result<Self> {
        let servers: Vec<String> = servers
            .iter()
            .filter_map(|url| url.strip_prefix("http://"))
            .map(|server| format!("server {server} max_fails=0;"))
            .collect();
        let servers = servers.concat();
        Self::run(None, |at, port| {
            format!(
                "log_format status '$status $upstream_status';
                access_log {at}/statuses status;
                upstream collectors {{ {servers} }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://collectors;
                        proxy_http_version 1.1;
                        proxy_connect_timeout 200ms; # one that ends ignores who comes
                    }}
                }}"
            )
        })
    }

    /// Starts it with these `location` blocks.
    ///
    /// # Errors
    /// If it is missing and may not be installed, does not start, or does not understand them.
    pub fn with_locations(locations: &str) -> anyhow::Result<Self> {
        Self::run(None, |at, port| {
            format!(
                "log_format status '$status $upstream_status';
                access_log {at}/statuses status;
                server {{ listen 127.0.0.1:{port}; {locations} }}"
            )
        })
    }

    /// Starts one, on that core, that writes bodies to a buffered log and answers 202. Bodies are read for a proxy only, so
    /// it proxies to itself, over connections that it keeps, one for each request at a time.
    ///
    /// # Errors
    /// If it is missing and may not be installed, or does not start.
    pub fn logging(core: &str) -> anyhow::Result<Self> {
        Self::run(Some(core), |at, port| {
            format!(
                "log_format body escape=json '$request_body';
                client_body_buffer_size 64k;
                keepalive_requests 1000000000;
                upstream itself {{ server unix:{at}/socket; keepalive 1024; keepalive_requests 1000000000; }}
                server {{
                    listen 127.0.0.1:{port};
                    access_log {at}/bodies body buffer=64k flush=1s;
                    location / {{
                        proxy_pass http://itself;
                        proxy_http_version 1.1;
                        proxy_set_header Connection '';
                        proxy_pass_request_body off;
                        proxy_set_header Content-Length '';
                    }}
                }}
                server {{ listen unix:{at}/socket; access_log off; location / {{ return 202; }} }}"
            )
        })
    }

    /// With the `http` block that is made of its folder and its port.
    fn run(core: Option<&str>, http: impl FnOnce(&str, u16) -> String) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = folder.path().display().to_string();
        let http = http(&at, port);
        // One process: a worker would outlive a master that is killed.
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors warn;
            events {{ worker_connections 4096; }}
            http {{
                client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
                uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
                {http}
            }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let program = debian::program("nginx", &["nginx-light"])?;
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let process = Process::start("nginx", &mut command)?;
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > STARTS {
                bail!("nginx does not listen:\n{}", process.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            folder,
            _process: process,
        })
    }

    /// The status of every request answered so far, each with those of the servers that were tried.
    ///
    /// # Errors
    /// If its log can't be read.
    pub fn statuses(&self) -> anyhow::Result<Vec<String>> {
        let log = std::fs::read_to_string(self.folder.path().join("statuses"))?;
        Ok(log.lines().map(ToOwned::to_owned).collect())
    }
}
