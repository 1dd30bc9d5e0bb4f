//! Another process takes the listening sockets over, with connections that wait in them: nobody is turned away.
//!
//! The mechanism is Pingora's, descriptors over a Unix socket (`SCM_RIGHTS`); not its code, which is tied to its own `Server`,
//! leaves a socket that every user may connect to, and gives bare numbers that only `unsafe` makes listeners of.
//!
//! The old process listens on the socket. The new one connects and gets the listeners. Once it has begun to accept, it says so,
//! and only then does the old one stop: a new process that fails before changes nothing.

use std::fs::Permissions;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

/// Begins what the old process says. Its number changes with the form.
const GREETING: &str = "portcullis upgrade 1";

/// The new process accepts connections.
const READY: &[u8] = b"ready\n";

/// Listeners of one process.
const MAX_LISTENERS: usize = 64;

/// Bytes of what the old process says.
const MAX_MESSAGE: usize = 16 * 1024;

/// For the old process to give its listeners, and to let go afterwards.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// For the new process to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Public,
    PublicTls,
    Admin,
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::PublicTls => "public-tls",
            Self::Admin => "admin",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Public, Self::PublicTls, Self::Admin].into_iter().find(|purpose| purpose.word() == word)
    }
}

/// A listener and what it is for.
pub(super) type Listening = (Purpose, TcpListener);

/// The listeners of a process that runs, which goes on until this one serves.
#[derive(Debug)]
pub struct Inherited {
    listeners: Vec<Listening>,
    old: UnixStream,
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
        let (purposes, descriptors) = receive(&old)?;
        if purposes.len() != descriptors.len() {
            return Err(malformed());
        }
        let listeners = purposes.into_iter().zip(descriptors.into_iter().map(TcpListener::from)).collect();
        Ok(Some(Self { listeners, old }))
    }

    /// Takes the listener of an address, if there is one.
    pub(super) fn take(&mut self, purpose: Purpose, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |(of, listener): &Listening| {
            *of == purpose && listener.local_addr().is_ok_and(|own| own == address)
        };
        let at = self.listeners.iter().position(is_it)?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Tells the old process to stop accepting, and waits until it has let go of the socket.
    fn ready(mut self) -> io::Result<()> {
        self.old.write_all(READY)?;
        let mut nothing = [0; 1];
        self.old.read(&mut nothing).map(|_| ())
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "another program, or another version of this one, answered")
}

/// What the old process says and sends.
fn receive(stream: &UnixStream) -> io::Result<(Vec<Purpose>, Vec<OwnedFd>)> {
    let mut text = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = recvmsg(stream, &mut parts, &mut control, RecvFlags::empty())?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    for descriptor in &descriptors {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    let text = text.get(..message.bytes).and_then(|text| std::str::from_utf8(text).ok());
    let mut lines = text.ok_or_else(malformed)?.lines();
    if lines.next() != Some(GREETING) {
        return Err(malformed());
    }
    let purposes: Option<Vec<_>> = lines.map(Purpose::from_word).collect();
    Ok((purposes.ok_or_else(malformed)?, descriptors))
}

/// Gives the listeners to a new process, and waits until it is ready; `false`: it gave up.
fn give(mut stream: &UnixStream, listeners: &[Listening]) -> io::Result<bool> {
    let mut text = String::from(GREETING);
    for (purpose, _) in listeners {
        text.push('\n');
        text.push_str(purpose.word());
    }
    let descriptors: Vec<_> = listeners.iter().map(|(_, listener)| listener.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there are too many listeners"));
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(READY_TIMEOUT))?;
    sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty())?;
    let mut answer = [0; READY.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) => Ok(answer == READY),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the old process go, where there is one, and then offers the listeners to the next. `handed_over` is told once that
/// has them and accepts.
pub(super) async fn run(
    path: Option<PathBuf>,
    inherited: Option<Inherited>,
    listeners: Vec<Listening>,
    handed_over: oneshot::Sender<()>,
) {
    // Before the old process lets go, so that there is always somebody at the socket.
    let socket = path.map(|path| bind(&path, inherited.is_some())).transpose();
    if let Some(inherited) = inherited {
        match spawn_blocking(move || inherited.ready()).await {
            Ok(Ok(())) => info!("the process before has handed over"),
            Ok(Err(error)) => warn!(%error, "the process before did not let go"),
            Err(_) => {}
        }
    }
    let offered = match socket {
        Ok(None) => return,
        Ok(Some(socket)) => offer(socket, listeners, handed_over).await,
        Err(error) => Err(error),
    };
    if let Err(error) = offered {
        error!(%error, "no upgrade is possible: the socket cannot be used");
    }
}

async fn offer(
    (socket, mut file): (UnixListener, SocketFile),
    listeners: Vec<Listening>,
    handed_over: oneshot::Sender<()>,
) -> io::Result<()> {
    let listeners = Arc::new(listeners);
    loop {
        let (stream, _) = socket.accept().await?;
        let peer = stream.peer_cred()?;
        let own = rustix::process::geteuid().as_raw();
        if peer.uid() != own && peer.uid() != 0 {
            warn!(user = peer.uid(), "an upgrade by another user was refused");
            continue;
        }
        info!(process = peer.pid(), "another process asks for the listeners");
        let stream = stream.into_std()?;
        let given = Arc::clone(&listeners);
        let giving = spawn_blocking(move || give(&stream, &given).map(|is_ready| (is_ready, stream)));
        match giving.await.map_err(io::Error::other)? {
            Ok((true, _let_go)) => {
                // From here on the file is the new process's.
                file.is_own = false;
                let _ = handed_over.send(());
                return Ok(());
            }
            Ok((false, _)) => warn!("the other process gave up; this one goes on"),
            Err(error) => warn!(%error, "the other process did not become ready; this one goes on"),
        }
    }
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
mod tests {
    use super::*;

    fn listening() -> Vec<Listening> {
        [Purpose::Public, Purpose::Admin]
            .map(|purpose| (purpose, TcpListener::bind("127.0.0.1:0").unwrap()))
            .into()
    }

    fn addresses(listeners: &[Listening]) -> Vec<SocketAddr> {
        listeners.iter().map(|(_, listener)| listener.local_addr().unwrap()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn listeners_change_hands_once_the_new_process_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        assert!(Inherited::ask(&path).unwrap().is_none());
        let listeners = listening();
        let addresses = addresses(&listeners);
        let (handed_over, mut is_handed_over) = oneshot::channel();
        tokio::spawn(run(Some(path.clone()), None, listeners, handed_over));
        let ask = move || loop {
            if let Some(inherited) = Inherited::ask(&path).unwrap() {
                return inherited;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let gives_up = spawn_blocking(ask.clone()).await.unwrap();
        drop(gives_up);
        let mut inherited = spawn_blocking(ask).await.unwrap();
        assert!(is_handed_over.try_recv().is_err());
        assert!(inherited.take(Purpose::Admin, addresses[0]).is_none());
        let public = inherited.take(Purpose::Public, addresses[0]).unwrap();
        assert!(inherited.take(Purpose::Public, addresses[0]).is_none());
        let ready = spawn_blocking(move || inherited.ready());
        is_handed_over.await.unwrap();
        ready.await.unwrap().unwrap();
        let client = std::net::TcpStream::connect(addresses[0]).unwrap();
        public.set_nonblocking(false).unwrap();
        assert_eq!(public.accept().unwrap().1, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn the_sockets_file_comes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        let (listener, file) = bind(&path, false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path, false).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
        drop(listener);
        let (_listener, _file) = bind(&path, false).expect("the old one is only a file");
        drop(file);
    }
}
