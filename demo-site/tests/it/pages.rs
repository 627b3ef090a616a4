//! The dashboard's pages beside the reports, as a merchant uses them, and without barriers (axe, WCAG 2.2 AA).

use std::path::Path;
use std::time::{Duration, Instant};

use axum::{Router, response::Html};
use fantoccini::Locator;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wakeline_testbed::{Browser, Demo, eventually, npm_project};

pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Sends an event of the site with the public key, and gives what was refused.
pub(super) async fn send(demo: &Demo, event: &Value) -> anyhow::Result<Vec<Value>> {
    let answer = reqwest::Client::new()
        .post(format!("{}w/1/events", demo.shop))
        .bearer_auth(&demo.write_key)
        .json(event)
        .send()
        .await?;
    anyhow::ensure!(answer.status() == 202, "{}", answer.text().await?);
    let answer: Value = answer.json().await?;
    Ok(answer["rejected"].as_array().cloned().unwrap_or_default())
}

/// A dashboard, signed in, on the page that the top bar's link of that name leads to.
pub(super) async fn open(demo: &Demo, name: &str) -> anyhow::Result<Browser> {
    let dashboard = Browser::start(1280, 900).await?;
    dashboard.page.goto(&demo.dashboard).await?;
    let link = dashboard
        .page
        .wait()
        .at_most(LIMIT)
        .for_element(Locator::LinkText(name))
        .await?;
    link.click().await?;
    Ok(dashboard)
}

pub(super) async fn says(dashboard: &Browser, wanted: &str) -> anyhow::Result<()> {
    let seen = std::cell::RefCell::new(String::new());
    eventually(wanted, LIMIT, || async {
        *seen.borrow_mut() = dashboard.text().await?;
        Ok(seen.borrow().contains(wanted).then_some(()))
    })
    .await
    .map_err(|error| error.context(seen.borrow().clone()))
}

/// Clicks the button that reads so, once it is there and can be clicked.
pub(super) async fn press(dashboard: &Browser, text: &str) -> anyhow::Result<()> {
    let script = format!(
        "const button = [...document.querySelectorAll('button')].find((each) => each.innerText.trim() === {} && !each.disabled);
        button?.click(); return Boolean(button)",
        json!(text)
    );
    eventually(text, LIMIT, || async {
        Ok((dashboard.run(&script).await? == true).then_some(()))
    })
    .await
}

/// No violation of WCAG 2.2 A and AA that axe can find.
pub(super) async fn has_no_barriers(dashboard: &Browser) -> anyhow::Result<()> {
    let axe = npm_project(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axe"))?;
    let script = std::fs::read_to_string(axe.path().join("node_modules/axe-core/axe.min.js"))?;
    dashboard.run(&script).await?;
    let found = dashboard
        .page
        .execute_async(
            "const done = arguments[arguments.length - 1];
            // What is just appearing is still pale.
            const ends = (animation) => animation.effect?.getComputedTiming().endTime < Infinity;
            const appearing = document.getAnimations().filter(ends).map(({ finished }) => finished);
            const axes = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] };
            Promise.allSettled(appearing).then(() => axe.run(axes)).then(
                ({ passes, violations }) => done({ passes: passes.length,
                    violations: violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]) }),
                (error) => done(String(error)))",
            Vec::new(),
        )
        .await?;
    anyhow::ensure!(
        found["passes"].as_u64().is_some_and(|passes| passes > 10)
            && found["violations"] == json!([]),
        "{found}"
    );
    Ok(())
}

/// A page of the site's owner, on an origin of its own, with this in its head.
async fn page_with(head: &str) -> anyhow::Result<String> {
    let html =
        format!("<!doctype html><html lang=en><head><title>Shop</title>{head}</head><h1>Shop</h1>");
    let pages = Router::new().fallback(async move || Html(html));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    Ok(origin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_site_that_takes_over_the_line_shown_is_seen_within_seconds() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let dashboard = Browser::start(1280, 900).await?;
    dashboard.page.goto(&demo.dashboard).await?;
    says(&dashboard, "Listening for the first event").await?;
    let line = eventually("the line with its key and address", LIMIT, || async {
        let line = dashboard
            .run("return document.querySelector('.snippet code')?.textContent ?? ''")
            .await?;
        let line = line.as_str().unwrap_or_default().to_owned();
        Ok((line.contains(&demo.write_key) && line.contains(&demo.shop)).then_some(line))
    })
    .await?;
    has_no_barriers(&dashboard).await?;

    let old = json!({"type": "page_view", "visitor": "old", "url": "https://shop.example/",
        "time": "2020-02-02T02:02:02Z"});
    assert_eq!(send(&demo, &old).await?.len(), 1);
    says(&dashboard, "We hear you, but an event was refused: too_old").await?;

    let page = page_with(&line).await?;
    let visitor = Browser::start(800, 600).await?;
    let began = Instant::now();
    visitor.page.goto(&format!("{page}/welcome")).await?;
    says(&dashboard, "We see you. First event").await?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let text = dashboard.text().await?;
    assert!(text.contains("Page view /welcome"), "{text}");
    has_no_barriers(&dashboard).await?;

    press(&dashboard, "Close").await?;
    eventually("the report alone", LIMIT, || async {
        let text = dashboard.text().await?;
        let waits = ["We see you", "Listening for the first event"];
        Ok((!waits.iter().any(|waits| text.contains(waits))).then_some(()))
    })
    .await?;
    visitor.close().await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_is_read_and_replayed_on_the_ledger_page() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    let event = json!({"type": "page_view", "visitor": "late", "url": "https://shop.example/attic",
        "time": "2020-02-02T02:02:02Z"});
    let refused = send(&demo, &event).await?;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["reason"], "too_old");

    let dashboard = open(&demo, "Ledger").await?;
    says(&dashboard, "Too old").await?;
    let letter = dashboard
        .page
        .wait()
        .at_most(LIMIT)
        .for_element(Locator::Css(".letters summary"))
        .await?;
    letter.click().await?;
    says(&dashboard, "https://shop.example/attic").await?;
    has_no_barriers(&dashboard).await?;

    press(&dashboard, "Replay this one").await?;
    says(&dashboard, "1 accepted.").await?;
    let figure = "return [...document.querySelectorAll('.fate-total')].map((each) => each.innerText.split('\\n').join(' '))";
    eventually("the event's new fate", LIMIT, || async {
        let shown = dashboard.run(figure).await?;
        let has = |wanted: &str| {
            shown
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == wanted))
        };
        Ok((has("Received 2") && has("Counted 1")).then_some(()))
    })
    .await?;
    says(&dashboard, "Replayed").await?;
    assert_eq!(demo.totals("all").await?, [1, 1, 1, 1]);
    dashboard.close().await
}

/// Until a page view of that path is taken, or is not, and how long it took.
async fn takes(demo: &Demo, path: &str, wanted: bool) -> anyhow::Result<Duration> {
    let event = json!({"type": "page_view", "visitor": "rules", "url": format!("https://shop.example{path}")});
    let began = Instant::now();
    eventually("the collector obeys", LIMIT, || async {
        let refused = send(demo, &event).await?;
        anyhow::ensure!(refused.iter().all(|one| one["reason"] == "blocked_path"));
        Ok((refused.is_empty() == wanted).then_some(()))
    })
    .await?;
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_is_previewed_saved_obeyed_and_taken_back_on_the_rules_page() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    takes(&demo, "/private/a", true).await?;
    eventually("the event is counted", LIMIT, || async {
        Ok((demo.totals("all").await?[2] == 1).then_some(()))
    })
    .await?;

    let dashboard = open(&demo, "Rules").await?;
    let paths = dashboard
        .page
        .wait()
        .at_most(LIMIT)
        .for_element(Locator::Css("#rule-blocked_paths"))
        .await?;
    has_no_barriers(&dashboard).await?;
    paths.send_keys("/private/*").await?;
    press(&dashboard, "Preview").await?;
    says(
        &dashboard,
        "Of 1 accepted events they would have refused 1;",
    )
    .await?;
    says(&dashboard, "/private/a").await?;
    has_no_barriers(&dashboard).await?;

    press(&dashboard, "Save").await?;
    let took = takes(&demo, "/private/a", false).await?;
    assert!(took < Duration::from_secs(5), "{took:?}");
    says(&dashboard, "1 of 1 collector runs version 1").await?;

    // Another version, and back to the first.
    paths.clear().await?;
    paths.send_keys("/secret").await?;
    press(&dashboard, "Save").await?;
    takes(&demo, "/private/a", true).await?;
    let shown =
        "for (const each of document.querySelectorAll('.versions details')) each.open = true;
        return [...document.querySelectorAll('.versions .diff')].map((each) => each.textContent)";
    eventually("what version 2 changed", LIMIT, || async {
        let diffs = dashboard.run(shown).await?;
        Ok((diffs == json!(["blocked_paths/private/* → /secret"])).then_some(()))
    })
    .await?;
    press(&dashboard, "Restore version 1").await?;
    takes(&demo, "/private/a", false).await?;
    says(&dashboard, "1 of 1 collector runs version 3").await?;

    // What is wrong is said where it is wrong.
    let hosts = dashboard.page.find(Locator::Css("#rule-hosts")).await?;
    hosts.send_keys("no host").await?;
    press(&dashboard, "Save").await?;
    dashboard
        .page
        .wait()
        .at_most(LIMIT)
        .for_element(Locator::Css("#rule-hosts-error"))
        .await?;
    has_no_barriers(&dashboard).await?;
    dashboard.close().await
}
