//! The wire contract, seen from outside.

mod expand;
mod golden;
mod unknown_fields;
