//! A click in a browser moves a chart.

use std::{collections::BTreeMap, time::Duration};

use axum::{response::Html, routing::get};
use fantoccini::Locator;
use serde_json::Value;
use tokio::net::TcpListener;
use wakeline_testbed::{Browser, Demo, eventually};

const LIMIT: Duration = Duration::from_secs(30);

/// The figures as the dashboard shows them: exact values are in the titles.
async fn figures(dashboard: &Browser) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = dashboard
        .run(
            "return Object.fromEntries([...document.querySelectorAll('.figure')].map((figure) => [
                figure.querySelector('.figure-name').textContent,
                figure.querySelector('.figure-value').textContent]))",
        )
        .await?;
    Ok(serde_json::from_value(shown)?)
}

pub(super) async fn shows(dashboard: &Browser, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let seen = std::cell::RefCell::new(BTreeMap::new());
    eventually("the dashboard's figures", LIMIT, || async {
        *seen.borrow_mut() = figures(dashboard).await?;
        let seen = seen.borrow();
        Ok(wanted
            .iter()
            .all(|(name, value)| seen.get(*name).is_some_and(|shown| shown == value))
            .then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("wanted {wanted:?}, seen {:?}", seen.borrow())))
}

async fn click(shop: &Browser, selector: &str) -> anyhow::Result<()> {
    shop.page
        .wait()
        .for_element(Locator::Css(selector))
        .await?
        .click()
        .await?;
    Ok(())
}

async fn arrives_at(shop: &Browser, path: &str) -> anyhow::Result<()> {
    eventually(path, LIMIT, || async {
        Ok((shop.page.current_url().await?.path() == path).then_some(()))
    })
    .await
}

/// Totals of the API, which must be reached and must then stay.
async fn totals_become(demo: &Demo, wanted: [u64; 4]) -> anyhow::Result<()> {
    let seen = std::cell::RefCell::new(Vec::new());
    eventually("totals", LIMIT, || async {
        *seen.borrow_mut() = demo.totals("all").await?;
        Ok((*seen.borrow() == wanted).then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("wanted {wanted:?}, seen {:?}", seen.borrow())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_through_the_shop_shows_on_the_dashboard_as_it_happens() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let dashboard = Browser::start(1280, 900).await?;
    dashboard.page.goto(&demo.dashboard).await?;
    eventually("how to install the SDK", LIMIT, || async {
        Ok(dashboard
            .text()
            .await?
            .contains(&format!("{}w/sdk/wakeline.js", demo.shop))
            .then_some(()))
    })
    .await?;
    let address = dashboard.page.current_url().await?;
    assert_eq!(
        address.fragment().unwrap_or_default(),
        "",
        "the token does not stay in the address"
    );

    let shop = Browser::start(390, 844).await?;
    shop.page.goto(&demo.shop).await?;
    shows(
        &dashboard,
        &[
            ("Visitors", "1"),
            ("Visits", "1"),
            ("Pageviews", "1"),
            ("Bounce rate", "100%"),
        ],
    )
    .await?;

    click(&shop, ".card a").await?;
    arrives_at(&shop, "/p/harbour-mug").await?;
    click(&shop, "#add").await?;
    click(&shop, "nav a[href='/cart']").await?;
    arrives_at(&shop, "/cart").await?;
    click(&shop, "#to-checkout").await?;
    arrives_at(&shop, "/checkout").await?;
    click(&shop, "#checkout button[type=submit]").await?;
    arrives_at(&shop, "/thank-you").await?;

    // Five views; product_view, cart, checkout, order, delivery_chosen.
    shows(
        &dashboard,
        &[
            ("Visitors", "1"),
            ("Visits", "1"),
            ("Pageviews", "5"),
            ("Events", "10"),
            ("Bounce rate", "0%"),
        ],
    )
    .await?;
    totals_become(&demo, [1, 1, 5, 10]).await?;

    let text = dashboard.text().await?;
    for expected in ["/p/harbour-mug", "/thank-you", "delivery_chosen", "counted"] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    let errors = dashboard.run("return performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith(location.origin)).length").await?;
    assert_eq!(errors, Value::from(0), "the dashboard asks nobody else");
    shop.close().await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_page_is_left_at_once() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let shop = Browser::start(800, 600).await?;
    shop.page.goto(&demo.shop).await?;
    shop.run(
        "for (let n = 0; n < 20; n += 1) wakeline.track('burst', { n }); location.assign('/cart')",
    )
    .await?;
    arrives_at(&shop, "/cart").await?;
    totals_become(&demo, [1, 1, 2, 22]).await?;
    shop.run("for (let n = 0; n < 20; n += 1) wakeline.track('burst', { n }); location.assign('about:blank')").await?;
    totals_become(&demo, [1, 1, 2, 42]).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_clicked_while_the_servers_are_down_arrives_once_later() -> anyhow::Result<()> {
    let mut demo = Demo::start()?;
    let shop = Browser::start(800, 600).await?;
    shop.page.goto(&demo.shop).await?;
    totals_become(&demo, [1, 1, 1, 1]).await?;
    demo.kill()?;
    shop.run("for (let n = 0; n < 5; n += 1) wakeline.track('offline', { n })")
        .await?;
    demo.start_again()?;
    shop.run("wakeline.track('online')").await?;
    totals_become(&demo, [1, 1, 1, 7]).await?;
    // A new page of the same install sends nothing of it again.
    shop.page.goto(&demo.shop).await?;
    totals_become(&demo, [1, 1, 2, 8]).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_routes_are_page_views() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let shop = Browser::start(800, 600).await?;
    shop.page.goto(&demo.shop).await?;
    shop.run("history.pushState({}, '', '/routes/one'); history.pushState({}, '', '/routes/two')")
        .await?;
    totals_become(&demo, [1, 1, 3, 3]).await?;
    shop.run("history.back()").await?;
    totals_become(&demo, [1, 1, 4, 4]).await?;
    shop.close().await
}

/// A customer's page on another origin, whose policy refuses WebAssembly and whose clock is two days slow.
async fn strict_page(demo: &Demo) -> anyhow::Result<String> {
    let origin = demo.shop.trim_end_matches('/');
    let policy = format!("default-src 'self'; script-src 'self' {origin}; connect-src {origin}");
    let html = format!(
        "<!doctype html><title>Strict</title><script src=/clock.js></script>
        <script defer src={origin}/w/sdk/wakeline.js data-key={}></script>",
        demo.write_key
    );
    let page = axum::Router::new()
        .route(
            "/",
            get(async move || ([("content-security-policy", policy)], Html(html))),
        )
        .route(
            "/clock.js",
            get(async || {
                let script = "const now = Date.now; Date.now = () => now() - 2 * 86400000";
                ([("content-type", "text/javascript")], script)
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, page).await });
    Ok(format!("http://{address}/"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_refuses_wasm_and_has_a_wrong_clock_is_counted_now() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let strict = strict_page(&demo).await?;
    let browser = Browser::start(800, 600).await?;
    browser.page.goto(&strict).await?;
    browser
        .run("for (let n = 0; n < 5; n += 1) wakeline.track('strict', { n })")
        .await?;
    totals_become(&demo, [1, 1, 1, 6]).await?;
    assert_eq!(demo.totals("24h").await?, [1, 1, 1, 6]);
    // More than one beacon may carry, left at once: what did not go waits for the next page.
    browser
        .run(
            "for (let n = 0; n < 20; n += 1) wakeline.track('strict', { text: 'x'.repeat(4000) });
            location.reload()",
        )
        .await?;
    totals_become(&demo, [1, 1, 2, 27]).await?;
    browser.close().await
}
