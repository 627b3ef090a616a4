//! Events per second through decode, apply and encode.

fn main() {}
