//! Headers that only Portcullis may set. A client's headers with these names are removed in any spelling.

use http::HeaderName;

use crate::syntax::header_name::{canonical, canonical_byte};

/// Names of headers about the origin, the target or the id of a request. Apps trust them. A CGI program reads `Proxy`
/// as `HTTP_PROXY` (httpoxy).
const FORWARDING: [&str; 13] = [
    "forwarded",
    "forwarded-for",
    "proxy",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

/// Names of headers in which content delivery networks and load balancers send the client's address or scheme. They are
/// accepted if they come from a trusted proxy.
const TOLD_BY_PROXIES: [&str; 11] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-url-scheme",
];

/// Fields that frame a message, or list its proxies. In another spelling they mean nothing to Portcullis, but an app
/// may accept that spelling.
const SPELLED_EXACTLY: [&str; 3] = ["cdn-loop", "content-length", "transfer-encoding"];

/// The reserved names of one app.
#[derive(Debug, Clone)]
pub struct ReservedHeaders {
    identity: Vec<String>,
}

impl ReservedHeaders {
    /// Reserves the app's identity headers, in addition to the forwarding headers.
    pub fn new<'a>(identity_headers: impl Iterator<Item = &'a HeaderName>) -> Self {
        Self { identity: identity_headers.map(|name| canonical(name.as_str())).collect() }
    }

    /// Tells whether a header must not reach the app. `is_from_proxy` says whether a trusted proxy has sent it, and not
    /// a client.
    pub fn contains(&self, name: &HeaderName, is_from_proxy: bool) -> bool {
        let name = name.as_str();
        let first = name.as_bytes().first().copied().map(canonical_byte);
        // For most names the first letter decides.
        let is_ours = match first {
            Some(b'x' | b'f' | b'p') if is_forwarding(name) => true,
            Some(b'x' | b'f' | b'c' | b't') => {
                is_misspelt(name)
                    || (!is_from_proxy && TOLD_BY_PROXIES.iter().any(|told| is_alias(name, told)))
            }
            _ => false,
        };
        is_ours || self.identity.iter().any(|reserved| is_alias(name, reserved))
    }
}

fn is_forwarding(name: &str) -> bool {
    FORWARDING.iter().any(|reserved| is_alias(name, reserved))
        || name.get(.."x-forwarded-".len()).is_some_and(|start| is_alias(start, "x-forwarded-"))
}

fn is_misspelt(name: &str) -> bool {
    SPELLED_EXACTLY.iter().any(|exact| is_alias(name, exact) && name != *exact)
}

/// Tells whether `name` has the canonical form `reserved`.
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

    fn is_reserved(name: &str, is_from_proxy: bool) -> bool {
        reserved().contains(&HeaderName::from_bytes(name.as_bytes()).unwrap(), is_from_proxy)
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
            "X_Request_Id",
            "X-Real-IP",
            "X-Original-URL",
            "x_rewrite_url",
            "X-Forwarded",
            "X-Original-URI",
            "X-Host",
            "Proxy",
            "Content_Length",
            "transfer.encoding",
            "CDN_Loop",
        ] {
            assert!(is_reserved(name, false) && is_reserved(name, true), "{name}");
        }
        for name in [
            "x-auth-users",
            "xx-auth-user",
            "authorization",
            "from",
            "x-authxuser",
            "content-length",
            "transfer-encoding",
            "content-type",
            "cdn-loop",
            "proxy-x",
            "te",
        ] {
            assert!(!is_reserved(name, false) && !is_reserved(name, true), "{name}");
        }
        for name in TOLD_BY_PROXIES.into_iter().chain(["True_Client_IP"]) {
            assert!(is_reserved(name, false) && !is_reserved(name, true), "{name}");
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
            prop_assert!(is_reserved(&name, false));
        }
    }
}
