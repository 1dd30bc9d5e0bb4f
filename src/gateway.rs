//! The one place that knows Pingora's phases: a request's way through the gateway.

mod answer;
mod backchannel_logout;
mod cdn_loop;
mod context;
mod current_state;
mod early_answer;
mod endpoints;
mod expect;
mod failure;
mod fusionauth_webhook;
mod hop_by_hop;
mod http2_upstream;
pub(crate) mod open_streams;
mod plain_headers;
mod request_body;
mod response_head;
mod response_headers;
mod retry;
mod secure_transport;
mod session_cookies;
mod session_step;
mod state;
mod trailers;
mod upstream_request;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, header};
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use tracing::{field, warn};

use crate::access::refusal_notes;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::connection::connection_limit::Connections;
use crate::connection::exchange_control;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::forwarding::is_trusted;
use crate::syntax::{grpc, web_socket};
use crate::system::unreachable::{Side, Unreachable};
use crate::telemetry::access_log;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::request_id;
use crate::telemetry::traces::RequestTrace;
use crate::upstream::{Needs, http2};

pub use context::Context;
pub use current_state::CurrentState;
pub(crate) use state::Parts;
pub use state::{App, State};

use crate::gateway::cdn_loop::Mark;
use answer::Answer;

/// Addresses of one app that a request tries to connect to.
const MAX_CONNECT_ATTEMPTS: usize = 3;

/// How long Pingora would wait for a next request, in seconds. It is not asked to: the front has its own deadline.
const KEEP_ALIVE: u64 = 60;

/// The gateway as Pingora sees it.
#[derive(Debug, Clone)]
pub struct Gateway {
    current: Arc<CurrentState>,
    connections: Arc<http2::Connections>,
    /// The clients', of which idle ones make room where a descriptor for an app is needed.
    clients: Arc<Connections>,
    mark: Mark,
}

impl Gateway {
    /// A gateway whose requests begin with the state of their moment.
    pub(crate) fn new(current: Arc<CurrentState>, clients: Arc<Connections>) -> Self {
        Self { current, connections: Arc::default(), clients, mark: Mark::random() }
    }

    /// The state that a request began with.
    fn state(&self, context: &Context) -> Arc<State> {
        context.state.clone().unwrap_or_else(|| self.current.load())
    }

    /// Decides and does what does not need the app. `true`: the request has been answered.
    async fn handle(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let state = self.state(context);
        if session.req_header().headers.contains_key(header::CONNECTION) {
            // Pingora has read the first of these fields alone.
            let persists = hop_by_hop::persists(session.req_header());
            session.set_keepalive(persists.then_some(KEEP_ALIVE));
        }
        let peer = context.connection.as_ref().map(|connection| connection.peer().ip());
        context.is_from_proxy = peer.is_some_and(|peer| is_trusted(peer, &state.trusted_proxies));
        let headers = &session.req_header().headers;
        let is_back = self.mark.is_in(headers);
        // One that is back keeps its id: that is the one which its client is told.
        context.request_id = Some(request_id::of(headers, context.is_from_proxy || is_back));
        if let Some(traces) = &state.traces {
            context.trace = Some(RequestTrace::begin(traces, session.req_header(), context.is_from_proxy));
        }
        secure_transport::prepare(&state, context);
        let Some(app) = find_app(&state, session) else {
            let problem =
                Problem::new(Code::UnknownHost, "No app has this host: it is in the `hosts` of none.")
                    .with_note(refusal_notes::unknown_host(&session.req_header().headers));
            Box::pin(Answer::from(&problem).send(&state, session, context)).await?;
            return Ok(true);
        };
        context.app = Some(Arc::clone(&app));
        if is_back {
            let problem =
                Problem::new(Code::LoopDetected, "The app has sent the request back to where it came from.");
            Box::pin(Answer::from(&problem).send(&state, session, context)).await?;
            return Ok(true);
        }
        if let Some(location) = secure_transport::redirect(&state, session, context) {
            context.passed = Some(ReasonCode::Redirected);
            Box::pin(Answer::redirect(location).send(&state, session, context)).await?;
            return Ok(true);
        }
        let request = session.req_header();
        context.websocket = web_socket::is_handshake(request.version, &request.method, &request.headers);
        if !context.websocket && session.req_header().headers.contains_key(header::UPGRADE) {
            // Only a WebSocket is ever passed on: `h2c` and others would leave the rules behind.
            session.req_header_mut().remove_header(&header::UPGRADE);
        }
        if session.req_header().version == http::Version::HTTP_10 {
            // RFC 9110 section 15.2: no 1xx to a client that knows none.
            session.set_ignore_info_resp(true);
        }
        let passed = session_step::run(&state, &app, session, context).await?;
        if let Some(connection) = context.connection.as_ref().filter(|_| passed) {
            if grpc::is_call(session.req_header()) {
                // Its messages come when the client has something to say.
                connection.timeouts.exempt_from_body_rate();
            }
            if grpc::calls_itself_grpc(&session.req_header().headers) {
                // It may go on for ever, and the app may say nothing before its end.
                open_streams::watch(&state, &app, session, context);
                context.is_watched = true;
            }
            connection.timeouts.set_write(app.timeouts.idle);
        }
        Ok(!passed)
    }
}

fn find_app(state: &State, session: &Session) -> Option<Arc<App>> {
    let request = session.req_header();
    let host = request.headers.get(header::HOST)?.to_str().ok()?;
    state.app(host).cloned()
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let mut context = Context::starting(Instant::now());
        context.state = Some(self.current.load());
        // That of an HTTP/2 stream; HTTP/1.x tells by `on_connection_reuse`.
        context.connection = exchange_control::of_this_stream();
        context
    }

    /// No modules: nothing compresses, nothing buffers.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Context,
        connection: Box<dyn Any + Send + Sync>,
    ) {
        context.connection = connection.downcast::<Arc<ExchangeControl>>().ok().map(|connection| *connection);
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        self.handle(session, context).await
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        if !context.app.as_ref().is_some_and(|app| app.upstreams.offers_http2()) {
            return Ok(true);
        }
        let is_proxied = Box::pin(http2_upstream::proxy(self, session, context)).await?;
        Ok(!is_proxied)
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        if let Some(place) = context.place.take() {
            place.wait().await;
        }
        if let Some(peer) = context.peer.take() {
            return Ok(peer);
        }
        let app = context.app.clone().ok_or_else(|| Error::explain(ErrorType::InternalError, "no app"))?;
        let needs = match session.req_header().version {
            _ if context.websocket => Needs::WebSocket,
            http::Version::HTTP_10 => Needs::Http1,
            _ if grpc::is_call(session.req_header()) => Needs::Http2,
            _ => Needs::Anything,
        };
        let client = context.connection.as_ref();
        let peer = app.upstreams.peer(&context.tried, needs, client, context.look_up.take());
        let (peer, way) = peer.await.unzip();
        context.way = way;
        context.upstream = peer.as_ref().and_then(|peer| peer._address.as_inet().copied());
        if let Some(trace) = &mut context.trace {
            trace.begin_exchange(&session.req_header().method, &app.name, context.upstream);
        }
        peer.ok_or_else(|| {
            Error::create(
                ErrorType::ConnectError,
                pingora_core::ErrorSource::Upstream,
                Some("no address".into()),
                None,
            )
        })
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if retry::after_a_stale_connection(context, &mut error)
            || retry::after_an_old_answer(context, &mut error)
            || retry::once_there_is_room(context, &mut error, &self.clients)
        {
            return error;
        }
        let Some(app) = &context.app else { return error };
        let known = Unreachable::of(&error.to_string(), Side::App);
        let (reason, hint) = (known.as_ref().map(field::display), known.as_ref().map(Unreachable::hint));
        warn!(app = app.name, upstream = %peer._address, error = error.etype().as_str(), reason, hint, "cannot connect to the app");
        if let Some(trace) = &mut context.trace {
            trace.fail_exchange(error.etype().as_str());
        }
        context.connect_timed_out |=
            matches!(error.etype(), ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout);
        if let Some(address) = peer._address.as_inet() {
            context.tried.push(*address);
        }
        // Nothing has been sent, so another address may be tried with any method.
        error.set_retry(app.upstreams.has_choice() && context.tried.len() < MAX_CONNECT_ATTEMPTS);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        is_reused: bool,
    ) -> Box<Error> {
        let is_reused = is_reused || context.is_on_a_kept_connection();
        retry::decide(session, &mut error, context, is_reused);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let Some(app) = context.app.clone() else { return Ok(()) };
        if upstream.version != http::Version::HTTP_2 {
            retry::on_a_lent_connection(context)?;
        }
        let client = session.req_header();
        upstream_request::prepare(&self.state(context), &app, context, &self.mark, client, upstream)?;
        if upstream.version == http::Version::HTTP_2 {
            upstream_request::prepare_for_http2(session, upstream)?;
        } else {
            upstream_request::prepare_for_http1(context, upstream)?;
        }
        expect::go_on(session).await?;
        if let Some(connection) = &context.connection {
            connection.timeouts.arm_response(app.timeouts.response);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        _context: &mut Context,
    ) -> Result<()> {
        if is_end && body.as_ref().is_some_and(Bytes::is_empty) {
            // Pingora would write an empty chunk for it, which is the end, and then the end.
            *body = None;
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut http::HeaderMap,
        context: &mut Context,
    ) -> Result<()> {
        if response_headers::are_too_large(trailers) {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "the app's trailers are too large")
                .map_err(Error::into_up);
        }
        if let Some(app) = &context.app {
            trailers::clean(app, trailers);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let is_switching = response.status == StatusCode::SWITCHING_PROTOCOLS;
        context.close_while_stopping(session);
        early_answer::let_interim_pass(session, response, context);
        let head = response_head::judge(response, session.req_header(), context.websocket)?;
        // Ours, whatever the app's (RFC 9112 section 2.3).
        response.set_version(http::Version::HTTP_11);
        let state = self.state(context);
        let Some(app) = &context.app else { return Ok(()) };
        response_headers::remove_overwriting_cookies(app, response)?;
        if response.status.is_informational() && !is_switching {
            return head.clean_interim(response);
        }
        let client = session.req_header().version;
        let status = response.status;
        plain_headers::change_response(response, is_switching, |headers| {
            head.clean(headers);
            response_headers::add(headers, context, &state);
        })?;
        if let Some(trace) = &mut context.trace {
            trace.app_answered(status);
        }
        if client == http::Version::HTTP_10 && !response.headers.contains_key(header::CONTENT_LENGTH) {
            session.set_keepalive(None);
        }
        if let Some(connection) = &context.connection {
            connection.timeouts.disarm_response();
            if context.websocket {
                // Also where the app answers otherwise: its connection has no time-out of its own.
                connection.timeouts.set_idle(app.timeouts.idle);
            } else {
                connection.timeouts.set_answer(app.timeouts.idle);
            }
        }
        open_streams::watch_response(&state, app, session, response, context);
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        failure::answer(&self.state(context), session, error, context).await
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // `failure` logs what matters; Pingora's own line would quote the request's target.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &Error,
        _log: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        if let Some(app) = &context.app {
            let status = session.response_written().map_or(0, |response| response.status.as_u16());
            let duration = context.started.map(|started| started.elapsed());
            app.metrics.count((context.route, app.route(context.route)), status, context.reason(), duration);
        } else if let Some(reason) = context.reason() {
            METRICS.refused_heads.with_label_values(&[reason.as_str()]).inc();
        }
        let error = error.filter(|_| !early_answer::is_answered(context));
        access_log::write(&self.state(context), session, context, error);
        if let Some(trace) = context.trace.take() {
            trace.end(session, context, error);
        }
    }
}
