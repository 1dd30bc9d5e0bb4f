//! Decides about a request. Then takes the request as far as it gets without the app: to an answer, or to a permit to
//! go on.

use std::sync::Arc;

use http::{HeaderMap, Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tracing::debug;

use crate::access::decision::{Decision, Permit, Reason, RequestHead, decide_and_locate};
use crate::access::endpoint::Call;
use crate::access::refusal_notes;
use crate::access::routes::Route;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::connection::forwarding::is_trusted;
use crate::gateway::answer::Answer;
use crate::gateway::cdn_loop::Mark;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::gateway::{bound_streams, endpoints, hop_by_hop, secure_transport, session_renewal};
use crate::identity_provider::UnknownKeySource;
use crate::session::unavailable;
use crate::syntax::{grpc, web_socket};
use crate::telemetry::access_log::text;
use crate::telemetry::audit;
use crate::telemetry::request_id;
use crate::telemetry::traces::{self, RequestTrace};

/// The time in seconds for which Pingora would wait for the next request. Pingora never waits, because the listener has
/// its own deadline.
const KEEP_ALIVE: u64 = 60;

/// The result of a step.
pub(super) enum Step {
    /// It has been answered.
    Answered,
    /// It goes to the app.
    Forward(Permit),
}

/// Decides about a request, and does everything that does not need the app.
pub(super) async fn run(mark: &Mark, exchange: &mut Session, context: &mut Context) -> Result<Step> {
    let state = Arc::clone(&context.arrival.state);
    if exchange.req_header().headers.contains_key(header::CONNECTION) {
        // Pingora has read only the first of these fields.
        let persists = hop_by_hop::persists(exchange.req_header());
        exchange.set_keepalive(persists.then_some(KEEP_ALIVE));
    }
    let is_back = note_arrival(&state, mark, exchange.req_header(), context);
    let Some(app) = find_app(&state, &exchange.req_header().headers) else {
        let problem = Problem::new(Code::UnknownHost, "No app has this host: it is in the `hosts` of none.")
            .with_note(refusal_notes::unknown_host(&exchange.req_header().headers));
        return answer(Answer::from(&problem), exchange, context).await;
    };
    context.arrival.app = Some(Arc::clone(&app));
    if is_back {
        let problem =
            Problem::new(Code::LoopDetected, "The app has sent the request back to where it came from.");
        return answer(Answer::from(&problem), exchange, context).await;
    }
    if let Some(port) = state.redirect_port
        && let Some(location) = secure_transport::redirect(port, exchange, &context.arrival)
    {
        context.decided.served = Some(ReasonCode::Redirected);
        return answer(Answer::redirect(location), exchange, context).await;
    }
    if exchange.req_header().headers.contains_key(header::UPGRADE) {
        let request = exchange.req_header();
        context.arrival.websocket =
            web_socket::is_handshake(request.version, &request.method, &request.headers);
        if !context.arrival.websocket {
            // Only a WebSocket is ever passed on. `h2c` and other protocols would evade the rules.
            exchange.req_header_mut().remove_header(&header::UPGRADE);
        }
    }
    if exchange.req_header().version == Version::HTTP_10 {
        // A client of HTTP/1.0 knows no 1xx, so it gets none (RFC 9110 section 15.2).
        exchange.set_ignore_info_resp(true);
    }
    let step = follow_decision(&state, &app, exchange, context).await?;
    if let Step::Forward(permit) = &step {
        prepare_connection(&app, permit, exchange, context);
    }
    Ok(step)
}

/// Notes the facts that the head of a request shows. Returns true if the request has already passed through this
/// gateway.
fn note_arrival(state: &State, mark: &Mark, request: &RequestHeader, context: &mut Context) -> bool {
    let Context { arrival, reply, trace, .. } = context;
    let peer = arrival.connection.as_ref().map(|connection| connection.peer().ip());
    arrival.is_from_proxy = peer.is_some_and(|peer| is_trusted(peer, &state.trusted_proxies));
    let is_back = mark.is_in(&request.headers);
    // A request that comes back keeps its id, because its client is told that id.
    arrival.request_id = Some(request_id::of(&request.headers, arrival.is_from_proxy || is_back));
    if let Some(traces) = &state.traces {
        *trace = Some(RequestTrace::begin(traces, request, arrival.is_from_proxy));
    }
    // The field is for TLS only (RFC 6797 section 7.2).
    let is_tls = arrival.connection.as_ref().is_some_and(|connection| connection.tls());
    reply.hsts = state.hsts.as_ref().filter(|_| is_tls).cloned();
    is_back
}

fn find_app(state: &State, headers: &HeaderMap) -> Option<Arc<App>> {
    state.app(headers.get(header::HOST)?.to_str().ok()?).cloned()
}

/// Prepares the client's connection for a request that goes to the app.
fn prepare_connection(app: &App, permit: &Permit, exchange: &Session, context: &mut Context) {
    let Some(connection) = &context.arrival.connection else { return };
    connection.timeouts.set_write(app.timeouts.idle);
    let request = exchange.req_header();
    if !request.headers.contains_key(header::CONTENT_TYPE) {
        return;
    }
    if grpc::is_call(request) {
        // The client sends a message only when it has something to say.
        connection.timeouts.exempt_from_body_rate();
    }
    if grpc::calls_itself_grpc(&request.headers) {
        // The call may go on for ever, and the app may say nothing before its end.
        let session_key = context.decided.session_key;
        bound_streams::bind(&context.arrival, app, permit.identity(), session_key, &request.headers);
        context.decided.ends_with_session = true;
    }
}

async fn follow_decision(
    state: &State,
    app: &App,
    exchange: &mut Session,
    context: &mut Context,
) -> Result<Step> {
    let mut decision = decide(state, app, exchange.req_header(), context, false);
    if matches!(decision, Decision::FetchKeys) {
        let fetch = app.relying_party.provider.fetch_unknown_key(UnknownKeySource::Request);
        Box::pin(traces::under(trace_of(context), fetch)).await;
        decision = decide(state, app, exchange.req_header(), context, true);
    }
    match decision {
        Decision::Forward(permit) => {
            if let Some(identity) = permit.identity() {
                state.sessions.note_use(identity);
            }
            Ok(Step::Forward(permit))
        }
        Decision::Nobody(problem) => {
            context.decided.served = Some(ReasonCode::Anonymous);
            answer(Answer::from(&problem).without_refusal(), exchange, context).await
        }
        Decision::Reject(problem, reason) => {
            answer(refusal(app, &problem, &reason, context), exchange, context).await
        }
        decision => {
            if let Decision::Serve(Call::User(identity)) = &decision {
                state.sessions.note_use(identity);
            }
            context.arrival.client = context.arrival.client_address(&exchange.req_header().headers);
            let cause = context.arrival.cause();
            let act = traces::under(trace_of(context), act(app, decision, exchange, context));
            // This work has its own piece of memory, so that requests that are only forwarded need no room for logins
            // and refreshes.
            Box::pin(audit::caused_by(cause, act)).await
        }
    }
}

/// Returns the span that calls to the provider belong to.
fn trace_of(context: &Context) -> Option<traces::Parent> {
    context.trace.as_ref().map(|trace| trace.parent())
}

/// Carries out a decision that needs more than a look at the session: a refresh, the end of a session, a login or a
/// logout.
async fn act<'a>(
    app: &'a App,
    decision: Decision<'a>,
    exchange: &mut Session,
    context: &mut Context,
) -> Result<Step> {
    let Context { arrival, decided, reply, .. } = context;
    let decision = match decision {
        Decision::Refresh(pending) => {
            session_renewal::refresh(arrival, app, pending, exchange.req_header(), decided, reply).await
        }
        Decision::End(ending) => {
            session_renewal::end(&arrival.state, app, ending, exchange.req_header(), reply).await
        }
        decision => decision,
    };
    decided.served = Some(ReasonCode::Served);
    let served = match decision {
        Decision::Forward(permit) => return Ok(Step::Forward(permit)),
        Decision::Serve(call) => endpoints::answer(call, app, exchange, context).await?,
        Decision::Reject(problem, reason) => refusal(app, &problem, &reason, context),
        // None of these decisions can come here: keys are fetched once, some are handled before, and the others end in
        // another decision.
        Decision::FetchKeys | Decision::Refresh(_) | Decision::End(_) | Decision::Nobody(_) => {
            Answer::from(&unavailable())
        }
    };
    served.send(exchange, context).await?;
    Ok(Step::Answered)
}

/// Sends an answer. This work has its own piece of memory, which requests that go to the app do not need.
async fn answer(answer: Answer, exchange: &mut Session, context: &Context) -> Result<Step> {
    Box::pin(answer.send(exchange, context)).await?;
    Ok(Step::Answered)
}

fn refusal(app: &App, problem: &Problem, reason: &Reason, context: &Context) -> Answer {
    context.reply.refuse(reason.code());
    debug!(
        request_id = text(context.arrival.request_id.as_ref()),
        app = app.name,
        code = problem.code.as_str(),
        %reason,
        "request refused"
    );
    Answer::from(problem)
}

fn decide<'a>(
    state: &State,
    app: &'a App,
    request: &RequestHeader,
    context: &mut Context,
    keys_are_fresh: bool,
) -> Decision<'a> {
    let head = RequestHead {
        method: &request.method,
        path: raw_path(request.raw_path()),
        host: request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        headers: &request.headers,
        websocket: context.arrival.websocket,
    };
    let (decision, destination) =
        state.with_knowledge(app, keys_are_fresh, |known| decide_and_locate(app.rules(), &head, known));
    context.decided.route = destination.map_or(Route::Unmatched, |destination| destination.route());
    decision
}

/// Returns the path of the target. It has exactly the bytes that are forwarded, up to the query. Bytes that are not
/// text are not an acceptable path.
fn raw_path(target: &[u8]) -> &str {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
    std::str::from_utf8(path).unwrap_or_default()
}
