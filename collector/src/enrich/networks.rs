//! Whose network an address is of: whether that is a datacentre's, where people do not sit.
//!
//! Told by the number of its autonomous system, which databases of the MaxMind format have as `autonomous_system_number`
//! (GeoLite2-ASN, DB-IP's ASN Lite). `datacentres.txt` names those that rent out machines. Networks that people's own traffic
//! leaves by are not in it: relays and VPNs of Apple, Cloudflare and Google, gateways of companies.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde::Deserialize;

use super::database::Database;

/// The name of the database in the data folder.
pub(crate) const FILE: &str = "networks.mmdb";

static DATACENTRES: LazyLock<HashSet<u32>> = LazyLock::new(|| {
    let lines = include_str!("datacentres.txt").lines();
    let numbers = lines.filter_map(|line| line.split_once(' ')?.0.parse().ok());
    numbers.collect()
});

#[derive(Deserialize)]
struct Entry {
    autonomous_system_number: Option<u32>,
}

/// Whether `ip` is of a datacentre's network; no, without a database.
pub(crate) fn is_datacentre(database: &Database, ip: IpAddr) -> bool {
    let entry = database.find::<Entry>(ip);
    let number = entry.and_then(|entry| entry.autonomous_system_number);
    number.is_some_and(|number| DATACENTRES.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_number_in_each_line_and_each_once() {
        let lines = include_str!("datacentres.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), DATACENTRES.len());
        assert!(DATACENTRES.contains(&16509) && !DATACENTRES.contains(&13335));
    }
}
