//! What became of everything that was received: one fate for each event, by site and hour, and the refused events.
//!
//! | hop | fates | balance |
//! | --- | --- | --- |
//! | collector | received | = accepted + rejected, by reason, + `lost_corrupt` |
//! | log → figures | accepted, as the log has it | = counted + duplicate + late + unreadable |
//!
//! What never came to a collector is `lost_by_client`, as far as it shows by the numbers that SDKs give their events.
//!
//! The [`book`] of a commit is rollup rows of [`Dimension::Fate`](wakeline_engine::Dimension::Fate): they change in the
//! partition's one atomic commit, exactly once, whatever is sent again, killed or replayed, and a rebuild of the state
//! makes them anew. Hours are of UTC, by when the collector had the event. Site 0 is nobody's: it counts *requests*
//! whose key nobody knows, and events that can't be read any more.
//!
//! Refused events are [`dead_letters`]: kept whole for a while, and sent again by [`replay`] after a fix. What is refused
//! for want of consent, or for an unknown key, is only counted.

pub(crate) mod backlog;
pub(crate) mod book;
pub mod dead_letters;
pub(crate) mod desk;
mod read;
mod replay;
mod report;
mod span;

pub use self::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, Limits};
pub use self::desk::{Desk, LedgerError, LetterList, LetterQuery};
pub use self::read::{FateRow, FateStore};
pub use self::replay::{Outcome, ReplayAnswer, ReplayRequest, Replayed};
pub use self::report::{CollectorBacklog, FateLine, Interval, LedgerQuery, LedgerReport, Waiting};

pub(crate) use self::read::StateFates;

/// The site of what belongs to none.
pub const UNKNOWN_SITE: u64 = 0;
/// What the ledger calls it.
pub const UNKNOWN: &str = "(unknown)";
