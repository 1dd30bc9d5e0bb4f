//! SIGTERM and SIGINT: the first one stops gently, the second one at once.

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

    /// 128 and the signal's number, as of a process that the signal has ended.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }
}

/// The signals from when this is made on; until then they end the process.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// How a server has ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with all that was under way or after its grace.
    ByItself(Result<(), NotWanted>),
    /// At once, by a second signal.
    BySignal(StopSignal),
}

impl StopSignals {
    /// # Errors
    ///
    /// Where the system does not permit to listen for signals.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }

    /// Runs a server. The first signal stops it; one more, whatever it waits for then, ends it with all that is under way. A
    /// process that has handed over drains on at the first one, too: whoever supervises it may only be tidying up.
    pub async fn run(mut self, server: Server) -> Ended {
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.run(async {
            // An error would mean that nobody can tell it any more.
            let _ = stopped.await;
        });
        let hurried = async {
            let first = self.next().await;
            // It listens for that until it stops.
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
                warn!(signal = signal.name(), connections, "a second signal: ended at once, with what was under way");
                Ended::BySignal(signal)
            }
        }
    }
}
