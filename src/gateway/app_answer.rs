//! The head of an app's answer, before the client sees it. A head with more than one meaning is refused, by the rule of
//! [`crate::syntax::app_head`]. Fields that are superfluous or only for one hop are removed. The rest is valid for
//! clients of HTTP/1.0, HTTP/1.1 and HTTP/2 (RFC 9110, 9112, 9113), whatever version the app uses. The rules hold for
//! final answers, for interim answers (1xx) and for the 101 of a WebSocket.
//!
//! After that, the session's new cookies and the gateway's other fields are added.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tracing::warn;

use crate::gateway::context::{Arrival, Decided, Permitted, Reply};
use crate::gateway::hop_by_hop::named_by_connection;
use crate::gateway::state::App;
use crate::gateway::{bound_streams, early_answer, plain_headers};
use crate::syntax::app_head::{AppHeadRefusal, Framing, check_status, has_no_body};
use crate::syntax::framing_fields::{KEEP_ALIVE, PROXY_CONNECTION};
use crate::syntax::{grpc, list_field};
use crate::telemetry::request_id::X_REQUEST_ID;

/// Changes the head of an app's answer, or refuses it.
pub(super) fn change(
    permitted: &mut Permitted<'_>,
    exchange: &mut Session,
    response: &mut ResponseHeader,
) -> Result<()> {
    let Permitted { app, arrival, decided, reply, trace, .. } = permitted;
    let is_switching = response.status == StatusCode::SWITCHING_PROTOCOLS;
    arrival.close_while_stopping(exchange);
    let_interim_pass(exchange, response, reply);
    let head = judge(response, exchange.req_header(), arrival.websocket)?;
    // The version is the gateway's own, not the app's (RFC 9112 section 2.3).
    response.set_version(Version::HTTP_11);
    remove_overwriting_cookies(app, response)?;
    if response.status.is_informational() && !is_switching {
        return head.clean_interim(response);
    }
    let status = response.status;
    plain_headers::change_response(response, is_switching, |headers| {
        head.clean(headers);
        add(headers, arrival, decided, reply);
    })?;
    if let Some(trace) = trace {
        trace.app_answered(status);
    }
    let is_to_http10 = exchange.req_header().version == Version::HTTP_10;
    if is_to_http10 && !response.headers.contains_key(header::CONTENT_LENGTH) {
        exchange.set_keepalive(None);
    }
    if let Some(connection) = &arrival.connection {
        connection.timeouts.disarm_response();
        if arrival.websocket {
            // This is also done for an answer other than 101, because the app's connection has no time-out of its own.
            connection.timeouts.set_idle(app.timeouts.idle);
        } else {
            connection.timeouts.set_answer(app.timeouts.idle);
        }
    }
    if is_stream(response) && !decided.ends_with_session {
        let headers = &exchange.req_header().headers;
        bound_streams::bind(arrival, app, decided.identity(), decided.session_key, headers);
    }
    Ok(())
}

/// Keeps the connection open after a 1xx. Pingora takes any answer before the end of the body, even a 1xx, for the last
/// one on the connection.
fn let_interim_pass(exchange: &mut Session, response: &ResponseHeader, reply: &mut Reply) {
    if response.status.is_informational() {
        reply.had_interim = true;
        exchange.set_close_on_response_before_downstream_finish(false);
    } else if reply.had_interim {
        let closes = !early_answer::has_short_body(exchange.req_header());
        exchange.set_close_on_response_before_downstream_finish(closes);
    }
}

/// Tells whether an answer begins an upgraded connection, an event stream, or a gRPC call.
fn is_stream(response: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = response.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_event_stream = content_type
        .and_then(|value| value.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM));
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || is_event_stream
        || grpc::calls_itself_grpc(&response.headers)
}

/// Adds the fields that the browser gets in addition to the app's own.
fn add(headers: &mut HeaderMap, arrival: &Arrival, decided: &Decided, reply: &Reply) {
    if let Some(id) = &arrival.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(hsts) = &reply.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    // A 101 has the cookies too: otherwise a refresh token that was rotated at the handshake would be lost.
    let new_cookies = reply.cookies(arrival, decided);
    if !new_cookies.is_empty() {
        // A shared cache must not give one user's session to another.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for cookie in new_cookies {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

/// Removes cookies that have the names of the session's cookies, because an app must not overwrite those.
fn remove_overwriting_cookies(app: &App, response: &mut ResponseHeader) -> Result<()> {
    const SET_COOKIE: HeaderName = header::SET_COOKIE;
    let names = &app.rules().cookies;
    let cookies = response.headers.get_all(SET_COOKIE);
    if !cookies.iter().any(|cookie| names.is_overwritten_by(cookie)) {
        return Ok(());
    }
    warn!(app = app.name, "the app sets a cookie with the name of a session cookie: dropped");
    let kept: Vec<_> = cookies.iter().filter(|cookie| !names.is_overwritten_by(cookie)).cloned().collect();
    response.remove_header(&SET_COOKIE);
    for cookie in kept {
        response.append_header(SET_COOKIE, cookie)?;
    }
    Ok(())
}

/// The fields that stay even if an app names them in `Connection`. Some of them have their own rule below. The others
/// are for all recipients (RFC 9110 section 7.6.1), and the answer would have another meaning without them.
const KEPT: [HeaderName; 13] = [
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SET_COOKIE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
];

/// Refuses a head, or returns the facts that decide about its fields.
fn judge(response: &ResponseHeader, request: &RequestHeader, is_web_socket: bool) -> Result<ResponseHead> {
    let framing = check(response, is_web_socket).map_err(|refusal| {
        Error::because(ErrorType::InvalidHTTPHeader, "the app's head has no one meaning", refusal).into_up()
    })?;
    Ok(ResponseHead {
        status: response.status,
        length: framing.length,
        is_to_head: request.method == Method::HEAD,
        client: request.version,
        is_of_http2: response.version == Version::HTTP_2,
    })
}

/// Reads what a parsed head says about its body. Refuses a head with more than one meaning.
fn check(response: &ResponseHeader, is_web_socket: bool) -> std::result::Result<Framing, AppHeadRefusal> {
    let (status, headers) = (response.status, &response.headers);
    let is_http_10 = response.version < Version::HTTP_11;
    check_status(status.as_u16())?;
    if is_http_10 && status.is_informational() {
        return Err(AppHeadRefusal::InterimOfHttp10);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS && !(is_web_socket && is_of_web_socket(headers)) {
        // The client did not ask for this. Bytes after the head would be taken for answers to other requests.
        return Err(AppHeadRefusal::Switch);
    }
    if response.version == Version::HTTP_2 && are_too_large(headers) {
        return Err(AppHeadRefusal::TooLarge);
    }
    let mut framing = Framing::default();
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    values(header::CONTENT_LENGTH).try_for_each(|value| framing.add_length(value))?;
    values(header::TRANSFER_ENCODING).try_for_each(|value| framing.add_coding(value))?;
    framing.check(is_http_10)
}

/// Tells whether a 101 switches to the WebSocket protocol, the only one that is ever asked for (RFC 6455 section
/// 4.2.2).
fn is_of_web_socket(headers: &HeaderMap) -> bool {
    let mut protocols = list_field::of(headers, &header::UPGRADE);
    let is_web_socket = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    is_web_socket && protocols.next().is_none()
}

/// Tells whether fields that came over HTTP/2 are larger than the largest head of HTTP/1.1 that Pingora reads.
pub(super) fn are_too_large(fields: &HeaderMap) -> bool {
    const MAX_SIZE: usize = 1024 * 1024;
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    fields.iter().map(size).sum::<usize>() > MAX_SIZE
}

/// A head with one meaning.
#[derive(Debug, Clone, Copy)]
struct ResponseHead {
    status: StatusCode,
    length: Option<u64>,
    is_to_head: bool,
    client: Version,
    is_of_http2: bool,
}

impl ResponseHead {
    /// Tells whether the answer must not have a body (RFC 9112 section 6.3).
    fn is_without_body(self) -> bool {
        has_no_body(self.is_to_head, self.status.as_u16())
    }

    /// Tells whether the answer must not even have a `Content-Length` (RFC 9110 section 8.6).
    fn has_no_length(self) -> bool {
        self.status.is_informational() || self.status == StatusCode::NO_CONTENT
    }

    /// Tells whether a field is removed, whatever `Connection` names.
    fn is_superfluous(self, name: &HeaderName) -> bool {
        match *name {
            header::CONNECTION | header::TE | header::TRAILER => true,
            // RFC 9112 section 6.1: a client of HTTP/1.0 takes no chunks; the end of the connection ends the body.
            header::TRANSFER_ENCODING => self.is_without_body() || self.client == Version::HTTP_10,
            header::CONTENT_LENGTH => self.has_no_length(),
            // A 426 (RFC 9110 section 15.5.22) and the 101 of a WebSocket must have this field. In other answers it
            // invites the client to a protocol that is not passed on.
            header::UPGRADE => {
                !matches!(self.status, StatusCode::UPGRADE_REQUIRED | StatusCode::SWITCHING_PROTOCOLS)
                    || self.client == Version::HTTP_2
            }
            _ => *name == KEEP_ALIVE || *name == PROXY_CONNECTION,
        }
    }

    /// Removes the fields of an interim answer that the client must not see. Most interim answers have none and are
    /// left unchanged.
    fn clean_interim(self, response: &mut ResponseHeader) -> Result<()> {
        if self.is_of_http2 || response.headers.keys().any(|name| self.is_superfluous(name)) {
            plain_headers::change_response(response, false, |headers| self.clean(headers))?;
        }
        Ok(())
    }

    /// Removes the fields that the client must not see.
    fn clean(self, headers: &mut HeaderMap) {
        if headers.contains_key(header::CONNECTION) {
            for name in named_by_connection(headers).iter().filter(|name| !KEPT.contains(name)) {
                headers.remove(name);
            }
        }
        // Most heads have no such field, or a standard one. Neither needs an allocation.
        let superfluous: Vec<_> = headers.keys().filter(|name| self.is_superfluous(name)).cloned().collect();
        for name in superfluous {
            headers.remove(name);
        }
        if let Some(length) = self.length.filter(|_| !has_plain_length(headers)) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.is_of_http2 {
            trim_values(headers);
        }
    }
}

/// Tells whether there is exactly one length, in its shortest form, or none.
fn has_plain_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let is_plain =
        |value: &[u8]| value == b"0" || value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0");
    lengths.next().is_none_or(is_plain) && lengths.next().is_none()
}

/// Trims the values. A value must not begin or end with white space (RFC 9113 section 8.2.1). In HTTP/1.1, that white
/// space is not part of the value.
fn trim_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = list_field::trim(value.as_bytes());
        let is_less = trimmed.len() < value.len();
        if let Some(trimmed) = is_less.then(|| HeaderValue::from_bytes(trimmed).ok()).flatten() {
            *value = trimmed;
        }
    }
}

#[cfg(test)]
mod tests;
