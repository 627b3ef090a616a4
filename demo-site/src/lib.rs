//! The Wakeline demo: a shop that uses the SDK, both servers in one process, and a traffic simulator.

pub mod countries;
pub mod demo;
pub mod shop;
pub mod simulate;
