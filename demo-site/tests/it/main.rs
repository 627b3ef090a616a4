//! End to end: real processes, a real browser.

mod app;
mod browser;
mod clients;
mod delivery;
mod faults;
mod ledger;
mod mobile;
mod pages;
mod real;
mod reports;
mod stores;
mod tls;
