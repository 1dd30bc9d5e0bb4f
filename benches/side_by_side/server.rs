//! The proxies that are measured.

use crate::gateway::Gateway;
use crate::peers::Peer;

/// A proxy that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// A Pingora proxy that has nothing but an `upstream_peer`.
    Bare,
    /// Portcullis.
    Portcullis(Gateway),
    /// Another proxy.
    Peer(Peer),
}
