//! A connection of HTTP/1.1 to an app: a socket, and TLS over it if the app speaks TLS.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use pingora_core::Result;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use crate::connection::stall::acknowledged;
use crate::upstream::connect::Dialer;
use crate::upstream::name_lookups::Name;

/// A connection to an app, with TLS if the app speaks it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) socket: Socket,
    /// `None` if there is no TLS over the socket.
    pub(super) tls: Option<Stream>,
}

impl Connection {
    /// Notes that nobody uses the connection for now. Returns false if unexpected bytes, or the end, have come.
    pub(super) fn rest(&mut self) -> bool {
        self.is_quiet_within() && self.socket.rest()
    }

    /// Notes that the connection is used again. Returns false if something has come in the meantime.
    pub(super) fn resume(&mut self) -> bool {
        self.socket.resume();
        self.is_quiet_within() && self.socket.is_quiet()
    }

    /// Returns true if TLS holds no bytes back. It consumes records that are only for TLS itself.
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

/// A TCP connection to an app, which others may look at while it is used. A clone is the same connection. The end of
/// the connection is evidence: see [`crate::upstream::resolved_addresses`].
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    stream: TcpStream,
    /// The host name through which the address was found.
    name: Option<Arc<Name>>,
    /// Nobody uses the connection, and its end has not come. If we then close it, this says nothing about the app.
    is_at_rest: AtomicBool,
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(name) = self.name.as_ref().filter(|_| !self.is_at_rest.load(Ordering::Relaxed)) {
            name.doubt();
        }
    }
}

impl Socket {
    pub(crate) async fn connect(dialer: &Dialer) -> Result<Self> {
        let stream = dialer.dial().await?;
        let name = dialer.name().cloned();
        Ok(Self(Arc::new(Connected { stream, name, is_at_rest: AtomicBool::new(false) })))
    }

    /// Returns true if nothing has come, not even the end. Asks the system: the runtime may not have heard of it yet.
    pub(crate) fn is_quiet(&self) -> bool {
        self.peek().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn peek(&self) -> io::Result<usize> {
        let mut byte = [0];
        Ok(recv(&self.0.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
    }

    /// Notes that nobody uses the connection now. If something comes, that is its end, and its name learns of it at
    /// once. Returns false if something has come already.
    pub(crate) fn rest(&self) -> bool {
        let is_quiet = self.wake(&self.0.name.clone().map_or_else(|| Waker::noop().clone(), Waker::from));
        self.0.is_at_rest.store(is_quiet, Ordering::Relaxed);
        is_quiet
    }

    /// Notes that the connection is used again, or that its end has been found. What comes after that does not count as
    /// an end.
    pub(crate) fn resume(&self) {
        self.0.is_at_rest.store(false, Ordering::Relaxed);
        if self.0.name.is_some() {
            self.wake(Waker::noop());
        }
    }

    /// Arranges that `waker` is woken when something comes, instead of anyone who has read from the socket before.
    /// Returns false if something has come already.
    fn wake(&self, waker: &Waker) -> bool {
        let stream = &self.0.stream;
        // Without this, a task that has had its turn would be woken although nothing has come.
        let mut readable = pin!(unconstrained(poll_fn(|context| stream.poll_read_ready(context))));
        let mut context = Context::from_waker(waker);
        while readable.as_mut().poll(&mut context).is_ready() {
            // Maybe the runtime does not know yet that all bytes have been read.
            let tried = stream.try_io(Interest::READABLE, || self.peek());
            if !tried.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return false;
            }
        }
        true
    }

    /// Returns how much the app has taken: see [`acknowledged`].
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        acknowledged(self.0.stream.as_raw_fd())
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        let room = buffer.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(stream.poll_read_ready(context))?;
            let mut read = None;
            let tried = stream.try_io(Interest::READABLE, || {
                let length = stream.try_read_buf(buffer)?;
                read = Some(length);
                // There are no more bytes. So the next read need not ask the system for any, as in Tokio's own reads.
                if length > 0 && length < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (read, tried) {
                (Some(_), _) => return Poll::Ready(Ok(())),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
    }
}

impl Socket {
    fn poll_try(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(context))?;
            match write(&self.0.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.0.stream, Shutdown::Write).map_err(io::Error::from))
    }
}

impl VirtualSocket for Socket {
    /// Does nothing: the socket has all its options already, and keep-alive probes are not used here.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}
