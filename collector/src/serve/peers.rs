//! How many connections an address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Network;

/// How often it is said that connections are refused.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The connections that are open, by address; of IPv6 by /64, since whoever has one address of it has them all.
#[derive(Debug)]
pub(super) struct Peers {
    /// Connections of an address at a time; 0: any number.
    limit: usize,
    /// Networks whose connections are those of many.
    exempt: Vec<Network>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// As many entries as there are connections, at most.
    by_address: HashMap<IpAddr, usize>,
    said_at: Option<Instant>,
}

/// A connection's place; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<(Arc<Peers>, IpAddr)>);

impl Peers {
    pub(super) fn new(limit: usize, exempt: Vec<Network>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            exempt,
            open: Mutex::default(),
        })
    }

    /// A place for a connection of `address`; none if it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if self.limit == 0 || self.exempt.iter().any(|network| network.contains(address)) {
            return Some(Place(None));
        }
        let network = match address {
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()
            }
            IpAddr::V4(_) => address,
        };
        let mut open = self.open();
        let count = open.by_address.entry(network).or_default();
        if *count < self.limit {
            *count += 1;
            return Some(Place(Some((Arc::clone(self), network))));
        }
        let now = Instant::now();
        if open.said_at.is_none_or(|said| now - said >= SAY_EVERY) {
            open.said_at = Some(now);
            tracing::warn!(
                limit = self.limit,
                "connections are refused: an address has as many as http.max_connections_per_address allows; name \
                 proxies in http.proxies"
            );
        }
        None
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((peers, address)) = &self.0 else {
            return;
        };
        let mut open = peers.open();
        if let Some(count) = open.by_address.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(peers: &Arc<Peers>, address: &str) -> Option<Place> {
        peers.enter(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_places_and_leaves_them_when_it_goes() {
        let peers = Peers::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let one = enter(&peers, "192.0.2.1");
        let two = enter(&peers, "::ffff:192.0.2.1");
        assert!(one.is_some() && two.is_some());
        assert!(enter(&peers, "192.0.2.1").is_none());
        assert!(enter(&peers, "192.0.2.2").is_some());
        drop(one);
        assert!(enter(&peers, "192.0.2.1").is_some());
        drop(two);
        assert!(
            peers.open().by_address.is_empty(),
            "nothing is kept of who left"
        );
        let of_proxy: Vec<_> = (0..5).map(|_| enter(&peers, "10.1.2.3")).collect();
        assert!(of_proxy.iter().all(Option::is_some));
    }

    #[test]
    fn a_network_of_ipv6_has_the_places_of_one_address() {
        let peers = Peers::new(1, Vec::new());
        let one = enter(&peers, "2001:db8::1");
        assert!(one.is_some() && enter(&peers, "2001:db8::2").is_none());
        assert!(enter(&peers, "2001:db8:0:1::1").is_some());
        let any = Peers::new(0, Vec::new());
        assert!(enter(&any, "2001:db8::1").is_some());
    }
}
