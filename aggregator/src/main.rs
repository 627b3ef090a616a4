//! `wakeline-aggregator`.
fn main() {}
