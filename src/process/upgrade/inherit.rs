//! The new process's side: it asks for the listeners, and takes the old one's place or says why it cannot.

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

/// Whoever ends a connection without a word is asked again, so often, and after such a pause.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// For whoever may be at the socket to say a word.
const WORD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two messages to the old process on what is revoked here. It looks at its streams twice a second.
const TELLING_INTERVAL: Duration = Duration::from_millis(100);

/// The reason why a process cannot take over. Another process serves.
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
    /// Something else is there.
    #[error("cannot take over: `{}` (`server.upgrade_socket`) is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Nobody says anything.
    #[error("cannot take over: whoever listens at `{}` does not answer", .0.display())]
    Silent(PathBuf),
    /// Somebody says something else.
    #[error("cannot take over: another program, or another version of this one, answered at `{}`", .0.display())]
    Foreign(PathBuf),
    /// A third process was first.
    #[error("cannot take over: another process is taking over at `{}` right now", .0.display())]
    Busy(PathBuf),
    /// A third process was first, and serves by now.
    #[error("cannot take over: another process has just taken over at `{}`, and serves", .0.display())]
    HandedOver(PathBuf),
    /// The old process is not ours.
    #[error("cannot take over: the process at `{}` is another user's", .0.display())]
    User(PathBuf),
}

/// The old process does not want this one any more, and serves.
#[derive(Debug, thiserror::Error)]
#[error("the process before goes on, so this one ends: they have lost sight of each other")]
pub struct NotWanted;

/// The listeners of a process that runs, which goes on until this one serves.
#[derive(Debug)]
pub struct Inherited {
    path: PathBuf,
    listeners: Vec<Listening>,
    old: UnixStream,
    can: Abilities,
}

impl Inherited {
    /// Asks the process behind the socket; `None`: there is none. Waits for it.
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
                // Whoever was there has left in favour of this one: it is not asked for more.
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

    /// Takes the listener of an address, if there is one.
    pub(crate) fn take(&mut self, purpose: Purpose, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |(of, listener): &Listening| {
            *of == purpose && listener.local_addr().is_ok_and(|own| own == address)
        };
        let at = self.listeners.iter().position(is_it)?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Addresses of the old process that this one does not take.
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
        // Nothing is revoked here before connections are accepted: what is known is known there.
        let feed = can.hears_revocations.then(|| Feed::since(&memory.revocations));
        Ok(Successor { path, old: Some(Old { to_old, feed }), let_go })
    }
}

/// A successor of a process that is not there any more.
async fn alone(path: PathBuf) -> Result<Successor, NotWanted> {
    if is_somebody_there(&path).await {
        return Err(NotWanted);
    }
    let (_, let_go) = oneshot::channel();
    Ok(Successor { path, old: None, let_go })
}

/// Tells whether another process serves: it listens at the socket and says a word. A process that is about to end, or
/// does not answer any more, is no reason to leave the listeners to nobody.
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

/// This process, where it is about to take another one's place.
#[derive(Debug)]
pub(crate) struct Successor {
    path: PathBuf,
    /// `None`: it has ended.
    old: Option<Old>,
    let_go: oneshot::Receiver<()>,
}

/// The way in which this process came to serve.
#[derive(Debug)]
pub(crate) enum Handover {
    /// The old process has stopped accepting.
    Done(Old),
    /// The old process is not there any more.
    Alone,
}

/// The process before.
#[derive(Debug)]
pub(crate) struct Old {
    to_old: OwnedWriteHalf,
    /// It wants to know what is revoked.
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
            // An error is its end.
            let _ = feed.keep_on(&memory.revocations, &mut self.to_old, TELLING_INTERVAL, is_over).await;
        }
    }
}
