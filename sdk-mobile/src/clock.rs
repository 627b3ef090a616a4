//! Time: a clock that only runs forwards, even while the device sleeps, and one that people may set.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wakeline_client::{Now, RecordedAt};

/// 2020-01-01 UTC in ms. A clock that shows less was never set.
const NEVER_SET_MS: u64 = 1_577_836_800_000;

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the device was started, sleep included.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC; may be wrong, and may be set.
    pub wall_ms: u64,
    /// Names the time since the device was started: `mono_ms` of two moments compare if it is the same.
    pub boot: u64,
}

impl Moment {
    /// As the client's core takes it.
    pub fn now(self) -> Now {
        Now {
            mono_ms: self.mono_ms,
            wall_ms: self.wall_ms,
        }
    }

    /// Milliseconds from `self` to `now`: exact within one boot, else by the wall clock, negative if that was set back.
    pub fn age(self, now: Self) -> i64 {
        match self.recorded_at(now) {
            RecordedAt::Mono(at) => now.mono_ms as i64 - at as i64,
            RecordedAt::Wall(at) => now.wall_ms as i64 - at as i64,
        }
    }

    /// By which clock this moment is known at `now`. One of a clock that was never set is unknown, and so is now.
    pub fn recorded_at(self, now: Self) -> RecordedAt {
        if self.boot == now.boot {
            RecordedAt::Mono(self.mono_ms)
        } else if self.wall_ms < NEVER_SET_MS {
            RecordedAt::Wall(now.wall_ms)
        } else {
            RecordedAt::Wall(self.wall_ms)
        }
    }
}

/// Where time comes from. Tests bring their own.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Moment;
}

/// The device's clocks.
#[derive(Debug)]
pub struct DeviceClock {
    boot: u64,
}

impl DeviceClock {
    /// Finds out which boot it is; where the system does not say, each process counts as one.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let digits = boot.map(|id| id.replace('-', ""));
        let boot = digits.and_then(|digits| u64::from_str_radix(digits.get(..16)?, 16).ok());
        Self {
            boot: boot.filter(|boot| *boot != 0).unwrap_or_else(random),
        }
    }
}

impl Default for DeviceClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for DeviceClock {
    fn now(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            mono_ms: since_boot_ms(),
            wall_ms: wall.map_or(0, |wall| wall.as_millis() as u64),
            boot: self.boot,
        }
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "std's clock stands still while a device sleeps")]
fn since_boot_ms() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // Darwin's goes on while the device sleeps.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing for the length of the call, which keeps no pointer to it.
    let result = unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    debug_assert_eq!(result, 0, "every kernel since 2011 has this clock");
    time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(not(unix))]
fn since_boot_ms() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// 64 random bits, never 0.
pub(crate) fn random() -> u64 {
    static MORE: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 8];
    // Without the system's random numbers: the time and a counter, which are better than none.
    if getrandom::fill(&mut bytes).is_err() {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = time.map_or(1, |time| time.as_nanos() as u64);
        bytes =
            (nanos.rotate_left(20) ^ MORE.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)).to_le_bytes();
    }
    u64::from_le_bytes(bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment {
        mono_ms: 5_000_000,
        wall_ms: 1_790_000_000_000,
        boot: 7,
    };

    #[test]
    fn within_a_boot_the_wall_clock_does_not_matter() {
        let earlier = Moment {
            mono_ms: 4_000_000,
            wall_ms: NOW.wall_ms + 365 * 86_400_000,
            boot: 7,
        };
        assert_eq!(earlier.age(NOW), 1_000_000);
        assert_eq!(earlier.recorded_at(NOW), RecordedAt::Mono(4_000_000));
    }

    #[test]
    fn over_a_boot_the_wall_clock_counts_unless_it_was_never_set() {
        let earlier = |wall_ms| Moment {
            mono_ms: 6_000_000,
            wall_ms,
            boot: 6,
        };
        assert_eq!(earlier(NOW.wall_ms - 9).age(NOW), 9);
        assert_eq!(earlier(NOW.wall_ms + 9).age(NOW), -9);
        assert_eq!(earlier(1_000).age(NOW), 0);
    }

    #[test]
    fn the_device_s_clock_runs_forwards() {
        let clock = DeviceClock::new();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.mono_ms <= second.mono_ms && first.boot == second.boot && first.boot != 0);
    }
}
