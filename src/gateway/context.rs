//! What is remembered of a request from one of Pingora's phases to the next.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::Session;

use crate::access::identity::Identity;
use crate::answer::reason::ReasonCode;
use crate::connection::connection_limit::Place;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::forwarding::Origin;
use crate::gateway::state::{App, State};
use crate::session::{Asker, NewCookies, SessionKey, Tokens};
use crate::telemetry::audit::Cause;
use crate::telemetry::traces::RequestTrace;
use crate::upstream::{Name, Way};

/// One request.
#[derive(Default)]
pub struct Context {
    /// What it began with, and goes on with after a reload.
    pub(crate) state: Option<Arc<State>>,
    /// The connection it came on.
    pub(crate) connection: Option<Arc<ExchangeControl>>,
    /// Its peer is a trusted proxy.
    pub(crate) is_from_proxy: bool,
    /// The app that it is for.
    pub app: Option<Arc<App>>,
    /// Whose it is; what becomes identity headers.
    pub identity: Option<Arc<Identity>>,
    /// Tokens that were refreshed for it.
    pub tokens: Option<Arc<Tokens>>,
    /// `Set-Cookie` headers for its final response, whoever makes that: see `Context::cookies`.
    pub(crate) new_cookies: Option<NewCookies>,
    /// Where the browser is, for what takes more than to look at its session.
    pub(crate) client: Option<IpAddr>,
    /// The newest refresh token of the session that was refreshed for it.
    pub(crate) session_key: Option<SessionKey>,
    /// Chosen for it already, and not used yet.
    pub(crate) peer: Option<Box<HttpPeer>>,
    /// How it goes there.
    pub(crate) way: Option<Way>,
    /// Upstream addresses that could not be connected to.
    pub tried: Vec<SocketAddr>,
    /// The app's host name that is to be looked up before an address is chosen.
    pub(crate) look_up: Option<Arc<Name>>,
    /// How often that was necessary.
    pub(crate) looked_up: usize,
    /// How often it was sent again, or to be sent on a connection that was no longer good.
    pub(crate) repeated: usize,
    /// What it waits for before it is tried again: no descriptor was left.
    pub(crate) place: Option<Place>,
    /// One of them did not answer in time.
    pub connect_timed_out: bool,
    /// `Strict-Transport-Security`, where it is to be sent.
    pub(crate) hsts: Option<HeaderValue>,
    /// A 1xx of the app has gone out.
    pub(crate) had_interim: bool,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// It ends with its session.
    pub(crate) is_watched: bool,
    /// What it is called: in the app's log, in ours, in the answer.
    pub(crate) request_id: Option<HeaderValue>,
    /// When its head had been read.
    pub(crate) started: Option<Instant>,
    /// Which route it is on: see `App::route`.
    pub(crate) route: usize,
    /// Why it may pass.
    pub(crate) passed: Option<ReasonCode>,
    /// The address of the app that it goes to.
    pub(crate) upstream: Option<SocketAddr>,
    /// Its spans; `None`: traces are off.
    pub(crate) trace: Option<Box<RequestTrace>>,
    refused: OnceLock<ReasonCode>,
    note: OnceLock<Box<str>>,
}

impl std::fmt::Debug for Context {
    /// Without the cookies, whose values are the session.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, tokens, new_cookies, tried, connect_timed_out, websocket, .. } = self;
        let mut shown = formatter.debug_struct("Context");
        shown.field("identity", identity).field("tokens", tokens).field("new_cookies", new_cookies);
        shown
            .field("tried", tried)
            .field("connect_timed_out", connect_timed_out)
            .field("websocket", websocket);
        shown.finish_non_exhaustive()
    }
}

impl Context {
    /// A request whose head was read at this time.
    pub(crate) fn starting(now: Instant) -> Self {
        Self { started: Some(now), ..Self::default() }
    }

    /// Notes why it is refused. The first reason counts: it is the most precise one.
    pub(crate) fn refuse(&self, reason: ReasonCode) {
        let _an_earlier_one_stays = self.refused.set(reason);
    }

    /// Notes what the log is told beside the reason.
    pub(crate) fn note(&self, note: Box<str>) {
        let _an_earlier_one_stays = self.note.set(note);
    }

    /// What was compared with what, where it is refused.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.note.get().map(|note| &**note)
    }

    /// Whether it was answered with a problem.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.get().is_some_and(|reason| *reason != ReasonCode::ClientGone)
    }

    /// Why it was refused, or else why it passed.
    pub(crate) fn reason(&self) -> Option<ReasonCode> {
        self.refused.get().copied().or(self.passed)
    }

    /// The client's address, as far as proxies are trusted.
    pub(crate) fn client_address(&self, state: &State, headers: &HeaderMap) -> Option<IpAddr> {
        let connection = self.connection.as_ref()?;
        Some(Origin::new(headers, connection.peer(), connection.tls(), &state.trusted_proxies).client())
    }

    /// Whether its connection to the app had served another request.
    pub(crate) fn is_on_a_kept_connection(&self) -> bool {
        matches!(&self.way, Some(Way::Http1(attempt)) if attempt.was_kept())
    }

    /// Who is behind what is written into the audit log.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Some(Cause { request_id: self.request_id.clone()?, address: self.client })
    }

    /// Lets the response say that its connection takes no further request while the server stops.
    pub(crate) fn close_while_stopping(&self, session: &mut Session) {
        if self.connection.as_ref().is_some_and(|connection| connection.is_closing()) {
            session.set_keepalive(None);
        }
    }

    /// The cookies for the final response, whose head goes out now. None where they are no longer the newest, or where they
    /// would bring back a session that was ended, or a JWT that was revoked, meanwhile: see `session/cookie_changes.rs`.
    pub(crate) fn cookies(&self, state: &State) -> &[HeaderValue] {
        let Some(cookies) = &self.new_cookies else { return &[] };
        if self.tokens.as_ref().is_some_and(|tokens| state.sessions.is_revoked(&tokens.identity)) {
            return &[];
        }
        let began = self.started.map_or_else(tokio::time::Instant::now, tokio::time::Instant::from_std);
        let app = self.app.as_ref().map_or(0, |app| app.rules().sessions);
        let asker = Asker { app, client: self.client, began };
        if state.sessions.may_change_cookies(cookies, &asker) { &cookies.headers } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Change;

    #[test]
    fn cookies_are_not_shown() {
        let cookie = HeaderValue::from_static("__Host-access_token=canary; Path=/");
        let new_cookies = NewCookies { headers: vec![cookie].into(), change: Change::Clear, before: None };
        let context = Context { new_cookies: Some(new_cookies), ..Context::default() };
        assert!(!format!("{context:?}").contains("canary"), "{context:?}");
    }
}
