//! Answers that come before their request has come in to its end.
//!
//! One that is complete ends the exchange: nobody reads the rest of the request any more (RFC 9110 section 7.5, RFC 9113
//! section 8.1). The client's connection sees to that, see [`EndReason::Answered`]; here is what it means to the gateway.

use http::header;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::connection::end_reason::EndReason;
use crate::connection::http1::request_head::MAX_DRAINED_BODY;
use crate::gateway::context::Context;
use crate::syntax::framing_fields::content_length;

/// Whether the request was answered in full before its end, which is no failure.
pub(super) fn is_answered(context: &Context) -> bool {
    let ended = context.connection.as_ref().and_then(|connection| connection.ended());
    ended == Some(EndReason::Answered)
}

/// A body that is worth reading for the sake of the connection, and that the client does send.
pub(super) fn has_short_body(request: &RequestHeader) -> bool {
    has_body_within(request, MAX_DRAINED_BODY)
}

/// Whether the client sends, without being asked for it, a body of so many bytes at most.
pub(super) fn has_body_within(request: &RequestHeader, bytes: u64) -> bool {
    content_length(&request.headers).is_some_and(|length| length <= bytes)
        && !request.headers.contains_key(header::EXPECT)
}

/// Pingora takes every answer before the body's end for the last one, after which the connection closes; also a 1xx.
pub(super) fn let_interim_pass(session: &mut Session, response: &ResponseHeader, context: &mut Context) {
    if response.status.is_informational() {
        context.had_interim = true;
        session.set_close_on_response_before_downstream_finish(false);
    } else if context.had_interim {
        let closes = !has_short_body(session.req_header());
        session.set_close_on_response_before_downstream_finish(closes);
    }
}
