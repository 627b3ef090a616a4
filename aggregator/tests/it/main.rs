//! The aggregator through its doors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what went wrong by panicking"
)]

mod api;
mod breakdown;
mod cli;
mod dashboard;
mod doors;
mod edge;
mod events;
mod http;
mod influx;
mod ingest;
mod lake;
mod ledger;
mod links;
mod live;
mod query;
mod rebuild;
mod redis;
mod restart;
mod rules;
mod sites;
mod tokens;
mod watch;
mod yesterday;
