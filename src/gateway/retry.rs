//! Decides which of the requests that failed at the app are sent again.

use std::io;
use std::sync::Arc;

use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::connection::connection_limit::Connections;
use crate::gateway::context::ToApp;
use crate::system::descriptors::is_out_of_descriptors;
use crate::telemetry::traces::RequestTrace;
use crate::upstream::{Choice, http2, is_too_late, to_look_up};

/// The number of times that one request is sent again. An app that is being replaced may end several connections one
/// after the other.
const MAX_REPEATED: usize = 4;

/// The number of look-ups of a host name that one request may need before a connection is made. Each result is good for
/// a second, so this suffices for every address that is tried.
const MAX_LOOK_UPS: usize = 8;

/// The app has chosen HTTP/1.1, and nothing has been sent yet. The request is to use a connection that is lent to it.
#[derive(Debug, thiserror::Error)]
#[error("the app could have chosen HTTP/2")]
struct ChoseHttp1;

/// Moves a request whose app has chosen HTTP/1.1 to a lent connection, on which both directions are watched. For that,
/// Pingora sends the request again. A request leaves at most one connection. If several addresses still have to be
/// asked for their version, the request uses the next connection as it is.
pub(super) fn on_a_lent_connection(
    choice: &Choice,
    repeated: usize,
    trace: Option<&mut RequestTrace>,
) -> Result<()> {
    choice.was_http1();
    if repeated > 0 {
        return Ok(());
    }
    if let Some(trace) = trace {
        trace.postpone_exchange();
    }
    Err(Error::because(ErrorType::ConnectError, "the app has chosen HTTP/1.1", ChoseHttp1))
}

/// Decides about a request that failed after the connection was made. A request is sent again if the app says that it
/// has not processed it. An idempotent request is also sent again if its kept connection turns out to be closed. A
/// request is never sent again if its answer has begun, or if its body is no longer kept.
pub(super) fn decide(exchange: &Session, error: &mut Error, to_app: &mut ToApp, is_reused: bool) {
    let has_begun = exchange.response_written().is_some_and(|response| !response.status.is_informational());
    let can_be_repeated =
        !has_begun && !exchange.as_ref().retry_buffer_truncated() && to_app.repeated < MAX_REPEATED;
    let is_harmless = match error.etype() {
        // The value is `true` only if Pingora may use HTTP/1.1 instead.
        ErrorType::H2Downgrade => Some(error.retry()),
        // The app may have done what was asked, whatever the error was.
        ErrorType::InvalidH2 => Some(false),
        // The app has the whole request, or may have it.
        _ if is_too_late(error) => Some(false),
        _ if error.root_cause().is::<ChoseHttp1>() => Some(true),
        _ => http2::was_not_processed(error).then_some(true),
    };
    match is_harmless {
        Some(is_harmless) => error.set_retry(is_harmless && can_be_repeated),
        None if can_be_repeated && exchange.req_header().method.is_idempotent() => {
            error.retry.decide_reuse(is_reused);
        }
        None => error.set_retry(false),
    }
    to_app.repeated += usize::from(error.retry());
}

/// Lets a request use another connection if its kept connection of HTTP/2 takes no more requests. Nothing has been sent
/// yet. Returns false for any other error.
pub(super) fn after_a_stale_connection(to_app: &mut ToApp, error: &mut Error) -> bool {
    if !http2::is_stale(error) || to_app.repeated >= MAX_REPEATED {
        return false;
    }
    to_app.repeated += 1;
    error.set_retry(true);
    true
}

/// Lets a request look up the app's name and choose an address again. This is for a request without a connection whose
/// app may have moved. Returns false for any other error.
pub(super) fn after_an_old_answer(
    to_app: &mut ToApp,
    trace: Option<&mut RequestTrace>,
    error: &mut Error,
) -> bool {
    let Some(name) = to_look_up(error).filter(|_| to_app.looked_up < MAX_LOOK_UPS) else { return false };
    to_app.look_up = Some(name);
    to_app.looked_up += 1;
    if let Some(trace) = trace {
        trace.postpone_exchange();
    }
    error.set_retry(true);
    true
}

/// Lets a request try again if no descriptor was left for a connection to the app, and an idle client makes room.
/// Nothing has been sent yet. Returns false for any other error, or if nobody makes room.
pub(super) fn once_there_is_room(to_app: &mut ToApp, error: &mut Error, clients: &Arc<Connections>) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    if to_app.repeated >= MAX_REPEATED || !cause.is_some_and(is_out_of_descriptors) {
        return false;
    }
    to_app.place = clients.make_room();
    if to_app.place.is_none() {
        return false;
    }
    to_app.repeated += 1;
    error.set_retry(true);
    true
}
