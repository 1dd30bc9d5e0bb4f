//! HTTP/2 to apps (RFC 9113): when it is spoken, within which bounds, and which failed requests may be sent again.

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

/// Requests at once on one connection to an app; further ones open another.
const MAX_STREAMS: usize = 64;

/// Bytes of a body that holds up nobody else though the app does not take it: those of all requests on a connection
/// together fit into the least window that it has (RFC 9113 section 6.9.2).
pub(crate) const HARMLESS_BODY: u64 = 65_535 / MAX_STREAMS as u64;

/// Bytes of an answer that an app may send ahead of a client that takes it slowly.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same on all streams of a connection: more than all of them may have, so that slow clients hold up nobody else.
/// It bounds no bytes, then, but frames: `h2` ends a connection where those that wait to be read lack half of this to
/// 256 bytes, in all. So all streams may be full of frames of 8 bytes, as event streams and gRPC have them.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Bytes that other requests may have in front of one that waits for its turn on a connection: `h2` keeps so much of
/// each.
pub(crate) const AHEAD: u64 = MAX_STREAMS as u64 * 400 * 1024;

/// A connection that carries many requests and has gone silent must not take more of them for as long as TCP waits by
/// itself. Not by PING: servers of gRPC take frequent ones for an attack.
const SILENCE: Duration = Duration::from_secs(30);

/// Lets a peer speak HTTP/2 where the configuration says so: at once without TLS, by ALPN with it.
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

/// Lets a call of gRPC share its connection with other calls alone. What a call streams may not be taken for long.
pub(crate) fn share_with_calls(peer: &mut HttpPeer) {
    const GROUP: u64 = 4;
    peer.group_key ^= GROUP;
}

/// Lets a request have its connection for itself, as over HTTP/1.1. An app that does not take one upload would stop all
/// others on the same connection: the window of that is often no larger than a stream's.
pub(crate) fn use_alone(peer: &mut HttpPeer) {
    /// Connections for one request at a time are none for others.
    const GROUP: u64 = 2;
    peer.options.max_h2_streams = 1;
    peer.group_key ^= GROUP;
}

/// Returns true if a peer may be spoken to in HTTP/2.
pub(crate) fn is_offered(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_max_http_version() == 2
}

/// Returns true if the app says by HTTP/2 that it has not processed a request, so that any method may be sent again
/// (RFC 9113 section 8.7): the stream is beyond what its GOAWAY still answers, or it was refused, or is to come over
/// HTTP/1.1.
pub(crate) fn was_not_processed(error: &Error) -> bool {
    let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    let may_go_again =
        matches!(cause.reason(), Some(h2::Reason::REFUSED_STREAM | h2::Reason::HTTP_1_1_REQUIRED));
    cause.is_remote() && (cause.is_go_away() || cause.is_reset() && may_go_again)
}

/// Returns true if what failed is a request's turn on a connection of HTTP/2 that was kept, not the connecting.
pub(crate) fn is_stale(error: &Error) -> bool {
    *error.etype() == ErrorType::H2Error && error.root_cause().downcast_ref::<h2::Error>().is_some()
}

/// Returns true if the app has answered and only wants no more of the request (RFC 9113 section 8.1).
pub(crate) fn stops_upload(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| {
        cause.is_remote() && cause.is_reset() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// The connections of HTTP/2 that are kept. Requests take them without Pingora's proxying: see
/// `gateway/http2_upstream.rs`.
#[derive(Default)]
pub(crate) struct Connections(OnceLock<Connector>);

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// A stream at a peer, and whether its connection was there already. `None`: it has chosen HTTP/1.1.
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

    /// The stream is over; its connection may serve others.
    pub(crate) fn close(&self, stream: Http2Session, peer: &HttpPeer) {
        self.connector().release_http_session(stream, peer, peer.options.idle_timeout);
    }

    fn connector(&self) -> &Connector {
        self.0.get_or_init(|| Connector::new(None))
    }
}
