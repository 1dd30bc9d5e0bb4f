//! What is remembered of a request from one of Pingora's phases to the next.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;

use crate::access::identity::Identity;
use crate::gateway::state::App;
use crate::server::watch::ConnectionWatch;
use crate::session::Tokens;

/// One request.
#[derive(Debug, Default)]
pub struct Context {
    /// The connection it came on.
    pub(crate) connection: Option<Arc<ConnectionWatch>>,
    /// The app that it is for.
    pub app: Option<Arc<App>>,
    /// Whose it is; what becomes identity headers.
    pub identity: Option<Arc<Identity>>,
    /// Tokens that were refreshed for it.
    pub tokens: Option<Arc<Tokens>>,
    /// `Set-Cookie` headers for its final response, whoever makes that.
    pub new_cookies: Vec<HeaderValue>,
    /// Upstream addresses that could not be connected to.
    pub tried: Vec<SocketAddr>,
    /// It asks for a WebSocket.
    pub websocket: bool,
}
