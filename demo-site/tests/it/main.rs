//! End to end: real processes, a real browser.

mod browser;
mod demo;
mod faults;
