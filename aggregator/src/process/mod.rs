//! Turns the log into state.
