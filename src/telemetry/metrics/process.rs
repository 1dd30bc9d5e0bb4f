//! The metrics of resources that the process may lack: a reader of its log, room for connections, successful
//! handshakes.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::registration::registered;

/// Counters of the process.
pub(crate) struct ProcessMetrics {
    /// The lines of the log that nobody read in time.
    pub(crate) log_lines_dropped: IntCounter,
    /// Idle connections that were closed to make room for another one.
    pub(crate) idle_connections_closed: IntCounter,
    /// The number of connections that may be open at once.
    pub(crate) max_connections: IntGauge,
    /// TLS handshakes of clients that failed.
    pub(crate) handshake_failures: IntCounterVec,
    /// Connections for which there was no room.
    pub(crate) connections_refused: IntCounter,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help));
        let handshake_failures =
            Opts::new("portcullis_tls_handshake_failures_total", "TLS handshakes of clients that failed.");
        Self {
            handshake_failures: registered(registry, IntCounterVec::new(handshake_failures, &["reason"])),
            log_lines_dropped: counter(
                "portcullis_log_lines_dropped_total",
                "Lines of the log that were dropped, since nobody read them in time.",
            ),
            idle_connections_closed: counter(
                "portcullis_idle_connections_closed_total",
                "Connections that waited for a next request and were closed to make room for another one.",
            ),
            max_connections: registered(
                registry,
                IntGauge::new(
                    "portcullis_max_connections",
                    "Connections that may live at once: as configured, or as many as there are file descriptors for.",
                ),
            ),
            connections_refused: counter(
                "portcullis_connections_refused_total",
                "Connections that were closed at once, since there were too many, and none that only waited.",
            ),
        }
    }
}
