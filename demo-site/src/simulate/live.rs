//! Visitors of the last hours, through the same client core that browsers and apps run.

use std::{
    num::NonZeroU64,
    sync::Once,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use reqwest::{Client as Http, header};
use tokio::time::Instant;
use url::Url;
use wakeline_client::{
    Client, Config, Event, Fate, Now, Page, Reply, Start, Step,
    v1::{self, Engagement, EventType, Item, Order},
};

use super::plan::{Action, Visit, Visitor};
use crate::shop::PRODUCTS;

/// How long one visitor's events may wait for a collector that does not answer.
const PATIENCE: Duration = Duration::from_secs(600);
/// The simulated monotonic clock at the beginning of the run: events lie before it.
const MONO_AT_START: u64 = 30 * 24 * 3_600 * 1_000;
const ORIGIN: &str = "https://shop.example";
const CURRENCY: &str = "EUR";

/// Sends batches to a collector.
pub(super) struct Live {
    http: Http,
    url: Url,
    key: String,
    start: Instant,
    wall_at_start: u64,
    unreachable: Once,
}

impl Live {
    pub(super) fn new(http: Http, url: Url, key: String) -> Self {
        let wall_at_start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Self {
            http,
            url,
            key,
            start: Instant::now(),
            wall_at_start,
            unreachable: Once::new(),
        }
    }

    /// The clocks `before` ms before the run began.
    fn past(&self, before: u64) -> Now {
        Now {
            mono_ms: MONO_AT_START.saturating_sub(before),
            wall_ms: self.wall_at_start.saturating_sub(before),
        }
    }

    fn now(&self) -> Now {
        let elapsed = self.start.elapsed().as_millis() as u64;
        Now {
            mono_ms: MONO_AT_START + elapsed,
            wall_ms: self.wall_at_start + elapsed,
        }
    }

    async fn post(&self, bytes: Vec<u8>) -> Reply {
        let request = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(bytes);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                self.unreachable.call_once(|| {
                    eprintln!(
                        "{} can't be reached ({}); trying again for {PATIENCE:?}",
                        self.url,
                        root(&error)
                    );
                });
                return Reply::Unreachable;
            }
        };
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .map(|seconds| seconds * 1_000);
        match response.bytes().await {
            Ok(body) => Reply::of_status(status, retry_after, &body),
            Err(_) => Reply::Unreachable, // the answer was cut: whether it was taken is unknown
        }
    }
}

/// What went wrong in the end: the outer errors only say that something did.
fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

/// Sends all visits of a visitor, and returns when each event is acknowledged.
pub(super) async fn send(live: &Live, visitor: &Visitor) -> anyhow::Result<()> {
    for visit in &visitor.visits {
        let mut client = record(live, visitor, visit)?;
        let begun = Instant::now();
        loop {
            match client.next_step(live.now()) {
                Step::Send { batch, bytes } => {
                    let reply = live.post(bytes).await;
                    if let Reply::Refused { status } = reply {
                        bail!(
                            "{} refuses batches with {status}: is the key right?",
                            live.url
                        );
                    }
                    client.on_reply(batch, reply, live.now());
                    if client.is_empty() {
                        break;
                    }
                }
                Step::WaitUntil(at) => {
                    if begun.elapsed() > PATIENCE {
                        bail!("{} took no events for {PATIENCE:?}", live.url);
                    }
                    tokio::time::sleep(Duration::from_millis(
                        at.saturating_sub(live.now().mono_ms),
                    ))
                    .await;
                }
                Step::Idle => break,
            }
        }
        let lost: Vec<_> = client
            .counts()
            .fates
            .iter()
            .filter(|(fate, _)| *fate != Fate::Accepted)
            .collect();
        if !lost.is_empty() || !client.counts().refused.is_empty() {
            bail!(
                "not all events were accepted: {lost:?}, {:?}",
                client.counts().refused
            );
        }
    }
    Ok(())
}

/// A client in which the whole visit has happened.
fn record(live: &Live, visitor: &Visitor, visit: &Visit) -> anyhow::Result<Client> {
    let first = visit.actions.first().map_or(0, |(before, _)| *before);
    let mut config = Config::new(live.key.clone());
    config.client = v1::Client {
        name: "simulator".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    visitor.language.clone_into(&mut config.device.language);
    config.backoff_base_ms = 200;
    config.backoff_cap_ms = 2_000;
    let mut client = Client::new(
        config,
        Start {
            now: live.past(first),
            stream: NonZeroU64::new(visit.stream).context("streams are not 0")?,
            install: visitor.install.clone(),
            first_day: (live.wall_at_start / 86_400_000) as u32,
            seed: visit.stream,
        },
    );
    let mut cart = Vec::new();
    let mut referrer = visit.referrer.to_owned();
    for (before, action) in &visit.actions {
        let now = live.past(*before);
        let event = match action {
            Action::View { path, title } => {
                let url = format!("{ORIGIN}{path}");
                client.set_page(Page {
                    url: url.clone(),
                    referrer,
                    title: (*title).to_owned(),
                });
                referrer = url;
                Event::page_view()
            }
            Action::ProductView { product } => {
                Event::order(EventType::ProductView, order("", vec![item(*product)]))
            }
            Action::AddToCart { product } => {
                cart.push(item(*product));
                Event::order(EventType::Cart, order("", cart.clone()))
            }
            Action::Checkout => Event::order(EventType::Checkout, order("", cart.clone())),
            Action::Order { id } => {
                Event::order(EventType::Order, order(id, std::mem::take(&mut cart)))
            }
            Action::Engagement {
                time_ms,
                scroll_percent,
            } => Event::engagement(Engagement {
                time_ms: *time_ms,
                scroll_percent: *scroll_percent,
            }),
            Action::Search { words, results } => Event::custom("search")
                .with("words", *words)
                .with("results", *results),
            Action::Identify { user } => {
                client.identify(user, now).context("identify")?;
                continue;
            }
        };
        client
            .record(event, now)
            .with_context(|| format!("{action:?}"))?;
    }
    client.flush();
    Ok(client)
}

fn item(product: usize) -> Item {
    let product = &PRODUCTS[product];
    Item {
        sku: product.sku.to_owned(),
        name: product.name.to_owned(),
        price: product.price,
        quantity: 1,
    }
}

fn order(id: &str, items: Vec<Item>) -> Order {
    let value = items.iter().map(|item| item.price).sum();
    Order {
        id: id.to_owned(),
        currency: CURRENCY.to_owned(),
        value,
        items,
    }
}
