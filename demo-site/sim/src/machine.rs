//! The machine under a simulation: its clocks, its random numbers and its disks, in place of the kernel's.
//!
//! The functions of libc that programs ask for these are defined here, and so used by everything in this executable,
//! the standard library and C code included: nothing that is simulated needs to know of it. Until [`start`] they ask
//! the kernel. A simulation is a process of its own, so there is one machine.

#![allow(unsafe_code, reason = "functions of libc are defined here")]

use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::Disk;

static RUNS: AtomicBool = AtomicBool::new(false);
static ELAPSED_NS: AtomicU64 = AtomicU64::new(0);
static RANDOM: AtomicU64 = AtomicU64::new(0);
static DISK: Mutex<Option<Disk>> = Mutex::new(None);
/// How far the wall clock of each host is off.
static SKEWS: Mutex<Vec<Skew>> = Mutex::new(Vec::new());

struct Skew {
    host: String,
    /// Each host has a runtime of its own, and another one after each start.
    runtime: tokio::runtime::Id,
    ms: i64,
}

/// The wall clock when a simulation begins: 2026-03-28 22:00 UTC, two hours and a half before a day of 23 hours in
/// Berlin.
pub(crate) const EPOCH_MS: u64 = 1_774_735_200_000;
const MONOTONIC_START: Duration = Duration::from_secs(1_000_000);

/// From now on everything is simulated. Before anything draws random numbers: hash maps draw theirs once a thread.
pub(crate) fn start(seed: u64) {
    RANDOM.store(seed, Relaxed);
    RUNS.store(true, Relaxed);
}

/// Puts in the disks.
pub(crate) fn insert(disk: Disk) {
    *lock(&DISK) = Some(disk);
}

/// Sets the clocks to `elapsed` since the start.
pub(crate) fn set_elapsed(elapsed: Duration) {
    ELAPSED_NS.store(elapsed.as_nanos() as u64, Relaxed);
}

/// Ms since the start.
pub(crate) fn elapsed_ms() -> u64 {
    ELAPSED_NS.load(Relaxed) / 1_000_000
}

/// The wall clock of `host`, in whose runtime this is called, is off by `ms`.
pub(crate) fn set_skew(host: &str, ms: i64) {
    let runtime = tokio::runtime::Handle::current().id();
    let mut skews = lock(&SKEWS);
    skews.retain(|skew| skew.host != host);
    skews.push(Skew {
        host: host.to_owned(),
        runtime,
        ms,
    });
}

/// The wall clock of `host` is set while it runs.
pub(crate) fn jump(host: &str, ms: i64) {
    for skew in lock(&SKEWS).iter_mut().filter(|skew| skew.host == host) {
        skew.ms = ms;
    }
}

/// Uses the disks.
pub(crate) fn with_disk<T>(act: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    lock(&DISK).as_mut().map(act)
}

/// Uses the disks, unless they are what calls: they write for themselves.
fn during_call<T>(act: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    DISK.try_lock().ok()?.as_mut().map(act)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn skew_ms() -> i64 {
    let Ok(handle) = tokio::runtime::Handle::try_current() else {
        return 0;
    };
    let id = handle.id();
    let skews = lock(&SKEWS);
    let known = skews.iter().find(|skew| skew.runtime == id);
    known.map_or(0, |skew| skew.ms)
}

/// The next number, by `SplitMix64`.
fn random() -> u64 {
    let state = RANDOM
        .fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// # Safety
///
/// As POSIX says: `time` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    if !RUNS.load(Relaxed) {
        // SAFETY: the caller's arguments, passed on.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as c_int;
    }
    let elapsed = Duration::from_nanos(ELAPSED_NS.load(Relaxed));
    let now = if clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE {
        (Duration::from_millis(EPOCH_MS.saturating_add_signed(skew_ms()))).saturating_add(elapsed)
    } else {
        MONOTONIC_START + elapsed
    };
    // SAFETY: the caller promises that `time` is valid for a write.
    unsafe {
        (*time).tv_sec = now.as_secs() as libc::time_t;
        (*time).tv_nsec = libc::c_long::from(now.subsec_nanos());
    }
    0
}

/// # Safety
///
/// As Linux says: `buffer` is valid for a write of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if !RUNS.load(Relaxed) {
        // SAFETY: the caller's arguments, passed on.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    }
    if length > 0 {
        // SAFETY: the caller promises that `buffer` is valid for a write of `length` bytes; bytes need no alignment.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random().to_le_bytes()[..chunk.len()]);
        }
    }
    length as isize
}

#[unsafe(no_mangle)]
extern "C" fn fsync(file: c_int) -> c_int {
    sync(file, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(file: c_int) -> c_int {
    sync(file, libc::SYS_fdatasync)
}

fn sync(file: c_int, call: libc::c_long) -> c_int {
    if RUNS.load(Relaxed)
        && let Some(result) = during_call(|disk| disk.sync(file)).flatten()
    {
        return result.map_or_else(fail, |()| 0);
    }
    // SAFETY: syncing any number is sound: what is no open file is refused.
    unsafe { libc::syscall(call, file) as c_int }
}

/// # Safety
///
/// As POSIX says: `buffer` is valid for reads of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    file: c_int,
    buffer: *const c_void,
    length: usize,
    offset: libc::off64_t,
) -> isize {
    match write_limit(file, length) {
        // SAFETY: the caller's arguments, passed on, with no greater length.
        Ok(length) => unsafe {
            libc::syscall(libc::SYS_pwrite64, file, buffer, length, offset) as isize
        },
        Err(errno) => fail(errno) as isize,
    }
}

/// # Safety
///
/// As POSIX says: `buffer` is valid for reads of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, buffer: *const c_void, length: usize) -> isize {
    match write_limit(file, length) {
        // SAFETY: the caller's arguments, passed on, with no greater length.
        Ok(length) => unsafe { libc::syscall(libc::SYS_write, file, buffer, length) as isize },
        Err(errno) => fail(errno) as isize,
    }
}

/// How much of a write to `file` is done.
fn write_limit(file: c_int, length: usize) -> Result<usize, c_int> {
    if !RUNS.load(Relaxed) || file <= 2 {
        return Ok(length);
    }
    during_call(|disk| disk.write(file, length)).unwrap_or(Ok(length))
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
    -1
}
