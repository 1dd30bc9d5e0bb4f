//! The first message between two processes: the listeners themselves, and words about them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;

use super::{REVOCATIONS, malformed};

/// Begins what the old process says. Its number changes with the form.
const GREETING: &str = "portcullis upgrade 1";

/// Begins what the old process says that it can do. What the new one does not know of that is left alone.
const CAN: &str = "can ";

/// Listeners of one process.
const MAX_LISTENERS: usize = 64;

/// Bytes of what the old process says.
const MAX_MESSAGE: usize = 16 * 1024;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Purpose {
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
pub(in crate::server) type Listening = (Purpose, TcpListener);

/// What the old process has said.
pub(super) struct Greeting {
    pub(super) purposes: Vec<Purpose>,
    pub(super) tells_revocations: bool,
}

/// What the old process says and sends.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(Greeting, Vec<OwnedFd>)> {
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
    let mut greeting = Greeting { purposes: Vec::new(), tells_revocations: false };
    for line in lines {
        match line.strip_prefix(CAN) {
            Some(ability) => greeting.tells_revocations |= ability == REVOCATIONS,
            None => greeting.purposes.push(Purpose::from_word(line).ok_or_else(malformed)?),
        }
    }
    Ok((greeting, descriptors))
}

/// Gives the listeners, and says what they are and what else can be asked for.
pub(super) async fn send(stream: &tokio::net::UnixStream, listeners: &[Listening]) -> io::Result<()> {
    let mut text = String::from(GREETING);
    for (purpose, _) in listeners {
        text.push('\n');
        text.push_str(purpose.word());
    }
    text.extend(["\n", CAN, REVOCATIONS]);
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
