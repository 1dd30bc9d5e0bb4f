//! The head of an app's answer on its way to the client: judged, cleaned, and with what the client gets from us.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tracing::warn;

use crate::gateway::context::{Arrival, Decided, Permitted, Reply};
use crate::gateway::state::App;
use crate::gateway::{bound_streams, early_answer, exchange_kind, plain_headers, response_head};
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
    let head = response_head::judge(response, exchange.req_header(), arrival.websocket)?;
    // Ours, whatever the app's (RFC 9112 section 2.3).
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
        connection.disarm_response_deadline();
        if arrival.websocket {
            // Also where the app answers otherwise: its connection has no time-out of its own.
            connection.set_idle_timeout(app.timeouts.idle);
        } else {
            connection.set_answer_timeout(app.timeouts.idle);
        }
    }
    if exchange_kind::is_stream(response) && !decided.ends_with_session {
        let headers = &exchange.req_header().headers;
        bound_streams::bind(arrival, app, decided.identity(), decided.session_key, headers);
    }
    Ok(())
}

/// Pingora takes every answer before the body's end for the last one, after which the connection closes; also a 1xx.
fn let_interim_pass(exchange: &mut Session, response: &ResponseHeader, reply: &mut Reply) {
    if response.status.is_informational() {
        reply.had_interim = true;
        exchange.set_close_on_response_before_downstream_finish(false);
    } else if reply.had_interim {
        let closes = !early_answer::has_short_body(exchange.req_header());
        exchange.set_close_on_response_before_downstream_finish(closes);
    }
}

/// Adds what the browser gets beside the app's own headers.
fn add(headers: &mut HeaderMap, arrival: &Arrival, decided: &Decided, reply: &Reply) {
    if let Some(id) = &arrival.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(hsts) = &reply.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    // Also with 101: a refresh token that was rotated at the handshake would be lost otherwise.
    let new_cookies = reply.cookies(arrival, decided);
    if !new_cookies.is_empty() {
        // A shared cache must not give one user's session to another.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for cookie in new_cookies {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

/// Takes out cookies with the names of the session's: an app must not overwrite those.
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
