//! Whether the SDK shows in what visitors of the shop see.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use wakeline_testbed::{Browser, Demo};

const LOADS: usize = 10;
/// Largest contentful paint in ms, and the sum of layout shifts.
const OBSERVE: &str = "
    window.painted = 0; window.shifted = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) painted = entry.startTime })
        .observe({ type: 'largest-contentful-paint', buffered: true });
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) shifted += entry.value })
        .observe({ type: 'layout-shift', buffered: true });";

/// Loads the shop's listing with and without the SDK, in turn.
pub(crate) async fn with_and_without() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let mut paints = [Vec::new(), Vec::new()];
    let mut shifts = [0.0; 2];
    for load in 0..2 * LOADS {
        let without = load % 2;
        let browser = Browser::start(1280, 900).await?;
        browser.devtools("Network.enable", json!({})).await?;
        let blocked: &[&str] = if without == 1 { &["*/w/sdk/*"] } else { &[] };
        browser
            .devtools("Network.setBlockedURLs", json!({ "urls": blocked }))
            .await?;
        browser
            .devtools(
                "Page.addScriptToEvaluateOnNewDocument",
                json!({ "source": OBSERVE }),
            )
            .await?;
        browser.page.goto(&demo.shop).await?;
        sleep(Duration::from_secs(2)).await;
        let seen = browser.run("return [painted, shifted]").await?;
        paints[without].push(seen[0].as_f64().unwrap_or(f64::NAN));
        shifts[without] += seen[1].as_f64().unwrap_or(f64::NAN);
        browser.close().await?;
    }
    println!("\n| shop, {LOADS} loads | LCP ms: least | median | greatest | layout shift: sum |");
    println!("|---|--:|--:|--:|--:|");
    for (name, (mut paints, shift)) in ["with", "without"]
        .into_iter()
        .zip(paints.into_iter().zip(shifts))
    {
        paints.sort_by(f64::total_cmp);
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {shift:.3} |",
            paints[0],
            paints[LOADS / 2],
            paints[LOADS - 1],
        );
    }
    Ok(())
}
