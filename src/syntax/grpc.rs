//! Recognises calls of gRPC by their heads.

use http::request::Parts;
use http::{HeaderMap, Method, Version, header};

/// Returns true for a call of gRPC. A call is a POST over HTTP/2. gRPC-Web is ordinary HTTP and does not count.
pub(crate) fn is_call(request: &Parts) -> bool {
    request.version == Version::HTTP_2
        && request.method == Method::POST
        && after_grpc(&request.headers)
            .is_some_and(|rest| matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';')))
}

/// Returns true for a message that says that it belongs to gRPC or gRPC-Web, over any version of HTTP. It may last
/// long.
pub(crate) fn calls_itself_grpc(headers: &HeaderMap) -> bool {
    after_grpc(headers).is_some()
}

/// Returns the rest of the content type after `application/grpc`.
fn after_grpc(headers: &HeaderMap) -> Option<&[u8]> {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = headers.get(header::CONTENT_TYPE)?.as_bytes().split_at_checked(GRPC.len())?;
    start.eq_ignore_ascii_case(GRPC).then_some(rest)
}

#[cfg(test)]
mod tests {
    use http::Request;

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
            let request = Request::builder().method(method).version(version);
            let request = request.header(header::CONTENT_TYPE, content_type).body(()).expect("valid");
            let request = request.into_parts().0;
            let found = (is_call(&request), calls_itself_grpc(&request.headers));
            assert_eq!(found, (is_one, says_so), "{version:?} {method} {content_type:?}");
        }
        let bare = Request::builder().method("POST").version(HTTP_2).body(()).expect("valid").into_parts().0;
        assert!(!is_call(&bare) && !calls_itself_grpc(&bare.headers));
    }
}
