//! A server stops: requests that are under way come to their end, or are ended after `server.shutdown_grace`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_proxy::HttpProxy;
use tokio::sync::{oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::connection::connection_limit::Connections;
use crate::connection::exchange_end::EndReason;
use crate::gateway::Gateway;
use crate::process::reload::Reloader;
use crate::process::upgrade::NotWanted;

/// How long connections that were told to end may take for it.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that serves: its tasks, and how they are told to stop.
pub(super) struct Running {
    pub(super) reloader: Reloader,
    pub(super) proxy: Arc<HttpProxy<Gateway>>,
    pub(super) accepting: JoinSet<()>,
    pub(super) admin_accepting: JoinSet<()>,
    pub(super) upgrading: JoinSet<Result<(), NotWanted>>,
    /// They end with the server.
    pub(super) _background: JoinSet<()>,
    /// True: the public listeners accept nothing more.
    pub(super) stop: channel::Sender<bool>,
    /// True: the admin listener accepts nothing more.
    pub(super) admin_stop: channel::Sender<bool>,
    /// True: nothing is served any more.
    pub(super) over: channel::Sender<bool>,
}

/// Why a server stops.
pub(super) enum StopCause {
    /// It was told to.
    Told,
    /// Another process has its listeners and accepts.
    HandedOver,
    /// It was to take over from a process that goes on.
    NotWanted(NotWanted),
}

impl StopCause {
    /// Returns how the server has ended.
    pub(super) fn outcome(self) -> Result<(), NotWanted> {
        match self {
            Self::Told | Self::HandedOver => Ok(()),
            Self::NotWanted(error) => Err(error),
        }
    }
}

impl Running {
    /// Waits for the end of its service. After `shutdown` it is not ready any more, and goes on for `server.shutdown_delay`.
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

    /// Stops accepting, lets what is under way end, and ends the tasks. `drained` is told once nothing is served any more.
    pub(super) async fn stop(mut self, cause: &StopCause, drained: oneshot::Sender<()>) {
        if matches!(cause, StopCause::HandedOver) {
            info!("handed over to another process");
            // That one answers the probes from now on.
            let _ = self.admin_stop.send(true);
        } else {
            self.upgrading.abort_all();
        }
        let connections = self.reloader.connections();
        let grace = self.reloader.config().server.shutdown_grace;
        info!(connections = connections.count(), grace_seconds = grace.as_secs(), "stopping");
        let _ = self.stop.send(true);
        drain(&mut self.accepting, connections, grace).await;
        let _ = self.over.send(true);
        // To the end, so that a probe can tell a process that drains from one that is gone.
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
}

/// Lets what is under way come to its end, for at most `grace`, and then ends it.
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
