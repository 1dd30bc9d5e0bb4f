//! A connection of HTTP/1.1 to an app: a socket, with TLS over it where that is spoken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;

/// A connection to an app, with TLS where that is spoken.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) socket: Socket,
    /// `None`: the socket itself.
    pub(super) tls: Option<Stream>,
}

impl Connection {
    /// Nobody uses it for now. `false`: something has come that nobody asked for, bytes or its end.
    pub(super) fn rest(&mut self) -> bool {
        self.is_quiet_within() && self.socket.rest()
    }

    /// It is used again. `false`: something has come meanwhile.
    pub(super) fn resume(&mut self) -> bool {
        self.socket.resume();
        self.is_quiet_within() && self.socket.is_quiet()
    }

    /// Whether TLS holds nothing back. It takes what was only for it.
    fn is_quiet_within(&mut self) -> bool {
        let Some(stream) = &mut self.tls else { return true };
        let mut nobody = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_read(&mut nobody, &mut ReadBuf::new(&mut [0])).is_pending()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self { tls: Some(stream), .. } => Pin::new(stream).poll_read(context, buffer),
            Self { socket, .. } => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self { tls: Some(stream), .. } => Pin::new(stream).poll_write(context, bytes),
            Self { socket, .. } => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self { tls: Some(stream), .. } => Pin::new(stream).poll_write_vectored(context, slices),
            Self { socket, .. } => Pin::new(socket).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self { tls: Some(stream), .. } => Pin::new(stream).poll_flush(context),
            Self { socket, .. } => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self { tls: Some(stream), .. } => Pin::new(stream).poll_shutdown(context),
            Self { socket, .. } => Pin::new(socket).poll_shutdown(context),
        }
    }
}
