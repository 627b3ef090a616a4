//! Sessionization, rollups and uniques as pure functions.
