//! The connection to an app for a WebSocket: one of HTTP/1.1, whatever the app speaks otherwise.
//!
//! Pingora 0.9.1 reads the app's answer and the end of the request's (empty) body in either order. If a fast app's 101
//! comes first, the end of the body is then taken for the end of the WebSocket, and it closes at once
//! (`proxy_handle_upstream` in pingora-proxy's `proxy_h1.rs`). A connection whose first read after a write comes one turn
//! later lets the end of the body, which is there already, always go first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Dialer;
use super::socket::Socket;
use super::upload::Upload;
use crate::server::watch::ConnectionWatch;

/// Connections for WebSockets are none for other requests.
const GROUP: u64 = 1;

/// Makes a peer's connection one for a WebSocket.
pub(crate) fn prepare(peer: &mut HttpPeer, dialer: Arc<Dialer>, client: Option<Arc<ConnectionWatch>>) {
    peer.options.custom_l4 = Some(Arc::new(Connector { dialer, client }));
    // What one authority has vouched for is still told apart.
    peer.group_key ^= GROUP;
    peer.options.set_http_version(1, 1);
}

#[derive(Debug)]
struct Connector {
    dialer: Arc<Dialer>,
    client: Option<Arc<ConnectionWatch>>,
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, _: &PeerAddress) -> Result<Stream> {
        let (socket, upload) = (Socket::connect(&self.dialer).await?, Upload::new(self.client.clone()));
        let socket = PatientSocket { socket, upload, has_written: false };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

/// Gives everything else that is ready a turn before the first read after a write.
#[derive(Debug)]
struct PatientSocket {
    socket: Socket,
    upload: Upload,
    has_written: bool,
}

impl AsyncRead for PatientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, upload, has_written } = self.get_mut();
        if std::mem::take(has_written) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut *socket).poll_read(context, buffer);
        if read.is_pending() {
            // The watch of the browser's connection ends a WebSocket that is idle in both directions.
            upload.poll_taken(context, socket);
        }
        read
    }
}

impl AsyncWrite for PatientSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, upload, has_written } = self.get_mut();
        *has_written = true;
        match Pin::new(&mut *socket).poll_write(context, bytes) {
            Poll::Pending => upload.poll_write(context, socket).map(Err),
            written @ Poll::Ready(_) => {
                upload.wrote();
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl VirtualSocket for PatientSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        self.socket.set_socket_option(option)
    }
}
