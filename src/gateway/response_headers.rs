//! What is added to an app's response before the browser sees it, and which of its cookies are not.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use tracing::warn;

use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::telemetry::request_id::X_REQUEST_ID;

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
