//! A clock that never jumps, and that goes on while the machine sleeps.

use std::time::Duration;

/// Returns the time since the machine started, with the time in which it slept.
pub(crate) fn elapsed() -> Duration {
    let now = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(target_os = "linux")]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;

/// On other systems this clock may stand still while the machine sleeps.
#[cfg(not(target_os = "linux"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
