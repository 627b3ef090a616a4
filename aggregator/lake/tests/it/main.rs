//! What the lake promises, on a store that fails at will.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what went wrong by panicking"
)]

mod broken;
mod crash;
mod files;
mod history;
mod scan;
