//! The access log: one line for each request, or for each that was refused, with the target `access`.

use std::net::IpAddr;

use http::HeaderValue;
use pingora_core::Error;
use pingora_proxy::Session;
use tracing::info;

use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;
use crate::gateway::{Context, State};

/// Writes the line of a request that is over, if it is wanted. Nothing is read nor formatted for one that is not.
pub(crate) fn write(state: &State, session: &Session, context: &Context, error: Option<&Error>) {
    let is_wanted = match state.access_log {
        AccessLog::All => true,
        AccessLog::Refused => context.reply.is_refused(),
        AccessLog::Off => false,
    };
    if !is_wanted {
        return;
    }
    let request = session.req_header();
    let Context { arrival, decided, reply, to_app, trace } = context;
    let (app, route) = arrival.app.as_ref().map_or(("-", "-"), |app| (&*app.name, app.route(decided.route)));
    let sub = decided.identity().map(|identity| identity.subject());
    let milliseconds = arrival.started.elapsed().as_secs_f64() * 1000.0;
    info!(
        target: "access",
        request_id = text(arrival.request_id.as_ref()),
        trace_id = trace.as_ref().map(|trace| trace.trace_id()),
        app,
        route,
        method = request.method.as_str(),
        path = request.uri.path(),
        status = session.response_written().map(|response| response.status.as_u16()),
        reason = context.reason().map(ReasonCode::as_str),
        detail = reply.detail(),
        duration_ms = (milliseconds * 1000.0).round() / 1000.0,
        bytes = session.body_bytes_sent(),
        sub,
        client = arrival.client_address(&request.headers).map(tracing::field::display),
        upstream = to_app.address.map(tracing::field::display),
        error = error.map(|error| error.etype().as_str()),
        "request"
    );
}

/// Writes the line of a request whose head was refused before anything was read from it.
pub(crate) fn write_refused_head(log: AccessLog, id: &HeaderValue, problem: &Problem, client: IpAddr) {
    let why = (Some(problem.status.as_u16()), problem.reason, &*problem.detail);
    write_refused(log, id, why, client);
}

/// The same of one that may have had no answer.
pub(crate) fn write_refused(
    log: AccessLog,
    id: &HeaderValue,
    (status, reason, detail): (Option<u16>, ReasonCode, &str),
    client: IpAddr,
) {
    if log == AccessLog::Off {
        return;
    }
    info!(
        target: "access",
        request_id = text(Some(id)),
        app = "-",
        route = "-",
        status,
        reason = reason.as_str(),
        detail,
        client = %client,
        "request"
    );
}

/// A request id as text.
pub(crate) fn text(id: Option<&HeaderValue>) -> Option<&str> {
    id.and_then(|id| id.to_str().ok())
}
