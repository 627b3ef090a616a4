//! By which rules a site is counted.

use wakeline_engine::{SiteRules, timezone};

use crate::control::ControlSnapshot;
use crate::state::StoredRules;

/// A visit of a site that the control store does not know ends after 30 minutes.
const UNKNOWN_GAP_MS: i64 = 30 * 60_000;

/// The rules for a site whose first event in a partition comes now. They are stored with it, since what was counted can
/// only be taken back by the rules that it was counted by.
///
/// A site that the control store does not know, because that was restored from an older copy, is counted by UTC: its
/// events stay in the log, and a rebuild counts them by whatever the site is then.
pub(crate) fn at_first_event(control: &ControlSnapshot, site: u64) -> StoredRules {
    control.site(site).map_or_else(
        || {
            tracing::debug!(site, "events of an unknown site are counted by UTC");
            StoredRules {
                timezone: "UTC".to_owned(),
                gap_ms: UNKNOWN_GAP_MS,
            }
        },
        |site| StoredRules {
            timezone: site.timezone.clone(),
            gap_ms: i64::from(site.session_gap_minutes) * 60_000,
        },
    )
}

/// The engine's form of stored rules.
pub(crate) fn engine_rules(site: u64, stored: &StoredRules) -> SiteRules {
    let zone = timezone(&stored.timezone).unwrap_or_else(|| {
        tracing::error!(
            site,
            timezone = stored.timezone,
            "unknown time zone, using UTC"
        );
        jiff::tz::TimeZone::UTC
    });
    SiteRules {
        timezone: zone,
        gap_ms: stored.gap_ms,
        // Days are sealed once the lake can take what comes later.
        seal_after_ms: None,
    }
}
