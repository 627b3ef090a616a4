//! The client, driven by explicit clocks and replies.

mod bytes;
mod drive;
mod limits;
mod random_server;
mod sending;
mod size;
mod snapshots;
#[cfg(feature = "store")]
mod store;
