//! The language, and that a naive model, rollups and events give the same answers.

mod agree;
mod history;
mod language;
mod model;
mod questions;
