//! The client's core for browsers, compiled to WebAssembly.
//!
//! [`Core`] is [`wakeline_client::Client`] behind calls that take and give only numbers and bytes; [`border`] has them
//! as functions of a WebAssembly module, without glue code that is generated: `loader/src/border.ts` is their other
//! side. The browser itself (fetch, beacons, storage, locks, timers) is driven by `loader/src/shell.ts`; what is
//! queued, sent, kept and given up is decided here.
//!
//! Without the standard library, whose panics and allocator would be a third of the module.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod border;
mod core;
#[cfg(any(test, target_arch = "wasm32"))]
mod heap;

pub use self::core::Core;

/// A panic ends the call with a trap. What it says is left out of the module: nobody could read it there.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &::core::panic::PanicInfo<'_>) -> ! {
    ::core::arch::wasm32::unreachable()
}
