//! nginx before collectors.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;
use tempfile::TempDir;

use crate::{Process, debian};

const STARTS: Duration = Duration::from_secs(30);

/// A proxy on loopback that divides requests among servers, and tries another one only where it can't connect.
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
        let folder = TempDir::new()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = folder.path().display();
        let servers: Vec<String> = servers
            .iter()
            .filter_map(|url| url.strip_prefix("http://"))
            .map(|server| format!("server {server} max_fails=0;"))
            .collect();
        let servers = servers.concat();
        // One process: a worker would outlive a master that is killed.
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors warn;
            events {{ worker_connections 1024; }}
            http {{
                log_format status '$status $upstream_status';
                access_log {at}/statuses status;
                client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
                uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
                upstream collectors {{ {servers} }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://collectors;
                        proxy_http_version 1.1;
                        proxy_connect_timeout 1s;
                    }}
                }}
            }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Command::new(debian::program("nginx", &["nginx-light"])?);
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
