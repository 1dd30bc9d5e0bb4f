//! Another process takes the listening sockets over, with connections that wait in them: nobody is turned away.
//!
//! The mechanism is Pingora's, descriptors over a Unix socket (`SCM_RIGHTS`); not its code, which is tied to its own `Server`,
//! leaves a socket that every user may connect to, and gives bare numbers that only `unsafe` makes listeners of.
//!
//! The old process listens on the socket. The new one connects and gets the listeners, and asks what was revoked. Once it has begun
//! to accept, it says so, and only then does the old one stop: a new process that fails before changes nothing. The old one tells
//! what is revoked until it has ended (see `upgrade/revocations.rs`).

mod descriptors;
mod revocations;

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedWriteHalf, UCred};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use crate::access::memory::Memory;
use crate::access::revocations::Record;

use descriptors::Greeting;
pub(super) use descriptors::{Listening, Purpose};
use revocations::{Feed, Progress};

/// The old process can tell what was revoked, and the new one asks for it. Its number changes with the form of records.
const REVOCATIONS: &str = "revocations 1";

/// The new process accepts connections.
const READY: &str = "ready";

/// Bytes of what the new process says.
const MAX_ANSWER: u64 = 1024;

/// For the old process to give its listeners, and to let go afterwards.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Before another try, where nobody can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// For the new process to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The listeners of a process that runs, which goes on until this one serves.
#[derive(Debug)]
pub struct Inherited {
    listeners: Vec<Listening>,
    old: UnixStream,
    tells_revocations: bool,
}

impl Inherited {
    /// Asks the process behind the socket; `None`: there is none. Waits for it.
    pub fn ask(path: &Path) -> io::Result<Option<Self>> {
        let old = match UnixStream::connect(path) {
            Ok(old) => old,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        old.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let (Greeting { purposes, tells_revocations }, descriptors) = descriptors::receive(&old)?;
        if purposes.len() != descriptors.len() {
            return Err(malformed());
        }
        let listeners = purposes.into_iter().zip(descriptors.into_iter().map(TcpListener::from)).collect();
        Ok(Some(Self { listeners, old, tells_revocations }))
    }

    /// Takes the listener of an address, if there is one.
    pub(super) fn take(&mut self, purpose: Purpose, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |(of, listener): &Listening| {
            *of == purpose && listener.local_addr().is_ok_and(|own| own == address)
        };
        let at = self.listeners.iter().position(is_it)?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Takes what the old process has revoked, and from now on what it revokes, with `take`. Returns once all is taken that it knows
    /// now.
    pub(super) async fn follow(self, take: impl Fn(&[Record]) + Send + 'static) -> io::Result<Successor> {
        self.old.set_nonblocking(true)?;
        let (from_old, mut to_old) = tokio::net::UnixStream::from_std(self.old)?.into_split();
        let (is_complete, complete) = oneshot::channel();
        let (has_let_go, let_go) = oneshot::channel();
        let progress = Progress { is_complete, has_let_go };
        tokio::spawn(async move {
            match revocations::follow(from_old, progress, take).await {
                Ok(count) => info!(revocations = count, "the process before has ended"),
                Err(error) => warn!(%error, "what the process before still revokes is not known here"),
            }
        });
        if self.tells_revocations {
            to_old.write_all(format!("{REVOCATIONS}\n").as_bytes()).await?;
            timeout(ANSWER_TIMEOUT, complete).await?.map_err(|_| malformed())?;
        } else {
            warn!(
                "the process before does not tell what was revoked: JWTs that it refuses are taken until they expire"
            );
        }
        Ok(Successor { to_old, let_go })
    }
}

/// This process, where it is about to take another one's place.
#[derive(Debug)]
pub(super) struct Successor {
    to_old: OwnedWriteHalf,
    let_go: oneshot::Receiver<()>,
}

impl Successor {
    /// Tells the old process to stop accepting, and waits until it has let go of the socket.
    async fn ready(mut self) -> io::Result<()> {
        self.to_old.write_all(format!("{READY}\n").as_bytes()).await?;
        // Dropped: it has ended already, which is as good.
        let _ = timeout(ANSWER_TIMEOUT, self.let_go).await?;
        Ok(())
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "another program, or another version of this one, answered")
}

/// What a process has to hand over.
pub(super) struct Estate {
    pub(super) listeners: Vec<Listening>,
    /// With what is revoked.
    pub(super) memory: Arc<Memory>,
    /// Told once another process has the listeners and accepts.
    pub(super) handed_over: oneshot::Sender<()>,
    /// Ready once no request is served here any more.
    pub(super) is_drained: oneshot::Receiver<()>,
}

/// Another process that has taken over.
struct Heir {
    stream: OwnedWriteHalf,
    /// It asked what is revoked.
    feed: Option<Feed>,
}

/// Gives the listeners to a new process, tells what is revoked, and waits until it is ready; `None`: it gave up.
async fn give(
    stream: tokio::net::UnixStream,
    listeners: &[Listening],
    memory: &Memory,
) -> io::Result<Option<Heir>> {
    descriptors::send(&stream, listeners).await?;
    let (answers, stream) = stream.into_split();
    let mut heir = Heir { stream, feed: None };
    let mut answers = BufReader::new(answers.take(MAX_ANSWER)).lines();
    let mut ticks = interval(revocations::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let answer = tokio::select! {
            answer = answers.next_line() => answer?,
            _ = ticks.tick() => {
                heir.tell(memory).await?;
                continue;
            }
        };
        match answer.as_deref() {
            Some(REVOCATIONS) => {
                let feed = heir.feed.insert(Feed::default());
                feed.begin(&memory.revocations, &mut heir.stream).await?;
            }
            Some(READY) => return Ok(Some(heir)),
            Some(_) => return Err(malformed()),
            None => return Ok(None),
        }
    }
}

impl Heir {
    async fn tell(&mut self, memory: &Memory) -> io::Result<()> {
        match &mut self.feed {
            Some(feed) => feed.go_on(&memory.revocations, &mut self.stream).await,
            None => Ok(()),
        }
    }

    /// Tells what is revoked until nothing is served here any more.
    async fn tell_to_the_end(
        mut self,
        memory: &Memory,
        mut is_drained: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        if self.feed.is_none() {
            return Ok(());
        }
        revocations::let_go(&mut self.stream).await?;
        let mut ticks = interval(revocations::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut is_drained => return self.tell(memory).await,
                _ = ticks.tick() => self.tell(memory).await?,
            }
        }
    }
}

/// Lets the old process go, where there is one, and then offers what there is to the next. To the end, it tells that one what is
/// revoked.
pub(super) async fn run(path: Option<PathBuf>, successor: Option<Successor>, estate: Estate) {
    // Before the old process lets go, so that there is always somebody at the socket.
    let socket = path.map(|path| bind(&path, successor.is_some())).transpose();
    if let Some(successor) = successor {
        match successor.ready().await {
            Ok(()) => info!("the process before has handed over"),
            Err(error) => warn!(%error, "the process before did not let go"),
        }
    }
    let offered = match socket {
        Ok(None) => return,
        Ok(Some(socket)) => offer(socket, estate).await,
        Err(error) => Err(error),
    };
    if let Err(error) = offered {
        error!(%error, "no upgrade is possible: the socket cannot be used");
    }
}

async fn accept(socket: &UnixListener) -> io::Result<(tokio::net::UnixStream, UCred)> {
    let (stream, _) = socket.accept().await?;
    let peer = stream.peer_cred()?;
    Ok((stream, peer))
}

async fn offer((socket, mut file): (UnixListener, SocketFile), estate: Estate) -> io::Result<()> {
    let Estate { listeners, memory, handed_over, is_drained } = estate;
    let heir = loop {
        // No descriptor is left, for instance: it may be otherwise the next time.
        let (stream, peer) = match accept(&socket).await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "another process could not be heard at the upgrade socket");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let own = rustix::process::geteuid().as_raw();
        if peer.uid() != own && peer.uid() != 0 {
            warn!(user = peer.uid(), "an upgrade by another user was refused");
            continue;
        }
        info!(process = peer.pid(), "another process asks for the listeners");
        match timeout(READY_TIMEOUT, give(stream, &listeners, &memory)).await.map_err(io::Error::from) {
            Ok(Ok(Some(heir))) => break heir,
            Ok(Ok(None)) => warn!("the other process gave up; this one goes on"),
            Ok(Err(error)) | Err(error) => {
                warn!(%error, "the other process did not become ready; this one goes on");
            }
        }
    };
    // From here on the file is the new process's, and so are the listeners.
    file.is_own = false;
    let _ = handed_over.send(());
    drop((socket, listeners));
    if let Err(error) = heir.tell_to_the_end(&memory, is_drained).await {
        warn!(%error, "the new process does not hear what is still revoked here");
    }
    Ok(())
}

/// Removes the socket's file in the end.
struct SocketFile {
    path: PathBuf,
    is_own: bool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens there. `replaces`: in place of the process that does so now.
fn bind(path: &Path, replaces: bool) -> io::Result<(UnixListener, SocketFile)> {
    if !replaces && UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
    }
    // What is there, of a process that lives or has ended, is replaced at once.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let _of_a_failed_start = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), is_own: true }))
}

#[cfg(test)]
mod tests;
