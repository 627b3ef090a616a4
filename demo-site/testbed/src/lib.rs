//! Starts the real browsers and servers that tests need.
//!
//! What is missing is installed where `WAKELINE_TESTBED_INSTALL=1` allows it (Debian packages, as root; InfluxDB, built
//! into a cache), and is otherwise an error that names the command. Nothing is ever skipped silently. Everything that is started is ended on drop.

mod browser;
mod built;
mod cache;
mod debian;
mod demo;
mod devtools;
mod grafana;
mod influx;
mod mobile;
mod nginx;
mod npm;
mod process;
mod python;
mod redis;
mod redis_cluster;
mod stack;

pub use browser::Browser;
pub use cache::folder as cache_folder;
pub use demo::Demo;
pub use grafana::Grafana;
pub use influx::Influx;
pub use mobile::{Kotlin, Python, mobile_library, mobile_sdk};
pub use nginx::Nginx;
pub use npm::npm_project;
pub use process::{Process, binary};
pub use python::python;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use stack::Stack;

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Asks `condition` again and again until it gives a value.
///
/// # Errors
/// When nothing came within `limit`; the message says what was waited for and what was seen last.
pub async fn eventually<T, F, Fut>(
    what: &str,
    limit: Duration,
    mut condition: F,
) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let start = Instant::now();
    loop {
        let seen = condition().await;
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if start.elapsed() > limit {
            let why = seen
                .err()
                .map_or_else(String::new, |error| format!(": {error:#}"));
            anyhow::bail!("{what}: not within {limit:?}{why}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
