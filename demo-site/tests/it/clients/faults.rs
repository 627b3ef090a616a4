//! Connections that end at the worst moment, and collectors that do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wakeline_testbed::{Stack, eventually};

use super::{LIMIT, Visit, ended, scripts, stack, start_script, web::Walk};

/// Passes connections on to a collector. The first answers to posts are cut off: what was sent is stored, and its client
/// does not know.
struct Cutter {
    url: String,
    left: Arc<AtomicU32>,
}

impl Cutter {
    async fn start(collector: &str, cuts: u32) -> anyhow::Result<Self> {
        let to = collector.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let left = Arc::new(AtomicU32::new(cuts));
        let shared = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to.clone(), Arc::clone(&shared)));
            }
        });
        Ok(Self { url, left })
    }

    fn all_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

async fn pass(client: TcpStream, to: String, left: Arc<AtomicU32>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(to).await?.into_split();
    let posting = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&posting);
    let requests = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            // A request begins a read: clients wait for the answer to the one before.
            for (method, is_post) in [("POST ", true), ("GET ", false), ("OPTIONS ", false)] {
                if buffer[..read].starts_with(method.as_bytes()) {
                    seen.store(is_post, Ordering::SeqCst);
                }
            }
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let answers = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return to_client.shutdown().await;
            }
            let stored = posting.load(Ordering::SeqCst) && buffer.starts_with(b"HTTP/1.1 2");
            let one_less = |left: u32| left.checked_sub(1);
            if stored && (left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)).is_ok() {
                return Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    // Whichever ends first ends the connection.
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    }
}

/// How often what was stored was sent again, once it was.
async fn copies(stack: &Stack) -> anyhow::Result<u64> {
    eventually("a copy", LIMIT, || async {
        let ledger = stack.ledger("shop.example", "day").await?;
        let copies = ledger["total"]["duplicate"].as_u64();
        Ok(copies.filter(|copies| *copies > 0))
    })
    .await
}

/// A client in a page, whose first post is answered by nobody.
async fn page_retries(name: &str, site: &str, visit: Visit) -> anyhow::Result<()> {
    let stack = stack().await?;
    let cutter = Cutter::start(&stack.collector_url, 1).await?;
    let walk = Walk::start(name, &cutter.url, site, &json!({})).await?;
    walk.sign_up().await?;
    copies(&stack).await?;
    assert!(cutter.all_cut());
    walk.buy().await?;
    let events = visit.events.values().sum();
    stack
        .expect([visit.visitors, visit.visits, 2, events])
        .await?;
    let duplicates = copies(&stack).await?;
    let visit = Visit {
        duplicates,
        ..visit
    };
    visit.is_reported(&stack).await?;
    walk.end().await
}

/// A client on a server, whose first post is answered by nobody.
async fn server_retries(name: &str, site: &str, visit: Visit) -> anyhow::Result<()> {
    let stack = stack().await?;
    let cutter = Cutter::start(&stack.collector_url, 1).await?;
    let scripts = scripts()?;
    let script = start_script(&scripts, name, &cutter.url, site)?;
    tokio::task::block_in_place(|| ended(script))?;
    assert!(cutter.all_cut());
    let duplicates = copies(&stack).await?;
    let visit = Visit {
        duplicates,
        ..visit
    };
    visit.is_reported(&stack).await
}

fn with_identity() -> Visit {
    Visit::with(&[("identify", 1), ("signup", 1), ("order", 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_snowplow_sends_again_counts_once() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    page_retries("snowplow", "shop", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_segment_sends_again_counts_once() -> anyhow::Result<()> {
    page_retries("segment", "segment-key", with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rudderstack_sends_again_counts_once() -> anyhow::Result<()> {
    page_retries("rudderstack", "segment-key", with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_posthog_sends_again_counts_once() -> anyhow::Result<()> {
    page_retries("posthog", "phc_token", with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_snowplow_for_node_sends_again_counts_once() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    server_retries("snowplow", "shop", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_segment_for_node_sends_again_counts_once() -> anyhow::Result<()> {
    server_retries("segment", "segment-key", with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rudderstack_for_node_sends_again_counts_once() -> anyhow::Result<()> {
    server_retries("rudderstack", "segment-key", with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_posthog_for_node_sends_again_counts_once() -> anyhow::Result<()> {
    server_retries("posthog", "phc_token", with_identity()).await
}

/// Kills the collector with SIGKILL again and again while a client sends 1,000 events of 20 visitors: each that was
/// confirmed is counted, once.
async fn killed_in_mid_batch(name: &str, site: &str) -> anyhow::Result<()> {
    let mut stack = stack().await?;
    let scripts = scripts()?;
    let script = start_script(&scripts, name, &stack.collector_url, site)?;
    for progress in [100, 350, 600] {
        eventually("progress", LIMIT, || async {
            Ok((stack.totals().await?[3] >= progress).then_some(()))
        })
        .await?;
        stack.restart_collector()?;
    }
    let said = tokio::task::block_in_place(|| ended(script))?;
    assert_eq!(said, json!({"confirmed": 1000}));
    stack.expect([20, 20, 0, 1000]).await?;
    let ledger = stack.ledger("shop.example", "day").await?;
    assert_eq!(ledger["total"]["counted"], 1000);
    assert_eq!(ledger["total"]["received"], ledger["total"]["accepted"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_segment_was_told_is_counted_though_the_collector_is_killed() -> anyhow::Result<()> {
    killed_in_mid_batch("many-segment", "segment-key").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_snowplow_was_told_is_counted_though_the_collector_is_killed() -> anyhow::Result<()> {
    killed_in_mid_batch("many-snowplow", "shop").await
}
