//! Requests without TLS go to `https`, and answers over TLS say that they always shall (RFC 6797).

use http::HeaderValue;
use pingora_proxy::Session;

use crate::connection::forwarding::Origin;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::syntax::authority::Authority;

/// Notes whether this request's answer carries `Strict-Transport-Security`: over TLS alone, by RFC 6797 section 7.2.
pub(super) fn prepare(state: &State, context: &mut Context) {
    let is_tls = context.connection.as_ref().is_some_and(|connection| connection.tls());
    context.hsts = state.hsts.as_ref().filter(|_| is_tls).cloned();
}

/// Where a request belongs that came without TLS to the host of an app, if redirects are set. A trusted proxy may say that
/// it came by https.
pub(super) fn redirect(state: &State, session: &Session, context: &Context) -> Option<HeaderValue> {
    let port = state.redirect_port?;
    let name = plain_host(state, session, context)?;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut location = format!("https://{name}{port}").into_bytes();
    location.extend_from_slice(session.req_header().raw_path());
    HeaderValue::from_bytes(&location).ok()
}

/// Says so, once for each app, where a browser will drop the cookies of this login without a word.
pub(super) fn warn_of_login(state: &State, app: &App, session: &Session, context: &Context) {
    if let Some(host) = plain_host(state, session, context)
        && !app.cookies.is_kept_over_http(host.trim_matches(['[', ']']))
    {
        app.warn_of_login_over_http(&host);
    }
}

/// The host, without port, of a request that came by plain http, as far as is known; a trusted proxy may say otherwise.
fn plain_host(state: &State, session: &Session, context: &Context) -> Option<String> {
    let connection = context.connection.as_ref()?;
    let request = session.req_header();
    let (peer, tls) = (connection.peer(), connection.tls());
    if Origin::new(&request.headers, peer, tls, &state.trusted_proxies).is_https() {
        return None;
    }
    // An app has it, so it is one of the configuration's; its port is that of the plain listener.
    Some(Authority::of(&request.headers)?.url_host().into_owned())
}
