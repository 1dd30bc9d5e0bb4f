//! Requests that break off: finds out who caused the failure, and tells the client.

use std::io;

use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};
use tracing::{field, info, warn};

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::gateway::answer::Answer;
use crate::gateway::context::{Context, ToApp};
use crate::gateway::early_answer;
use crate::syntax::app_head::AppHeadRefusal;
use crate::telemetry::access_log::text;
use crate::telemetry::metrics;
use crate::upstream;

/// Answers a request that broke off, as far as that is still possible.
pub(super) async fn answer(exchange: &mut Session, error: &Error, context: &Context) -> FailToProxy {
    let connection = context.arrival.connection.as_deref();
    if early_answer::is_answered(connection) {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let app = context.arrival.app.as_ref().map(|app| app.name.as_str());
    let request_id = text(context.arrival.request_id.as_ref());
    let started = exchange.response_written().is_some_and(|response| !response.status.is_informational());
    let Some(problem) = problem(error, connection, &context.to_app) else {
        context.reply.refuse(ReasonCode::ClientGone);
        info!(app, request_id, error = error.etype().as_str(), "the client went away");
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    context.reply.refuse(problem.reason);
    if let (Some(app), Code::UpstreamUnavailable | Code::UpstreamTimeout) = (app, problem.code) {
        metrics::count_upstream_error(app, problem.reason);
    }
    log(app, request_id, &problem, error, started);
    let error_code = problem.status.as_u16();
    if started {
        // The app's answer is already on its way. Only the end of the connection tells the client that the answer is
        // incomplete.
        return FailToProxy { error_code, can_reuse_downstream: false };
    }
    // The app's failure does not end the client's connection, if the request can be read to its end.
    let is_the_apps =
        matches!(*error.esource(), ErrorSource::Upstream) || problem.code == Code::UpstreamTimeout;
    let can_be_read = exchange.is_body_done() || early_answer::has_short_body(exchange.req_header());
    let may_continue = is_the_apps && can_be_read && exchange.get_keepalive().is_some();
    match connection.filter(|_| may_continue) {
        Some(connection) => connection.recover(),
        None => exchange.set_keepalive(None),
    }
    let written = Answer::from(&problem).send(exchange, context).await.is_ok();
    if written && may_continue {
        // If the rest is not read in time, the connection ends, because the listener sees that something is unread.
        let _ = exchange.drain_request_body().await;
        if let Some(connection) = connection {
            connection.continue_after_failure();
        }
    }
    FailToProxy { error_code, can_reuse_downstream: written && may_continue }
}

/// Logs a request that broke off. `started` tells whether its answer is already on its way.
fn log(app: Option<&str>, request_id: Option<&str>, problem: &Problem, error: &Error, started: bool) {
    let code = problem.code.as_str();
    let source = error.esource().as_str();
    if matches!(*error.esource(), ErrorSource::Downstream) {
        info!(app, request_id, code, source, error = error.etype().as_str(), started, "request failed");
    } else {
        let refusal = refusal(error).map(field::display);
        let ended = matches!(error.etype(), ErrorType::ReadError | ErrorType::ConnectionClosed)
            && matches!(*error.esource(), ErrorSource::Upstream)
            && !started
            && refusal.is_none();
        let hint = ended.then_some(
            "the app ended the connection without an answer: see its log; if it speaks https at that port, write `https://` \
             in `upstreams`",
        );
        warn!(
            app,
            request_id,
            code,
            source,
            error = error.etype().as_str(),
            head = refusal,
            hint,
            started,
            "request failed"
        );
    }
}

/// Returns the reason why an app's head was refused, if the error is such a refusal. Other errors are not logged,
/// because they may quote the app's bytes.
fn refusal(error: &Error) -> Option<AppHeadRefusal> {
    let cause = error.root_cause();
    let from_io = || cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<AppHeadRefusal>();
    cause.downcast_ref::<AppHeadRefusal>().or_else(from_io).copied()
}

/// The party that made a request fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Culprit {
    /// The client has left, or takes no bytes. Nobody is left to answer, and nothing to mend.
    Client,
    /// The client is still there, but its request makes no sense.
    Request,
    App,
    SlowApp,
    /// This program.
    Gateway,
}

/// Finds the culprit by the place and the kind of the error. `is_of_app` tells whether an app was asked.
fn culprit(source: &ErrorSource, kind: &ErrorType, is_of_app: bool) -> Culprit {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, H2Error, HTTPStatus, InvalidHTTPHeader, ReadError, ReadTimedout,
        TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    let is_of_connection =
        matches!(kind, ConnectionClosed | H2Error | ReadError | ReadTimedout | WriteError | WriteTimedout);
    match (source, kind) {
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout) => {
            Culprit::SlowApp
        }
        (ErrorSource::Upstream, _) => Culprit::App,
        (ErrorSource::Downstream, _) if is_of_connection => Culprit::Client,
        (ErrorSource::Downstream, _) | (_, InvalidHTTPHeader | HTTPStatus(400)) => Culprit::Request,
        // Pingora does not say which connection failed. Before an app is asked, there is only the client's.
        _ if is_of_connection && !is_of_app => Culprit::Client,
        _ => Culprit::Gateway,
    }
}

/// Returns the problem for the client. Returns `None` if nobody is left to answer.
fn problem(error: &Error, connection: Option<&ExchangeControl>, to_app: &ToApp) -> Option<Problem> {
    let too_late = Problem::new(Code::UpstreamTimeout, "The app did not answer in time.");
    match connection.and_then(ExchangeControl::ended) {
        Some(EndReason::ResponseTimeout | EndReason::AppIdle) => return Some(too_late),
        Some(EndReason::BodyTooSlow) => {
            return Some(Problem::new(Code::RequestTimeout, "The body did not arrive in time."));
        }
        Some(EndReason::MalformedBody) => {
            return Some(Problem::new(Code::BadRequest, "The body's framing is malformed."));
        }
        Some(_) => return None,
        None => {}
    }
    match culprit(error.esource(), error.etype(), to_app.address.is_some()) {
        Culprit::Client => None,
        Culprit::App if upstream::is_too_late(error) => Some(too_late),
        Culprit::SlowApp => Some(too_late),
        Culprit::App if to_app.connect_timed_out => Some(too_late),
        Culprit::App => Some(Problem::new(Code::UpstreamUnavailable, "The app cannot be reached now.")),
        Culprit::Request => Some(Problem::new(Code::BadRequest, "The request is malformed.")),
        Culprit::Gateway => Some(Problem::new(Code::InternalError, "Something failed here. The log has it.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [ErrorSource; 4] =
        [ErrorSource::Upstream, ErrorSource::Downstream, ErrorSource::Internal, ErrorSource::Unset];

    const KINDS: [ErrorType; 32] = [
        ErrorType::ConnectTimedout,
        ErrorType::ConnectRefused,
        ErrorType::ConnectNoRoute,
        ErrorType::TLSWantX509Lookup,
        ErrorType::TLSHandshakeFailure,
        ErrorType::TLSHandshakeTimedout,
        ErrorType::InvalidCert,
        ErrorType::HandshakeError,
        ErrorType::ConnectError,
        ErrorType::BindError,
        ErrorType::AcceptError,
        ErrorType::SocketError,
        ErrorType::ConnectProxyFailure,
        ErrorType::InvalidHTTPHeader,
        ErrorType::H1Error,
        ErrorType::H2Error,
        ErrorType::H2Downgrade,
        ErrorType::InvalidH2,
        ErrorType::ReadError,
        ErrorType::WriteError,
        ErrorType::ReadTimedout,
        ErrorType::WriteTimedout,
        ErrorType::ConnectionClosed,
        ErrorType::HTTPStatus(400),
        ErrorType::HTTPStatus(500),
        ErrorType::FileOpenError,
        ErrorType::FileCreateError,
        ErrorType::FileReadError,
        ErrorType::FileWriteError,
        ErrorType::InternalError,
        ErrorType::UnknownError,
        ErrorType::Custom("else"),
    ];

    /// Of a connection that breaks off, whichever it is.
    const OF_A_CONNECTION: [&str; 6] =
        ["ReadError", "WriteError", "ReadTimedout", "WriteTimedout", "ConnectionClosed", "H2Error"];

    #[test]
    fn who_is_to_blame() {
        for kind in &KINDS {
            let (name, of_connection) = (kind.as_str(), OF_A_CONNECTION.contains(&kind.as_str()));
            let is_slow = ["ConnectTimedout", "TLSHandshakeTimedout", "ReadTimedout", "WriteTimedout"];
            let is_of_request = matches!(kind, ErrorType::InvalidHTTPHeader | ErrorType::HTTPStatus(400));
            for source in &SOURCES {
                for is_of_app in [false, true] {
                    let expected = match source {
                        ErrorSource::Upstream if is_slow.contains(&name) => Culprit::SlowApp,
                        ErrorSource::Upstream => Culprit::App,
                        ErrorSource::Downstream if of_connection => Culprit::Client,
                        ErrorSource::Downstream => Culprit::Request,
                        _ if is_of_request => Culprit::Request,
                        // An answer of our own, to somebody who has left.
                        _ if of_connection && !is_of_app => Culprit::Client,
                        _ => Culprit::Gateway,
                    };
                    assert_eq!(culprit(source, kind, is_of_app), expected, "{source:?} {name} {is_of_app}");
                }
            }
        }
    }

    #[test]
    fn what_ended_the_exchange_goes_before_how_it_shows() {
        use std::net::SocketAddr;

        for (reason, code) in [
            (EndReason::ResponseTimeout, Some(Code::UpstreamTimeout)),
            (EndReason::AppIdle, Some(Code::UpstreamTimeout)),
            (EndReason::BodyTooSlow, Some(Code::RequestTimeout)),
            (EndReason::MalformedBody, Some(Code::BadRequest)),
            (EndReason::Idle, None),
            (EndReason::SessionEnded, None),
            (EndReason::Shutdown, None),
        ] {
            let connection = ExchangeControl::new(SocketAddr::from(([127, 0, 0, 1], 1)), false);
            connection.end(reason);
            for source in SOURCES {
                let error = Error::create(ErrorType::ReadError, source, None, None);
                assert_eq!(
                    problem(&error, Some(&connection), &ToApp::default()).map(|problem| problem.code),
                    code,
                    "{reason:?}"
                );
            }
        }
    }
}
