//! Checks a WebSocket's handshake before an app is asked (RFC 6455 section 4.2.1).

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

pub use crate::answer::headers::WEB_SOCKET_VERSION as VERSION;

/// Characters of 16 bytes in base64, without the padding.
const KEY_LENGTH: usize = 22;

/// A reason why a handshake is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// `Sec-WebSocket-Version` is absent or another one: the client is told which (RFC 6455 section 4.4).
    Version,
    /// `Sec-WebSocket-Version` comes twice, or `Sec-WebSocket-Key` is not 16 bytes in base64, once.
    Malformed,
}

/// Tells whether a request asks for a WebSocket (RFC 6455 section 4.1). Over HTTP/1.1 only, which is not looked at
/// here.
pub fn is_asked_for(method: &Method, headers: &HeaderMap) -> bool {
    let options = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    *method == Method::GET
        && headers
            .get(header::UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && options.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Checks the handshake of a request that asks for a WebSocket.
pub fn check(headers: &HeaderMap) -> Result<(), HandshakeError> {
    match one(headers, &header::SEC_WEBSOCKET_VERSION)? {
        Some(version) if version.as_bytes() == VERSION.as_bytes() => {}
        _ => return Err(HandshakeError::Version),
    }
    match one(headers, &header::SEC_WEBSOCKET_KEY)? {
        Some(key) if is_key(key.as_bytes()) => Ok(()),
        _ => Err(HandshakeError::Malformed),
    }
}

/// The one value of a field.
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
            assert_eq!(is_asked_for(&method, &headers), expected, "{method} {upgrade} {connection:?}");
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
