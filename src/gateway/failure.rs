//! What a client is told when the way to the app, or back, breaks.

use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};
use tracing::{info, warn};

use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::early;
use crate::gateway::state::State;
use crate::reason::ReasonCode;
use crate::respond::{Code, Problem};
use crate::server::watch::EndReason;
use crate::telemetry::access_log::text;
use crate::telemetry::metrics;

/// Answers as far as that is still possible.
pub(super) async fn answer(
    state: &State,
    session: &mut Session,
    error: &Error,
    context: &Context,
) -> FailToProxy {
    if early::is_answered(context) {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let app = context.app.as_ref().map(|app| app.name.as_str());
    let request_id = text(context.request_id.as_ref());
    let started = session.response_written().is_some_and(|response| !response.status.is_informational());
    let Some(problem) = problem(error, context) else {
        context.refuse(ReasonCode::ClientGone);
        info!(app, request_id, error = error.etype().as_str(), "the client went away");
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    context.refuse(problem.reason);
    if let (Some(app), Code::UpstreamUnavailable | Code::UpstreamTimeout) = (app, problem.code) {
        metrics::count_upstream_error(app, problem.reason);
    }
    let code = problem.code.as_str();
    let source = error.esource().as_str();
    if matches!(*error.esource(), ErrorSource::Downstream) {
        info!(app, request_id, code, source, error = error.etype().as_str(), started, "request failed");
    } else {
        warn!(app, request_id, code, source, error = error.etype().as_str(), started, "request failed");
    }
    let error_code = problem.status.as_u16();
    if started {
        // The app's answer is already on its way: only closing tells the client that it is incomplete.
        return FailToProxy { error_code, can_reuse_downstream: false };
    }
    // The app's failure is not the client's: its connection goes on, where the request can be read to its end.
    let is_the_apps =
        matches!(*error.esource(), ErrorSource::Upstream) || problem.code == Code::UpstreamTimeout;
    let can_be_read = session.is_body_done() || early::has_short_body(session.req_header());
    let may_continue = is_the_apps && can_be_read && session.get_keepalive().is_some();
    match context.connection.as_ref().filter(|_| may_continue) {
        Some(connection) => connection.recover(),
        None => session.set_keepalive(None),
    }
    let written = Answer::from(&problem).send(state, session, context).await.is_ok();
    if written && may_continue {
        // What is not read in time ends the connection: the server's front sees the unread rest.
        let _ = session.drain_request_body().await;
        if let Some(connection) = &context.connection {
            connection.continue_after_failure();
        }
    }
    FailToProxy { error_code, can_reuse_downstream: written && may_continue }
}

/// `None`: there is nobody to answer.
fn problem(error: &Error, context: &Context) -> Option<Problem> {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, H2Error, HTTPStatus, InvalidHTTPHeader, ReadError, ReadTimedout,
        TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    let too_late = Problem::new(Code::UpstreamTimeout, "The app did not answer in time.");
    match context.connection.as_ref().and_then(|connection| connection.ended()) {
        Some(EndReason::ResponseTimeout) => return Some(too_late),
        Some(EndReason::BodyTooSlow) => {
            return Some(Problem::new(Code::RequestTimeout, "The body did not arrive in time."));
        }
        Some(EndReason::MalformedBody) => {
            return Some(Problem::new(Code::BadRequest, "The body's framing is malformed."));
        }
        Some(_) => return None,
        None => {}
    }
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout) => {
            Some(too_late)
        }
        (ErrorSource::Upstream, _) if context.connect_timed_out => Some(too_late),
        (ErrorSource::Upstream, _) => {
            Some(Problem::new(Code::UpstreamUnavailable, "The app cannot be reached now."))
        }
        (
            ErrorSource::Downstream,
            WriteError | ConnectionClosed | H2Error | ReadError | ReadTimedout | WriteTimedout,
        ) => None,
        (ErrorSource::Downstream, _) | (_, InvalidHTTPHeader | HTTPStatus(400)) => {
            Some(Problem::new(Code::BadRequest, "The request is malformed."))
        }
        _ => Some(Problem::new(Code::InternalError, "Something failed here. The log has it.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_the_client_resets_is_not_a_malformed_request() {
        let context = Context::default();
        let reset = || Error::explain(ErrorType::H2Error, "reset");
        assert!(problem(&reset().into_down(), &context).is_none());
        let of_app = problem(&reset().into_up(), &context).map(|problem| problem.code);
        assert_eq!(of_app, Some(Code::UpstreamUnavailable));
    }
}
