//! Answers that come before their request has come in to its end.
//!
//! An answer that is complete ends the exchange: nobody reads the rest of the request any more (RFC 9110 section 7.5,
//! RFC 9113 section 8.1). The client's connection sees to that, see [`EndReason::Answered`]; this file says what it
//! means to the gateway.

use http::header;
use pingora_http::RequestHeader;

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::connection::http1::request_head::MAX_DRAINED_BODY;
use crate::syntax::framing_fields::content_length;

/// Tells whether the request was answered in full before its end, which is no failure.
pub(super) fn is_answered(connection: Option<&ExchangeControl>) -> bool {
    let ended = connection.and_then(ExchangeControl::ended);
    ended == Some(EndReason::Answered)
}

/// Tells whether the client sends a body that is worth reading for the sake of the connection.
pub(super) fn has_short_body(request: &RequestHeader) -> bool {
    has_body_within(request, MAX_DRAINED_BODY)
}

/// Tells whether the client sends, without being asked for it, a body of so many bytes at most.
pub(super) fn has_body_within(request: &RequestHeader, bytes: u64) -> bool {
    content_length(&request.headers).is_some_and(|length| length <= bytes)
        && !request.headers.contains_key(header::EXPECT)
}
