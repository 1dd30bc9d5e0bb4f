//! Fields that are for one connection only (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, header};

/// How long a connection is kept, as peers from before HTTP/1.1 say it.
pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What some clients send to a proxy instead of `Connection`.
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Those of a request, whatever its `Connection` names.
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

/// The options that `Connection` lists: names of fields, `close`, `upgrade`.
pub(super) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// The fields that `Connection` says are for this hop only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    connection_options(headers).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}
