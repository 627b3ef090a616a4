//! Tests of the collector over its real port.

#![cfg(test)]

mod bad_input;
mod binary;
mod doors;
mod fuzz;
mod harness;
mod keys;
mod limits;
mod sdk_files;
