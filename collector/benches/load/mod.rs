//! A small HTTP/1.1 client that costs little: one request at a time a connection, all on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Stands in a body where each request gets a number of its own.
pub(crate) const ID: u64 = 0x5741_4b45_4c49_4e45;
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

/// One request, sent again and again.
pub(crate) struct Load {
    address: String,
    request: Vec<u8>,
    /// Where its number stands.
    id_at: usize,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Outcome {
    statuses: BTreeMap<u16, u64>,
    times: Vec<Duration>,
    elapsed: Duration,
}

impl Load {
    pub(crate) fn new(url: &str, body: Vec<u8>) -> anyhow::Result<Self> {
        let address = url.trim_start_matches("http://").to_owned();
        let mut request = format!(
            "POST /w/1/batch HTTP/1.1\r\nhost: {address}\r\nuser-agent: {AGENT}\r\naccept: */*\r\naccept-encoding: gzip, deflate, br\r\n\
             accept-language: de-DE,de;q=0.9\r\norigin: https://shop.example\r\nreferer: https://shop.example/\r\n\
             content-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        let id = ID.to_le_bytes();
        let id_at = request.windows(8).position(|bytes| *bytes == id);
        Ok(Self {
            address,
            request,
            id_at: id_at.context("the body has no number")?,
        })
    }

    /// Sends for so long, over so many connections; at `rate` requests a second, each timed from when it was due, else as
    /// fast as answers come.
    pub(crate) async fn run(
        &self,
        connections: usize,
        rate: Option<f64>,
        length: Duration,
    ) -> anyhow::Result<Outcome> {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let next = Rc::new(Cell::new(0_u64));
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let mut running = JoinSet::new();
        for mut stream in streams {
            let (mut request, id_at) = (self.request.clone(), self.id_at);
            let (outcome, next) = (Rc::clone(&outcome), Rc::clone(&next));
            running.spawn_local(async move {
                loop {
                    let number = next.replace(next.get() + 1);
                    let due = match rate {
                        Some(rate) => {
                            let due = Duration::from_secs_f64(number as f64 / rate);
                            if due >= length {
                                return anyhow::Ok(());
                            }
                            tokio::time::sleep_until((start + due).into()).await;
                            start + due
                        }
                        None if start.elapsed() >= length => return Ok(()),
                        None => Instant::now(),
                    };
                    request[id_at..id_at + 8].copy_from_slice(&(number + 1).to_le_bytes());
                    let status = ask(&mut stream, &request).await?;
                    let mut outcome = outcome.borrow_mut();
                    *outcome.statuses.entry(status).or_default() += 1;
                    outcome.times.push(due.elapsed());
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        let mut outcome = outcome.take();
        outcome.elapsed = start.elapsed();
        outcome.times.sort_unstable();
        Ok(outcome)
    }
}

impl Outcome {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    pub(crate) fn print(&self, what: &str, how: &str) {
        let at = |percent| {
            let index = self.times.len() * percent / 100;
            self.times.get(index).copied().unwrap_or_default()
        };
        println!(
            "{what}: {} requests in {:.2} s ({:.0}/s), {how}; statuses {:?}; p50 {:?}, p99 {:?}",
            self.times.len(),
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.statuses,
            at(50),
            at(99)
        );
    }
}

/// Sends a request and reads its answer whole: the status.
pub(crate) async fn ask(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<u16> {
    stream.write_all(request).await?;
    let mut answer = [0; 4096];
    let mut length = 0;
    loop {
        let read = stream.read(&mut answer[length..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        length += read;
        let Some(end) = answer[..length]
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
        else {
            continue;
        };
        let head = std::str::from_utf8(&answer[..end])?;
        let body = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        if length >= end + 4 + body.unwrap_or(0) {
            let status = head.split(' ').nth(1).context("no status")?;
            return Ok(status.parse()?);
        }
    }
}
