//! Headers that only Portcullis may set: a client's own are taken out, whatever their spelling.

use http::HeaderName;

/// Names that say where a request came from or was meant for; apps believe them.
const FORWARDING: [&str; 4] = ["forwarded", "x-real-ip", "x-original-url", "x-rewrite-url"];

/// The canonical form of a header name: lower-case, every byte that is no letter or digit becomes `-`. Servers that
/// hand headers on as variables (CGI, WSGI, Rack) take all spellings with one canonical form for the same header.
pub fn canonical(name: &str) -> String {
    name.bytes().map(|byte| char::from(canonical_byte(byte))).collect()
}

const fn canonical_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// The reserved names of one app.
#[derive(Debug, Clone)]
pub struct ReservedHeaders {
    identity: Vec<String>,
}

impl ReservedHeaders {
    /// Reserves the app's identity headers beside the forwarding headers.
    pub fn new<'a>(identity_headers: impl Iterator<Item = &'a HeaderName>) -> Self {
        Self { identity: identity_headers.map(|name| canonical(name.as_str())).collect() }
    }

    /// Whether a client's header of this name must not reach the app.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let first = name.as_bytes().first().copied().map(canonical_byte);
        // Most names are settled by their first letter.
        if matches!(first, Some(b'x' | b'f')) && is_forwarding(name) {
            return true;
        }
        self.identity.iter().any(|reserved| is_alias(name, reserved))
    }
}

fn is_forwarding(name: &str) -> bool {
    FORWARDING.iter().any(|reserved| is_alias(name, reserved))
        || name.get(.."x-forwarded-".len()).is_some_and(|start| is_alias(start, "x-forwarded-"))
}

/// Whether `name` has the canonical form `reserved`.
fn is_alias(name: &str, reserved: &str) -> bool {
    name.len() == reserved.len()
        && name.bytes().zip(reserved.bytes()).all(|(byte, canonical)| canonical_byte(byte) == canonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reserved() -> ReservedHeaders {
        ReservedHeaders::new([HeaderName::from_static("x-auth-user")].iter())
    }

    #[test]
    fn clients_cannot_speak_for_us() {
        for name in [
            "X-Auth-User",
            "x_auth_user",
            "X.Auth.User",
            "x-auth_user",
            "x!auth~user",
            "X-Forwarded-For",
            "x_forwarded_host",
            "X-Forwarded-Anything",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "x_rewrite_url",
        ] {
            assert!(reserved().contains(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
        for name in ["x-auth-users", "xx-auth-user", "authorization", "x-forwarded", "from", "x-authxuser"] {
            assert!(!reserved().contains(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
    }

    proptest! {
        /// Over all characters of a token (RFC 9110 section 5.6.2): the comparison and the canonical form agree.
        #[test]
        fn one_rule(name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", other in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}") {
            prop_assert!(is_alias(&name, &canonical(&name)));
            prop_assert_eq!(is_alias(&name, &canonical(&other)), canonical(&name) == canonical(&other));
        }

        #[test]
        fn every_spelling_is_caught(separators in proptest::collection::vec("[!#$%&'*+.^_`|~-]", 2), upper in any::<bool>()) {
            let name = format!("x{}auth{}user", separators[0], separators[1]);
            let name = if upper { name.to_uppercase() } else { name };
            prop_assert!(reserved().contains(&HeaderName::from_bytes(name.as_bytes()).unwrap()));
        }
    }
}
