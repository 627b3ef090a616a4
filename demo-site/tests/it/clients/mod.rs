//! The clients of other trackers, as npm has them, tell of the same visit, and reports say the same.
//!
//! `demo-site/tests/clients/` pins their versions and has a script for each, as its documents say; only the URL is
//! another.

mod faults;
mod node;
mod requests;
mod web;

use std::{cell::RefCell, collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;
use wakeline_testbed::{Process, Stack, eventually, npm_project};

/// Clients wait up to 10 s before they send, and longer before they send again.
const LIMIT: Duration = Duration::from_secs(90);

/// A visit as reports have it: it comes by a campaign, sees `/` and `/thanks`, signs up and buys something.
#[derive(Clone, Debug, PartialEq)]
struct Visit {
    visitors: u64,
    visits: u64,
    /// How often events of each name happened; engagement has none.
    events: BTreeMap<String, u64>,
    /// Pageviews of each page.
    pages: BTreeMap<String, u64>,
    sources: BTreeMap<String, u64>,
    channels: BTreeMap<String, u64>,
    orders: u64,
    /// Amount and currency.
    revenue: Option<(f64, String)>,
    /// Of the ledger.
    refused: u64,
    /// Of the ledger.
    duplicates: u64,
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

impl Visit {
    /// Two pageviews, and `events` by their names.
    fn with(events: &[(&str, u64)]) -> Self {
        let mut all = counts(events);
        all.insert("pageview".to_owned(), 2);
        Self {
            visitors: 1,
            visits: 1,
            events: all,
            pages: counts(&[("/", 1), ("/thanks", 1)]),
            sources: counts(&[("newsletter", 1)]),
            channels: counts(&[("Email", 1)]),
            orders: 1,
            revenue: Some((25.5, "EUR".to_owned())),
            refused: 0,
            duplicates: 0,
        }
    }

    /// What reports say now; `None` while an accepted event has no fate yet.
    async fn reported(stack: &Stack) -> anyhow::Result<Option<Self>> {
        let ledger = stack.ledger("shop.example", "day").await?;
        let fate = |name: &str| ledger["total"][name].as_u64().unwrap_or_default();
        let metrics = ["visitors", "visits", "orders", "total_revenue"];
        let total = stack.query(&metrics, &[]).await?;
        let total = &total["results"][0]["metrics"];
        let figure = |at: usize| total[at].as_u64().unwrap_or_default();
        let orders = figure(2);
        let currency = total[3]["currency"].as_str().unwrap_or_default().to_owned();
        let reported = Self {
            visitors: figure(0),
            visits: figure(1),
            events: by(stack, "event:name", "events").await?,
            pages: by(stack, "event:page", "pageviews").await?,
            sources: by(stack, "visit:source", "visits").await?,
            channels: by(stack, "visit:channel", "visits").await?,
            orders,
            revenue: (orders > 0).then_some((total[3]["value"].as_f64().unwrap_or(-1.0), currency)),
            refused: fate("received").saturating_sub(fate("accepted")),
            duplicates: fate("duplicate"),
        };
        let settled = fate("unsettled") == 0
            && fate("accepted") == fate("counted") + fate("duplicate")
            && fate("late") == 0;
        Ok(settled.then_some(reported))
    }

    /// Waits until reports say this.
    async fn is_reported(&self, stack: &Stack) -> anyhow::Result<()> {
        let seen = RefCell::new(None);
        eventually("the visit", LIMIT, || async {
            let reported = Self::reported(stack).await?;
            let as_wanted = reported.as_ref() == Some(self);
            *seen.borrow_mut() = reported;
            Ok(as_wanted.then_some(()))
        })
        .await
        .with_context(|| format!("wanted {self:#?}\nreported {:#?}", seen.borrow()))?;
        // Nothing is on its way that would change it.
        let total: u64 = self.events.values().sum();
        stack
            .expect([
                self.visitors,
                self.visits,
                self.events.get("pageview").copied().unwrap_or_default(),
                total,
            ])
            .await
    }
}

/// A figure by the values of a dimension, where it is not 0.
async fn by(stack: &Stack, dimension: &str, metric: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let answer = stack.query(&[metric], &[dimension]).await?;
    let rows = answer["results"].as_array().context("no results")?;
    let pairs = rows.iter().map(|row| {
        let value = row["dimensions"][0].as_str().unwrap_or_default().to_owned();
        (value, row["metrics"][0].as_u64().unwrap_or_default())
    });
    Ok(pairs.filter(|(_, count)| *count > 0).collect())
}

/// Collector and aggregator, with the names under which clients know the site.
async fn stack() -> anyhow::Result<Stack> {
    let stack = Stack::start().await?;
    stack
        .add_aliases(&[
            "ga4:G-12345",
            "matomo:7",
            "posthog:phc_token",
            "segment:segment-key",
            "snowplow:shop",
            "umami:50429a93-8479-4073-be80-d5d29c09c2ec",
        ])
        .await?;
    Ok(stack)
}

/// A copy of the folder with the clients' scripts.
fn scripts() -> anyhow::Result<TempDir> {
    npm_project(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients"))
}

/// Starts a script of `node/`, which sends to `collector` for the site that its client calls `site`.
fn start_script(
    scripts: &TempDir,
    name: &str,
    collector: &str,
    site: &str,
) -> anyhow::Result<Process> {
    let mut command = Command::new("node");
    command
        .arg(scripts.path().join(format!("node/{name}.mjs")))
        .current_dir(scripts.path())
        .env("COLLECTOR", collector)
        .env("SITE", site);
    Process::start(name, &mut command)
}

/// Waits until a script has ended well.
fn ended(mut script: Process) -> anyhow::Result<Value> {
    let code = script.ended(LIMIT)?;
    anyhow::ensure!(code == 0, "exit code {code}:\n{}", script.output());
    let last = script.output();
    let last = last.lines().last().unwrap_or_default();
    Ok(serde_json::from_str(last).unwrap_or_default())
}
