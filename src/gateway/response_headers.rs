//! What is changed in an app's response before the browser sees it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use tracing::warn;

use crate::gateway::context::Context;
use crate::gateway::hop_by_hop::{KEEP_ALIVE, PROXY_CONNECTION, named_by_connection};
use crate::gateway::state::{App, State};
use crate::telemetry::request_id::X_REQUEST_ID;

/// Removes what is only for this hop (RFC 9110 section 7.6.1). Pingora writes its own `Connection`.
pub(super) fn clean(status: StatusCode, headers: &mut HeaderMap, client: Version) {
    if client == Version::HTTP_10 {
        // RFC 9112 section 6.1: such a client takes no chunks; the end of the connection ends the body.
        headers.remove(header::TRANSFER_ENCODING);
    }
    // Pingora drops trailers of HTTP/1.1 messages, so none are announced (RFC 9110 section 6.5.1 permits that).
    headers.remove(header::TRAILER);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    headers.remove(KEEP_ALIVE);
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let named = named_by_connection(headers);
    for name in named.iter().filter(|name| !is_kept(name)).chain([&PROXY_CONNECTION]) {
        headers.remove(name);
    }
}

/// What the browser gets beside the app's own headers.
pub(super) fn add(headers: &mut HeaderMap, context: &Context, state: &State) {
    if let Some(id) = &context.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(hsts) = &context.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    // Also with 101: a refresh token that was rotated at the handshake would be lost otherwise.
    let new_cookies = context.cookies(state);
    if !new_cookies.is_empty() {
        // A shared cache must not give one user's session to another.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for cookie in new_cookies {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

/// What stays though an app names it in `Connection`: what is end-to-end, and the `Upgrade` that a 426 must have (RFC
/// 9110 section 15.5.22) and that is harmless elsewhere.
fn is_kept(name: &HeaderName) -> bool {
    use header::{CACHE_CONTROL, CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
    [CACHE_CONTROL, CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING, UPGRADE].contains(name)
}

/// Whether a 101 is for the one protocol that is ever asked for (RFC 6455 section 4.2.2).
pub(super) fn is_websocket(response: &ResponseHeader) -> bool {
    let mut protocols = response.headers.get_all(header::UPGRADE).iter();
    let is_websocket =
        protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_websocket && protocols.next().is_none()
}

/// Whether the body has one reading for us and for the client: no transfer coding, or one `chunked`.
pub(super) fn has_one_framing(response: &ResponseHeader) -> bool {
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    codings.next().is_none_or(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// Whether fields that came over HTTP/2 are more than Pingora would read in a head of HTTP/1.1.
pub(super) fn are_too_large(fields: &HeaderMap) -> bool {
    const MAX_SIZE: usize = 1024 * 1024;
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    fields.iter().map(size).sum::<usize>() > MAX_SIZE
}

/// An app must not overwrite the session's cookies.
pub(super) fn remove_overwriting_cookies(app: &App, response: &mut ResponseHeader) -> Result<()> {
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
