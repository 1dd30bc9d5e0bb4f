//! The limits of a client's connection (`[server.limits]`).

use std::time::Duration;

use crate::config::{AccessLog, Limits};

/// The limits that every connection is held to.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// The time for a whole head from its first byte, and for a new connection's first byte.
    pub(crate) header_timeout: Duration,
    /// The time between two requests.
    pub(crate) keep_alive_timeout: Duration,
    /// The most bytes of a head.
    pub(crate) max_header_size: usize,
    /// The least bytes per second of a body.
    pub(crate) body_min_rate: u64,
    /// The setting that says if refused heads are logged.
    pub(crate) access_log: AccessLog,
}

impl ConnectionSettings {
    /// Takes the limits from the configuration.
    pub(crate) fn new(limits: &Limits, access_log: AccessLog) -> Self {
        Self {
            access_log,
            header_timeout: limits.header_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            max_header_size: limits.max_header_size,
            body_min_rate: limits.body_min_rate,
        }
    }
}
