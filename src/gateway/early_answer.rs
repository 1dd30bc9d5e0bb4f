//! Answers that come before their request has come in to its end.
//!
//! An answer that is complete ends the exchange: nobody reads the rest of the request any more (RFC 9110 section 7.5,
//! RFC 9113 section 8.1). The client's connection sees to that, see [`EndReason::Answered`]; this file says what it
//! means to the gateway.

use http::header;
use pingora_http::RequestHeader;

use crate::connection::exchange_control::{ConnectionWatch, EndReason};

/// Tells whether the request was answered in full before its end, which is no failure.
pub(super) fn is_answered(connection: Option<&ConnectionWatch>) -> bool {
    let ended = connection.and_then(ConnectionWatch::ended);
    ended == Some(EndReason::Answered)
}

/// Tells whether the client sends a body that is worth reading for the sake of the connection.
pub(super) fn has_short_body(request: &RequestHeader) -> bool {
    const SHORT: u64 = 64 * 1024;
    has_body_within(request, SHORT)
}

/// Tells whether the client sends, without being asked for it, a body of so many bytes at most.
pub(super) fn has_body_within(request: &RequestHeader, bytes: u64) -> bool {
    let length =
        request.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length <= bytes) && !request.headers.contains_key(header::EXPECT)
}
