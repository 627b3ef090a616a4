//! Builds the Wakeline npm package from Rust.
