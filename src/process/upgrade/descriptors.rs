//! The first message between the two processes: the listeners and their description, or the reason why there are none.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::time::timeout;

use crate::process::upgrade::protocol::{ANSWER_TIMEOUT, HEARS_REVOCATIONS, REVOCATIONS};

/// The first line of the old process's message. Its number changes with the format.
const GREETING: &str = "portcullis upgrade 1";

/// The beginning of a line with an ability of the old process. The new process ignores abilities that it does not know.
const CAN: &str = "can ";

/// The first line of a refusal. The next line has the reason.
const REFUSAL: &str = "portcullis upgrade refused";

/// The largest number of listeners of one process.
const MAX_LISTENERS: usize = 64;

/// The largest size of the old process's message, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// The purpose of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
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

/// A listener and its purpose.
pub(crate) type Listening = (Purpose, TcpListener);

/// The listeners from the old process, and its abilities.
pub(crate) struct Greeting {
    pub(crate) listeners: Vec<Listening>,
    pub(crate) can: Abilities,
}

/// The abilities of a process besides giving its listeners.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Abilities {
    pub(crate) tells_revocations: bool,
    pub(crate) hears_revocations: bool,
}

/// The reason why a process gives no listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The process is giving its listeners to another process.
    Busy,
    /// The process does not give its listeners to this user.
    User,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::Busy, Self::User];

    const fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::User => "user",
        }
    }
}

pub(crate) fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "another program, or another version of this one, answered")
}

/// Tells another process the reason of a refusal. That process may have ended.
pub(crate) async fn refuse(mut stream: tokio::net::UnixStream, refusal: Refusal) {
    let text = format!("{REFUSAL}\n{}", refusal.word());
    let _ = timeout(ANSWER_TIMEOUT, stream.write_all(text.as_bytes())).await;
}

/// Receives the listeners and abilities of the old process, or a refusal.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<Result<Greeting, Refusal>> {
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
    if message.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let text = text.get(..message.bytes).and_then(|text| std::str::from_utf8(text).ok());
    read(text.ok_or_else(malformed)?, descriptors)
}

fn read(text: &str, descriptors: Vec<OwnedFd>) -> io::Result<Result<Greeting, Refusal>> {
    let mut lines = text.lines();
    match lines.next() {
        Some(GREETING) => {}
        Some(REFUSAL) => {
            let word = lines.next();
            let refusal = Refusal::ALL.into_iter().find(|refusal| word == Some(refusal.word()));
            return refusal.map(Err).ok_or_else(malformed);
        }
        _ => return Err(malformed()),
    }
    let (mut purposes, mut can) = (Vec::new(), Abilities::default());
    for line in lines {
        match line.strip_prefix(CAN) {
            Some(ability) => {
                can.tells_revocations |= ability == REVOCATIONS;
                can.hears_revocations |= ability == HEARS_REVOCATIONS;
            }
            None => purposes.push(Purpose::from_word(line).ok_or_else(malformed)?),
        }
    }
    if purposes.len() != descriptors.len() {
        return Err(malformed());
    }
    let listeners = descriptors.into_iter().map(|descriptor| {
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true).map(|()| listener)
    });
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    Ok(Ok(Greeting { listeners: purposes.into_iter().zip(listeners).collect(), can }))
}

/// Sends the listeners, their purposes, and the abilities of this process.
pub(crate) async fn send(stream: &tokio::net::UnixStream, listeners: &[Listening]) -> io::Result<()> {
    let mut text = String::from(GREETING);
    for (purpose, _) in listeners {
        text.push('\n');
        text.push_str(purpose.word());
    }
    text.extend(["\n", CAN, REVOCATIONS, "\n", CAN, HEARS_REVOCATIONS]);
    let descriptors: Vec<_> = listeners.iter().map(|(_, listener)| listener.as_fd()).collect();
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("there are too many listeners"));
        }
        sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty())?;
        Ok(())
    };
    stream.async_io(Interest::WRITABLE, send).await
}
