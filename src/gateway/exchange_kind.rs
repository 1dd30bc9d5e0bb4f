//! The kinds of exchanges that take longer than others: calls of gRPC, event streams, WebSockets.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora_http::{RequestHeader, ResponseHeader};

/// Tells whether a request is a call of gRPC: over HTTP/2 alone, and not gRPC-Web, which is ordinary HTTP.
pub(super) fn is_grpc_call(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_2
        && request.method == Method::POST
        && after_grpc(&request.headers)
            .is_some_and(|rest| matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';')))
}

/// Tells whether a message says that it is of gRPC or gRPC-Web, over whatever: it may go on for long.
pub(super) fn calls_itself_grpc(headers: &HeaderMap) -> bool {
    after_grpc(headers).is_some()
}

/// Tells whether an answer begins an upgraded connection, an event stream, or a gRPC call.
pub(super) fn is_stream(response: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = response.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_event_stream = content_type
        .and_then(|value| value.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM));
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || is_event_stream
        || calls_itself_grpc(&response.headers)
}

/// The rest of the content type after `application/grpc`.
fn after_grpc(headers: &HeaderMap) -> Option<&[u8]> {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = headers.get(header::CONTENT_TYPE)?.as_bytes().split_at_checked(GRPC.len())?;
    start.eq_ignore_ascii_case(GRPC).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_call_and_what_only_says_so() {
        const HTTP_2: Version = Version::HTTP_2;
        const HTTP_11: Version = Version::HTTP_11;
        for (version, method, content_type, is_one, says_so) in [
            (HTTP_2, "POST", "application/grpc", true, true),
            (HTTP_2, "POST", "application/grpc+proto", true, true),
            (HTTP_2, "POST", "Application/gRPC ; charset=utf-8", true, true),
            (HTTP_2, "GET", "application/grpc", false, true),
            (HTTP_2, "POST", "application/grpc-web", false, true),
            (HTTP_2, "POST", "application/grpc-web+proto", false, true),
            (HTTP_2, "POST", "application/grpcfoo", false, true),
            (HTTP_11, "POST", "application/grpc", false, true),
            (Version::HTTP_10, "POST", "application/grpc", false, true),
            (HTTP_11, "POST", "application/grpc-web-text", false, true),
            (HTTP_2, "POST", "application/grp", false, false),
            (HTTP_2, "POST", "text/plain; application/grpc", false, false),
            (HTTP_2, "POST", "", false, false),
        ] {
            let mut request = RequestHeader::build(method, b"/", None).expect("valid");
            request.set_version(version);
            request.insert_header(header::CONTENT_TYPE, content_type).expect("valid");
            let found = (is_grpc_call(&request), calls_itself_grpc(&request.headers));
            assert_eq!(found, (is_one, says_so), "{version:?} {method} {content_type:?}");
        }
        let bare = RequestHeader::build("POST", b"/", None).expect("valid");
        assert!(!is_grpc_call(&bare) && !calls_itself_grpc(&bare.headers));
    }
}
