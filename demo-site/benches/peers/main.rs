//! The browser SDK beside other trackers' clients, as npm has them, on the same page in the same browser:
//! `cargo bench -p wakeline-demo-site --bench peers --profile dev` (nothing that is measured is compiled by cargo but
//! the SDK's WebAssembly, which has its own profile). `PEERS=wakeline,snowplow` runs some only, `-- main-thread shop` some
//! of the parts. Prints tables in Markdown:
//!
//! 1. `bytes`: script; a page view and twenty events of five properties, 100 ms apart, at a server on another origin:
//!    requests, preflights, bodies, paths with queries, headers. The same in one task, the page left right after it.
//! 2. `losses`: twenty events in one task, and what then happens to the page; how many different ones arrive, and copies.
//! 3. `main-thread`, with the processor four times slower.
//! 4. `shop`, with and without the SDK: largest contentful paint, layout shift.

mod clients;
mod server;
mod shop;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeline_testbed::{Browser, eventually};

use clients::{Client, Pages};
use server::{Server, Traffic};

/// Until a client has loaded what it loads, and has nothing on its way.
const SETTLE: Duration = Duration::from_secs(4);

/// What becomes of a page with events.
#[derive(Clone, Copy)]
enum End {
    Leave { round_trip: Duration },
    Close { round_trip: Duration },
    NextPage,
    Outage,
    Crash,
}

const ENDS: [(&str, End); 7] = [
    (
        "leave",
        End::Leave {
            round_trip: Duration::ZERO,
        },
    ),
    (
        "leave, 150 ms",
        End::Leave {
            round_trip: Duration::from_millis(150),
        },
    ),
    (
        "close",
        End::Close {
            round_trip: Duration::ZERO,
        },
    ),
    (
        "close, 150 ms",
        End::Close {
            round_trip: Duration::from_millis(150),
        },
    ),
    ("next page", End::NextPage),
    ("outage", End::Outage),
    ("crash", End::Crash),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-')) // cargo's own
        .collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let only = std::env::var("PEERS").unwrap_or_default();
    let pages = Pages::build()?;
    let chosen: Vec<&Client> = pages
        .clients
        .iter()
        .filter(|client| only.is_empty() || only.split(',').any(|name| name == client.name))
        .collect();

    if wanted("bytes") {
        bytes_of(&pages, &chosen).await?;
    }
    if wanted("losses") {
        losses_of(&pages, &chosen).await?;
    }
    if wanted("main-thread") {
        println!("\n| client | init ms | call ms | all tasks ms | longest task ms |");
        println!("|---|--:|--:|--:|--:|");
        for client in &chosen {
            let row = main_thread(&pages, client).await?;
            println!("| {} | {row} |", client.name);
        }
    }
    if wanted("shop") {
        shop::with_and_without().await?;
    }
    Ok(())
}

async fn bytes_of(pages: &Pages, clients: &[&Client]) -> anyhow::Result<()> {
    println!(
        "| client | script br | requests | preflights | body | path | body + path | headers | all | body + path when left |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for client in clients {
        let spread = wire(pages, client).await?;
        let left = left(pages, client).await?;
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            client.name,
            client.script_bytes,
            spread.requests,
            spread.preflights,
            spread.body,
            spread.path,
            spread.body + spread.path,
            spread.headers,
            spread.body + spread.path + spread.headers,
            left.body + left.path,
        );
    }
    Ok(())
}

async fn losses_of(pages: &Pages, clients: &[&Client]) -> anyhow::Result<()> {
    let names: Vec<&str> = ENDS.iter().map(|(name, _)| *name).collect();
    println!("\n| client | {} |", names.join(" | "));
    println!("|---|{}", "--:|".repeat(ENDS.len()));
    for client in clients {
        let mut cells = Vec::new();
        for (_, end) in ENDS {
            let (arrived, copies) = losses(pages, client, end).await?;
            cells.push(match copies {
                0 => arrived.to_string(),
                copies => format!("{arrived} ({copies} d)"),
            });
        }
        println!("| {} | {} |", client.name, cells.join(" | "));
    }
    Ok(())
}

/// A browser as a person's, on the client's page.
async fn visit(client: &Client, server: &Server) -> anyhow::Result<Browser> {
    let browser = Browser::start(1280, 900).await?;
    as_a_persons(&browser).await?;
    open(&browser, client, server).await?;
    Ok(browser)
}

/// Goes to the client's page, and waits until it has nothing to do any more.
async fn open(browser: &Browser, client: &Client, server: &Server) -> anyhow::Result<()> {
    browser.page.goto(&server.page(client)).await?;
    eventually(client.name, Duration::from_secs(60), || async {
        let there = browser.run("return !!window.peer").await?;
        Ok((there == Value::Bool(true)).then_some(()))
    })
    .await?;
    sleep(SETTLE).await;
    Ok(())
}

/// Several clients keep silent where a program steers the browser.
async fn as_a_persons(browser: &Browser) -> anyhow::Result<()> {
    let agent = browser.run("return navigator.userAgent").await?;
    let agent = agent.as_str().unwrap_or_default().replace("Headless", "");
    browser
        .devtools(
            "Network.setUserAgentOverride",
            json!({ "userAgent": agent }),
        )
        .await?;
    let script = "Object.defineProperty(Navigator.prototype, 'webdriver', { get: () => false })";
    browser
        .devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": script }),
        )
        .await?;
    Ok(())
}

async fn wire(pages: &Pages, client: &Client) -> anyhow::Result<Traffic> {
    let server = Server::start(pages, Duration::ZERO).await?;
    let browser = visit(client, &server).await?;
    browser.run("void peer.inTurn(100)").await?;
    sleep(Duration::from_secs(2) + SETTLE * 2).await;
    browser.close().await?;
    Ok(server.traffic())
}

async fn left(pages: &Pages, client: &Client) -> anyhow::Result<Traffic> {
    let server = Server::start(pages, Duration::ZERO).await?;
    let browser = visit(client, &server).await?;
    let before = server.traffic();
    browser
        .run("peer.atOnce(); location.href = 'about:blank'")
        .await?;
    sleep(SETTLE).await;
    browser.close().await?;
    Ok(server.traffic() - before)
}

/// How many different ones of twenty events arrive, and how many copies.
async fn losses(pages: &Pages, client: &Client, end: End) -> anyhow::Result<(usize, usize)> {
    const MARKED: &str = "peer.marked();";
    let round_trip = match end {
        End::Leave { round_trip } | End::Close { round_trip } => round_trip,
        _ => Duration::ZERO,
    };
    let server = Server::start(pages, round_trip).await?;
    let browser = visit(client, &server).await?;
    match end {
        End::Leave { .. } => {
            let leave = format!("{MARKED} location.href = 'about:blank'");
            browser.run(&leave).await?;
            sleep(SETTLE).await;
        }
        End::Close { .. } => {
            let other = browser.page.new_window(true).await?;
            browser.run(MARKED).await?;
            browser.page.close_window().await?;
            browser.page.switch_to_window(other.handle).await?;
            sleep(SETTLE).await;
        }
        End::NextPage => {
            browser
                .run(&format!("{MARKED} location.search = 'next'"))
                .await?;
            sleep(Duration::from_secs(12)).await;
        }
        End::Outage => {
            server.set_down(true);
            browser.run(MARKED).await?;
            sleep(Duration::from_secs(8)).await;
            browser.page.refresh().await?;
            sleep(Duration::from_secs(2)).await;
            server.set_down(false);
            sleep(Duration::from_secs(22)).await;
        }
        End::Crash => {
            let other = browser.page.new_window(true).await?;
            browser.run(MARKED).await?;
            sleep(Duration::from_secs(1)).await;
            browser.kill_renderer().await?;
            browser.page.switch_to_window(other.handle).await?;
            as_a_persons(&browser).await?;
            open(&browser, client, &server).await?;
            sleep(Duration::from_secs(8)).await;
        }
    }
    browser.close().await?;
    Ok(server.marks())
}

async fn throttle(browser: &Browser, rate: u32) -> anyhow::Result<()> {
    browser
        .devtools("Emulation.setCPUThrottlingRate", json!({ "rate": rate }))
        .await?;
    Ok(())
}

/// A view and twenty events on a slow processor: the start call, the median call, all of the page's tasks, the longest
/// task.
async fn main_thread(pages: &Pages, client: &Client) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    // Browsers report tasks from 50 ms on: twenty times slower, that is 10 ms at four times slower.
    for rate in [4, 4, 4, 20] {
        let server = Server::start(pages, Duration::ZERO).await?;
        let browser = Browser::start(1280, 900).await?;
        as_a_persons(&browser).await?;
        throttle(&browser, rate).await?;
        browser.devtools("Performance.enable", json!({})).await?;
        open(&browser, client, &server).await?;
        browser.run("void peer.inTurn(50)").await?;
        sleep(SETTLE * 2).await;
        let times = browser.run("return peer.times()").await?;
        let metrics = browser
            .devtools("Performance.getMetrics", json!({}))
            .await?;
        let tasks = metrics["metrics"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|metric| metric["name"] == "TaskDuration")
            .and_then(|metric| metric["value"].as_f64());
        let number = |value: &Value| value.as_f64().unwrap_or(0.0);
        let longest = times["tasks"].as_array().into_iter().flatten();
        let longest = longest.map(number).fold(0.0, f64::max);
        rows.push((
            number(&times["init"]),
            number(&times["call"]),
            tasks.unwrap_or(0.0) * 1_000.0,
            longest / 5.0,
        ));
        browser.close().await?;
    }
    let longest = rows.pop().map_or(0.0, |row| row.3);
    let median = |of: fn(&(f64, f64, f64, f64)) -> f64| {
        let mut values: Vec<f64> = rows.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let longest = if longest < 10.0 {
        "< 10".to_owned()
    } else {
        format!("{longest:.0}")
    };
    Ok(format!(
        "{:.1} | {:.2} | {:.0} | {longest}",
        median(|row| row.0),
        median(|row| row.1),
        median(|row| row.2),
    ))
}
