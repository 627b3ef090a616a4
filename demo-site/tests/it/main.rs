//! End to end: real processes, a real browser.

mod browser;
mod faults;
mod ledger;
mod real;
mod stores;
