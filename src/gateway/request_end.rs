//! The records of a request that is over: its metrics, its line in the access log, the end of its spans.

use http::header;
use pingora_core::Error;
use pingora_proxy::Session;
use tracing::info;

use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;
use crate::gateway::context::Context;
use crate::gateway::early_answer;
use crate::syntax::authority::Authority;
use crate::telemetry::access_log::text;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::traces::RequestEnd;

/// Counts a request that is over, writes its line, and ends its spans.
pub(super) fn note(exchange: &Session, context: &mut Context, error: Option<&Error>) {
    let reason = context.reason();
    if let Some(app) = &context.arrival.app {
        let status = status(exchange).unwrap_or_default();
        let route = context.decided.route;
        let duration = context.arrival.started.elapsed();
        app.metrics.count((route.index(), app.route(route)), status, reason, Some(duration));
    } else if let Some(reason) = reason {
        METRICS.refused_heads.with_label_values(&[reason.as_str()]).inc();
    }
    let connection = context.arrival.connection.as_deref();
    let error = error.filter(|_| !early_answer::is_answered(connection));
    write_access_log(exchange, context, error);
    end_spans(exchange, context, error);
}

fn status(exchange: &Session) -> Option<u16> {
    exchange.response_written().map(|response| response.status.as_u16())
}

/// Writes the access log's line of a request that is over, if the line is wanted. Otherwise nothing is read or
/// formatted.
fn write_access_log(exchange: &Session, context: &Context, error: Option<&Error>) {
    let is_wanted = match context.arrival.state.access_log {
        AccessLog::All => true,
        AccessLog::Refused => context.reply.is_refused(),
        AccessLog::Off => false,
    };
    if !is_wanted {
        return;
    }
    let request = exchange.req_header();
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
        status = status(exchange),
        reason = context.reason().map(ReasonCode::as_str),
        detail = reply.detail(),
        duration_ms = (milliseconds * 1000.0).round() / 1000.0,
        bytes = exchange.body_bytes_sent(),
        sub,
        client = arrival.client_address(&request.headers).map(tracing::field::display),
        upstream = to_app.address.map(tracing::field::display),
        error = error.map(|error| error.etype().as_str()),
        "request"
    );
}

fn end_spans(exchange: &Session, context: &mut Context, error: Option<&Error>) {
    // If the request is not sampled, nothing is gathered.
    let Some(trace) = context.trace.take().filter(|trace| trace.is_recording()) else { return };
    let (request, arrival) = (exchange.req_header(), &context.arrival);
    let app = arrival.app.as_deref();
    let host = request.headers.get(header::HOST).filter(|_| app.is_some());
    let host = host.and_then(|host| Authority::parse(host.as_bytes()));
    let route = app.map(|app| app.route(context.decided.route)).filter(|route| *route != "-");
    trace.end(&RequestEnd {
        method: &request.method,
        route,
        is_tls: arrival.connection.as_ref().is_some_and(|connection| connection.tls()),
        host: host.as_ref().map(Authority::name),
        app: app.map(|app| app.name.as_str()),
        reason: context.reason(),
        request_id: arrival.request_id.as_ref(),
        status: status(exchange),
        error: error.map(|error| error.etype().as_str()),
    });
}
