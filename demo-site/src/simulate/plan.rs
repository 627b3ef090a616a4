//! Who comes and what they do: a function of the seed alone, so that the totals are known before anything is sent.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde::Serialize;

use crate::shop::PRODUCTS;

/// Longest pause within a visit. Far below the session gap (30 min), so that no delay of the run can split a visit.
const MAX_PAUSE_MS: u64 = 4 * 60 * 1000;
/// Pauses between visits. Far above the session gap, so that no delay of the run can merge two.
const BETWEEN_VISITS_MS: std::ops::Range<u64> = 60 * 60 * 1000..6 * 60 * 60 * 1000;

/// What a visitor does at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    View { path: String, title: &'static str },
    ProductView { product: usize },
    AddToCart { product: usize },
    Checkout,
    Order { id: String },
    Engagement { time_ms: u32, scroll_percent: u32 },
    Search { words: &'static str, results: i64 },
    Identify { user: String },
}

/// One visitor's whole history. Times are in ms before the run began, oldest first; none is negative.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) install: String,
    pub(crate) language: &'static str,
    pub(crate) visits: Vec<Visit>,
}

/// A visit: one page load of the SDK, so one stream.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) stream: u64,
    pub(crate) referrer: &'static str,
    /// (ms before the run, action), in order.
    pub(crate) actions: Vec<(u64, Action)>,
}

/// What reports must say once everything has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Installs with at least one event.
    pub visitors: u64,
    /// Visits by the 30-minute rule.
    pub visits: u64,
    /// Page views.
    pub pageviews: u64,
    /// Events but engagement.
    pub events: u64,
    /// Orders.
    pub orders: u64,
    /// Order value by currency, in minor units.
    pub revenue: BTreeMap<String, i64>,
    /// Requests' worth of events: everything that was sent, engagement included.
    #[serde(skip)]
    pub sent: u64,
}

impl Truth {
    /// Counts what a visitor does.
    pub(crate) fn count(&mut self, visitor: &Visitor) {
        self.visitors += 1;
        for visit in &visitor.visits {
            self.visits += 1;
            let mut cart = 0;
            for (_, action) in &visit.actions {
                self.sent += 1;
                match action {
                    Action::Engagement { .. } => continue,
                    Action::View { .. } => self.pageviews += 1,
                    Action::AddToCart { product } => cart += PRODUCTS[*product].price,
                    Action::Order { .. } => {
                        self.orders += 1;
                        *self.revenue.entry("EUR".to_owned()).or_default() += cart;
                    }
                    _ => {}
                }
                self.events += 1;
            }
        }
    }
}

const REFERRERS: [&str; 6] = [
    "",
    "",
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://www.instagram.com/",
    "https://news.example/slow-mornings",
];
const LANGUAGES: [&str; 5] = ["en-GB", "de-DE", "fr-FR", "nl-NL", "pt-PT"];
const SEARCHES: [&str; 5] = ["mug", "warm", "gift under 30", "lamp", "oak"];

/// The history of visitor number `index` of a run.
pub(crate) fn visitor(seed: u64, index: u64) -> Visitor {
    // Streams of neighbouring seeds must not resemble each other: mix before seeding.
    let mut rng = Rng::with_seed(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03),
    );
    let install = format!("sim-{seed:x}-{index:x}-{:08x}", rng.u32(..));
    let language = LANGUAGES[rng.usize(..LANGUAGES.len())];
    let count = 1 + usize::from(rng.u8(..10) < 3) + usize::from(rng.u8(..10) < 1);
    // Made backwards from the run's beginning, as the last event is the one whose age is known.
    let mut visits = Vec::with_capacity(count);
    let mut before = rng.u64(0..20 * 60 * 1000);
    for number in 0..count {
        let mut actions = visit_actions(&mut rng, number + 1 == count, &install);
        let length = actions.last().map_or(0, |(at, _)| *at);
        for (at, _) in &mut actions {
            *at = before + length - *at;
        }
        visits.push(Visit {
            stream: rng.u64(1..),
            referrer: REFERRERS[rng.usize(..REFERRERS.len())],
            actions,
        });
        before += length + rng.u64(BETWEEN_VISITS_MS);
    }
    visits.reverse();
    Visitor {
        install,
        language,
        visits,
    }
}

/// What happens in a visit, with times in ms since its first event.
fn visit_actions(rng: &mut Rng, first: bool, install: &str) -> Vec<(u64, Action)> {
    let mut walk = Walk {
        rng,
        at: 0,
        actions: Vec::with_capacity(12),
    };
    let landing_on_product = walk.rng.u8(..10) < 3;
    if !landing_on_product {
        walk.add(Action::View {
            path: "/".to_owned(),
            title: "Shop",
        });
        if walk.rng.u8(..10) < 4 {
            return walk.actions; // a bounce
        }
        walk.engage();
    }
    if walk.rng.u8(..10) < 2 {
        let words = SEARCHES[walk.rng.usize(..SEARCHES.len())];
        let results = walk.rng.i64(0..8);
        walk.add(Action::Search { words, results });
    }
    let mut in_cart = false;
    for _ in 0..walk.rng.usize(1..5) {
        let product = walk.rng.usize(..PRODUCTS.len());
        walk.add(Action::View {
            path: format!("/p/{}", PRODUCTS[product].slug),
            title: PRODUCTS[product].name,
        });
        walk.at -= walk.rng.u64(0..1_000).min(walk.at);
        walk.add(Action::ProductView { product });
        walk.engage();
        if walk.rng.u8(..10) < 3 {
            walk.add(Action::AddToCart { product });
            in_cart = true;
        }
    }
    if in_cart && walk.rng.u8(..10) < 6 {
        walk.add(Action::View {
            path: "/cart".to_owned(),
            title: "Cart",
        });
        walk.add(Action::View {
            path: "/checkout".to_owned(),
            title: "Check out",
        });
        walk.add(Action::Checkout);
        if walk.rng.u8(..10) < 6 {
            if first {
                walk.add(Action::Identify {
                    user: format!("customer-{install}"),
                });
            }
            let id = format!("A-{:016x}", walk.rng.u64(..));
            walk.add(Action::Order { id });
            walk.add(Action::View {
                path: "/thank-you".to_owned(),
                title: "Thank you",
            });
        }
    }
    walk.actions
}

struct Walk<'a> {
    rng: &'a mut Rng,
    at: u64,
    actions: Vec<(u64, Action)>,
}

impl Walk<'_> {
    fn add(&mut self, action: Action) {
        self.actions.push((self.at, action));
        self.at += self.rng.u64(1_000..MAX_PAUSE_MS / 4);
    }

    fn engage(&mut self) {
        let time_ms = self.rng.u32(1_000..60_000);
        let scroll_percent = self.rng.u32(5..=100);
        self.add(Action::Engagement {
            time_ms,
            scroll_percent,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_visitors() {
        let one = format!("{:?}", visitor(7, 3));
        assert_eq!(one, format!("{:?}", visitor(7, 3)));
        assert_ne!(one, format!("{:?}", visitor(8, 3)));
        assert_ne!(one, format!("{:?}", visitor(7, 4)));
    }

    #[test]
    fn pauses_leave_no_doubt_about_where_a_visit_ends() {
        for index in 0..2_000 {
            let visitor = visitor(1, index);
            let mut last: Option<u64> = None;
            for visit in &visitor.visits {
                for (position, (at, _)) in visit.actions.iter().enumerate() {
                    if let Some(last) = last {
                        assert!(*at <= last, "events go forward in time");
                        let pause = last - *at;
                        if position == 0 {
                            assert!(pause >= BETWEEN_VISITS_MS.start);
                        } else {
                            assert!(pause <= MAX_PAUSE_MS);
                        }
                    }
                    last = Some(*at);
                }
            }
        }
    }

    #[test]
    fn truth_counts_what_the_plan_says() {
        let mut truth = Truth::default();
        for index in 0..1_000 {
            truth.count(&visitor(5, index));
        }
        assert_eq!(truth.visitors, 1_000);
        assert!(truth.visits > 1_000 && truth.visits < 2_000);
        assert!(truth.pageviews > truth.visits);
        assert!(truth.events > truth.pageviews && truth.sent > truth.events);
        assert!(truth.orders > 0 && truth.revenue["EUR"] > 0);
    }
}
