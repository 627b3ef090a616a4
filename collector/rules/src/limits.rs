//! How many events a site takes, by address, key and site, at one collector.
//!
//! A limit of N a minute is a bucket of N that refills evenly (GCRA), so a burst of a minute's worth passes. Of a day's limit
//! a request may take what is left. Counts are in memory: a collector that starts again begins anew, and of addresses and keys the [`MAX_BUCKETS`] last seen are known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use wakeline_proto::v1;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Buckets that are known at a time; each takes some 50 bytes.
const MAX_BUCKETS: usize = 65_536;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// The limits of a site; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    ip_per_minute: u32,
    key_per_minute: u32,
    site_per_minute: u32,
    per_day: u64,
}

impl From<&v1::SiteRules> for Limits {
    fn from(rules: &v1::SiteRules) -> Self {
        Self {
            ip_per_minute: rules.events_per_minute_of_ip,
            key_per_minute: rules.events_per_minute_of_key,
            site_per_minute: rules.events_per_minute_of_site,
            per_day: rules.events_per_day,
        }
    }
}

/// Who sends, as buckets know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payer {
    /// What they may send.
    pub limits: Limits,
    site: u64,
    key: u64,
    ip: Option<u64>,
}

impl Payer {
    /// Of a request with a key, or (empty) with a name that the site has elsewhere; neither key nor address can be told
    /// from it.
    pub fn new(limits: Limits, site: u64, key: &str, ip: Option<IpAddr>) -> Self {
        let ip = ip.map(|ip| match ip {
            IpAddr::V4(ip) => xxh3_64_with_seed(&ip.octets(), site),
            // Whoever has one address of IPv6 has the /64 around it.
            IpAddr::V6(ip) => xxh3_64_with_seed(&ip.octets()[..8], site),
        });
        Self {
            limits,
            site,
            key: xxh3_64_with_seed(key.as_bytes(), site),
            ip,
        }
    }
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// For people.
    pub what: &'static str,
    /// Whose limit.
    pub site: u64,
    /// Seconds after which it is worth to come again.
    pub retry_after: u32,
}

/// What was sent so far.
#[derive(Debug)]
pub struct Buckets {
    /// By kind and identity: what is owed.
    debts: Cache<u64, Debt>,
    /// By site: the day and its events.
    days: Mutex<HashMap<u64, (u64, u64)>>,
}

/// What a bucket lacks to be full. In events, so that it means the same whatever the limit becomes; nothing is rounded.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    /// Events times [`MINUTE_MS`]: in a ms as many go as the limit has a minute.
    owed: u64,
    /// In ms since 1970-01-01 UTC.
    at: u64,
}

impl Debt {
    /// What is left of it at `now` by that limit.
    fn at(self, now: u64, per_minute: u64) -> Self {
        let paid_off = now.saturating_sub(self.at).saturating_mul(per_minute);
        Self {
            owed: self.owed.saturating_sub(paid_off),
            at: self.at.max(now),
        }
    }

    /// With `cost` more; else ms after which that passes.
    fn plus(self, cost: u64, per_minute: u64) -> Result<Self, u64> {
        let room = per_minute * MINUTE_MS;
        let owed = self.owed.saturating_add(cost);
        // A request of more than a minute's worth passes if the bucket is full: else it never would.
        if owed > room && self.owed > 0 {
            let too_much = self.owed.saturating_add(cost.min(room)) - room;
            return Err(too_much.div_ceil(per_minute));
        }
        Ok(Self { owed, ..self })
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            debts: Cache::new(MAX_BUCKETS),
            days: Mutex::default(),
        }
    }
}

impl Buckets {
    /// As [`Buckets::take`]; what is taken of the day's limit goes back unless it is kept.
    pub fn pay(self: &Arc<Self>, payer: &Payer, events: u64, now: u64) -> Result<Paid, Reached> {
        let allowed = self.take(payer, events, now)?;
        Ok(Paid {
            buckets: Arc::clone(self),
            of: vec![(*payer, allowed, now)],
        })
    }

    /// Takes `events` at `now` (ms since 1970-01-01 UTC) from all buckets, or from none; how many of them the day's limit
    /// allows. 0 events: asks whether one would pass.
    pub fn take(&self, payer: &Payer, events: u64, now: u64) -> Result<u64, Reached> {
        let limits = payer.limits;
        if limits == Limits::default() {
            return Ok(events);
        }
        let buckets = [
            (
                payer.ip,
                limits.ip_per_minute,
                1,
                "this address sends too many events",
            ),
            (
                Some(payer.key),
                limits.key_per_minute,
                2,
                "this key sends too many events",
            ),
            (
                Some(payer.site),
                limits.site_per_minute,
                3,
                "this site sends too many events",
            ),
        ];
        let mut taken = Vec::with_capacity(3);
        for (identity, per_minute, kind, what) in buckets {
            let (Some(identity), 1..) = (identity, per_minute) else {
                continue;
            };
            let key = xxh3_64_with_seed(&identity.to_le_bytes(), kind);
            let per_minute = u64::from(per_minute);
            let cost = events.max(1).saturating_mul(MINUTE_MS);
            let debt = self.debts.get(&key).unwrap_or_default();
            match debt.at(now, per_minute).plus(cost, per_minute) {
                Ok(debt) => taken.push((key, debt)),
                Err(wait) => {
                    return Err(Reached {
                        what,
                        site: payer.site,
                        retry_after: u32::try_from(wait.div_ceil(1_000)).unwrap_or(u32::MAX),
                    });
                }
            }
        }
        let allowed = self.take_of_day(payer, events, now)?;
        if events > 0 {
            for (key, debt) in taken {
                self.debts.insert(key, debt);
            }
        }
        Ok(allowed)
    }

    /// Gives back what was taken today of the day's limit, for events that could not be stored.
    fn give_back(&self, payer: &Payer, events: u64, now: u64) {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sent)) = days
            .get_mut(&payer.site)
            .filter(|(day, _)| *day == now / DAY_MS)
        {
            *sent = sent.saturating_sub(events);
        }
    }

    fn take_of_day(&self, payer: &Payer, events: u64, now: u64) -> Result<u64, Reached> {
        if payer.limits.per_day == 0 {
            return Ok(events);
        }
        let today = now / DAY_MS;
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, sent) = days.entry(payer.site).or_default();
        if *day != today {
            (*day, *sent) = (today, 0);
        }
        let left = payer.limits.per_day.saturating_sub(*sent);
        if left == 0 {
            let retry_after = ((today + 1) * DAY_MS - now).div_ceil(1_000) as u32;
            return Err(Reached {
                what: "this site has had its events of the day",
                site: payer.site,
                retry_after,
            });
        }
        let allowed = events.min(left);
        *sent += allowed;
        Ok(allowed)
    }
}

/// What was taken of the day's limits for events that are not stored yet. Dropped it gives it back, so that a client
/// that leaves pays nothing: its events may come again, and then it pays again.
#[derive(Debug)]
pub struct Paid {
    buckets: Arc<Buckets>,
    /// Events of each payer, and when they were taken.
    of: Vec<(Payer, u64, u64)>,
}

impl Paid {
    /// How many events the limits allow.
    pub fn events(&self) -> u64 {
        self.of.iter().map(|(_, events, _)| events).sum()
    }

    /// Takes in what was paid for others.
    pub fn join(&mut self, mut other: Self) {
        self.of.append(&mut other.of);
    }

    /// The events are stored.
    pub fn keep(&mut self) {
        self.of.clear();
    }
}

impl Drop for Paid {
    fn drop(&mut self) {
        for (payer, events, at) in self.of.drain(..) {
            self.buckets.give_back(&payer, events, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn payer(limits: Limits, ip: &str) -> Payer {
        Payer::new(limits, 1, "key", ip.parse().ok())
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_as_it_refills() {
        let buckets = Buckets::default();
        let of_ip = Limits {
            ip_per_minute: 60,
            ..Limits::default()
        };
        let (one, two) = (payer(of_ip, "192.0.2.1"), payer(of_ip, "192.0.2.2"));
        for _ in 0..6 {
            assert_eq!(buckets.take(&one, 10, NOW), Ok(10));
        }
        let reached = buckets.take(&one, 10, NOW).unwrap_err();
        assert_eq!(reached.retry_after, 10);
        assert_eq!(buckets.take(&two, 10, NOW), Ok(10));
        assert!(buckets.take(&one, 10, NOW + 9_000).is_err());
        assert_eq!(buckets.take(&one, 10, NOW + 10_000), Ok(10));
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let buckets = Buckets::default();
        let limits = Limits {
            ip_per_minute: 100,
            per_day: 200,
            ..Limits::default()
        };
        let payer = payer(limits, "192.0.2.1");
        assert_eq!(buckets.take(&payer, 60, NOW), Ok(60));
        assert!(buckets.take(&payer, 60, NOW).is_err());
        assert_eq!(buckets.take(&payer, 140, NOW + 600_000), Ok(140));
    }

    #[test]
    fn of_a_day_a_request_takes_what_is_left_and_gives_back_what_was_not_stored() {
        let buckets = Buckets::default();
        let limits = Limits {
            per_day: 5,
            ..Limits::default()
        };
        let payer = payer(limits, "192.0.2.1");
        assert_eq!(buckets.take(&payer, 3, NOW), Ok(3));
        assert_eq!(buckets.take(&payer, 10, NOW), Ok(2));
        assert!(
            buckets.take(&payer, 0, NOW).is_err(),
            "none is left to ask for"
        );
        buckets.give_back(&payer, 2, NOW);
        assert_eq!(buckets.take(&payer, 10, NOW), Ok(2));
        buckets.give_back(&payer, 2, NOW + DAY_MS);
        assert!(buckets.take(&payer, 1, NOW).is_err(), "of another day");
    }

    #[test]
    fn the_names_of_a_site_share_the_limit_of_a_key_and_those_of_another_do_not() {
        let buckets = Buckets::default();
        let limits = Limits {
            key_per_minute: 1,
            ..Limits::default()
        };
        let of = |site, key| Payer::new(limits, site, key, None);
        assert_eq!(buckets.take(&of(1, ""), 1, NOW), Ok(1));
        assert!(buckets.take(&of(1, ""), 1, NOW).is_err());
        assert_eq!(buckets.take(&of(1, "key"), 1, NOW), Ok(1));
        assert_eq!(buckets.take(&of(2, ""), 1, NOW), Ok(1));
    }

    #[test]
    fn a_request_larger_than_a_minutes_worth_passes_when_the_bucket_is_full() {
        let buckets = Buckets::default();
        let payer = payer(
            Limits {
                key_per_minute: 10,
                ..Limits::default()
            },
            "192.0.2.1",
        );
        assert_eq!(buckets.take(&payer, 20, NOW), Ok(20));
        assert!(buckets.take(&payer, 1, NOW + 60_000).is_err());
        assert_eq!(buckets.take(&payer, 20, NOW + 120_000), Ok(20));
    }

    #[test]
    fn a_quota_begins_anew_with_the_day() {
        let buckets = Buckets::default();
        let payer = payer(
            Limits {
                per_day: 3,
                ..Limits::default()
            },
            "192.0.2.1",
        );
        assert_eq!(buckets.take(&payer, 3, NOW), Ok(3));
        let reached = buckets.take(&payer, 1, NOW).unwrap_err();
        assert_eq!(
            buckets.take(&payer, 3, NOW + u64::from(reached.retry_after) * 1_000),
            Ok(3)
        );
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_share_their_limit() {
        let buckets = Buckets::default();
        let limits = Limits {
            ip_per_minute: 1,
            ..Limits::default()
        };
        assert_eq!(buckets.take(&payer(limits, "2001:db8::1"), 1, NOW), Ok(1));
        assert!(buckets.take(&payer(limits, "2001:db8::2"), 1, NOW).is_err());
        assert_eq!(
            buckets.take(&payer(limits, "2001:db8:0:1::1"), 1, NOW),
            Ok(1)
        );
    }

    #[test]
    fn what_is_paid_goes_back_unless_it_is_kept() {
        let buckets = Arc::new(Buckets::default());
        let limits = Limits {
            per_day: 5,
            ..Limits::default()
        };
        let payer = payer(limits, "192.0.2.1");
        let mut first = buckets.pay(&payer, 2, NOW).unwrap();
        let second = buckets.pay(&payer, 9, NOW).unwrap();
        assert_eq!((first.events(), second.events()), (2, 3));
        first.keep();
        drop((first, second));
        assert_eq!(buckets.take(&payer, 9, NOW), Ok(3));
    }

    #[test]
    fn a_limit_that_is_raised_holds_for_what_is_owed_already() {
        let buckets = Buckets::default();
        let of_key = |key_per_minute| Limits {
            key_per_minute,
            ..Limits::default()
        };
        let (low, high) = (payer(of_key(10), "::1"), payer(of_key(1_000), "::1"));
        assert_eq!(buckets.take(&low, 500, NOW), Ok(500));
        let reached = buckets.take(&low, 1, NOW).unwrap_err();
        assert_eq!(reached.retry_after, 49 * 60 + 6);
        assert_eq!(buckets.take(&high, 500, NOW), Ok(500));
        assert_eq!(buckets.take(&high, 1, NOW).unwrap_err().retry_after, 1);
    }

    /// A bucket that is counted ms by ms.
    struct Naive {
        per_minute: u64,
        owed: u64,
    }

    impl Naive {
        fn wait(&mut self, ms: u64) {
            for _ in 0..ms {
                self.owed -= self.per_minute.min(self.owed);
            }
        }

        fn passes(&self, events: u64) -> bool {
            self.owed == 0 || self.owed + events * 60_000 <= self.per_minute * 60_000
        }
    }

    proptest! {
        #[test]
        fn a_bucket_lets_through_what_a_naive_one_does_and_says_how_long_to_wait(
            per_minute in prop_oneof![1..200_u32, 59_990..60_010_u32, 100_000..1_000_000_u32],
            requests in prop::collection::vec((0..4_000_u64, 0..3_u64, 1..300_u64), 1..40),
        ) {
            let buckets = Buckets::default();
            let limits = Limits { key_per_minute: per_minute, ..Limits::default() };
            let payer = Payer::new(limits, 1, "key", None);
            let mut naive = Naive { per_minute: per_minute.into(), owed: 0 };
            let mut now = NOW;
            for (pause, minutes, some) in requests {
                now += pause;
                naive.wait(pause);
                let events = (minutes * u64::from(per_minute)).max(some);
                match buckets.take(&payer, events, now) {
                    Ok(_) => {
                        prop_assert!(naive.passes(events));
                        naive.owed += events * 60_000;
                    }
                    Err(reached) => {
                        prop_assert!(!naive.passes(events));
                        let at = |seconds: u32| Naive {
                            per_minute: naive.per_minute,
                            owed: naive.owed.saturating_sub(u64::from(seconds) * 1_000 * naive.per_minute),
                        };
                        prop_assert!(at(reached.retry_after).passes(events));
                        prop_assert!(!at(reached.retry_after - 1).passes(events));
                    }
                }
            }
        }
    }
}
