//! The connections through which a request may reach an address. A request gets a connection of HTTP/1.1 for itself, or
//! shares one of HTTP/2. A WebSocket gets a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;

use super::connect::Dialer;
use super::http1::connection_pool::Pool;
use super::http1::connector::{Attempt, Connector};
use crate::connection::exchange_control::ExchangeControl;

/// The time for which a server that has chosen HTTP/1.1 is not asked again.
const CHOICE_LIFETIME: Duration = Duration::from_secs(600);

/// The kind of connection that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Anything,
    /// HTTP/2, unless the address gets only HTTP/1.1. An app that may choose is asked, even if it chose HTTP/1.1
    /// recently.
    Http2,
    /// HTTP/1.1, unless the address gets only HTTP/2. An app that may choose is not asked.
    Http1,
    WebSocket,
}

/// The kind of connection through which a request reaches its peer.
#[derive(Debug)]
pub(crate) enum Way {
    /// Through a connection of HTTP/1.1 that the request has for itself.
    Http1(Arc<Attempt>),
    /// The app chooses. Pingora keeps the connection if the choice is HTTP/2.
    Offer(Arc<Choice>),
    /// Any other connection.
    Other,
}

/// The choice of an app that may choose HTTP/2.
#[derive(Debug)]
pub(crate) struct Choice {
    started: Instant,
    /// Until this instant the app is not asked again. In milliseconds since `started`.
    http1_until: AtomicU64,
}

impl Choice {
    fn new() -> Self {
        Self { started: Instant::now(), http1_until: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that the app chose HTTP/1.1. It is not asked again for a while.
    pub(crate) fn was_http1(&self) {
        let lifetime = u64::try_from(CHOICE_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        self.http1_until.store(self.now().saturating_add(lifetime), Ordering::Relaxed);
    }

    fn is_http1(&self) -> bool {
        let until = self.http1_until.load(Ordering::Relaxed);
        until != 0 && self.now() < until
    }
}

/// The connections to one address that a request may use, and the idle ones of HTTP/1.1.
pub(super) struct Ways {
    /// The peer as configured, for connections that Pingora keeps.
    configured: HttpPeer,
    /// The peer for connections of HTTP/1.1. The connector knows how to make them.
    bare: HttpPeer,
    /// `None` if the address gets only HTTP/2, except for WebSockets.
    connector: Option<Arc<Connector>>,
    web_sockets: Arc<Connector>,
    pool: Arc<Pool>,
    /// Present if the app may choose.
    choice: Option<Arc<Choice>>,
}

impl Ways {
    /// Takes a peer that is complete, except for the way to make connections to it.
    pub(super) fn new(mut configured: HttpPeer, dialer: &Arc<Dialer>) -> Self {
        let alpn = &configured.options.alpn;
        let (least, most) = (alpn.get_min_http_version(), alpn.get_max_http_version());
        // To Pingora it looks like a connection without TLS.
        let mut bare = HttpPeer::new(configured._address.clone(), false, String::new());
        bare.options.connection_timeout = configured.options.connection_timeout;
        bare.options.total_connection_timeout = configured.options.total_connection_timeout;
        let pool = Arc::default();
        let connector =
            (least == 1).then(|| Arc::new(Connector::new(&configured, Arc::clone(dialer), &pool)));
        let choice = (least == 1 && most == 2).then(|| Arc::new(Choice::new()));
        let web_sockets = Arc::new(Connector::for_web_sockets(&configured, Arc::clone(dialer)));
        configured.options.custom_l4 = Some(Arc::clone(dialer) as Arc<_>);
        Self { configured, bare, connector, web_sockets, pool, choice }
    }

    pub(super) fn configured(&self) -> &HttpPeer {
        &self.configured
    }

    /// Returns a peer for a request. `client` is the control of the connection on which the request came.
    pub(super) fn peer(&self, needs: Needs, client: Option<&Arc<ExchangeControl>>) -> (Box<HttpPeer>, Way) {
        if needs == Needs::WebSocket {
            let connector = self.connector.as_ref().unwrap_or(&self.web_sockets);
            return self.http1(Attempt::for_web_socket(Arc::clone(connector), client.cloned()));
        }
        let offer = self.choice.as_ref().filter(|choice| match needs {
            Needs::Http2 => true,
            Needs::Anything => !choice.is_http1(),
            Needs::Http1 | Needs::WebSocket => false,
        });
        if let Some(choice) = offer {
            return (Box::new(self.configured.clone()), Way::Offer(Arc::clone(choice)));
        }
        let Some(connector) = &self.connector else { return (Box::new(self.configured.clone()), Way::Other) };
        self.http1(Attempt::new(Arc::clone(connector), client.cloned()))
    }

    /// Returns a peer whose connection we make ourselves or take from the pool.
    fn http1(&self, attempt: Attempt) -> (Box<HttpPeer>, Way) {
        let attempt = Arc::new(attempt);
        let mut peer = Box::new(self.bare.clone());
        peer.options.custom_l4 = Some(Arc::clone(&attempt) as Arc<_>);
        (peer, Way::Http1(attempt))
    }

    /// Closes idle connections whose time is over.
    pub(super) fn sweep(&self) {
        self.pool.sweep();
    }
}
