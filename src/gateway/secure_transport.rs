//! Requests without TLS go to `https`, and answers over TLS say that they always shall (RFC 6797).

use http::{HeaderValue, header};
use pingora_proxy::Session;

use crate::authority::Authority;
use crate::forwarding::Origin;
use crate::gateway::context::Context;
use crate::gateway::state::State;

/// Notes whether this request's answer carries `Strict-Transport-Security`: over TLS alone, by RFC 6797 section 7.2.
pub(super) fn prepare(state: &State, context: &mut Context) {
    let is_tls = context.connection.as_ref().is_some_and(|connection| connection.tls());
    context.hsts = state.hsts.as_ref().filter(|_| is_tls).cloned();
}

/// Where a request belongs that came without TLS to the host of an app, if redirects are set. A trusted proxy may say that
/// it came by https.
pub(super) fn redirect(state: &State, session: &Session, context: &Context) -> Option<HeaderValue> {
    let port = state.redirect_port?;
    let connection = context.connection.as_ref()?;
    let request = session.req_header();
    let host = request.headers.get(header::HOST)?;
    let (peer, tls) = (connection.peer(), connection.tls());
    if Origin::new(&request.headers, peer, tls, host, &state.trusted_proxies).is_https() {
        return None;
    }
    // An app has it, so it is one of the configuration's; its port is that of the plain listener.
    let host = Authority::parse(host.as_bytes())?;
    let name = host.url_host();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut location = format!("https://{name}{port}").into_bytes();
    location.extend_from_slice(request.raw_path());
    HeaderValue::from_bytes(&location).ok()
}
