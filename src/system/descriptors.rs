//! File descriptors: how many connections they are enough for, and which of them are reserved for the admin listener
//! and the provider.
//!
//! A client needs one descriptor, and its request needs another one for the app. Over HTTP/2, each request may need
//! one. So nobody can know beforehand how many will be needed. The numbers show it: the system gives the lowest free
//! number, so a high number means that few are left.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::system::resource_usage::open_descriptors;

/// The descriptors for one connection: the client's and the app's.
const OF_CONNECTION: u64 = 2;

/// The number of descriptors that a process has open before its first connection, if the system does not say it.
const OF_PROCESS: u64 = 32;

/// Soft limits to try one after the other, if the system has no hard limit but does not accept an unlimited soft one.
const HIGH_LIMITS: [u64; 3] = [1 << 20, 1 << 16, 10_240];

/// Raises the soft limit to the hard one. Containers and shells have a low soft limit for the sake of old programs
/// (`select` knows 1,024). This program is not one of them.
pub fn raise_descriptor_limit() {
    let Rlimit { current: Some(soft), maximum } = getrlimit(Resource::Nofile) else { return };
    let wanted = [maximum].into_iter().chain(HIGH_LIMITS.map(Some));
    let wanted = wanted.filter(|wanted| wanted.is_none_or(|wanted| wanted > soft));
    for current in wanted {
        let is_allowed = maximum.is_none_or(|hard| current.is_some_and(|current| current <= hard));
        if is_allowed && setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok() {
            return;
        }
    }
}

/// Too few descriptors for the wanted number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    wanted: usize,
    limit: u64,
    fitting: usize,
    needed: u64,
}

impl Shortage {
    /// The configuration key that the shortage is about.
    pub const KEY: &'static str = "server.limits.max_connections";

    /// Returns the shortage that a process would have if it started here with this number of connections. Returns
    /// `None` if they fit once its limit is raised.
    pub fn of_a_start(wanted: usize) -> Option<Self> {
        Self::of(wanted, getrlimit(Resource::Nofile).maximum?, OF_PROCESS)
    }

    fn of(wanted: usize, limit: u64, open: u64) -> Option<Self> {
        let free = limit.saturating_sub(open).saturating_sub(scarce(limit));
        let fitting = usize::try_from(free / OF_CONNECTION).unwrap_or(usize::MAX).max(1);
        if fitting >= wanted {
            return None;
        }
        let needed =
            u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(OF_CONNECTION).saturating_add(open);
        // At the limit that is needed, some descriptors are scarce as well.
        let needed = needed.saturating_add(scarce(needed.saturating_add(needed / 7)));
        Some(Self { wanted, limit, fitting, needed })
    }

    /// Returns the advice.
    pub fn hint(&self) -> String {
        format!(
            "raise the limit (`ulimit -n`, `LimitNOFILE` of systemd, `--ulimit nofile` of Docker) to at least {}, or lower \
             `max_connections`",
            self.needed
        )
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, limit, fitting, .. } = self;
        write!(
            formatter,
            "`max_connections` is {wanted}, but the {limit} file descriptors of the process are enough for {fitting} at once"
        )
    }
}

/// Returns the number of the wanted connections that the descriptors are enough for. Logs a warning if that is not all.
pub(crate) fn fitting(wanted: usize) -> usize {
    let Some(limit) = limit() else { return wanted };
    let open = open_descriptors().map_or(OF_PROCESS, |open| open as u64);
    match Shortage::of(wanted, limit, open) {
        None => wanted,
        Some(shortage) => {
            warn!(key = Shortage::KEY, hint = shortage.hint(), "{shortage}: more are not served");
            shortage.fitting
        }
    }
}

/// Returns the soft limit, or `None` if there is none.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Returns the number of free descriptors that counts as few for this limit. Connections that only wait then make room.
fn scarce(limit: u64) -> u64 {
    (limit / 8).clamp(16, 256)
}

/// Returns the number of descriptors that are reserved at this limit for probes, calls to the provider and look-ups of
/// names. Neither clients nor apps get these.
fn reserved(limit: u64) -> u64 {
    scarce(limit) / 2
}

fn is_among_the_last(descriptor: RawFd, count: impl Fn(u64) -> u64) -> bool {
    let Some(limit) = limit() else { return false };
    u64::try_from(descriptor).unwrap_or_default() >= limit.saturating_sub(count(limit))
}

/// Tells whether few descriptors are left. `newest` is the one that was opened last.
pub(crate) fn are_scarce(newest: &impl AsRawFd) -> bool {
    is_among_the_last(newest.as_raw_fd(), scarce)
}

/// Tells whether the newest descriptor is a reserved one.
pub(crate) fn are_reserved(newest: &impl AsRawFd) -> bool {
    is_among_the_last(newest.as_raw_fd(), reserved)
}

/// Fails for a connection to an app if its descriptor is a reserved one, as if there were no descriptor at all.
pub(crate) fn check_reserve(newest: &impl AsRawFd) -> io::Result<()> {
    if are_reserved(newest) { Err(Errno::MFILE.into()) } else { Ok(()) }
}

/// Tells whether an operation failed because the process, or the machine, has no descriptor or no memory for another
/// socket.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_for_each_connection_and_some_in_reserve() {
        for (wanted, limit, open, fitting) in [
            (20_000, 1024, 24, Some(436)),
            (20_000, 128, 20, Some(46)),
            (20_000, 64, 20, Some(14)),
            (20_000, 1 << 20, 20, None),
            (20_000, 40_276, 20, None),
            (20_000, 40_275, 20, Some(19_999)),
            (400, 1024, 24, None),
            // With no connection, the gateway would serve nobody.
            (20_000, 16, 20, Some(1)),
            (20_000, 0, 0, Some(1)),
            (1, 0, 0, None),
            (1 << 40, u64::MAX, 0, None),
        ] {
            let shortage = Shortage::of(wanted, limit, open);
            assert_eq!(shortage.map(|shortage| shortage.fitting), fitting, "{wanted}, {limit}, {open}");
            if let Some(Shortage { needed, .. }) = shortage {
                assert_eq!(Shortage::of(wanted, needed, open), None, "{needed} would do");
            }
        }
    }

    #[test]
    fn the_message_names_both_numbers_the_key_and_the_limit() {
        let shortage = Shortage::of(20_000, 1024, 24).unwrap();
        assert_eq!(
            shortage.to_string(),
            "`max_connections` is 20000, but the 1024 file descriptors of the process are enough for 436 at once"
        );
        for name in ["ulimit -n", "LimitNOFILE", "40280", "max_connections"] {
            assert!(shortage.hint().contains(name), "{name} in {}", shortage.hint());
        }
    }
}
