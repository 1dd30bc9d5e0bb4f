//! HTTP/2 to apps (RFC 9113): when it is used, its limits, and the failed requests that may be sent again.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use pingora_core::connectors::http::v2::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::l4::ext::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};

use crate::config;

/// The most requests at once on one connection to an app. Further requests open another connection.
const MAX_STREAMS: usize = 64;

/// The size up to which a body delays no other request, even if the app does not take it. Such bodies of all requests
/// on a connection together fit into the connection's least window (RFC 9113 section 6.9.2).
pub(crate) const HARMLESS_BODY: u64 = 65_535 / MAX_STREAMS as u64;

/// The number of bytes of an answer that an app may send ahead, if its client takes the answer slowly.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The number of bytes of answers on a whole connection that an app may send ahead. It exceeds what all streams
/// together may have, so that slow clients do not delay others. So it does not limit bytes, but it limits small frames.
/// `h2` sums up the bytes by which each frame that waits to be read is shorter than 256, and ends the connection if the
/// sum exceeds half of this number. So all streams may be full of frames of 8 bytes, which event streams and gRPC send.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// The number of bytes that other requests may have in front of one that waits for its turn on a connection. `h2` keeps
/// so many bytes of each request.
pub(crate) const AHEAD: u64 = MAX_STREAMS as u64 * 400 * 1024;

/// The time after which a silent connection takes no more requests. It carries many requests, so TCP's own time would
/// be too long. PING is not used for this, because servers of gRPC take frequent PINGs for an attack.
const SILENCE: Duration = Duration::from_secs(30);

/// Lets a peer speak HTTP/2 if the configuration says so: at once without TLS, and by ALPN with TLS.
pub(super) fn offer(peer: &mut HttpPeer, upstream: &config::Upstream, tls: &config::UpstreamTls) {
    match upstream {
        config::Upstream { h2c: true, .. } => peer.options.set_http_version(2, 2),
        config::Upstream { tls: true, .. } if tls.http2 => peer.options.set_http_version(2, 1),
        _ => return,
    }
    peer.options.max_h2_streams = MAX_STREAMS;
    peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
    peer.options.h2_connection_window_size = Some(CONNECTION_WINDOW);
    peer.options.tcp_keepalive = Some(TcpKeepalive {
        idle: SILENCE,
        interval: SILENCE / 3,
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: SILENCE,
    });
}

/// Lets a call of gRPC share its connection only with other calls. It can be long until an app takes the bytes of a
/// call.
pub(crate) fn share_with_calls(peer: &mut HttpPeer) {
    const GROUP: u64 = 4;
    peer.group_key ^= GROUP;
}

/// Gives a request a connection for itself, as over HTTP/1.1. Otherwise, an app that does not take one upload would
/// stop all other uploads on the connection. The window of a connection is often no larger than a stream's.
pub(crate) fn use_alone(peer: &mut HttpPeer) {
    /// Keeps connections for one request at a time apart from the others.
    const GROUP: u64 = 2;
    peer.options.max_h2_streams = 1;
    peer.group_key ^= GROUP;
}

/// Returns true if a peer may be spoken to in HTTP/2.
pub(crate) fn is_offered(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_max_http_version() == 2
}

/// Returns true if the app says by HTTP/2 that it has not processed a request. Then a request with any method may be
/// sent again (RFC 9113 section 8.7). This is so if the stream comes after the last one that the app's GOAWAY includes,
/// if the app refused the stream, or if it wants the request over HTTP/1.1.
pub(crate) fn was_not_processed(error: &Error) -> bool {
    let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    let may_go_again =
        matches!(cause.reason(), Some(h2::Reason::REFUSED_STREAM | h2::Reason::HTTP_1_1_REQUIRED));
    cause.is_remote() && (cause.is_go_away() || cause.is_reset() && may_go_again)
}

/// Returns true if the request failed on a kept connection of HTTP/2, and not while connecting.
pub(crate) fn is_stale(error: &Error) -> bool {
    *error.etype() == ErrorType::H2Error && error.root_cause().downcast_ref::<h2::Error>().is_some()
}

/// Returns true if the app has answered and only does not want the rest of the request (RFC 9113 section 8.1).
pub(crate) fn stops_upload(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| {
        cause.is_remote() && cause.is_reset() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// The connections of HTTP/2 that are kept. Requests use them without Pingora's proxying: see
/// `gateway/http2_upstream.rs`.
#[derive(Default)]
pub(crate) struct Connections(OnceLock<Connector>);

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// Opens a stream at a peer. Also returns true if its connection existed before. Returns `None` if the app has
    /// chosen HTTP/1.1.
    pub(crate) async fn open(&self, peer: &HttpPeer) -> Result<Option<(Http2Session, bool)>> {
        let connector = self.connector();
        if let Some(stream) = connector.reused_http_session(peer).await? {
            return Ok(Some((stream, true)));
        }
        match connector.new_http_session::<HttpPeer, ()>(peer).await? {
            HttpSession::H2(stream) => Ok(Some((stream, false))),
            _ => Ok(None),
        }
    }

    /// Ends the use of a stream. Its connection may serve other requests.
    pub(crate) fn close(&self, stream: Http2Session, peer: &HttpPeer) {
        self.connector().release_http_session(stream, peer, peer.options.idle_timeout);
    }

    fn connector(&self) -> &Connector {
        self.0.get_or_init(|| Connector::new(None))
    }
}
