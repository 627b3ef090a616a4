//! The language, and that a naive model, rollups and events give the same answers.

#![cfg(test)]

mod agree;
mod history;
mod language;
mod model;
mod questions;
