//! `wakeline-demo-site`.
fn main() {}
