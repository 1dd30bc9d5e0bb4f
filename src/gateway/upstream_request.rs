//! The request as the app sees it. Fields that only the gateway may write are removed and written anew. Fields and
//! cookies that the app must not see are removed.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::access::decision::Permit;
use crate::connection::forwarding::Origin;
use crate::gateway::cdn_loop::Mark;
use crate::gateway::context::{Arrival, Permitted};
use crate::gateway::state::App;
use crate::gateway::{expect, plain_headers, retry};
use crate::session::Tokens;
use crate::telemetry::request_id::X_REQUEST_ID;
use crate::upstream::Way;

/// Makes the head that the app sees, and lets the client send its body.
///
/// This runs after Pingora has removed the fields that `Connection` names. So a client cannot remove a field that is
/// set here.
pub(super) async fn complete(
    permitted: &mut Permitted<'_>,
    mark: &Mark,
    exchange: &mut Session,
    upstream: &mut RequestHeader,
) -> Result<()> {
    let Permitted { permit, app, arrival, to_app, trace, .. } = permitted;
    let is_http2 = upstream.version == Version::HTTP_2;
    let offer = match &to_app.way {
        Some(Way::Offer(choice)) if !is_http2 => Some(choice),
        _ => None,
    };
    if let Some(choice) = offer {
        retry::on_a_lent_connection(choice, to_app.repeated, trace.as_deref_mut())?;
    }
    let tokens = permitted.decided.tokens.as_deref();
    let client = exchange.req_header();
    plain_headers::change_request(upstream, arrival.websocket, |headers| {
        remove_reserved(app, arrival.is_from_proxy, headers);
        // Trailers are not passed on, so none are announced.
        headers.remove(header::TRAILER);
        headers.remove(header::EXPECT);
        remove_session_cookies(app, headers);
        tell_identity(permit, headers);
        if let Some(id) = &arrival.request_id {
            headers.insert(X_REQUEST_ID, id.clone());
        }
        if let Some(trace) = trace {
            trace.propagate(headers);
        }
        if app.forward_access_token {
            set_bearer(permit, app, tokens, client, headers);
        }
        tell_origin(arrival, app, client, headers);
        mark.add(&client.headers, headers);
    })?;
    if is_http2 && client.version == Version::HTTP_2 && client.headers.contains_key(header::TE) {
        // Pingora has removed this field. HTTP/2 permits only this value, and gRPC servers expect it.
        upstream.insert_header(header::TE, "trailers")?;
    }
    if offer.is_some() {
        // The app could have chosen HTTP/2. Pingora would keep this connection by its own rules, so it is closed. The
        // next connection is a lent one.
        upstream.insert_header(header::CONNECTION, "close")?;
    }
    if client.headers.contains_key(header::EXPECT) {
        expect::go_on(exchange).await?;
    }
    if let Some(connection) = &arrival.connection {
        connection.timeouts.arm_response(app.timeouts.response);
    }
    Ok(())
}

/// Tells the app which identity the request has.
fn tell_identity(permit: &Permit, upstream: &mut HeaderMap) {
    if let Some(identity) = permit.identity() {
        for (name, value) in identity.headers() {
            upstream.insert(name.clone(), value.clone());
        }
    }
}

/// Gives the app `Authorization: Bearer <JWT>` or no such field. An app that trusts our field must not get the client's
/// own.
fn set_bearer(
    permit: &Permit,
    app: &App,
    refreshed: Option<&Tokens>,
    downstream: &RequestHeader,
    upstream: &mut HeaderMap,
) {
    upstream.remove(header::AUTHORIZATION);
    if permit.identity().is_none() {
        return;
    }
    let cookies = app.rules().cookies.read(&downstream.headers);
    let presented = cookies.access_token.as_deref();
    let token = refreshed.map(|tokens| tokens.access_token.as_str()).or(presented);
    if let Some(mut value) = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok()) {
        value.set_sensitive(true);
        upstream.insert(header::AUTHORIZATION, value);
    }
}

/// Tells the app where the request came from.
fn tell_origin(arrival: &Arrival, app: &Arc<App>, downstream: &RequestHeader, upstream: &mut HeaderMap) {
    let host = downstream.headers.get(header::HOST);
    let Some((connection, host)) = arrival.connection.as_ref().zip(host) else { return };
    let (peer, tls) = (connection.peer(), connection.tls());
    let origin = if arrival.is_from_proxy {
        let state = &arrival.state;
        let origin = Origin::new(&downstream.headers, peer, tls, &state.trusted_proxies);
        let is_of_app = |host: &str| state.app(host).is_some_and(|found| Arc::ptr_eq(found, app));
        let host = origin.host(&downstream.headers, host, is_of_app);
        origin.headers(host)
    } else {
        connection.direct_origin().headers(peer, tls, host)
    };
    for (name, value) in origin {
        upstream.insert(name, value);
    }
}

fn remove_reserved(app: &App, is_from_proxy: bool, upstream: &mut HeaderMap) {
    let reserved = &app.rules().reserved_headers;
    // Most requests have no such field, and then nothing is allocated.
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
