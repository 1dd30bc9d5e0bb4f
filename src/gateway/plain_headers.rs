//! Changes header fields in the form of the `http` crate.
//!
//! With `pingora_http`, setting a field costs several times as much: its name is parsed each time, and a second map
//! keeps the spelling of each name. This module gives up that map. Names are sent in lower case, as by any HTTP/2 hop.
//! The names of a WebSocket's handshake are an exception, because some servers and clients know only one spelling of
//! them.

use http::{HeaderMap, HeaderName, Request, Response, request, response};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

/// The names as RFC 6455 section 4 spells them.
const WEB_SOCKET_NAMES: [&str; 7] = [
    "Connection",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
];

/// Changes a request's header fields, and nothing else in the request.
pub(super) fn change_request(
    request: &mut RequestHeader,
    is_web_socket: bool,
    change: impl FnOnce(&mut HeaderMap),
) -> Result<()> {
    let target = request.raw_path();
    let from_uri = request.uri.path_and_query().map(|target| target.as_str().as_bytes());
    let verbatim = (from_uri != Some(target)).then(|| target.to_vec());
    let sends_end = request.send_end_stream();
    let nothing = RequestHeader::from(Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(std::mem::replace(request, nothing));
    change(&mut parts.headers);
    *request = RequestHeader::from(parts);
    if let Some(target) = verbatim {
        request.set_raw_path(&target)?;
    }
    if let Some(sends_end) = sends_end {
        request.set_send_end_stream(sends_end);
    }
    if is_web_socket {
        let mut spelled = RequestHeader::build(request.method.clone(), request.raw_path(), None)?;
        spelled.set_version(request.version);
        for (name, value) in &request.headers {
            spelled.append_header(spelling(name), value.clone())?;
        }
        *request = spelled;
    }
    Ok(())
}

/// Changes a response's header fields, and nothing else in the response.
pub(super) fn change_response(
    response: &mut ResponseHeader,
    is_web_socket: bool,
    change: impl FnOnce(&mut HeaderMap),
) -> Result<()> {
    let phrase = response.get_reason_phrase();
    let own_phrase = phrase.filter(|_| phrase != response.status.canonical_reason()).map(str::to_owned);
    let nothing = ResponseHeader::from(Response::new(()).into_parts().0);
    let mut parts = response::Parts::from(std::mem::replace(response, nothing));
    change(&mut parts.headers);
    *response = ResponseHeader::from(parts);
    if is_web_socket {
        let mut spelled = ResponseHeader::build(response.status, None)?;
        spelled.set_version(response.version);
        for (name, value) in &response.headers {
            spelled.append_header(spelling(name), value.clone())?;
        }
        *response = spelled;
    }
    if let Some(phrase) = own_phrase {
        response.set_reason_phrase(Some(&phrase))?;
    }
    Ok(())
}

fn spelling(name: &HeaderName) -> String {
    let known = WEB_SOCKET_NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name.as_str()));
    known.unwrap_or(name.as_str()).to_owned()
}
