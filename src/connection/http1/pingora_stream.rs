//! The stream through which Pingora sees exactly one exchange of a client's connection.
//!
//! Pingora reads a body up to the end that it finds itself, and takes everything after that for misbehaviour. A
//! [`PingoraStream`] gives it the bytes of one body, strictly framed, and then nothing. Bytes that a client pipelines
//! are kept for the next request, and Pingora only learns of the client's end. The stream only holds the
//! [`ClientConnection`]. In whatever way Pingora drops the stream, [`crate::connection::http1::serve_connection`] gets
//! the connection back.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client_connection::ClientConnection;
use super::exchange::Exchange;

/// The place where a dropped [`PingoraStream`] leaves its connection.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Returned>>);

/// A connection whose exchange is over, cleanly or not.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) connection: Box<ClientConnection>,
    /// The exchange in its last state.
    pub(crate) exchange: Exchange,
}

impl Slot {
    /// Takes the connection, once the stream was dropped.
    pub(crate) fn take(&self) -> Option<Returned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Pingora's view of one exchange on a connection.
pub(crate) struct PingoraStream {
    /// Present until the stream is dropped.
    held: Option<Returned>,
    slot: Arc<Slot>,
}

impl PingoraStream {
    pub(crate) const fn new(connection: Box<ClientConnection>, exchange: Exchange, slot: Arc<Slot>) -> Self {
        Self { held: Some(Returned { connection, exchange }), slot }
    }

    fn connection(&self) -> Option<&ClientConnection> {
        self.held.as_ref().map(|held| &*held.connection)
    }
}

impl Drop for PingoraStream {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
    }
}

impl fmt::Debug for PingoraStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PingoraStream")
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for PingoraStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().held {
            Some(Returned { connection, exchange }) => exchange.poll_read(connection, context, buffer),
            None => gone(),
        }
    }
}

impl AsyncWrite for PingoraStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().held {
            Some(Returned { connection, exchange }) => exchange.poll_write(connection, context, bytes),
            None => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().held {
            Some(Returned { connection, exchange }) => exchange.poll_flush(connection, context),
            None => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().held.as_mut().map_or_else(gone, |held| held.connection.poll_shutdown(context))
    }
}

#[async_trait]
impl Shutdown for PingoraStream {
    async fn shutdown(&mut self) {
        let _gone_already = poll_fn(|context| Pin::new(&mut *self).poll_shutdown(context)).await;
    }
}

impl UniqueID for PingoraStream {
    fn id(&self) -> UniqueIDType {
        self.connection().map_or(-1, |connection| connection.stream.id())
    }
}

impl Ssl for PingoraStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.connection()?.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.connection()?.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.connection()?.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for PingoraStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.connection().map(|connection| connection.stream.get_timing_digest()).unwrap_or_default()
    }

    fn get_read_pending_time(&self) -> std::time::Duration {
        self.connection().map(|connection| connection.stream.get_read_pending_time()).unwrap_or_default()
    }

    fn get_write_pending_time(&self) -> std::time::Duration {
        self.connection().map(|connection| connection.stream.get_write_pending_time()).unwrap_or_default()
    }
}

impl GetProxyDigest for PingoraStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.connection()?.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for PingoraStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.connection()?.stream.get_socket_digest()
    }
}

/// Is not supported, because the next exchange must not be seen.
impl Peek for PingoraStream {}
