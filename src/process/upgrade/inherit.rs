//! The new process's side. It asks for the listeners, and takes the old process's place or reports why it cannot.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::access::session_tables::SessionTables;
use crate::process::upgrade::descriptors::{self, Abilities, Greeting, Listening, Purpose, Refusal};
use crate::process::upgrade::protocol::{ANSWER_TIMEOUT, READY, REVOCATIONS};
use crate::process::upgrade::revocations::{self, Feed, Hear, Progress};
use crate::process::upgrade::socket;

/// The number of tries, and the pause between them, if the other process ends the connection without an answer.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The longest time that a process at the socket may take to send its first byte.
const WORD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two messages to the old process about revocations here. The old process checks its streams twice a
/// second.
const TELLING_INTERVAL: Duration = Duration::from_millis(100);

/// The reason why a process cannot take over from the process that serves.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The socket cannot be used.
    #[error("cannot take over at `{}`: {source}", path.display())]
    Socket {
        /// `server.upgrade_socket`.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is a file at the path that is not a socket.
    #[error("cannot take over: `{}` (`server.upgrade_socket`) is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The process at the socket does not answer.
    #[error("cannot take over: whoever listens at `{}` does not answer", .0.display())]
    Silent(PathBuf),
    /// The answer is not one of this protocol.
    #[error("cannot take over: another program, or another version of this one, answered at `{}`", .0.display())]
    Foreign(PathBuf),
    /// A third process is taking over at this moment.
    #[error("cannot take over: another process is taking over at `{}` right now", .0.display())]
    Busy(PathBuf),
    /// A third process has already taken over, and serves.
    #[error("cannot take over: another process has just taken over at `{}`, and serves", .0.display())]
    HandedOver(PathBuf),
    /// The old process belongs to another user.
    #[error("cannot take over: the process at `{}` is another user's", .0.display())]
    User(PathBuf),
}

/// The old process goes on serving, so this process must end.
#[derive(Debug, thiserror::Error)]
#[error("the process before goes on, so this one ends: they have lost sight of each other")]
pub struct NotWanted;

/// The listeners of a running process. That process goes on until this one serves.
#[derive(Debug)]
pub struct Inherited {
    path: PathBuf,
    listeners: Vec<Listening>,
    old: UnixStream,
    can: Abilities,
}

impl Inherited {
    /// Asks the process at the socket, and waits for its answer. Returns `None` if there is no process.
    pub fn ask(path: &Path) -> Result<Option<Self>, AskError> {
        let at = || path.to_owned();
        let failed = |source| AskError::Socket { path: path.to_owned(), source };
        let mut has_left = false;
        for _ in 0..TRIES {
            let old = match UnixStream::connect(path) {
                Ok(old) => old,
                Err(_) if socket::is_something_else(path) => return Err(AskError::NotASocket(at())),
                Err(error) if is_nobody(&error) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            old.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
            match descriptors::receive(&old) {
                // The first process has ended, and another process has taken its place. That one is not asked for its
                // listeners.
                Ok(Ok(_)) if has_left => return Err(AskError::HandedOver(at())),
                Ok(Ok(Greeting { listeners, can })) => {
                    return Ok(Some(Self { path: at(), listeners, old, can }));
                }
                Ok(Err(Refusal::Busy)) => return Err(AskError::Busy(at())),
                Ok(Err(Refusal::User)) => return Err(AskError::User(at())),
                Err(error) if has_ended(&error) => {
                    has_left = true;
                    std::thread::sleep(PAUSE);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(AskError::Silent(at()));
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(AskError::Foreign(at())),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(AskError::Silent(at()))
    }

    /// Takes the listener for an address out of the inherited ones, if there is one.
    pub(crate) fn take(&mut self, purpose: Purpose, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |(of, listener): &Listening| {
            *of == purpose && listener.local_addr().is_ok_and(|own| own == address)
        };
        let at = self.listeners.iter().position(is_it)?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Returns the addresses of the old process that this process has not taken.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|(_, listener)| listener.local_addr().ok())
    }

    /// Takes what the old process has revoked, and from now on what it revokes. Returns once all is taken that it knows
    /// now.
    pub(crate) async fn follow(self, memory: &SessionTables, hear: Hear) -> Result<Successor, NotWanted> {
        let Self { path, old, can, .. } = self;
        let (is_complete, complete) = oneshot::channel();
        let (has_let_go, let_go) = oneshot::channel();
        let split = || {
            old.set_nonblocking(true)?;
            Ok::<_, io::Error>(tokio::net::UnixStream::from_std(old)?.into_split())
        };
        let Ok((from_old, mut to_old)) = split() else { return alone(path).await };
        let progress = Progress { is_complete: Some(is_complete), has_let_go: Some(has_let_go) };
        tokio::spawn(async move {
            match revocations::follow(from_old, progress, move |records| hear(records)).await {
                Ok(count) => info!(revocations = count, "the process before has ended"),
                Err(error) => warn!(%error, "what the process before still revokes is not known here"),
            }
        });
        if can.tells_revocations {
            let asked = to_old.write_all(format!("{REVOCATIONS}\n").as_bytes()).await;
            if asked.is_err() || !matches!(timeout(ANSWER_TIMEOUT, complete).await, Ok(Ok(()))) {
                let successor = alone(path).await?;
                warn!(
                    "what the process before had revoked is not known here: it ended before it had said that"
                );
                return Ok(successor);
            }
        } else {
            warn!(
                "the process before does not tell what was revoked: JWTs that it refuses are taken until they expire"
            );
        }
        // This process revokes nothing before it accepts connections. So the old process already knows all entries of
        // the list.
        let feed = can.hears_revocations.then(|| Feed::since(&memory.revocations));
        Ok(Successor { path, old: Some(Old { to_old, feed }), let_go })
    }
}

/// Returns a successor without an old process, because the old process has ended.
async fn alone(path: PathBuf) -> Result<Successor, NotWanted> {
    if is_somebody_there(&path).await {
        return Err(NotWanted);
    }
    let (_, let_go) = oneshot::channel();
    Ok(Successor { path, old: None, let_go })
}

/// Returns true if another process serves, which means that it listens at the socket and answers. If a process is
/// ending or does not answer, this process must keep the listeners.
async fn is_somebody_there(path: &Path) -> bool {
    for _ in 0..TRIES {
        let Ok(mut there) = tokio::net::UnixStream::connect(path).await else { return false };
        match timeout(WORD_TIMEOUT, there.read_u8()).await {
            Ok(Ok(_)) => return true,
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => return false,
        }
    }
    false
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn has_ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}

/// This process, shortly before it takes another process's place.
#[derive(Debug)]
pub(crate) struct Successor {
    path: PathBuf,
    /// The old process. `None` means that it has ended.
    old: Option<Old>,
    let_go: oneshot::Receiver<()>,
}

/// The way in which this process took over.
#[derive(Debug)]
pub(crate) enum Handover {
    /// The old process has stopped accepting.
    Done(Old),
    /// The old process has ended.
    Alone,
}

/// The connection to the old process.
#[derive(Debug)]
pub(crate) struct Old {
    to_old: OwnedWriteHalf,
    /// The revocations for the old process, if it accepts them.
    feed: Option<Feed>,
}

impl Successor {
    /// Tells the old process to stop accepting, and waits until it has done so.
    pub(crate) async fn ready(self) -> Result<Handover, NotWanted> {
        let Self { path, old, let_go } = self;
        let Some(mut old) = old else { return Ok(Handover::Alone) };
        let told = old.to_old.write_all(format!("{READY}\n").as_bytes()).await;
        if told.is_ok() && matches!(timeout(ANSWER_TIMEOUT, let_go).await, Ok(Ok(()))) {
            return Ok(Handover::Done(old));
        }
        if is_somebody_there(&path).await {
            return Err(NotWanted);
        }
        Ok(Handover::Alone)
    }
}

impl Old {
    /// Tells it what is revoked here, until it has ended: its open streams end by that.
    pub(crate) async fn tell(mut self, memory: Arc<SessionTables>) {
        if let Some(feed) = self.feed.take() {
            let (_never, is_over) = oneshot::channel();
            // An error means that the old process has ended.
            let _ = feed.keep_on(&memory.revocations, &mut self.to_old, TELLING_INTERVAL, is_over).await;
        }
    }
}
