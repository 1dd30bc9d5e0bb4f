//! Accepting connections: how many at once, and how they end when the server does.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::l4::stream::Stream as SocketStream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::ShutdownWatch;
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::BACKLOG;
use super::connection::{ConnectionSettings, serve};
use super::watch::{ConnectionWatch, EndReason};
use super::{http2, tls_stream};
use crate::telemetry::metrics::Held;

/// How long to wait when the machine has no descriptors or memory left for another connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long a connection without a request is kept when the server stops.
const CLOSING_PAUSE: Duration = Duration::from_millis(500);

/// The connections that live now. Locked when one opens or closes, never for a request.
#[derive(Debug)]
pub(crate) struct Connections {
    live: Mutex<HashMap<u64, Arc<ConnectionWatch>>>,
    next_id: AtomicU64,
    max: AtomicUsize,
    none_left: Notify,
}

impl Connections {
    /// At most `max` at once, over all listeners.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = AtomicUsize::new(max);
        Arc::new(Self { live: Mutex::default(), next_id: AtomicU64::new(0), max, none_left: Notify::new() })
    }

    /// Sets how many may live at once, for those that come.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many live now.
    pub(crate) fn count(&self) -> usize {
        self.live().len()
    }

    /// Closes each after its next answer, and those that stay idle for [`CLOSING_PAUSE`] then. A client that is just sending
    /// a request on a connection, or has just opened it, so gets its answer.
    pub(crate) async fn close_gently(&self) {
        for watch in self.live().values() {
            watch.close_after_answer();
        }
        let _ = tokio::time::timeout(CLOSING_PAUSE, self.drained()).await;
        self.close_idle();
    }

    /// Closes the idle ones at once and the others after their answers.
    fn close_idle(&self) {
        for watch in self.live().values() {
            watch.close_when_idle();
        }
    }

    /// Fails the reads of all of them, which ends what they do.
    pub(crate) fn end_all(&self, reason: EndReason) {
        for watch in self.live().values() {
            watch.end(reason);
        }
    }

    /// Waits until none is left.
    pub(crate) async fn drained(&self) {
        loop {
            let none_left = self.none_left.notified();
            tokio::pin!(none_left);
            none_left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none_left.await;
        }
    }

    /// Counts a fresh one in, unless there are too many.
    fn admit(self: &Arc<Self>, watch: &Arc<ConnectionWatch>) -> Option<Admitted> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut live = self.live();
        if live.len() >= self.max.load(Ordering::Relaxed) {
            return None;
        }
        live.insert(id, Arc::clone(watch));
        Some(Admitted { connections: Arc::clone(self), id })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionWatch>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the living, given up when dropped: also by a panic.
struct Admitted {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let is_last = {
            let mut live = self.connections.live();
            live.remove(&self.id);
            live.is_empty()
        };
        if is_last {
            self.connections.none_left.notify_waiters();
        }
    }
}

/// What every listener's connections have in common.
#[derive(Debug)]
pub(crate) struct Front<A> {
    /// Serves a checked request.
    pub(crate) app: Arc<A>,
    /// The limits, as a fresh connection finds them.
    pub(crate) settings: Arc<ArcSwap<ConnectionSettings>>,
    /// Whom to wait for.
    pub(crate) connections: Arc<Connections>,
    /// Counts them where they are public.
    pub(crate) gauge: Option<&'static IntGauge>,
}

/// Accepts connections until `shutdown` turns true, and then tells those that live to close: see
/// [`Connections::close_gently`].
/// Each is a task of its own: a panic in one ends that one.
///
/// With `tls` they begin with its handshake.
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
            // An error means that whoever could shut down is gone.
            _ = shutdown.wait_for(|&is_shutting_down| is_shutting_down) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => open(stream, peer, tls.as_ref(), &front),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    // Whoever is connected already is not turned away.
    if let Ok(listener) = listener.into_std() {
        // No more than there were: where another process has taken over, new ones never cease.
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

/// The client left before it was accepted; the next one is not concerned.
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
    let watch = Arc::new(ConnectionWatch::new(peer, tls.is_some()));
    let Some(admitted) = front.connections.admit(&watch) else {
        tracing::debug!(%peer, "too many connections");
        return;
    };
    let front = Arc::clone(front);
    let tls = tls.cloned();
    tokio::spawn(async move {
        let _admitted = admitted;
        let _counted = front.gauge.map(Held::new);
        let settings = front.settings.load_full();
        let stream = pingora_stream(stream, peer);
        let Some(tls) = tls else {
            return serve(Box::new(stream), &front.app, &settings, watch).await;
        };
        let Some(stream) = tls_stream::accept(stream, tls, settings.header_timeout, &watch).await else {
            return;
        };
        if stream.is_http2() {
            http2::serve(Box::new(stream), &front.app, &settings, watch).await;
        } else {
            serve(Box::new(stream), &front.app, &settings, watch).await;
        }
    });
}

/// Pingora's stream over a socket, unbuffered: a connection's buffers are [`super::wire`]'s.
fn pingora_stream(stream: TcpStream, peer: SocketAddr) -> SocketStream {
    // Answers are written in whole segments; waiting for more (Nagle) only delays them.
    let _old_kernels_may_refuse = stream.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _first_to_set = digest.peer_addr.set(Some(peer.into()));
    let mut stream = SocketStream::from(stream);
    stream.set_socket_digest(digest);
    stream
}
