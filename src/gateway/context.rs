//! The memory of a request from one of Pingora's phases to the next. Each part is for the code that may change it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::access::decision::Permit;
use crate::access::identity::Identity;
use crate::access::routes::Route;
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
pub struct Context {
    /// The facts that are known from its start. They change before the decision only.
    pub(crate) arrival: Arrival,
    /// The decision about it. Only the decision, and the work that follows from it, change this.
    pub(crate) decided: Decided,
    /// The things that go back to its client together with the answer.
    pub(crate) reply: Reply,
    /// Its way to the app. It changes while the request is connected to its app.
    pub(crate) to_app: ToApp,
    /// Its spans. `None` if traces are off.
    pub(crate) trace: Option<Box<RequestTrace>>,
}

/// The facts of a request that are known from its start.
pub(crate) struct Arrival {
    /// The state that it began with, and goes on with after a reload.
    pub(crate) state: Arc<State>,
    /// The time at which its head had been read.
    pub(crate) started: Instant,
    /// The connection that it came on.
    pub(crate) connection: Option<Arc<ExchangeControl>>,
    /// Tells whether its peer is a trusted proxy.
    pub(crate) is_from_proxy: bool,
    /// Its id, which the app's log, our log and the answer have.
    pub(crate) request_id: Option<HeaderValue>,
    /// The app that it is for.
    pub(crate) app: Option<Arc<App>>,
    /// Tells whether it asks for a WebSocket.
    pub(crate) websocket: bool,
    /// The client's address, if the request needs it for more than a look at the session.
    pub(crate) client: Option<IpAddr>,
}

/// The decision about a request, and its results.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// The route that it is on.
    pub(crate) route: Route,
    /// Its right to go to the app.
    pub(crate) permit: Option<Permit>,
    /// The reason why it is served here, if it is.
    pub(crate) served: Option<ReasonCode>,
    /// The user whom an endpoint of ours served.
    pub(crate) user: Option<Arc<Identity>>,
    /// Tokens that were refreshed for it.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// The newest refresh token of the session that was refreshed for it.
    pub(crate) session_key: Option<SessionKey>,
    /// Tells whether the request ends with its session.
    pub(crate) ends_with_session: bool,
}

/// The things that go back to the client of a request together with the answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// `Set-Cookie` headers for the final response, whether the app or Portcullis makes it: see [`Reply::cookies`].
    pub(crate) new_cookies: Option<NewCookies>,
    /// `Strict-Transport-Security`, if it is to be sent.
    pub(crate) hsts: Option<HeaderValue>,
    /// Tells whether a 1xx of the app has been sent to the client.
    pub(crate) had_interim: bool,
    refused: OnceLock<ReasonCode>,
    note: OnceLock<Box<str>>,
}

/// The way of a request to its app.
#[derive(Default)]
pub(crate) struct ToApp {
    /// An address that was chosen but is not used yet.
    pub(crate) peer: Option<Box<HttpPeer>>,
    /// The kind of connection that it takes.
    pub(crate) way: Option<Way>,
    /// The address that it goes to.
    pub(crate) address: Option<SocketAddr>,
    /// Addresses that could not be connected to.
    pub(crate) tried: Vec<SocketAddr>,
    /// The app's host name that is to be looked up before an address is chosen.
    pub(crate) look_up: Option<Arc<Name>>,
    /// The number of look-ups that were necessary.
    pub(crate) looked_up: usize,
    /// The number of times that it was sent again, or was to be sent on a connection that was no longer good.
    pub(crate) repeated: usize,
    /// The place that it waits for before it is tried again, because no descriptor was left.
    pub(crate) place: Option<Place>,
    /// Tells whether one of the addresses did not answer in time.
    pub(crate) connect_timed_out: bool,
}

/// A request that may go to its app, on its way there. The decision about it can no longer change.
pub(crate) struct Permitted<'a> {
    /// Its right to go there.
    pub(crate) permit: &'a Permit,
    /// The app.
    pub(crate) app: &'a Arc<App>,
    /// See [`Context::arrival`].
    pub(crate) arrival: &'a Arrival,
    /// See [`Context::decided`].
    pub(crate) decided: &'a Decided,
    /// See [`Context::reply`].
    pub(crate) reply: &'a mut Reply,
    /// See [`Context::to_app`].
    pub(crate) to_app: &'a mut ToApp,
    /// See [`Context::trace`].
    pub(crate) trace: &'a mut Option<Box<RequestTrace>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { decided, reply, .. } = self;
        let mut shown = formatter.debug_struct("Context");
        shown.field("decided", decided).field("reply", reply).finish_non_exhaustive()
    }
}

impl Context {
    /// Begins a request, with this state.
    pub(crate) fn new(state: Arc<State>, connection: Option<Arc<ExchangeControl>>) -> Self {
        let arrival = Arrival {
            state,
            started: Instant::now(),
            connection,
            is_from_proxy: false,
            request_id: None,
            app: None,
            websocket: false,
            client: None,
        };
        let (decided, reply, to_app) = (Decided::default(), Reply::default(), ToApp::default());
        Self { arrival, decided, reply, to_app, trace: None }
    }

    /// Returns the reason why the request was refused or, if it was not refused, why it passed.
    pub(crate) fn reason(&self) -> Option<ReasonCode> {
        self.reply.refused.get().copied().or_else(|| self.decided.reason())
    }

    /// Returns the request on its way to the app. Fails if nothing permits it to go there.
    pub(crate) fn permitted(&mut self) -> Result<Permitted<'_>> {
        let Self { arrival, decided, reply, to_app, trace } = self;
        let (arrival, decided) = (&*arrival, &*decided);
        match (&decided.permit, &arrival.app) {
            (Some(permit), Some(app)) => {
                Ok(Permitted { permit, app, arrival, decided, reply, to_app, trace })
            }
            _ => Error::e_explain(ErrorType::InternalError, "nothing permits the request to go to an app"),
        }
    }
}

impl Arrival {
    /// Returns the client's address. Forwarding fields count only as far as proxies are trusted.
    pub(crate) fn client_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let connection = self.connection.as_ref()?;
        let proxies = &self.state.trusted_proxies;
        Some(Origin::new(headers, connection.peer(), connection.tls(), proxies).client())
    }

    /// Returns the cause for a line of the audit log.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Some(Cause { request_id: self.request_id.clone()?, address: self.client })
    }

    /// If the server is stopping, lets the response say that its connection takes no further request.
    pub(crate) fn close_while_stopping(&self, exchange: &mut Session) {
        if self.connection.as_ref().is_some_and(|connection| connection.is_closing()) {
            exchange.set_keepalive(None);
        }
    }
}

impl Decided {
    /// Returns the identity that the request belongs to.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.permit.as_ref().and_then(Permit::identity).or(self.user.as_ref())
    }

    /// Returns the reason why the request passes or is served.
    fn reason(&self) -> Option<ReasonCode> {
        self.permit.as_ref().map(Permit::reason).or(self.served)
    }
}

impl Reply {
    /// Returns the cookies for the final response, whose head goes out now. Returns none if they are no longer the
    /// newest, or if they would bring back a session that has ended in the meantime or a JWT that was revoked: see
    /// `session/cookie_changes.rs`.
    pub(crate) fn cookies(&self, arrival: &Arrival, decided: &Decided) -> &[HeaderValue] {
        let (Some(cookies), Some(app)) = (&self.new_cookies, &arrival.app) else { return &[] };
        let sessions = &arrival.state.sessions;
        if decided.tokens.as_ref().is_some_and(|tokens| sessions.is_revoked(&tokens.identity)) {
            return &[];
        }
        let began = tokio::time::Instant::from_std(arrival.started);
        let asker = Asker { client_number: app.rules().client_number, client: arrival.client, began };
        if sessions.may_change_cookies(cookies, &asker) { &cookies.headers } else { &[] }
    }

    /// Notes why the request is refused. The first reason counts, because it is the most precise one.
    pub(crate) fn refuse(&self, reason: ReasonCode) {
        let _an_earlier_one_stays = self.refused.set(reason);
    }

    /// Keeps a note, which goes into the log together with the reason.
    pub(crate) fn note(&self, note: Box<str>) {
        let _an_earlier_one_stays = self.note.set(note);
    }

    /// Returns the comparison by which the request was refused, if there was one.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.note.get().map(|note| &**note)
    }

    /// Tells whether the request was answered with a problem.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.get().is_some_and(|reason| *reason != ReasonCode::ClientGone)
    }
}

impl ToApp {
    /// Tells whether the connection to the app had served another request.
    pub(crate) fn is_on_a_kept_connection(&self) -> bool {
        matches!(&self.way, Some(Way::Http1(attempt)) if attempt.was_kept())
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
        let reply = Reply { new_cookies: Some(new_cookies), ..Reply::default() };
        assert!(!format!("{reply:?}").contains("canary"), "{reply:?}");
    }
}
