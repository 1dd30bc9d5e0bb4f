//! The facts that the admin listener shows of the process, and not of its configuration.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::connection::tls::certificate_store::CertificateStore;
use crate::telemetry::counters;
use crate::telemetry::history::{History, Recent, STEP};
use crate::tls::Validity;

use crate::admin::failed_tokens::Guesses;
use crate::admin::process_status::ProcessStatus;

/// The process and its history since the start.
#[derive(Debug)]
pub(crate) struct Process {
    started: Instant,
    /// The reloads, and whether the process is stopping.
    pub(super) status: Arc<ProcessStatus>,
    /// The addresses on which the process listens.
    pub(super) listening: Vec<Listening>,
    certificates: Option<Arc<CertificateStore>>,
    history: Mutex<History>,
    /// The addresses that sent wrong admin tokens.
    pub(super) guesses: Guesses,
}

/// An address on which the process listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listening {
    /// The key of the configuration.
    pub(crate) key: &'static str,
    /// The address. If its port was 0, it has the port that the system chose.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Makes the value at the start of the process.
    pub(crate) fn new(
        status: Arc<ProcessStatus>,
        listening: Vec<Listening>,
        certificates: Option<Arc<CertificateStore>>,
    ) -> Self {
        let (history, guesses) = (Mutex::default(), Guesses::default());
        let process = Self { started: Instant::now(), status, listening, certificates, history, guesses };
        // The first look comes before anybody is served. The history cannot date the counts from before its first look.
        process.look();
        process
    }

    /// Reads the counters regularly, until `stopping` turns true.
    pub(crate) async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut ticks = interval_at(tokio::time::Instant::now() + STEP, STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(),
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    fn look(&self) {
        let counters = counters::read();
        let at = self.uptime();
        self.history().record(at, &counters);
    }

    /// Returns the time since the start.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows the history of the last minutes, with the counters of this moment.
    pub(super) fn with_recent<T>(&self, then: impl FnOnce(Recent<'_>) -> T) -> T {
        let counters = counters::read();
        then(self.history().until(self.uptime(), &counters))
    }

    /// Returns the certificates of the TLS listeners.
    pub(super) fn certificates(&self) -> Vec<Validity> {
        self.certificates.as_ref().map(|store| store.validities()).unwrap_or_default()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::history::Counted;
    use crate::telemetry::metrics::AppMetrics;

    #[test]
    #[expect(clippy::float_cmp, reason = "a whole number")]
    fn what_happens_at_once_is_recent() {
        let process = Process::new(Arc::default(), Vec::new(), None);
        AppMetrics::new("process-app", 1).count((0, "-"), 200, None, None);
        let minute = Duration::from_secs(60);
        let recent =
            process.with_recent(|recent| recent.increase(Counted::Requests, Some("process-app"), minute));
        assert_eq!(recent, 1.0);
    }
}
