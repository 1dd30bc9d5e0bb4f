//! Fields that are for one connection only (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, Version, header};
use pingora_http::RequestHeader;

use crate::syntax::framing_fields::{ConnectionOptions, KEEP_ALIVE, PROXY_CONNECTION};
use crate::syntax::list_field;

/// The fields of a request that are for one hop only, even if its `Connection` does not name them.
pub(super) const OF_REQUESTS: [HeaderName; 10] = [
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("http2-settings"),
];

/// Returns the fields that `Connection` names as fields for this hop only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    list_field::of(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect()
}

/// Tells whether a client of HTTP/1.x keeps its connection after the answer. All its `Connection` fields count (RFC
/// 9112 section 9.3).
pub(super) fn persists(request: &RequestHeader) -> bool {
    ConnectionOptions::of(&request.headers).persists(request.version == Version::HTTP_11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_the_connection() {
        const HTTP_10: Version = Version::HTTP_10;
        const HTTP_11: Version = Version::HTTP_11;
        for (version, fields, expected) in [
            (HTTP_11, &[][..], true),
            (HTTP_11, &["x", "close"], false),
            (HTTP_11, &["keep-alive", "Close"], false),
            (HTTP_11, &["x, close ,y"], false),
            (HTTP_11, &["closed", "x"], true),
            (HTTP_10, &[], false),
            (HTTP_10, &["x"], false),
            (HTTP_10, &["x", "Keep-Alive"], true),
            (HTTP_10, &["x, keep-alive"], true),
            (HTTP_10, &["keep-alive", "close"], false),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("valid");
            request.set_version(version);
            for field in fields {
                request.append_header(header::CONNECTION, *field).expect("valid");
            }
            assert_eq!(persists(&request), expected, "{version:?} {fields:?}");
        }
    }
}
