//! Gives Pingora connections of HTTP/1.1 to apps, each for one request and its answer. A connection is a kept one or a
//! new one.
//!
//! There is one rule: **a connection serves another request only if both the request and its answer ended cleanly on
//! it.** Pingora never gets to keep a connection. In whatever way Pingora drops it, it goes back to [`Pool`] if
//! [`AppExchange`] has seen both ends. Otherwise it is closed. So the code need not consider all the ways in which an
//! exchange can end.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream as PeerStream;
use pingora_core::protocols::l4::virt::VirtualSocketStream;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OkOrErr, Result};

use super::app_exchange::AppExchange;
use super::connection::{Connection, Socket};
use super::connection_pool::Pool;
use crate::connection::exchange_control::ExchangeControl;
use crate::upstream::connect::Dialer;
use crate::upstream::web_socket::Patience;

/// Makes connections with TLS, and keeps none. It reads the system's certificate authorities once.
static TRANSPORT: LazyLock<TransportConnector> = LazyLock::new(|| TransportConnector::new(None));

/// Gives exchanges their connections to one address.
#[derive(Debug)]
pub(crate) struct Connector {
    dialer: Arc<Dialer>,
    /// The settings of TLS, if the app speaks it there.
    tls: Option<Tls>,
    /// The address owns the pool. If the address no longer exists, no connection is kept.
    pool: Weak<Pool>,
}

struct Tls(HttpPeer);

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tls").finish_non_exhaustive()
    }
}

impl Connector {
    /// Makes a connector for a peer whose connections speak HTTP/1.1, whatever else the peer offers.
    pub(crate) fn new(peer: &HttpPeer, dialer: Arc<Dialer>, pool: &Arc<Pool>) -> Self {
        let tls = peer.is_tls().then(|| {
            let mut peer = peer.clone();
            peer.options.set_http_version(1, 1);
            peer.options.tcp_keepalive = None;
            Tls(peer)
        });
        Self { dialer, tls, pool: Arc::downgrade(pool) }
    }

    /// Makes a connector only for WebSockets, for a peer that otherwise speaks HTTP/2.
    pub(crate) fn for_web_sockets(peer: &HttpPeer, dialer: Arc<Dialer>) -> Self {
        Self::new(peer, dialer, &Arc::default())
    }

    /// Returns a connection that was kept and is good for a request.
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
}

/// Connects for TLS, and remembers the socket.
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

/// One try of a request, which gets a connection for itself.
#[derive(Debug)]
pub(crate) struct Attempt {
    connector: Arc<Connector>,
    /// The control of the client's request.
    client: Option<Arc<ExchangeControl>>,
    was_kept: AtomicBool,
    /// A WebSocket gets a new connection for itself.
    is_for_web_socket: bool,
}

impl Attempt {
    pub(crate) fn new(connector: Arc<Connector>, client: Option<Arc<ExchangeControl>>) -> Self {
        Self { connector, client, was_kept: AtomicBool::new(false), is_for_web_socket: false }
    }

    pub(crate) fn for_web_socket(connector: Arc<Connector>, client: Option<Arc<ExchangeControl>>) -> Self {
        Self { is_for_web_socket: true, ..Self::new(connector, client) }
    }

    /// Returns true if the connection had served another request.
    pub(crate) fn was_kept(&self) -> bool {
        self.was_kept.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Connect for Attempt {
    async fn connect(&self, _: &PeerAddress) -> Result<PeerStream> {
        let kept = if self.is_for_web_socket { None } else { self.connector.kept() };
        self.was_kept.store(kept.is_some(), Ordering::Relaxed);
        let connection = match kept {
            Some(kept) => kept,
            None => self.connector.connect().await?,
        };
        let patience = self.is_for_web_socket.then(Patience::default);
        let exchange =
            AppExchange::new(connection, Weak::clone(&self.connector.pool), self.client.clone(), patience);
        Ok(VirtualSocketStream::new(Box::new(exchange)).into())
    }
}

/// Gives a peer a connection for a WebSocket, without the connector of its address.
#[cfg(test)]
pub(crate) fn prepare_for_web_socket(peer: &mut HttpPeer, dialer: Arc<Dialer>) {
    let connector = Arc::new(Connector::for_web_sockets(peer, dialer));
    peer.options.custom_l4 = Some(Arc::new(Attempt::for_web_socket(connector, None)) as Arc<_>);
}

#[cfg(test)]
mod tests;
