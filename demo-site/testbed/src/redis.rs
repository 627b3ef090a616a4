//! A Redis server in a folder of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{Process, debian};

const STARTS: Duration = Duration::from_secs(30);
/// Ports are looked for and then taken by the server: another process may be quicker.
const TRIES: usize = 5;

/// A server on loopback.
pub struct Redis {
    port: u16,
    options: Vec<String>,
    process: Option<Process>,
    data: PathBuf,
    temporary: Option<TempDir>,
}

/// A server that takes TLS.
pub struct Tls {
    /// The server, without TLS.
    pub redis: Redis,
    /// `rediss://HOST:PORT`.
    pub url: String,
    /// File with its certificate, PEM.
    pub certificate: PathBuf,
    _files: TempDir,
}

impl Redis {
    /// Starts a server that writes an append-only file once a second, with further `options`, such as
    /// `["--requirepass", "SECRET"]`. Its files go with it.
    ///
    /// # Errors
    /// If it is missing and may not be installed, or does not start.
    pub fn start(options: &[&str]) -> anyhow::Result<Self> {
        let data = TempDir::new()?;
        Self::start_with(data.path().to_owned(), Some(data), options)
    }

    /// Starts a server that keeps its files in a folder, or goes on with them.
    ///
    /// # Errors
    /// If it is missing and may not be installed, or does not start.
    pub fn start_in(data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)?;
        Self::start_with(data.to_owned(), None, &[])
    }

    fn start_with(
        data: PathBuf,
        temporary: Option<TempDir>,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut redis = Self {
            port: 0,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            process: None,
            data,
            temporary,
        };
        let mut result = Ok(());
        for _ in 0..TRIES {
            redis.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            result = redis.run();
            if result.is_ok() {
                return Ok(redis);
            }
        }
        result.map(|()| redis)
    }

    fn run(&mut self) -> anyhow::Result<()> {
        self.run_until("Ready to accept connections", &[])
    }

    /// Starts it, and returns once it prints that.
    fn run_until(&mut self, printed: &str, more: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(debian::program("redis-server", &["redis-server"])?);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "everysec", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.data)
            .args(&self.options)
            .args(more);
        if self.temporary.is_none() {
            command.process_group(0); // Ctrl-C is for who uses it
        }
        let mut process = Process::start("redis-server", &mut command)?;
        process.wait_for(STARTS, |line| line.contains(printed).then_some(()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `redis://HOST:PORT`, without user and password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Starts a server that takes TLS, too, with a certificate of its own.
    ///
    /// # Errors
    /// If it is missing and may not be installed, or does not start.
    pub fn start_with_tls() -> anyhow::Result<Tls> {
        let files = TempDir::new()?;
        let (key, certificate) = (files.path().join("key.pem"), files.path().join("cert.pem"));
        let made = Command::new(debian::program("openssl", &["openssl"])?)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext"])
            .args(["subjectAltName=IP:127.0.0.1", "-addext"])
            .args(["basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()?;
        if !made.status.success() {
            bail!("openssl: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let redis = Self::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            &certificate.to_string_lossy(),
            "--tls-key-file",
            &key.to_string_lossy(),
        ])?;
        Ok(Tls {
            redis,
            url: format!("rediss://127.0.0.1:{port}"),
            certificate,
            _files: files,
        })
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

    /// Starts it again after [`kill`](Self::kill), and lets it take 100 µs for each key that it loads: it is there, and answers
    /// that it loads. Returns at once.
    ///
    /// # Errors
    /// If it does not start.
    pub fn revive_slowly(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            bail!("it runs");
        }
        // Answers between keys, not between megabytes.
        let often = ["--loading-process-events-interval-bytes", "1024"];
        let slowly = [&["--key-load-delay", "100"], &often[..]].concat();
        self.run_until("Server initialized", &slowly)
    }

    /// Adds so many keys of others, and writes all there is to disk as one file.
    ///
    /// # Errors
    /// If the server does not do it; it has to be started with `--enable-debug-command yes`.
    pub fn populate(&self, keys: u32) -> anyhow::Result<()> {
        self.command(&format!("DEBUG POPULATE {keys} other"))?;
        self.command("BGREWRITEAOF")?;
        let begun = Instant::now();
        while self.info("aof_rewrite_in_progress")? + self.info("aof_rewrite_scheduled")? > 0 {
            if begun.elapsed() > STARTS {
                bail!("BGREWRITEAOF takes more than {STARTS:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// SIGSTOP: it is there and does not answer.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.as_ref().context("not running")?.pause()
    }

    /// SIGCONT, after [`pause`](Self::pause).
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.as_ref().context("not running")?.resume()
    }

    /// Stops it gently and starts it again.
    ///
    /// # Errors
    /// If it does not end or start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.take().context("not running")?.stop(STARTS)?;
        self.run()
    }

    /// Forgets everything that is stored.
    ///
    /// # Errors
    /// If the server does not do it.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.command("FLUSHALL").map(drop)
    }

    /// A number that `INFO` tells, such as `used_memory`.
    ///
    /// # Errors
    /// If the server does not tell it.
    pub fn info(&self, name: &str) -> anyhow::Result<u64> {
        let answer = self.command("INFO")?;
        let line = answer.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim().to_owned())
        });
        Ok(line.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Sends a command without a password, as a line of text, and gives the answer as it comes.
    ///
    /// # Errors
    /// If the server is not there or answers an error.
    pub fn command(&self, line: &str) -> anyhow::Result<String> {
        let mut connection = TcpStream::connect(self.address())?;
        connection.set_read_timeout(Some(STARTS))?;
        connection.write_all(format!("{line}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = Vec::new();
        let begun = Instant::now();
        // The server closes the connection after QUIT.
        connection
            .read_to_end(&mut answer)
            .with_context(|| format!("{line}: no whole answer in {:?}", begun.elapsed()))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.starts_with('-') {
            bail!("{line}: {}", answer.trim());
        }
        Ok(answer)
    }
}
