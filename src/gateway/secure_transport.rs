//! Redirects requests without TLS to `https`, and warns of logins without TLS.

use http::HeaderValue;
use pingora_proxy::Session;

use crate::connection::forwarding::Origin;
use crate::gateway::context::Arrival;
use crate::gateway::state::App;
use crate::syntax::authority::Authority;

/// Returns the `https` URL for a request that came without TLS to the host of an app. Returns `None` if the request
/// came by https. A trusted proxy may say that it did.
pub(super) fn redirect(port: u16, exchange: &Session, arrival: &Arrival) -> Option<HeaderValue> {
    let name = plain_host(exchange, arrival)?;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut location = format!("https://{name}{port}").into_bytes();
    location.extend_from_slice(exchange.req_header().raw_path());
    HeaderValue::from_bytes(&location).ok()
}

/// Warns once for each app if a browser will silently drop the cookies of this login.
pub(super) fn warn_of_login(app: &App, exchange: &Session, arrival: &Arrival) {
    if let Some(host) = plain_host(exchange, arrival)
        && !app.cookies.is_kept_over_http(host.trim_matches(['[', ']']))
    {
        app.warn_of_login_over_http(&host);
    }
}

/// Returns the host, without port, of a request that came by plain http. A trusted proxy may say that it came by https.
fn plain_host(exchange: &Session, arrival: &Arrival) -> Option<String> {
    let connection = arrival.connection.as_ref()?;
    let request = exchange.req_header();
    let (peer, tls) = (connection.peer(), connection.tls());
    if Origin::new(&request.headers, peer, tls, &arrival.state.trusted_proxies).is_https() {
        return None;
    }
    // An app has this host, so it is in the configuration. The port is that of the plain listener.
    Some(Authority::of(&request.headers)?.url_host().into_owned())
}
