//! The handshake of a WebSocket: which requests are handshakes, and what a handshake must contain before an app is
//! asked (RFC 6455 section 4).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::syntax::framing_fields::ConnectionOptions;

/// The supported version of the protocol.
pub(crate) const VERSION: &str = "13";

/// The number of characters of 16 bytes in base64, without the padding.
const KEY_LENGTH: usize = 22;

/// The reason why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    /// `Sec-WebSocket-Version` is absent or names another version. The client is told the supported one (RFC 6455
    /// section 4.4).
    Version,
    /// `Sec-WebSocket-Version` comes twice, or there is not exactly one `Sec-WebSocket-Key` of 16 bytes in base64.
    Malformed,
}

/// Returns true if the fields `Upgrade` and `Connection` ask for a WebSocket (RFC 6455 section 4.1). HTTP/1.0 has no
/// upgrade (RFC 9110 section 7.8), and HTTP/2 has none either.
pub(crate) fn is_named(is_http_11: bool, upgrade: &[u8], connection: ConnectionOptions) -> bool {
    is_http_11 && connection.upgrade && upgrade.eq_ignore_ascii_case(b"websocket")
}

/// Returns true for a request that asks for a WebSocket. A request with a body was refused before this.
pub(crate) fn is_handshake(version: Version, method: &Method, headers: &HeaderMap) -> bool {
    let is_asked_for = |upgrade: &HeaderValue| {
        is_named(version == Version::HTTP_11, upgrade.as_bytes(), ConnectionOptions::of(headers))
    };
    *method == Method::GET && headers.get(header::UPGRADE).is_some_and(is_asked_for)
}

/// Checks the handshake of a request that asks for a WebSocket.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), HandshakeError> {
    match one(headers, &header::SEC_WEBSOCKET_VERSION)? {
        Some(version) if version.as_bytes() == VERSION.as_bytes() => {}
        _ => return Err(HandshakeError::Version),
    }
    match one(headers, &header::SEC_WEBSOCKET_KEY)? {
        Some(key) if is_key(key.as_bytes()) => Ok(()),
        _ => Err(HandshakeError::Malformed),
    }
}

/// Returns the value of a field that may come once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, HandshakeError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(HandshakeError::Malformed) } else { Ok(first) }
}

fn is_key(value: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    value.strip_suffix(b"==").is_some_and(|key| key.len() == KEY_LENGTH && key.iter().all(is_base64))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_come_before_keys() {
        for (versions, keys, expected) in [
            (&["13"][..], &["dGhlIHNhbXBsZSBub25jZQ=="][..], Ok(())),
            (&["8"], &["dGhlIHNhbXBsZSBub25jZQ=="], Err(HandshakeError::Version)),
            (&[], &[], Err(HandshakeError::Version)),
            (&["13"], &[], Err(HandshakeError::Malformed)),
            (&["13", "13"], &["dGhlIHNhbXBsZSBub25jZQ=="], Err(HandshakeError::Malformed)),
            (&["13"], &["dGhlIHNhbXBsZSBub25jZQ==", "x"], Err(HandshakeError::Malformed)),
        ] {
            let mut headers = HeaderMap::new();
            for version in versions {
                headers.append(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
            }
            for key in keys {
                headers.append(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(key));
            }
            assert_eq!(check(&headers), expected, "{versions:?} {keys:?}");
        }
    }

    #[test]
    fn what_asks_for_a_web_socket() {
        for (method, upgrade, connection, expected) in [
            (Method::GET, "websocket", &["Upgrade"][..], true),
            (Method::GET, "WebSocket", &["keep-alive,\tUPGRADE ,", "x"], true),
            (Method::GET, "websocket", &["keep-alive", "upgrade"], true),
            (Method::GET, "websocket", &[], false),
            (Method::GET, "websocket", &["upgraded", "not upgrade"], false),
            (Method::GET, "websocket, h2c", &["Upgrade"], false),
            (Method::GET, "h2c", &["Upgrade"], false),
            (Method::POST, "websocket", &["Upgrade"], false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::UPGRADE, HeaderValue::from_static(upgrade));
            for line in connection {
                headers.append(header::CONNECTION, HeaderValue::from_static(line));
            }
            let found = is_handshake(Version::HTTP_11, &method, &headers);
            assert_eq!(found, expected, "{method} {upgrade} {connection:?}");
            assert!(!is_handshake(Version::HTTP_10, &method, &headers));
            assert!(!is_handshake(Version::HTTP_2, &method, &headers));
        }
    }

    proptest! {
        /// The base64 crate as the measure: keys of 16 bytes, and of no other number.
        #[test]
        fn a_key_is_16_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(is_key(STANDARD.encode(&bytes).as_bytes()), bytes.len() == 16);
        }

        #[test]
        fn what_is_taken_is_base64(text in "[A-Za-z0-9+/=_ -]{20,26}") {
            if is_key(text.as_bytes()) {
                let lenient = base64::engine::GeneralPurpose::new(
                    &base64::alphabet::STANDARD,
                    base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
                );
                prop_assert_eq!(lenient.decode(&text).map(|key| key.len()), Ok(16));
            }
        }
    }
}
