//! The example shops: reports say what the person at the console did.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use wakeline_testbed::{Stack, mobile_sdk};

use super::{by, kotlin, python, told};

/// Two people at one console.
const TYPED: &str = "\
list
search mug
view AL-101
add AL-101
add AL-101
sign-in ada
buy
view AL-103
sign-out
list
quit
";

async fn reports_say_what_was_typed(mut shop: Command) -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    let data = tempfile::tempdir()?;
    let shop = told(&mut shop, &stack)
        .env("WAKELINE_DATA", data.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut shop = shop.spawn().context("the shop does not start")?;
    let mut stdin = shop.stdin.take().context("no stdin")?;
    stdin.write_all(TYPED.as_bytes())?;
    drop(stdin);
    let said = tokio::task::block_in_place(|| shop.wait_with_output())?;
    ensure!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let said = String::from_utf8_lossy(&said.stdout);
    ensure!(said.contains("bought for 36.00 EUR"), "{said}");
    ensure!(said.contains("all is sent"), "{said}");

    let typed = [
        ("screen_view", 4),
        ("search", 1),
        ("product_view", 2),
        ("click", 2),
        ("cart", 2),
        ("identify", 1),
        ("checkout", 1),
        ("order", 1),
    ];
    // Whoever signs out is another visitor afterwards.
    let (visitors, visits, screens) = (2, 2, 4);
    let events = typed.iter().map(|(_, count)| count).sum();
    stack.expect([visitors, visits, screens, events]).await?;
    let names: BTreeMap<String, u64> = by(&stack, "event:name", "events")
        .await?
        .into_iter()
        .collect();
    let typed = typed.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(names, BTreeMap::from(typed));
    let total = stack.query(&["orders", "total_revenue"], &[]).await?;
    let total = &total["results"][0]["metrics"];
    assert_eq!(total[0], 1);
    assert_eq!(total[1]["value"].as_f64(), Some(36.0));
    assert_eq!(total[1]["currency"], "EUR");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kotlin_shop_is_in_the_reports_as_it_was_used() -> anyhow::Result<()> {
    let kotlin = kotlin()?;
    reports_say_what_was_typed(kotlin.program("shop.ShopKt")?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_shop_is_in_the_reports_as_it_was_used() -> anyhow::Result<()> {
    let mut shop = python()?.program();
    shop.arg(mobile_sdk()?.join("examples/python/shop.py"));
    reports_say_what_was_typed(shop).await
}
