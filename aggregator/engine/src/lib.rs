//! Sessionization, rollups and uniques as pure functions: no I/O, no clock, no async.
//!
//! [`apply`] takes the record of one visitor and some of their events, and gives the record that knows these events
//! too and the signed [`Changes`] to the rollup rows. Promises:
//!
//! - The record, bit for bit, and the sum of all changes are a function of the *set* of events: their order, their
//!   grouping into calls and their repetition do not matter, nor does encoding the record in between.
//! - Rows are additive: visitors are independent, so the rows of a site are the sums over its visitors.
//! - Nothing panics, whatever the bytes and numbers are.
//!
//! The [`SiteRules`] of a visitor must stay the same for as long as its record lives: contributions are taken back by
//! computing them again.
//!
//! Instants are milliseconds since 1970-01-01 UTC; outside the years 1900 to 9000 they are taken as the nearest in it.

mod apply;
mod changes;
mod codec;
mod event;
mod row;
mod visitor;
pub mod window;

pub use apply::{Fate, SEAL_AFTER_MS, SiteRules, apply};
pub use changes::Changes;
pub use codec::DecodeError;
pub use event::{Context, Event, Id, Kind, Money, country, country_code, text_id};
pub use row::{Dimension, Grain, Row, RowKey};
pub use visitor::{LOST_BY_CLIENT, Number, Visitor};
pub use window::{day_window, hour_window, start_of_day, timezone};
