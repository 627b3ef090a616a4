//! Clients that run in pages.

use std::process::Command;

use anyhow::Context as _;
use axum::{Router, response::Html, routing::get};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wakeline_testbed::{Browser, Stack, eventually};

use super::{LIMIT, Visit, by, counts, scripts, stack};

/// The landing page, reached by a campaign.
const CAMPAIGN: &str = "?utm_source=newsletter&utm_medium=email";

/// The client's script `web/NAME.js` with its packages, as a page loads it.
fn bundle(scripts: &TempDir, name: &str) -> anyhow::Result<String> {
    let output = Command::new("node")
        .args(["node_modules/esbuild/bin/esbuild", "--bundle"])
        .args(["--format=iife", "--log-level=error"])
        .arg(format!("web/{name}.js"))
        .current_dir(scripts.path())
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// A shop whose every page loads `script`, at a host of its own: what `settings` has is what a client is told.
async fn shop(script: String, settings: &Value) -> anyhow::Result<String> {
    let html = format!(
        "<!doctype html><html lang=en><title>Shop</title><body><h1>Shop</h1>
        <script>window.settings = {settings}</script><script src=/client.js></script>"
    );
    let shop = Router::new()
        .route(
            "/client.js",
            get(async move || ([("content-type", "text/javascript")], script)),
        )
        .fallback(get(async move || Html(html)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, shop).await });
    // Not localhost itself, from which some clients don't send.
    Ok(format!("http://shop.localhost:{port}/"))
}

/// A person in a shop.
pub(super) struct Walk {
    browser: Browser,
    shop: String,
}

impl Walk {
    /// Opens a browser for a shop that has the client `name`. The client sends to `collector`, for the site that it calls
    /// `site`.
    pub(super) async fn start(
        name: &str,
        collector: &str,
        site: &str,
        options: &Value,
    ) -> anyhow::Result<Self> {
        let scripts = scripts()?;
        let collector = collector.replace("127.0.0.1", "c.shop.localhost");
        let settings = json!({"collector": collector, "site": site, "options": options});
        Ok(Self {
            shop: shop(bundle(&scripts, name)?, &settings).await?,
            browser: Browser::start_as_a_persons(1280, 900).await?,
        })
    }

    /// Comes by the campaign, and signs up.
    pub(super) async fn sign_up(&self) -> anyhow::Result<()> {
        self.visit(CAMPAIGN, "signUp").await
    }

    /// Goes to the second page, and buys.
    pub(super) async fn buy(&self) -> anyhow::Result<()> {
        self.visit("thanks", "buy").await
    }

    /// Signs up, and buys once reports have that. A client whose page is left before it is answered sends again, which
    /// `faults.rs` has.
    async fn whole(&self, stack: &Stack) -> anyhow::Result<()> {
        self.sign_up().await?;
        eventually("the sign-up", LIMIT, || async {
            let names = by(stack, "event:name", "events").await?;
            let settled = Visit::reported(stack).await?.is_some();
            Ok((settled && names.contains_key("signup")).then_some(()))
        })
        .await?;
        self.buy().await
    }

    async fn visit(&self, address: &str, action: &str) -> anyhow::Result<()> {
        let page = format!("{}{address}", self.shop);
        self.browser.page.goto(&page).await?;
        let loaded = format!("return typeof window.{action} === 'function'");
        eventually("the client", LIMIT, || async {
            Ok((self.browser.run(&loaded).await? == true).then_some(()))
        })
        .await?;
        self.browser.run(&format!("window.{action}()")).await?;
        Ok(())
    }

    /// What the page asked for, and what is refused, for a message.
    async fn trace(&self, stack: &Stack) -> anyhow::Result<String> {
        let log = "return performance.getEntriesByType('resource')
            .map((entry) => `${entry.responseStatus} ${entry.name.slice(0, 200)}`).join(' | ')";
        let requests = self.browser.run(log).await?;
        let letters = stack.dead_letters(&[]).await?;
        let requests = requests.as_str().unwrap_or_default();
        Ok(format!("{requests}\nrefused: {letters:#?}"))
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.browser.close().await
    }
}

/// The client `name` calls the site `site`: reports have `visit`.
async fn tells(name: &str, site: &str, options: Value, visit: Visit) -> anyhow::Result<()> {
    let stack = stack().await?;
    let walk = Walk::start(name, &stack.collector_url, site, &options).await?;
    let mut reported = walk.whole(&stack).await;
    if reported.is_ok() {
        reported = visit.is_reported(&stack).await;
    }
    if reported.is_err() {
        let trace = walk.trace(&stack).await?;
        return reported.context(trace);
    }
    walk.end().await
}

fn snowplow() -> Visit {
    Visit::with(&[("signup", 1), ("order", 1)])
}

/// A client that tells who signs up.
fn with_identity() -> Visit {
    Visit::with(&[("identify", 1), ("signup", 1), ("order", 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snowplow_tells_a_visit_by_post() -> anyhow::Result<()> {
    tells("snowplow", "shop", json!({}), snowplow()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snowplow_tells_a_visit_by_get() -> anyhow::Result<()> {
    tells(
        "snowplow",
        "shop",
        json!({"eventMethod": "get"}),
        snowplow(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snowplow_tells_a_visit_in_base64() -> anyhow::Result<()> {
    tells(
        "snowplow",
        "shop",
        json!({"encodeBase64": true}),
        snowplow(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segment_tells_a_visit() -> anyhow::Result<()> {
    tells("segment", "segment-key", json!({}), with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segment_tells_a_visit_in_batches() -> anyhow::Result<()> {
    let options = json!({"deliveryStrategy": {"strategy": "batching", "config": {"size": 10, "timeout": 500}}});
    tells("segment", "segment-key", options, with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rudderstack_tells_a_visit() -> anyhow::Result<()> {
    tells("rudderstack", "segment-key", json!({}), with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posthog_tells_a_visit() -> anyhow::Result<()> {
    tells("posthog", "phc_token", json!({}), with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posthog_tells_a_visit_without_flags_and_compression() -> anyhow::Result<()> {
    let options = json!({"advanced_disable_flags": true, "disable_compression": true});
    tells("posthog", "phc_token", options, with_identity()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posthog_lite_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit {
        // This client tells no id that stays when somebody signs in.
        visitors: 2,
        visits: 2,
        sources: counts(&[("newsletter", 2)]),
        channels: counts(&[("Email", 2)]),
        ..with_identity()
    };
    tells("posthog-lite", "phc_token", json!({}), visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plausible_tells_a_visit_and_keeps_the_name_of_what_brings_revenue() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("Purchase", 1)]);
    tells("plausible", "shop.example", json!({}), visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_client_of_plausible_tells_a_visit_without_revenue() -> anyhow::Result<()> {
    let visit = Visit {
        orders: 0,
        revenue: None,
        ..Visit::with(&[("signup", 1), ("Purchase", 1)])
    };
    tells("plausible-classic", "shop.example", json!({}), visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minimal_analytics_tells_a_visit_as_ga4_has_it() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    tells("ga4-minimal", "G-12345", json!({}), visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ga4mp_tells_a_visit_as_ga4_has_it() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    tells("ga4mp", "G-12345", json!({}), visit).await
}

/// No two events are taken for one by their content: each client has its own visitor, and counts by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_on_a_page_count_twice() -> anyhow::Result<()> {
    let stack = stack().await?;
    let walk = Walk::start("two", &stack.collector_url, &stack.write_key, &json!({})).await?;
    walk.whole(&stack).await?;
    let visit = Visit {
        visitors: 2,
        visits: 2,
        events: counts(&[
            ("pageview", 4),
            ("identify", 1),
            ("signup", 1),
            ("order", 1),
        ]),
        pages: counts(&[("/", 2), ("/thanks", 2)]),
        sources: counts(&[("newsletter", 2)]),
        channels: counts(&[("Email", 2)]),
        ..with_identity()
    };
    visit.is_reported(&stack).await?;
    walk.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_gets_the_cookie_of_snowplow() -> anyhow::Result<()> {
    let stack = stack().await?;
    let walk = Walk::start("snowplow", &stack.collector_url, "shop", &json!({})).await?;
    walk.whole(&stack).await?;
    snowplow().is_reported(&stack).await?;
    let collector = (stack.collector_url).replace("127.0.0.1", "c.shop.localhost");
    let page = &walk.browser.page;
    page.goto(&format!("{collector}/healthz")).await?;
    let cookies = page.get_all_cookies().await?;
    let network_user = cookies.iter().find(|cookie| cookie.name() == "sp");
    let network_user = network_user.context("no cookie sp")?;
    assert_eq!(network_user.value().len(), 36);
    assert_eq!(network_user.http_only(), Some(true));
    walk.end().await
}
