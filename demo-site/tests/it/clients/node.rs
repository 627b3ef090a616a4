//! Clients that run on servers.

use super::{Visit, ended, scripts, stack, start_script};

/// Runs the script `name` of a client that calls the site `site`: reports have `visit`.
async fn tells(name: &str, site: &str, visit: Visit) -> anyhow::Result<()> {
    let stack = stack().await?;
    let scripts = scripts()?;
    let script = start_script(&scripts, name, &stack.collector_url, site)?;
    tokio::task::block_in_place(|| ended(script))?;
    visit.is_reported(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segment_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit::with(&[("identify", 1), ("signup", 1), ("order", 1)]);
    tells("segment", "segment-key", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rudderstack_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit::with(&[("identify", 1), ("signup", 1), ("order", 1)]);
    tells("rudderstack", "segment-key", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posthog_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit::with(&[("identify", 1), ("signup", 1), ("order", 1)]);
    tells("posthog", "phc_token", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snowplow_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    tells("snowplow", "shop", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn umami_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit::with(&[("identify", 1), ("signup", 1), ("Purchase", 1)]);
    tells("umami", "50429a93-8479-4073-be80-d5d29c09c2ec", visit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matomo_for_node_tells_a_visit() -> anyhow::Result<()> {
    let visit = Visit {
        // Matomo's hits have no currency: it is the site's.
        revenue: Some((25.5, "USD".to_owned())),
        ..Visit::with(&[("signup", 1), ("order", 1)])
    };
    tells("matomo", "7", visit).await
}
