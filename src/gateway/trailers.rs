//! What is changed in the trailers of an app's response. Those of requests are not passed on at all.

use http::{HeaderMap, HeaderName, header};

use crate::gateway::state::App;

/// Takes out what a trailer must not say (RFC 9110 section 6.5.1): what frames, routes or describes the message, what
/// concerns sessions and authentication, and what only we may say about an identity. The rules of headers hold here.
pub(super) fn clean(app: &App, trailers: &mut HeaderMap) {
    let reserved = &app.rules().reserved_headers;
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_never_one(name) || reserved.contains(name, false))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
}

fn is_never_one(name: &HeaderName) -> bool {
    use header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, COOKIE, HOST, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE,
        STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
    };
    [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        HOST,
        LOCATION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        SET_COOKIE,
        STRICT_TRANSPORT_SECURITY,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        WWW_AUTHENTICATE,
    ]
    .contains(name)
}
