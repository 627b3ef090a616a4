//! The module's functions: a [`Core`] of its own for each instance, and a room for bytes each way.
//!
//! The page's side writes bytes to [`input`] and calls; a function that gives bytes gives their number, and they are at
//! [`output`] until the next call. `mono` and `wall` are the two clocks, in ms; see [`Core`] for the rest.
#![allow(
    unsafe_code,
    reason = "functions of a WebAssembly module keep their names"
)]

use alloc::vec::Vec;
use core::cell::RefCell;

use wakeline_client::Now;

use crate::Core;

struct Instance {
    core: Option<Core>,
    input: Vec<u8>,
    output: Vec<u8>,
}

struct Only(RefCell<Instance>);

// SAFETY: an instance is one thread's: the module is built without threads.
unsafe impl Sync for Only {}

static INSTANCE: Only = Only(RefCell::new(Instance {
    core: None,
    input: Vec::new(),
    output: Vec::new(),
}));

/// Calls the core, if it was started, with the input and the output.
fn with<R>(call: impl FnOnce(&mut Core, &[u8], &mut Vec<u8>) -> R) -> Option<R> {
    let mut instance = INSTANCE.0.try_borrow_mut().ok()?;
    let Instance {
        core,
        input,
        output,
    } = &mut *instance;
    core.as_mut().map(|core| call(core, input, output))
}

/// Calls the core for bytes; gives their number.
fn bytes(call: impl FnOnce(&mut Core, &[u8]) -> Vec<u8>) -> usize {
    with(|core, input, output| {
        *output = call(core, input);
        output.len()
    })
    .unwrap_or(0)
}

fn now(mono: f64, wall: f64) -> Now {
    Now {
        mono_ms: mono as u64,
        wall_ms: wall as u64,
    }
}

/// Makes room for `length` bytes of input; gives its address.
#[unsafe(no_mangle)]
pub extern "C" fn input(length: usize) -> *mut u8 {
    let Ok(mut instance) = INSTANCE.0.try_borrow_mut() else {
        return core::ptr::null_mut();
    };
    instance.input.clear();
    instance.input.resize(length, 0);
    instance.input.as_mut_ptr()
}

/// The address of the bytes that the last call gave.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    with(|_, _, output| output.as_ptr()).unwrap_or(core::ptr::null())
}

/// See [`Core::new`].
#[unsafe(no_mangle)]
pub extern "C" fn start(key_length: usize, mono: f64, wall: f64) {
    if let Ok(mut instance) = INSTANCE.0.try_borrow_mut() {
        let Instance { core, input, .. } = &mut *instance;
        core.get_or_insert_with(|| Core::new(input, key_length, now(mono, wall)));
    }
}

/// See [`Core::follow`].
#[unsafe(no_mangle)]
pub extern "C" fn follow(wait_until: f64, mono: f64, wall: f64) {
    with(|core, input, _| core.follow(input, wait_until as u64, now(mono, wall)));
}

/// See [`Core::inherit`]; 1 for true.
#[unsafe(no_mangle)]
pub extern "C" fn inherit(at: f64, held_until: f64, mono: f64, wall: f64) -> u32 {
    with(|core, input, _| core.inherit(input, at as u64, held_until as u64, now(mono, wall)))
        .map_or(0, u32::from)
}

/// See [`Core::person`].
#[unsafe(no_mangle)]
pub extern "C" fn person(length: usize, first_day: u32, granted: u32) {
    with(|core, input, _| core.person(input, length, first_day, granted == 1));
}

/// See [`Core::record`]; 1 for true.
#[unsafe(no_mangle)]
pub extern "C" fn record(seq: f64, at: f64, mono: f64, wall: f64) -> u32 {
    with(|core, input, _| core.record(input, seq as u64, at as u64, now(mono, wall)))
        .map_or(0, u32::from)
}

/// See [`Core::flush`].
#[unsafe(no_mangle)]
pub extern "C" fn flush() {
    with(|core, _, _| core.flush());
}

/// See [`Core::step`]: gives what it does, but for a batch its negative length.
#[unsafe(no_mangle)]
pub extern "C" fn step(mono: f64, wall: f64) -> f64 {
    with(|core, _, output| core.step(output, now(mono, wall))).unwrap_or(-2.0)
}

/// The length of what [`step`] has to send.
#[unsafe(no_mangle)]
pub extern "C" fn length() -> usize {
    with(|_, _, output| output.len()).unwrap_or(0)
}

/// See [`Core::reply`]; `retry_after` is below 0 if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn reply(status: u32, retry_after: f64, mono: f64, wall: f64) {
    let wait = (retry_after >= 0.0).then_some(retry_after as u64);
    with(|core, input, _| core.reply(status as u16, wait, input, now(mono, wall)));
}

/// See [`Core::leave`].
#[unsafe(no_mangle)]
pub extern "C" fn leave(max_bytes: usize, mono: f64, wall: f64) -> usize {
    with(|core, _, _| core.leave(max_bytes, now(mono, wall))).unwrap_or(0)
}

/// See [`Core::beacon`].
#[unsafe(no_mangle)]
pub extern "C" fn beacon(index: usize) -> usize {
    bytes(|core, _| core.beacon(index).to_vec())
}

/// See [`Core::beaconed`].
#[unsafe(no_mangle)]
pub extern "C" fn beaconed(index: usize, mono: f64, wall: f64) {
    with(|core, _, _| core.beaconed(index, now(mono, wall)));
}

/// See [`Core::fates`]; gives the length.
#[unsafe(no_mangle)]
pub extern "C" fn fates() -> usize {
    bytes(|core, _| core.fates())
}
