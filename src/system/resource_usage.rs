//! The machine's resources that the process uses, by the names of Prometheus's client libraries. A system without
//! `/proc` (only Linux has it) gives no values.

use std::fs::{read_dir, read_to_string};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The resources that the process uses now, and has used since its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// The seconds of processor time on all cores, in user and in system mode.
    pub(crate) cpu_seconds: f64,
    pub(crate) virtual_memory_bytes: u64,
    pub(crate) resident_memory_bytes: u64,
    /// The start of the process, in Unix time.
    pub(crate) start_seconds: f64,
}

/// Returns the usage that the system reports.
pub(crate) fn usage() -> Option<Usage> {
    let boot = read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    read(&read_to_string("/proc/self/stat").ok()?, boot, clock_ticks_per_second(), page_size() as u64)
}

/// Reads `/proc/PID/stat` (proc(5)).
fn read(stat: &str, boot: u64, ticks: u64, page: u64) -> Option<Usage> {
    // The second field is the name of the program, in parentheses. The name may itself contain parentheses.
    let fields: Vec<u64> = stat
        .rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        // The state is a letter, and some fields are negative.
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    // The first field here is the third one of the file.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Usage {
        cpu_seconds: seconds(field(14)?.checked_add(field(15)?)?, ticks),
        virtual_memory_bytes: field(23)?,
        resident_memory_bytes: field(24)?.checked_mul(page)?,
        start_seconds: seconds(boot.checked_mul(ticks)?.checked_add(field(22)?)?, ticks),
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}

/// Returns the number of open descriptors.
pub(crate) fn open_descriptors() -> Option<usize> {
    // One of the descriptors is open only for this look.
    Some(read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// Returns the largest number of descriptors that may be open. `None` means any number.
pub(crate) fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 3 0 250 50 0 0 20 0 5 0 1234 1000000 25 18446744073709551615 1";
        let usage = read(stat, 1_000_000, 100, 4096).unwrap();
        assert_eq!(
            usage,
            Usage {
                cpu_seconds: 3.0,
                virtual_memory_bytes: 1_000_000,
                resident_memory_bytes: 25 * 4096,
                start_seconds: 1_000_012.34,
            }
        );
        for wrong in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(read(wrong, 1, 100, 4096), None, "{wrong}");
        }
    }
}
