//! SIGTERM and SIGINT. The first signal stops the server gently, and the second signal ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::process::bind::Server;
use crate::process::upgrade::NotWanted;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl StopSignal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// Returns 128 plus the signal's number, as for a process that the signal has ended.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }
}

/// Listens for both signals. Before this value exists, a signal ends the process.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// The end of a server.
#[derive(Debug)]
pub enum Ended {
    /// The server ended by itself. All requests under way had ended, or the grace period was over.
    ByItself(Result<(), NotWanted>),
    /// A second signal ended the server at once.
    BySignal(StopSignal),
}

impl StopSignals {
    /// # Errors
    ///
    /// The system does not allow the process to listen for signals.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }

    /// Runs a server. The first signal stops it. The second signal ends it at once, with all requests under way. If a
    /// process has handed over, its first signal does not end the draining, because it may only come from a supervisor
    /// that tidies up.
    pub async fn run(mut self, server: Server) -> Ended {
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.run(async {
            // An error means that the sender is dropped, so nobody can stop the server this way any more.
            let _ = stopped.await;
        });
        let hurried = async {
            let first = self.next().await;
            // The server listens for this message until it stops.
            if stop.send(()).is_ok() {
                info!(signal = first.name(), "told to stop; a second signal ends what is under way at once");
            } else {
                info!(
                    signal = first.name(),
                    "stopping already; a second signal ends what is under way at once"
                );
            }
            self.next().await
        };
        tokio::select! {
            ended = serving => Ended::ByItself(ended),
            signal = hurried => {
                let connections = reloader.connections().count();
                let refreshes = reloader.state().sessions.calls_under_way().counts().refreshes;
                warn!(
                    signal = signal.name(),
                    connections, refreshes, "a second signal: ended at once, with what was under way"
                );
                Ended::BySignal(signal)
            }
        }
    }
}
