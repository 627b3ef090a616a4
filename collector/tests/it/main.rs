//! Tests of the collector over its real port.

#![cfg(test)]

mod bad_events;
mod bad_input;
mod binary;
mod doors;
mod enrich;
mod fuzz;
mod harness;
mod keys;
mod limits;
mod mmdb;
mod networks;
mod privacy;
mod rules;
mod sdk_files;
mod several_sites;
mod tls;
mod trackers;
