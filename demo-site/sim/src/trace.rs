//! What happened, as a hash: two runs of a seed must agree on it.

use std::cell::Cell;
use std::fmt::Display;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::machine;

thread_local! {
    static HASH: Cell<u64> = const { Cell::new(0) };
    static PRINTS: Cell<bool> = const { Cell::new(false) };
}

/// Prints from now on what happens.
pub(crate) fn print() {
    PRINTS.set(true);
}

/// Something happened now.
pub(crate) fn event(what: impl Display) {
    let line = format!("{:>9} {what}", machine::elapsed_ms());
    if PRINTS.get() {
        eprintln!("{line}");
    }
    HASH.set(xxh3_64_with_seed(line.as_bytes(), HASH.get()));
}

/// Of all that happened.
pub(crate) fn hash() -> u64 {
    HASH.get()
}
