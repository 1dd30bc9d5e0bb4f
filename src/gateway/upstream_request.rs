//! What is changed in a request before the app sees it.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::access::decision::Permit;
use crate::connection::forwarding::Origin;
use crate::gateway::cdn_loop::Mark;
use crate::gateway::context::Context;
use crate::gateway::plain_headers;
use crate::gateway::state::{App, State};
use crate::telemetry::request_id::X_REQUEST_ID;
use crate::upstream::Way;

/// Takes out what only we may say and what the app must not see, then says it.
///
/// This runs after Pingora has removed the headers that `Connection` names: what is set here, a client cannot remove.
pub(super) fn prepare(
    state: &State,
    app: &App,
    permit: &Permit,
    context: &Context,
    mark: &Mark,
    downstream: &RequestHeader,
    upstream: &mut RequestHeader,
) -> Result<()> {
    plain_headers::change_request(upstream, context.websocket, |headers| {
        change(state, app, permit, context, downstream, headers);
        mark.add(&downstream.headers, headers);
    })
}

fn change(
    state: &State,
    app: &App,
    permit: &Permit,
    context: &Context,
    downstream: &RequestHeader,
    upstream: &mut HeaderMap,
) {
    remove_reserved(app, context.is_from_proxy, upstream);
    // Trailers are not passed on, so none are announced.
    upstream.remove(header::TRAILER);
    upstream.remove(header::EXPECT);
    remove_session_cookies(app, upstream);
    if let Some(identity) = permit.identity() {
        for (name, value) in identity.headers() {
            upstream.insert(name.clone(), value.clone());
        }
    }
    if let Some(id) = &context.request_id {
        upstream.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(trace) = &context.trace {
        trace.propagate(upstream);
    }
    if app.forward_access_token {
        set_bearer(app, permit, context, downstream, upstream);
    }
    let host = downstream.headers.get(header::HOST);
    let Some((connection, host)) = context.connection.as_ref().zip(host) else { return };
    let (peer, tls) = (connection.peer(), connection.tls());
    let origin = if context.is_from_proxy {
        let origin = Origin::new(&downstream.headers, peer, tls, &state.trusted_proxies);
        let is_of_app =
            |host: &str| state.app(host).is_some_and(|found| std::ptr::eq(&raw const **found, app));
        let host = origin.host(&downstream.headers, host, is_of_app);
        origin.headers(host)
    } else {
        connection.direct_origin().headers(peer, tls, host)
    };
    for (name, value) in origin {
        upstream.insert(name, value);
    }
}

/// What a request over HTTP/2 needs beyond that.
pub(super) fn prepare_for_http2(_: &Permit, session: &Session, upstream: &mut RequestHeader) -> Result<()> {
    let client = session.req_header();
    let takes_trailers = client.version == Version::HTTP_2 && client.headers.contains_key(header::TE);
    if takes_trailers {
        // Pingora has taken it out. It is the one value that HTTP/2 permits, and servers of gRPC look for it.
        upstream.insert_header(header::TE, "trailers")?;
    }
    Ok(())
}

/// What one over HTTP/1.1 needs beyond that.
pub(super) fn prepare_for_http1(_: &Permit, context: &Context, upstream: &mut RequestHeader) -> Result<()> {
    let Some(Way::Offer(_)) = &context.way else { return Ok(()) };
    // The app could have chosen HTTP/2. Pingora would keep this connection by rules of its own; the next one is lent.
    upstream.insert_header(header::CONNECTION, "close")?;
    Ok(())
}

fn remove_reserved(app: &App, is_from_proxy: bool, upstream: &mut HeaderMap) {
    let reserved = &app.rules().reserved_headers;
    // Most requests have none, and then nothing is allocated.
    let found: Vec<HeaderName> =
        upstream.keys().filter(|name| reserved.contains(name, is_from_proxy)).cloned().collect();
    for name in found {
        upstream.remove(name);
    }
}

fn remove_session_cookies(app: &App, upstream: &mut HeaderMap) {
    if !upstream.contains_key(header::COOKIE) {
        return;
    }
    let names = &app.rules().cookies;
    let kept: Vec<HeaderValue> =
        upstream.get_all(header::COOKIE).iter().filter_map(|value| names.strip(value)).collect();
    upstream.remove(header::COOKIE);
    for value in kept {
        upstream.append(header::COOKIE, value);
    }
}

/// `Authorization: Bearer <JWT>`, or none: an app that trusts ours must not get a client's own.
fn set_bearer(
    app: &App,
    permit: &Permit,
    context: &Context,
    downstream: &RequestHeader,
    upstream: &mut HeaderMap,
) {
    upstream.remove(header::AUTHORIZATION);
    if permit.identity().is_none() {
        return;
    }
    let cookies = app.rules().cookies.read(&downstream.headers);
    let presented = cookies.access_token.as_deref();
    let token = context.tokens.as_ref().map(|tokens| tokens.access_token.as_str()).or(presented);
    if let Some(mut value) = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok()) {
        value.set_sensitive(true);
        upstream.insert(header::AUTHORIZATION, value);
    }
}
