//! Visitors whose client does not tell them apart: a hash of address and browser under the salt of the site's day.
//!
//! Who has no address and no browser, a server for instance, stays nobody: such an event is refused.

use std::fmt::Write as _;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use wakeline_proto::VISITOR_OF_DAY;

use crate::enrich::Sender;
use crate::snapshot::TrackerRules;

/// Bytes of the hash that are kept: 128 bits.
const KEPT: usize = 16;

/// The visitor that `sender` is at `now` (ms since 1970-01-01 UTC); empty if nothing is known of it.
pub(crate) fn of_day(
    site: u64,
    settings: Option<&TrackerRules>,
    sender: &Sender,
    now: u64,
) -> String {
    if sender.ip.is_none() && sender.user_agent.is_empty() {
        return String::new();
    }
    let mut hash = Sha256::new();
    match settings.and_then(|settings| settings.salt(now)) {
        Some(salt) => hash.update(salt),
        None => hash.update(own_salt()),
    }
    hash.update(site.to_be_bytes());
    if let Some(ip) = sender.ip {
        hash.update(ip.to_string());
    }
    hash.update([0]);
    hash.update(&sender.user_agent);
    let mut visitor = String::with_capacity(VISITOR_OF_DAY.len() + KEPT * 2);
    visitor.push_str(VISITOR_OF_DAY);
    for byte in hash.finalize().iter().take(KEPT) {
        // Writing to a String does not fail.
        let _ = write!(visitor, "{byte:02x}");
    }
    visitor
}

/// Until the aggregator has told a site's salt, one that lives as long as this process.
fn own_salt() -> &'static [u8; 32] {
    static SALT: OnceLock<[u8; 32]> = OnceLock::new();
    SALT.get_or_init(|| {
        let mut salt = [0; 32];
        if let Err(error) = getrandom::fill(&mut salt) {
            tracing::error!(%error, "no random bytes: visitors' hashes of today have no secret");
        }
        salt
    })
}
