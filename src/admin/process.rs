//! What the admin listener tells of the process rather than of its configuration.

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

/// The process since its start.
#[derive(Debug)]
pub(crate) struct Process {
    started: Instant,
    /// Its reloads, and that it stops.
    pub(super) status: Arc<ProcessStatus>,
    /// Where it listens.
    pub(super) listening: Vec<Listening>,
    certificates: Option<Arc<CertificateStore>>,
    history: Mutex<History>,
    /// Who shows wrong admin tokens.
    pub(super) guesses: Guesses,
}

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listening {
    /// The key of the configuration.
    pub(crate) key: &'static str,
    /// With the port that port 0 became.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// The process as it starts.
    pub(crate) fn new(
        status: Arc<ProcessStatus>,
        listening: Vec<Listening>,
        certificates: Option<Arc<CertificateStore>>,
    ) -> Self {
        let (history, guesses) = (Mutex::default(), Guesses::default());
        let process = Self { started: Instant::now(), status, listening, certificates, history, guesses };
        // Before anybody is served: what is counted before the first look is not known to be recent.
        process.look();
        process
    }

    /// Looks at the counters again and again, until `stopping` turns true.
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

    /// Since the start.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows the last minutes as they are now.
    pub(super) fn with_recent<T>(&self, then: impl FnOnce(Recent<'_>) -> T) -> T {
        let counters = counters::read();
        then(self.history().until(self.uptime(), &counters))
    }

    /// The certificates of the TLS listeners.
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
