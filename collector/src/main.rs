//! `wakeline-collector`.
fn main() {}
