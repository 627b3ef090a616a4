//! Visitors of past days, as a server would import them: JSON with a server key, client times trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reqwest::{Client as Http, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::plan::{Action, Visit, Visitor};
use crate::shop::PRODUCTS;

const DAY_MS: u64 = 86_400_000;
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends history to a collector.
pub(super) struct History {
    http: Http,
    url: Url,
    server_key: String,
    days: u32,
    seed: u64,
    now_ms: u64,
}

impl History {
    pub(super) fn new(http: Http, url: Url, server_key: String, days: u32, seed: u64) -> Self {
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Self {
            http,
            url,
            server_key,
            days,
            seed,
            now_ms,
        }
    }

    /// Sends all visits of a visitor in one request, and returns when each event is acknowledged.
    pub(super) async fn send(&self, visitor: &Visitor, index: u64) -> anyhow::Result<()> {
        let days_ago = fastrand::Rng::with_seed(self.seed ^ !index)
            .u64(0..=u64::from(self.days.saturating_sub(1)));
        let mut events = Vec::new();
        for visit in &visitor.visits {
            self.events(visitor, visit, days_ago * DAY_MS, &mut events)?;
        }
        let body = serde_json::to_vec(&json!({ "historical": true, "events": events }))?;
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let answer = self
                .http
                .post(self.url.clone())
                .bearer_auth(&self.server_key)
                .body(body.clone())
                .send()
                .await;
            match answer {
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    if let Ok(answer) = answer.json::<Value>().await {
                        let refused = answer["rejected"]
                            .as_array()
                            .is_some_and(|list| !list.is_empty());
                        if refused {
                            bail!("not all events were accepted: {answer}");
                        }
                        return Ok(());
                    }
                }
                Ok(answer)
                    if answer.status().is_client_error()
                        && answer.status() != StatusCode::TOO_MANY_REQUESTS =>
                {
                    bail!(
                        "{} refuses with {}: {}",
                        self.url,
                        answer.status(),
                        answer.text().await.unwrap_or_default()
                    );
                }
                _ => {}
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} took no events for {PATIENCE:?}", self.url);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn events(
        &self,
        visitor: &Visitor,
        visit: &Visit,
        shift: u64,
        events: &mut Vec<Value>,
    ) -> anyhow::Result<()> {
        let mut url = String::new();
        let mut referrer = visit.referrer.to_owned();
        let mut cart: Vec<Value> = Vec::new();
        let mut value = 0;
        for (seq, (before, action)) in visit.actions.iter().enumerate() {
            let at = self.now_ms.saturating_sub(*before + shift);
            let time =
                Timestamp::from_millisecond(i64::try_from(at)?).context("time out of range")?;
            let order = |id: &str, items: &[Value], value: i64| json!({ "id": id, "currency": "EUR", "value": value, "items": items });
            let mut event = match action {
                Action::View { path, title } => {
                    referrer = std::mem::replace(&mut url, format!("https://shop.example{path}"));
                    json!({ "type": "page_view", "title": title })
                }
                Action::ProductView { product } => {
                    json!({ "type": "product_view", "order": order("", &[item(*product)], PRODUCTS[*product].price) })
                }
                Action::AddToCart { product } => {
                    cart.push(item(*product));
                    value += PRODUCTS[*product].price;
                    json!({ "type": "cart", "order": order("", &cart, value) })
                }
                Action::Checkout => json!({ "type": "checkout", "order": order("", &cart, value) }),
                Action::Order { id } => {
                    json!({ "type": "order", "order": order(id, &std::mem::take(&mut cart), std::mem::take(&mut value)) })
                }
                Action::Engagement {
                    time_ms,
                    scroll_percent,
                } => {
                    json!({ "type": "engagement", "engagement": { "time_ms": time_ms, "scroll_percent": scroll_percent } })
                }
                Action::Search { words, results } => {
                    json!({ "type": "custom", "name": "search", "properties": { "words": words, "results": results } })
                }
                Action::Identify { user } => json!({ "type": "identify", "user": user }),
            };
            event["id"] = format!("{:016x}.{seq}", visit.stream).into();
            event["visitor"] = visitor.install.as_str().into();
            event["time"] = time.to_string().into();
            for (key, text) in [("url", &url), ("referrer", &referrer)] {
                if !text.is_empty() {
                    event[key] = text.as_str().into();
                }
            }
            events.push(event);
        }
        Ok(())
    }
}

fn item(product: usize) -> Value {
    let product = &PRODUCTS[product];
    json!({ "sku": product.sku, "name": product.name, "price": product.price, "quantity": 1 })
}
