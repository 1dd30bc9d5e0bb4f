//! What the process itself runs short of: somebody who reads its log, room for connections.

use prometheus::{IntCounter, Registry};

use super::registered;

/// Counters of the process.
pub(crate) struct ProcessMetrics {
    /// Lines of the log that nobody read in time.
    pub(crate) log_lines_dropped: IntCounter,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help));
        Self {
            log_lines_dropped: counter(
                "portcullis_log_lines_dropped_total",
                "Lines of the log that were dropped, since nobody read them in time.",
            ),
        }
    }
}
