//! Stops a server. Requests under way get at most `server.shutdown_grace` to end. After that, the server still waits for
//! the answers of providers, because they are sessions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_proxy::HttpProxy;
use tokio::sync::{oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::{IdentityProvider, REFRESH_READ_LIMIT};
use crate::connection::connection_limit::Connections;
use crate::connection::exchange_end::EndReason;
use crate::gateway::Gateway;
use crate::process::fleet_link::FleetLink;
use crate::process::reload::Reloader;
use crate::process::upgrade::NotWanted;
use crate::session::CallsUnderWay;

/// The longest time that connections may take to end after they were told to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A running server: its tasks, and the channels that stop them.
pub(super) struct Running {
    pub(super) reloader: Reloader,
    pub(super) proxy: Arc<HttpProxy<Gateway>>,
    pub(super) accepting: JoinSet<()>,
    pub(super) admin_accepting: JoinSet<()>,
    pub(super) upgrading: JoinSet<Result<(), NotWanted>>,
    /// Tasks that end with the server.
    pub(super) _background: JoinSet<()>,
    /// True if the public listeners accept no more connections.
    pub(super) stop: channel::Sender<bool>,
    /// True if the admin listener accepts no more connections.
    pub(super) admin_stop: channel::Sender<bool>,
    /// True if nothing is served any more.
    pub(super) over: channel::Sender<bool>,
    /// `None` if this process is not a replica of a fleet.
    pub(super) fleet_link: Option<FleetLink>,
}

/// The reason why a server stops.
pub(super) enum StopCause {
    /// The server was told to stop.
    Told,
    /// Another process has the listeners and accepts connections.
    HandedOver,
    /// This server should have taken over from a process that goes on.
    NotWanted(NotWanted),
}

impl StopCause {
    /// Returns the result of the server.
    pub(super) fn outcome(self) -> Result<(), NotWanted> {
        match self {
            Self::Told | Self::HandedOver => Ok(()),
            Self::NotWanted(error) => Err(error),
        }
    }
}

impl Running {
    /// Waits until the server has to stop. After `shutdown`, the server is not ready, and still accepts connections for
    /// `server.shutdown_delay`.
    pub(super) async fn until_stop(
        &mut self,
        shutdown: impl Future<Output = ()> + Send,
        mut handed_over: oneshot::Receiver<()>,
    ) -> StopCause {
        tokio::select! {
            () = shutdown => {
                self.reloader.announce_stop().await;
                if handed_over.try_recv().is_ok() { StopCause::HandedOver } else { StopCause::Told }
            }
            Ok(()) = &mut handed_over => StopCause::HandedOver,
            Some(Ok(Err(error))) = self.upgrading.join_next() => {
                error!(%error, "the upgrade has failed");
                StopCause::NotWanted(error)
            }
        }
    }

    /// Stops accepting, waits for the requests and calls under way, and ends the tasks. It sends to `drained` when
    /// nothing is served any more.
    pub(super) async fn stop(mut self, cause: &StopCause, drained: oneshot::Sender<()>) {
        if matches!(cause, StopCause::HandedOver) {
            info!("handed over to another process");
            // From now on, the other process answers the probes.
            let _ = self.admin_stop.send(true);
        } else {
            self.upgrading.abort_all();
        }
        let connections = self.reloader.connections();
        let grace = self.reloader.config().server.shutdown_grace;
        info!(connections = connections.count(), grace_seconds = grace.as_secs(), "stopping");
        let _ = self.stop.send(true);
        drain(&mut self.accepting, connections, grace).await;
        self.settle().await;
        let _ = self.over.send(true);
        // The admin listener serves until here, so that a probe can distinguish a draining process from one that has
        // ended.
        let _ = self.admin_stop.send(true);
        while self.admin_accepting.join_next().await.is_some() {}
        let _ = drained.send(());
        let _ = timeout(END_TIMEOUT, self.upgrading.join_next()).await;
        self.proxy.http_cleanup().await;
        if let Some(traces) = &self.reloader.state().traces {
            traces.flush(END_TIMEOUT).await;
        }
        info!("stopped");
    }

    /// Waits for everything that must not be lost with the process, although no client waits for it. Calls to providers
    /// come first. Whatever their outcomes cause is to be awaited after them, at the end of this function.
    async fn settle(&self) {
        let (state, config) = (self.reloader.state(), self.reloader.config());
        let limits = config.identity_providers.iter().map(IdentityProvider::refresh_read_limit);
        let limit = limits.max().unwrap_or(REFRESH_READ_LIMIT);
        finish_calls(state.sessions.calls_under_way(), limit).await;
        if let Some((link, fleet)) = self.fleet_link.as_ref().zip(state.sessions.fleet()) {
            link.end(fleet).await;
        }
    }
}

/// Waits for the requests under way, for at most `grace`, and then ends them.
async fn drain(accepting: &mut JoinSet<()>, connections: &Connections, grace: Duration) {
    let draining = async {
        while accepting.join_next().await.is_some() {}
        connections.drained().await;
    };
    if timeout(grace, draining).await.is_err() {
        warn!(connections = connections.count(), "the grace period is over: connections are ended");
        connections.end_all(EndReason::Shutdown);
        let _ = timeout(END_TIMEOUT, connections.drained()).await;
    }
}

/// Waits for the answers of providers, for at most `limit`.
async fn finish_calls(calls: &CallsUnderWay, limit: Duration) {
    let waiting = calls.counts();
    if waiting.are_zero() {
        return;
    }
    let (refreshes, logins, revocations) = (waiting.refreshes, waiting.logins, waiting.revocations);
    info!(
        refreshes,
        logins,
        revocations,
        limit_seconds = limit.as_secs(),
        "waiting for answers of identity providers"
    );
    if timeout(limit, calls.ended()).await.is_err() {
        let left = calls.counts();
        warn!(
            refreshes = left.refreshes,
            logins = left.logins,
            revocations = left.revocations,
            "identity providers have not answered in time: sessions of these calls may be lost"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::session::CallKind;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn calls_are_awaited_until_they_end() {
        let (calls, started) = (Arc::<CallsUnderWay>::default(), Instant::now());
        finish_calls(&calls, LIMIT).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        let call = calls.begin(CallKind::Refresh);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(call);
        });
        finish_calls(&calls, LIMIT).await;
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_never_answers_is_given_up() {
        let (calls, started) = (Arc::<CallsUnderWay>::default(), Instant::now());
        let _call = calls.begin(CallKind::Refresh);
        finish_calls(&calls, LIMIT).await;
        assert_eq!(started.elapsed(), LIMIT);
    }
}
