//! A connection that shows Pingora exactly one message.
//!
//! Pingora reads a body until its own idea of the body's end, and takes whatever comes after it as misbehaviour.
//! A [`MessageStream`] hands it the bytes of one body, strictly framed, and then nothing: what a client pipelines
//! is kept for the next request, and only the client's end is told. The [`Wire`] is lent: however Pingora parts
//! with the stream, dropping it gives the connection back to [`crate::connection::http1::serve`].

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

use super::message::Message;
use super::wire::Wire;

/// Where a dropped [`MessageStream`] leaves its connection.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Returned>>);

/// A connection whose message is over, one way or another.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) wire: Box<Wire>,
    /// How far the message came.
    pub(crate) message: Message,
}

impl Slot {
    /// The connection, once the stream is gone.
    pub(crate) fn take(&self) -> Option<Returned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Pingora's view of one message on a connection.
pub(crate) struct MessageStream {
    /// There until this is dropped.
    lent: Option<Returned>,
    slot: Arc<Slot>,
}

impl MessageStream {
    pub(crate) const fn new(wire: Box<Wire>, message: Message, slot: Arc<Slot>) -> Self {
        Self { lent: Some(Returned { wire, message }), slot }
    }

    fn wire(&self) -> Option<&Wire> {
        self.lent.as_ref().map(|lent| &*lent.wire)
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lent);
        }
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MessageStream").field("wire", &self.wire()).finish_non_exhaustive()
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for MessageStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().lent {
            Some(Returned { wire, message }) => message.poll_read(wire, context, buffer),
            None => gone(),
        }
    }
}

impl AsyncWrite for MessageStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().lent {
            Some(Returned { wire, message }) => message.poll_write(wire, context, bytes),
            None => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().lent {
            Some(Returned { wire, message }) => message.poll_flush(wire, context),
            None => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().lent.as_mut().map_or_else(gone, |lent| lent.wire.poll_shutdown(context))
    }
}

#[async_trait]
impl Shutdown for MessageStream {
    async fn shutdown(&mut self) {
        let _gone_already = poll_fn(|context| Pin::new(&mut *self).poll_shutdown(context)).await;
    }
}

impl UniqueID for MessageStream {
    fn id(&self) -> UniqueIDType {
        self.wire().map_or(-1, |wire| wire.stream.id())
    }
}

impl Ssl for MessageStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.wire()?.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.wire()?.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.wire()?.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for MessageStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.wire().map(|wire| wire.stream.get_timing_digest()).unwrap_or_default()
    }

    fn get_read_pending_time(&self) -> std::time::Duration {
        self.wire().map(|wire| wire.stream.get_read_pending_time()).unwrap_or_default()
    }

    fn get_write_pending_time(&self) -> std::time::Duration {
        self.wire().map(|wire| wire.stream.get_write_pending_time()).unwrap_or_default()
    }
}

impl GetProxyDigest for MessageStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.wire()?.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for MessageStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.wire()?.stream.get_socket_digest()
    }
}

/// Not supported: the next message must not be seen.
impl Peek for MessageStream {}
