//! The trailers of an app's response, on their way to the client. The trailers of requests are not passed on at all.

use http::{HeaderMap, HeaderName, header};
use pingora_core::{Error, ErrorType, Result};

use crate::gateway::app_answer;
use crate::gateway::state::App;

/// Removes fields that a trailer must not have (RFC 9110 section 6.5.1): fields that frame, route or describe the
/// message, fields about sessions and authentication, and fields that only the gateway may set for an identity. The
/// rules for header fields hold here too.
pub(super) fn clean(app: &App, trailers: &mut HeaderMap) -> Result<()> {
    if app_answer::are_too_large(trailers) {
        return Error::e_explain(ErrorType::InvalidHTTPHeader, "the app's trailers are too large")
            .map_err(Error::into_up);
    }
    let reserved = &app.rules().reserved_headers;
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_never_one(name) || reserved.contains(name, false))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
    Ok(())
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
