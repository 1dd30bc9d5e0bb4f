//! A connection that is read slowly but steadily: what a socket's own buffers hold does not count.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep};

/// The bytes that are read at once, and the pause after them: 256 KiB/s.
const PORTION: usize = 8 * 1024;
const PAUSE: Duration = Duration::from_millis(31);

/// Far more bytes than the other side's system may hold back.
pub(crate) const MUCH: usize = 5 << 20;

/// The stream; writes are as fast as ever.
pub(crate) struct Slow {
    stream: TcpStream,
    pause: Pin<Box<Sleep>>,
}

impl Slow {
    pub(crate) fn new(stream: TcpStream) -> Self {
        set_socket_recv_buffer_size(&stream, 2 * PORTION).expect("a live socket");
        Self { stream, pause: Box::pin(tokio::time::sleep(PAUSE)) }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(2 * 8192).expect("a socket");
        Self::new(socket.connect(address).await.expect("somebody listens"))
    }
}

impl AsyncRead for Slow {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, pause } = self.get_mut();
        ready!(pause.as_mut().poll(context));
        let mut bytes = [0; PORTION];
        let mut portion = ReadBuf::new(&mut bytes[..PORTION.min(buffer.remaining())]);
        ready!(Pin::new(stream).poll_read(context, &mut portion))?;
        buffer.put_slice(portion.filled());
        pause.as_mut().reset(Instant::now() + PAUSE);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
