//! What is remembered of a request from one of Pingora's phases to the next.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use pingora_http::RequestHeader;

use crate::access::identity::Identity;
use crate::gateway::state::{App, State};
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
    /// `Set-Cookie` headers for its final response, whoever makes that: see `Context::cookies`.
    pub new_cookies: Vec<HeaderValue>,
    /// Upstream addresses that could not be connected to.
    pub tried: Vec<SocketAddr>,
    /// It asks for a WebSocket.
    pub websocket: bool,
}

impl Context {
    /// The cookies for the final response to `request`. Where the session was refreshed and has been ended since, as by a
    /// logout in another tab while the app took its time, the new tokens must not bring it back.
    pub(crate) fn cookies(&self, state: &State, request: &RequestHeader) -> Vec<HeaderValue> {
        let (Some(tokens), Some(app)) = (&self.tokens, &self.app) else { return self.new_cookies.clone() };
        let presented = app.rules().cookies.read(&request.headers);
        let newest = tokens.refresh_token.as_ref().map(|token| token.as_str());
        let mut known = [presented.refresh_token.as_deref(), newest].into_iter().flatten();
        if known.any(|token| state.sessions.has_ended(&app.session, token)) {
            return app.cookies.clear(presented.presented);
        }
        self.new_cookies.clone()
    }
}
