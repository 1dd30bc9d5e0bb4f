//! Answers that come before the end of their request.
//!
//! A complete answer ends the exchange: nobody reads the rest of the request any more (RFC 9110 section 7.5, RFC 9113
//! section 8.1). The client's connection ensures that, see [`EndReason::Answered`]. This module says what it means for
//! the gateway.

use http::header;
use pingora_http::RequestHeader;

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::connection::http1::request_head::MAX_DRAINED_BODY;
use crate::syntax::framing_fields::content_length;

/// Tells whether the request was answered in full before its end. That is not a failure.
pub(super) fn is_answered(connection: Option<&ExchangeControl>) -> bool {
    let ended = connection.and_then(ExchangeControl::ended);
    ended == Some(EndReason::Answered)
}

/// Tells whether the client sends a body that is worth reading for the sake of the connection.
pub(super) fn has_short_body(request: &RequestHeader) -> bool {
    has_body_within(request, MAX_DRAINED_BODY)
}

/// Tells whether the client sends a body of at most `bytes` bytes without waiting for a 100.
pub(super) fn has_body_within(request: &RequestHeader, bytes: u64) -> bool {
    content_length(&request.headers).is_some_and(|length| length <= bytes)
        && !request.headers.contains_key(header::EXPECT)
}
