//! When an event happened, from clocks that may be wrong.

use wakeline_proto::{Reason, limits, v1};

use super::Refused;

/// 2000-01-01 UTC in ms: no event is older.
const YEAR_2000_MS: i64 = 946_684_800_000;

/// What a client says about the time of an event. All in ms, times since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing: it happened when it came.
    Now,
    /// Its age when sent, by a clock that only runs forwards.
    Age(i64),
    /// By the client's wall clock, which also showed `sent_at` when the event was sent, if that is known.
    Wall { at: i64, sent_at: Option<i64> },
}

impl Claim {
    /// Of an event in a batch that was sent at `sent_at` by the client's wall clock (0 = not known).
    pub(crate) fn of_batch(age_ms: i64, clock: v1::Clock, sent_at: u64) -> Self {
        match (clock, i64::try_from(sent_at)) {
            (v1::Clock::Wall, Ok(sent_at)) if sent_at > 0 => Self::Wall {
                at: sent_at.saturating_sub(age_ms),
                sent_at: Some(sent_at),
            },
            _ => Self::Age(age_ms),
        }
    }

    /// The time it says, by the collector's clock, in ms since 1970-01-01 UTC; it may be ahead of `received_at`.
    pub(crate) fn time(self, received_at: u64) -> i64 {
        let now = i64::try_from(received_at).unwrap_or(i64::MAX);
        match self {
            Self::Now => now,
            Self::Age(age) => now.saturating_sub(age),
            Self::Wall { at, sent_at } => {
                let skew = sent_at.map_or(0, |sent_at| sent_at.saturating_sub(now));
                if skew.unsigned_abs() < limits::MIN_SKEW_MS {
                    at
                } else {
                    at.saturating_sub(skew)
                }
            }
        }
    }
}

/// Time in ms since 1970-01-01 UTC, and whether the client's clock was ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrected {
    pub(crate) time: u64,
    pub(crate) clamped: bool,
}

/// Corrects a claim. `historical`: a server vouches for it, at any age.
pub(crate) fn correct(
    claim: Claim,
    received_at: u64,
    historical: bool,
) -> Result<Corrected, Refused> {
    let now = i64::try_from(received_at).unwrap_or(i64::MAX);
    let time = claim.time(received_at);
    if time > now {
        return Ok(Corrected {
            time: received_at,
            clamped: true,
        });
    }
    if !historical && now.saturating_sub(time) as u64 > limits::MAX_AGE_MS {
        return Err(Refused::new(
            Reason::TooOld,
            "the event is older than 30 days",
        ));
    }
    if time < YEAR_2000_MS {
        return Err(Refused::new(Reason::InvalidTime, "the time is before 2000"));
    }
    Ok(Corrected {
        time: time as u64,
        clamped: false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;

    fn corrected(claim: Claim) -> Result<i64, Reason> {
        correct(claim, NOW, false)
            .map(|corrected| corrected.time as i64 - NOW as i64)
            .map_err(|refused| refused.reason)
    }

    fn wall(at: i64, sent_at: i64) -> Claim {
        Claim::Wall {
            at: NOW as i64 + at,
            sent_at: Some(NOW as i64 + sent_at),
        }
    }

    #[test]
    fn a_monotonic_age_is_believed() {
        assert_eq!(corrected(Claim::Age(0)), Ok(0));
        assert_eq!(corrected(Claim::Age(5_000)), Ok(-5_000));
        assert_eq!(corrected(Claim::Now), Ok(0));
    }

    #[test]
    fn a_skew_below_a_minute_is_not_corrected() {
        assert_eq!(corrected(wall(-60_000, -59_999)), Ok(-60_000));
        assert_eq!(corrected(wall(-1_000, 59_999)), Ok(-1_000));
    }

    #[test]
    fn a_skew_of_a_minute_or_more_is_corrected_whichever_way() {
        assert_eq!(corrected(wall(-3_600_000 - 5_000, -3_600_000)), Ok(-5_000));
        assert_eq!(corrected(wall(3_600_000 - 5_000, 3_600_000)), Ok(-5_000));
        assert_eq!(corrected(wall(-60_000, -60_000)), Ok(0));
    }

    #[test]
    fn a_time_ahead_becomes_the_time_of_receipt_and_is_flagged() {
        for claim in [
            Claim::Age(-1),
            wall(1, 0),
            Claim::Wall {
                at: i64::MAX,
                sent_at: None,
            },
        ] {
            for historical in [false, true] {
                assert_eq!(
                    correct(claim, NOW, historical),
                    Ok(Corrected {
                        time: NOW,
                        clamped: true
                    })
                );
            }
        }
    }

    #[test]
    fn thirty_days_are_taken_and_a_millisecond_more_is_too_old() {
        assert_eq!(corrected(Claim::Age(30 * DAY)), Ok(-30 * DAY));
        assert_eq!(corrected(Claim::Age(30 * DAY + 1)), Err(Reason::TooOld));
    }

    #[test]
    fn history_is_taken_at_any_age_but_not_from_before_2000() {
        let at = |at| {
            correct(Claim::Wall { at, sent_at: None }, NOW, true)
                .map(|corrected| corrected.time)
                .map_err(|refused| refused.reason)
        };
        assert_eq!(at(YEAR_2000_MS), Ok(YEAR_2000_MS as u64));
        assert_eq!(at(YEAR_2000_MS - 1), Err(Reason::InvalidTime));
        assert_eq!(at(i64::MIN), Err(Reason::InvalidTime));
    }

    #[test]
    fn a_batch_without_sent_at_goes_by_age() {
        assert_eq!(Claim::of_batch(7, v1::Clock::Wall, 0), Claim::Age(7));
        assert_eq!(Claim::of_batch(7, v1::Clock::Monotonic, NOW), Claim::Age(7));
        assert_eq!(
            Claim::of_batch(7, v1::Clock::Wall, NOW),
            Claim::Wall {
                at: NOW as i64 - 7,
                sent_at: Some(NOW as i64)
            }
        );
    }

    proptest! {
        #[test]
        fn no_claim_gives_a_time_outside_of_its_bounds(at in any::<i64>(), sent_at in any::<Option<i64>>(), age in any::<i64>(), received_at in 0..1u64 << 62, historical in any::<bool>()) {
            for claim in [Claim::Age(age), Claim::Wall { at, sent_at }] {
                if let Ok(corrected) = correct(claim, received_at, historical) {
                    prop_assert!(corrected.time <= received_at);
                    prop_assert!(historical || received_at - corrected.time <= limits::MAX_AGE_MS);
                }
            }
        }
    }
}
