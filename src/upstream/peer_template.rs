//! The settings of all connections to an upstream: time-outs, TLS and its trust, and protocols.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};

use super::http2;
use crate::config;

/// The time for which an idle connection of HTTP/2 to an app is kept.
const POOLED_CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// Returns the settings that all connections to an upstream share.
pub(super) fn template(upstream: &config::Upstream, app: &config::App) -> HttpPeer {
    let timeouts = &app.timeouts;
    let placeholder = SocketAddr::from(([127, 0, 0, 1], upstream.port));
    // Only TLS needs the name. An empty name costs no copy for each request.
    let server_name = if upstream.tls { upstream.host.clone() } else { String::new() };
    let mut peer = HttpPeer::new(placeholder, upstream.tls, server_name);
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    // The control of the client's exchange, and `app_stall.rs`, limit the time of reads and writes. Pingora's own
    // time-outs of a read do not distinguish a head from a body, and do not see what the app takes meanwhile.
    peer.options.idle_timeout = Some(POOLED_CONNECTION_LIFETIME);
    set_trust(&mut peer, &app.upstream_tls);
    http2::offer(&mut peer, upstream, &app.upstream_tls);
    peer
}

/// Sets how a TLS upstream is verified.
fn set_trust(peer: &mut HttpPeer, tls: &config::UpstreamTls) {
    if let Some(name) = &tls.server_name {
        peer.sni.clone_from(name);
    }
    if let Some(config::Authorities(certificates)) = &tls.ca {
        let wrapped = certificates.iter().map(|der| WrappedX509::new(der.clone(), parse_x509));
        peer.options.ca = Some(wrapped.collect());
        // A connection that one authority has vouched for must not serve an app that trusts another authority.
        let mut hasher = DefaultHasher::new();
        certificates.hash(&mut hasher);
        peer.group_key = hasher.finish();
    }
}
