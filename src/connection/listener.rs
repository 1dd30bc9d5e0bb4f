//! Accepts connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::l4::stream::Stream as SocketStream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::ShutdownWatch;
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::http2;
use crate::connection::connection_limit::{Connections, Place};
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::http1::refused_head::refuse_without_tls;
use crate::connection::http1::serve_connection::serve;
use crate::connection::tls::stream;
use crate::system::descriptors::{are_reserved, are_scarce, is_out_of_descriptors};
use crate::telemetry::metrics::{Held, METRICS};
use crate::telemetry::rate_limited_log::Seldom;

/// The number of connections that may wait to be accepted.
pub(crate) const BACKLOG: u32 = 4096;

/// The pause if the machine has no descriptors or memory left for another connection, and no connection makes room.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Limits the log lines about a lack of descriptors or memory.
static LINES: Seldom = Seldom::new(1);

/// The parts that the connections of all listeners share.
#[derive(Debug)]
pub(crate) struct Front<A> {
    /// Serves a checked request.
    pub(crate) app: Arc<A>,
    /// The limits for new connections.
    pub(crate) settings: Arc<ArcSwap<ConnectionSettings>>,
    /// The open connections, which a stop waits for.
    pub(crate) connections: Arc<Connections>,
    /// Other connections that also make room if descriptors run out. A listener that has them may also use the
    /// descriptors that are kept in reserve.
    pub(crate) others: Option<Arc<Connections>>,
    /// Counts the connections, if they are public.
    pub(crate) gauge: Option<&'static IntGauge>,
}

impl<A> Front<A> {
    fn make_room(&self) -> Option<Place> {
        self.connections.make_room().or_else(|| self.others.as_ref()?.make_room())
    }

    /// Returns true if there is a descriptor for a new connection, or another connection makes room.
    fn has_descriptor(&self, stream: &TcpStream) -> bool {
        // The request on it will need another descriptor, for the connection to the app.
        !are_scarce(stream) || self.make_room().is_some() || self.others.is_some() || !are_reserved(stream)
    }
}

/// Accepts connections until `shutdown` turns true, and then tells the open ones to close: see
/// [`Connections::close_gently`]. Each connection is a task of its own, so a panic in one ends only that one.
///
/// With `tls`, connections begin with the TLS handshake.
pub(crate) async fn accept<A>(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    front: Arc<Front<A>>,
    mut shutdown: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the sender, which could shut down, no longer exists.
            _ = shutdown.wait_for(|&is_shutting_down| is_shutting_down) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if front.has_descriptor(&stream) {
                    open(stream, peer, tls.as_ref(), &front);
                } else {
                    METRICS.process.connections_refused.inc();
                    if let Some(unlogged) = LINES.turn() {
                        let detail = "the last descriptors are kept for the admin listener and the provider";
                        tracing::warn!(detail, unlogged, "no connection can be accepted");
                    }
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let place = if is_out_of_descriptors(&error) { front.make_room() } else { None };
                if let Some(unlogged) = LINES.turn() {
                    tracing::warn!(%error, has_made_room = place.is_some(), unlogged, "cannot accept connections");
                }
                match place {
                    Some(place) => place.wait().await,
                    None => tokio::time::sleep(ACCEPT_BACKOFF).await,
                }
            }
        }
    }
    // A client that is connected already is not turned away.
    if let Ok(listener) = listener.into_std() {
        // Only as many as the queue holds. If another process has taken over, new connections never cease.
        for (stream, peer) in (0..BACKLOG).map_while(|_| listener.accept().ok()) {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                open(stream, peer, tls.as_ref(), &front);
            }
        }
    }
    front.connections.close_gently().await;
}

/// Returns true if the error concerns only one connection: the client left before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn open<A>(stream: TcpStream, peer: SocketAddr, tls: Option<&Arc<ServerConfig>>, front: &Arc<Front<A>>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let control = Arc::new(ExchangeControl::new(peer, tls.is_some()));
    let Some(admitted) = front.connections.admit(&control) else {
        METRICS.process.connections_refused.inc();
        tracing::debug!(%peer, "too many connections");
        return;
    };
    let front = Arc::clone(front);
    let tls = tls.cloned();
    tokio::spawn(async move {
        let _admitted = admitted;
        let _counted = front.gauge.map(Held::new);
        let settings = front.settings.load_full();
        let Some(tls) = tls else {
            let stream = pingora_stream(stream, peer);
            return serve(Box::new(stream), &front.app, &settings, control).await;
        };
        let until = Instant::now() + settings.header_timeout;
        let Some(speaks_tls) = stream::is_spoken(&stream, until, &control).await else { return };
        let stream = pingora_stream(stream, peer);
        if !speaks_tls {
            return refuse_without_tls(Box::new(stream), &settings, until, control).await;
        }
        let Some(stream) = stream::accept(stream, tls, until, &control).await else { return };
        if stream.is_http2() {
            http2::serve_connection::serve(Box::new(stream), &front.app, &settings, control).await;
        } else {
            serve(Box::new(stream), &front.app, &settings, control).await;
        }
    });
}

/// Makes Pingora's stream over a socket, without buffers. [`crate::connection::http1::client_connection`] has the
/// buffers of a connection.
fn pingora_stream(stream: TcpStream, peer: SocketAddr) -> SocketStream {
    // Answers are written in whole segments. Waiting for more (Nagle's algorithm) would only delay them.
    let _old_kernels_may_refuse = stream.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _first_to_set = digest.peer_addr.set(Some(peer.into()));
    let mut stream = SocketStream::from(stream);
    stream.set_socket_digest(digest);
    stream
}
