//! The client's core for apps: a durable queue, sessions by lifecycle, uploads that the host pulls; and calls for Kotlin,
//! Swift and Python by `UniFFI`, for C by `include/wakeline.h`.
//!
//! [`App`] is what all of them call. Promises:
//! - No call blocks on the network or on a disk, but for those that say so: an order waits until it is written, at most
//!   100 ms. None panics or throws once the SDK is open.
//! - What was recorded outlives `kill -9` once `flush_interval_ms` has passed, an order once its call has returned, and a
//!   loss of power likewise, as far as the device's disk keeps its word.
//! - Memory and disk are bounded, whatever the network does. Over a limit the oldest events go first, orders last.
//! - A disk that is full, read-only or damaged costs durability, which [`App::status`] says, and no call.

uniffi::setup_scaffolding!();

pub mod app;
pub mod c;
pub mod clock;
pub mod ffi;
#[cfg(feature = "http")]
mod http;
mod input;
mod queue;
mod recorder;
pub mod settings;
mod store;
mod upload;

pub use app::App;
