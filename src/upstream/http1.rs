//! Connections of HTTP/1.1 to apps, each lent to Pingora for one request and its answer.
//!
//! The rule is one: **a connection serves another request only if both the request and its answer ended cleanly on it.**
//! Pingora never gets to keep one: however it parts with a connection, dropping it gives it back to [`Pool`] if [`Lent`] has
//! seen both ends, and closes it otherwise. So nobody has to think of all the ways in which an exchange can end.

mod coded;
mod loan;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream as PeerStream;
use pingora_core::protocols::l4::virt::VirtualSocketStream;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OkOrErr, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Dialer;
use super::pool::Pool;
use super::socket::Socket;
use super::web_socket::Patience;
use crate::connection::exchange_control::ExchangeControl;

use crate::upstream::http1::loan::Lent;

/// Makes connections with TLS, and keeps none. It reads the system's authorities once.
static TRANSPORT: LazyLock<TransportConnector> = LazyLock::new(|| TransportConnector::new(None));

/// A connection to an app, with TLS where that is spoken.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Socket,
    /// `None`: the socket itself.
    tls: Option<Stream>,
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

/// Lends the connections to one address.
#[derive(Debug)]
pub(super) struct Lender {
    dialer: Arc<Dialer>,
    /// How TLS is spoken there.
    tls: Option<Tls>,
    /// The address has it: where it is gone, nothing is kept.
    pool: Weak<Pool>,
}

struct Tls(HttpPeer);

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tls").finish_non_exhaustive()
    }
}

impl Lender {
    /// For a peer whose connections speak HTTP/1.1, whatever else it offers.
    pub(super) fn new(peer: &HttpPeer, dialer: Arc<Dialer>, pool: &Arc<Pool>) -> Self {
        let tls = peer.is_tls().then(|| {
            let mut peer = peer.clone();
            peer.options.set_http_version(1, 1);
            peer.options.tcp_keepalive = None;
            Tls(peer)
        });
        Self { dialer, tls, pool: Arc::downgrade(pool) }
    }

    /// For WebSockets alone, at a peer that speaks HTTP/2 otherwise.
    pub(super) fn for_web_sockets(peer: &HttpPeer, dialer: Arc<Dialer>) -> Self {
        Self::new(peer, dialer, &Arc::default())
    }

    /// A connection that was kept and is good for a request.
    fn kept(&self) -> Option<Connection> {
        self.pool.upgrade()?.take()
    }

    async fn connect(&self) -> Result<Connection> {
        let Some(Tls(peer)) = &self.tls else {
            let socket = Socket::connect(&self.dialer).await?;
            return Ok(Connection { socket, tls: None });
        };
        let plain = Arc::new(Plain { dialer: Arc::clone(&self.dialer), socket: Mutex::default() });
        let mut peer = peer.clone();
        peer.options.custom_l4 = Some(Arc::clone(&plain) as Arc<_>);
        let stream = TRANSPORT.new_stream(&peer).await?;
        if !matches!(stream.selected_alpn_proto(), None | Some(ALPN::H1)) {
            return Error::e_explain(ErrorType::ConnectError, "the app chose what it was not offered");
        }
        let socket = plain.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.or_err(ErrorType::InternalError, "TLS without a connection")?;
        Ok(Connection { socket, tls: Some(stream) })
    }

    /// Takes one back that is good for another request, for as long as its app says.
    fn take_back(&self, connection: Connection, said: Option<Duration>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.give(connection, said);
        }
    }
}

/// Connects for TLS, and remembers with what.
#[derive(Debug)]
struct Plain {
    dialer: Arc<Dialer>,
    socket: Mutex<Option<Socket>>,
}

#[async_trait]
impl Connect for Plain {
    async fn connect(&self, _: &PeerAddress) -> Result<PeerStream> {
        let socket = Socket::connect(&self.dialer).await?;
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.clone());
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

/// What one try of a request borrows.
#[derive(Debug)]
pub(crate) struct Loan {
    lender: Arc<Lender>,
    /// Of the request that it is for.
    client: Option<Arc<ExchangeControl>>,
    was_kept: AtomicBool,
    /// It gets a connection of its own.
    is_for_web_socket: bool,
}

impl Loan {
    pub(super) fn new(lender: Arc<Lender>, client: Option<Arc<ExchangeControl>>) -> Self {
        Self { lender, client, was_kept: AtomicBool::new(false), is_for_web_socket: false }
    }

    pub(super) fn for_web_socket(lender: Arc<Lender>, client: Option<Arc<ExchangeControl>>) -> Self {
        Self { is_for_web_socket: true, ..Self::new(lender, client) }
    }

    /// Whether the connection had served another request.
    pub(crate) fn was_kept(&self) -> bool {
        self.was_kept.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Connect for Loan {
    async fn connect(&self, _: &PeerAddress) -> Result<PeerStream> {
        let kept = if self.is_for_web_socket { None } else { self.lender.kept() };
        self.was_kept.store(kept.is_some(), Ordering::Relaxed);
        let connection = match kept {
            Some(kept) => kept,
            None => self.lender.connect().await?,
        };
        let patience = self.is_for_web_socket.then(Patience::default);
        let lent = Lent::new(connection, Arc::clone(&self.lender), self.client.clone(), patience);
        Ok(VirtualSocketStream::new(Box::new(lent)).into())
    }
}

#[cfg(test)]
mod tests;
