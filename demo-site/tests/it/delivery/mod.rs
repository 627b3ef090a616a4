//! What the browser SDK delivers when pages, browsers, networks and servers end: all of it, once, at a real collector and
//! a real aggregator.

mod lab;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::http::StatusCode;
use fantoccini::Locator;
use serde_json::Value;
use wakeline_testbed::{Browser, Nginx, eventually};

use lab::{Lab, Way, track};

const LIMIT: Duration = Duration::from_secs(60);
const DOWN: Way = Way::Refused(StatusCode::SERVICE_UNAVAILABLE, "1");

/// Leaves no room in `localStorage`, not even for a short text.
const FILL: &str = "
    try { for (let n = 0; ; n += 1) localStorage['fill' + n] = 'x'.repeat(100_000) } catch {}
    try { for (let n = 0; ; n += 1) localStorage['more' + n] = 'x' } catch {}";

/// Whether `IndexedDB` has so many of a page's events.
fn kept(events: usize) -> String {
    format!(
        "return new Promise((done) => {{
            indexedDB.open('wakeline').onsuccess = ({{ target }}) => {{
                const left = target.result.transaction('left').objectStore('left').getAll();
                left.onsuccess = () => done(left.result.flatMap(([, ...texts]) => texts).length >= {events});
            }};
        }})"
    )
}

/// Waits until a script of the page gives `true`.
async fn says(browser: &Browser, what: &str, script: &str) -> anyhow::Result<()> {
    eventually(what, LIMIT, || async {
        Ok((browser.run(script).await? == Value::Bool(true)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_left_at_once_loses_nothing() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    let leave = format!("{}location.href = 'about:blank'", track("left", 20));
    browser.run(&leave).await?;
    lab.counts(1, 20).await?;
    // The next page sends it again, since nobody saw the beacon's answer.
    lab.goto(&browser, "/").await?;
    lab.copies(20).await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_left_before_the_client_is_loaded_loses_nothing() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = Browser::start(800, 600).await?;
    lab.goto(&browser, "/early").await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_is_closed_at_once_loses_nothing() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    let other = browser.page.new_window(true).await?;
    browser.run(&track("closed", 20)).await?;
    browser.page.close_window().await?;
    browser.page.switch_to_window(other.handle).await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_loses_nothing_of_a_page_that_is_left() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(Way::Slow(Duration::from_secs(1)));
    browser.run(&track("slow", 20)).await?;
    let leave = format!("{}location.href = 'about:blank'", track("slow", 20));
    browser.run(&leave).await?;
    lab.counts(1, 40).await?;
    browser.close().await
}

/// Twenty events at a server that is down, and a page that dies so much later.
async fn killed(after: Duration) -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    let other = browser.page.new_window(true).await?;
    lab.set(DOWN);
    browser.run(&track("killed", 20)).await?;
    tokio::time::sleep(after).await; // what the fault gives the browser
    browser.kill_renderer().await?;
    browser.page.switch_to_window(other.handle).await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renderer_that_is_killed_as_soon_as_the_calls_returned_loses_nothing()
-> anyhow::Result<()> {
    killed(Duration::ZERO).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renderer_that_is_killed_a_second_later_loses_nothing() -> anyhow::Result<()> {
    killed(Duration::from_secs(1)).await
}

/// Requests of this page never leave. By the first one, it has told the browser what to send when it dies.
const MUTE: &str = "window.fetch = () => { window.posted = true; return new Promise(() => {}) };";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_that_dies_had_is_sent_by_the_browser_without_another_page()
-> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    let other = browser.page.new_window(true).await?;
    browser.run(&format!("{MUTE}{}", track("will", 20))).await?;
    says(&browser, "a request", "return window.posted").await?;
    let known = lab.seen().len();
    browser.kill_renderer().await?;
    browser.page.switch_to_window(other.handle).await?;
    lab.asked(known).await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_offline_is_sent_as_soon_as_there_is_a_network() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser.set_offline(true).await?;
    browser.run(&track("offline", 20)).await?;
    says(&browser, "offline", "return !navigator.onLine").await?;
    let known = lab.seen().len();
    browser.set_offline(false).await?;
    lab.asked(known).await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_dies_and_comes_back_in_the_middle_of_a_page_costs_nothing()
-> anyhow::Result<()> {
    let mut lab = Lab::start().await?;
    let browser = lab.visit().await?;
    for _ in 0..2 {
        // Some of it is on its way by then.
        browser.run(&track("dies", 10)).await?;
        tokio::task::block_in_place(|| lab.stack.restart_collector())?;
    }
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_outlives_the_page_loses_nothing() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(DOWN);
    let known = lab.seen().len();
    browser.run(&track("outage", 20)).await?;
    lab.asked(known).await?;
    browser.page.goto("about:blank").await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_come_cost_copies_and_no_events() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(Way::Deaf);
    let known = lab.seen().len();
    browser.run(&track("deaf", 20)).await?;
    lab.asked(known).await?;
    lab.set(Way::Open);
    lab.copies(20).await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_is_closed_during_an_outage_sends_what_it_kept_when_it_is_back()
-> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(DOWN);
    browser.run(&track("days", 20)).await?;
    let browser = browser.restart(800, 600).await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_comes_back_from_the_cache_goes_on_where_it_was() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser
        .run("addEventListener('pageshow', (event) => { window.back = event.persisted })")
        .await?;
    browser.run(&track("before", 10)).await?;
    lab.goto(&browser, "/other").await?;
    browser.page.back().await?;
    says(&browser, "a page from the cache", "return window.back").await?;
    browser.run(&track("after", 10)).await?;
    // The first page, the other one, and the first one again.
    lab.counts(3, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_prepared_is_viewed_when_it_is_shown() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = Browser::start(800, 600).await?;
    lab.open(&browser, "/before").await?;
    lab.prerendered().await?;
    browser.page.find(Locator::Css("title")).await?;
    browser.run("location.href = '/after'").await?;
    says(
        &browser,
        "the prepared page",
        "return performance.getEntriesByType('navigation')[0].activationStart > 0",
    )
    .await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_send_what_each_has_and_what_a_third_one_left_once() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(DOWN);
    browser.run(&track("left", 20)).await?;
    browser.page.goto("about:blank").await?;
    lab.goto(&browser, "/").await?;
    let first = browser.page.window().await?;
    let second = browser.page.new_window(true).await?;
    browser.page.switch_to_window(second.handle).await?;
    lab.goto(&browser, "/").await?;
    browser.run(&track("second", 20)).await?;
    browser.page.switch_to_window(first).await?;
    browser.run(&track("first", 20)).await?;
    lab.set(Way::Open);
    lab.counts(3, 60).await?;
    let ledger = lab.stack.ledger("shop.example", "day").await?;
    // The second tab, once it is hidden, says farewell with its view and twenty events, and sends them again when it has
    // no answer to that, which may come while the way is open.
    let copies = &ledger["total"]["duplicate"];
    assert!(
        *copies == 0 || *copies == 21,
        "one tab has what was left: {copies} copies"
    );
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_storage_loses_nothing_while_the_page_lives() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser.run(FILL).await?;
    lab.set(DOWN);
    browser.run(&track("full", 10)).await?;
    lab.set(Way::Open);
    lab.counts(1, 10).await?;
    let leave = format!("{}location.href = 'about:blank'", track("full", 10));
    browser.run(&leave).await?;
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_storage_has_no_room_for_outlives_the_browser() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser.run(FILL).await?;
    lab.set(DOWN);
    browser.run(&track("full", 20)).await?;
    says(&browser, "the store", &kept(20)).await?;
    let browser = browser.restart(800, 600).await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_events_that_wait_outlive_the_browser() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(DOWN);
    browser.run(&track("backlog", 5_000)).await?;
    says(&browser, "the store", &kept(5_000)).await?;
    let browser = browser.restart(800, 600).await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 5_000).await?;
    browser.close().await
}

/// From now on each `put` takes longer than the SDK waits before the next one, and calls go on meanwhile.
const BUSY: &str = "
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (...what) {
        const until = performance.now() + 600;
        const again = () => { if (performance.now() < until) this.get('none').onsuccess = again };
        again();
        return put.apply(this, what);
    };
    let times = 0;
    const more = setInterval(() => {
        wakeline.track('meanwhile');
        if ((times += 1) == 100) clearInterval(more);
    }, 30);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_while_a_slow_store_takes_the_ones_before_outlive_the_browser()
-> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(DOWN);
    browser
        .run(&format!("{BUSY}{}", track("backlog", 1_000)))
        .await?;
    says(&browser, "the store", &kept(1_100)).await?;
    let browser = browser.restart(800, 600).await?;
    lab.set(Way::Open);
    lab.goto(&browser, "/").await?;
    lab.counts(2, 1_100).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_move_no_event() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    for jump in ["365 * 86_400_000", "-730 * 86_400_000"] {
        let events = track("jump", 10);
        let script = format!("const now = Date.now; Date.now = () => now() + {jump}; {events}");
        browser.run(&script).await?;
    }
    lab.counts(1, 20).await?;
    browser.close().await
}

/// Twenty events at a server that asks to wait two seconds.
async fn waits(status: StatusCode) -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(Way::Refused(status, "2"));
    let known = lab.seen().len();
    browser.run(&track("asked", 10)).await?;
    let refused: Instant = lab.asked(known).await?.at;
    lab.set(Way::Open);
    browser.run(&track("asked", 10)).await?;
    lab.counts(1, 20).await?;
    let waited = lab.seen()[known + 1].at - refused;
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_busy_is_left_alone_as_long_as_it_asks() -> anyhow::Result<()> {
    waits(StatusCode::SERVICE_UNAVAILABLE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_limits_the_rate_is_left_alone_as_long_as_it_asks() -> anyhow::Result<()> {
    waits(StatusCode::TOO_MANY_REQUESTS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_for_the_server_is_split_until_it_fits() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    lab.set(Way::AtMost(4_000));
    browser
        .run(
            "for (let n = 0; n < 20; n += 1) {
                const text = Array.from({ length: 500 }, () => Math.random().toString(36).slice(2, 4)).join('');
                wakeline.track('large', { text });
            }",
        )
        .await?;
    lab.counts(1, 20).await?;
    let too_large = lab.seen().iter().filter(|seen| seen.bytes > 4_000).count();
    assert!(too_large > 0, "{:?}", lab.seen());
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_calls_in_a_task_all_arrive() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser.run(&track("many", 5_000)).await?;
    lab.counts(1, 5_000).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_is_awaited_ends_when_the_server_has_everything() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    let known = lab.seen().len();
    let flush = format!(
        "{}return wakeline.flush().then(() => true)",
        track("flushed", 20)
    );
    assert_eq!(browser.run(&flush).await?, Value::Bool(true));
    assert!(lab.seen().len() > known);
    let left = browser
        .run("return Object.keys(localStorage).filter((name) => name.includes('.')).length")
        .await?;
    assert_eq!(left, 0, "nothing is stored that the server has");
    lab.counts(1, 20).await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_by_the_documented_recipe_passes_everything_on() -> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let readme = include_str!("../../../../sdk-web/npm/README.md");
    let recipe = readme.split("```nginx\n").nth(1).context("a recipe")?;
    let recipe = recipe.split("```").next().context("its end")?;
    let recipe = recipe.replace("http://127.0.0.1:8080", &lab.origin);
    let pages = format!("location / {{ proxy_pass {}; }}", lab.origin);
    let nginx = Nginx::with_locations(&(recipe + &pages))?;
    let browser = Browser::start(800, 600).await?;
    browser.page.goto(&nginx.url).await?;
    let flush = format!("{}return wakeline.flush()", track("proxied", 20));
    browser.run(&flush).await?;
    lab.counts(1, 20).await?;
    let statuses = nginx.statuses()?;
    assert!(
        statuses.iter().any(|line| line == "202 202"),
        "{statuses:?}"
    );
    browser.close().await
}

/// What no event can hold, each twice, and calls that are no events.
const ODD: &str = r#"
    window.warned = [];
    console.warn = (text) => warned.push(text);
    const circular = {};
    circular.self = circular;
    const odd = [
        { circular },
        { big: 10n ** 30n },
        { symbol: Symbol("s") },
        { get bad() { throw new Error("no") }, good: 1 },
        { long: "x".repeat(1 << 20) },
        Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`p${n}`, n])),
        { lone: "\ud800", "lone \udc00": 1 },
        { call() {} },
        { not: NaN, infinite: -Infinity },
        { at: new Date(), never: new Date(NaN), large: 2 ** 53 - 1, tiny: -1e-300 },
    ];
    for (const properties of [...odd, ...odd]) wakeline.track("odd", properties);
    wakeline.track(Symbol("name"));
    wakeline.track("");
    wakeline.order();
    wakeline.order({ id: "1", currency: "EUR", value: 0.5, items: [] });
    wakeline.order({ id: "2", currency: "euro", value: 1, items: [] });
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_cut_or_left_out_with_a_warning_a_kind_and_what_is_no_event_is_in_the_ledger()
-> anyhow::Result<()> {
    let lab = Lab::start().await?;
    let browser = lab.visit().await?;
    browser.run(ODD).await?;
    lab.counts(1, 20).await?;
    let ledger = eventually("the ledger", LIMIT, || async {
        let ledger = lab.stack.ledger("shop.example", "day").await?;
        Ok((ledger["total"]["received"] == 26).then_some(ledger))
    })
    .await?;
    let total = &ledger["total"];
    assert_eq!(total["accepted"], 21, "{ledger}");
    let expected = serde_json::json!({"invalid_money": 2, "invalid_name": 1, "malformed": 2});
    assert_eq!(total["rejected"], expected, "{ledger}");
    let warned = browser.run("return warned").await?;
    let warned: Vec<&str> = warned
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut kinds = warned.clone();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), warned.len(), "one warning a kind: {warned:?}");
    assert!(kinds.len() >= 6, "{kinds:?}");
    browser.close().await
}
