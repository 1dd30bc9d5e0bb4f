//! Hosts with or without a port, as `Host`, `:authority`, targets and origins have them: `store.example.com:443`.
//!
//! Only this module decides which of them are the same (RFC 9110 section 4.2.3, RFC 3986 section 6.2). Case, one dot at
//! the end of a name, the zeros of an IPv6 address, and a default port do not matter.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::{HeaderMap, header};
use memchr::memchr;

/// The most bytes of a name in DNS.
const MAX_NAME: usize = 255;

/// A host with its port, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    name: Cow<'a, str>,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads a host name, IPv4 address or bracketed IPv6 address, with an optional port. This is stricter than RFC 3986
    /// section 3.2.2, which also allows sub-delimiters, percent-encodings and empty ports. These occur only in attacks.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (name, port) = if let Some(after) = text.strip_prefix(b"[") {
            let end = memchr(b']', after)?;
            let address: Ipv6Addr = std::str::from_utf8(after.get(..end)?).ok()?.parse().ok()?;
            (Cow::Owned(address.to_string()), after.get(end + 1..)?)
        } else {
            let end = memchr(b':', text).unwrap_or(text.len());
            (name(text.get(..end)?)?, text.get(end..)?)
        };
        let port = if port.is_empty() { None } else { Some(number(port)?) };
        Some(Self { name, port })
    }

    /// Returns the authority that a checked request's `Host` names.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::HOST)?.as_bytes())
    }

    /// Returns the host in the form of the configuration: in lower case, without a dot at its end, and an IPv6 address
    /// without brackets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the host in the form of a URL: an IPv6 address has its brackets.
    pub(crate) fn url_host(&self) -> Cow<'_, str> {
        url_host(&self.name)
    }

    /// Returns true if both name the same host and port. If one leaves its port out, `default_port` counts.
    pub(crate) fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// Returns a host in the form of a URL: an IPv6 address gets its brackets.
pub(crate) fn url_host(name: &str) -> Cow<'_, str> {
    if name.contains(':') { Cow::Owned(format!("[{name}]")) } else { Cow::Borrowed(name) }
}

/// Returns the port for URLs of a scheme that name no port.
pub(crate) fn default_port(scheme: &[u8]) -> Option<u16> {
    const PORTS: [(&[u8], u16); 2] = [(b"https", 443), (b"http", 80)];
    PORTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme)).map(|(_, port)| *port)
}

/// Returns a name without the one dot that may end an absolute name. An empty label is refused.
fn name(text: &[u8]) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix(b".").unwrap_or(text);
    let mut previous = b'.';
    for &byte in text {
        let is_known =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte == b'.' && previous != b'.';
        if !is_known {
            return None;
        }
        previous = byte;
    }
    if previous == b'.' || text.len() > MAX_NAME {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    Some(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

/// Reads `:` and a port.
fn number(port: &[u8]) -> Option<u16> {
    let digits = port.strip_prefix(b":").filter(|digits| matches!(digits.len(), 1..=5))?;
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| are_digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Authority<'_>> {
        Authority::parse(text.as_bytes())
    }

    #[test]
    fn one_spelling_of_each_host() {
        for (text, name, port) in [
            ("store.example.com", "store.example.com", None),
            ("Store.EXAMPLE.com", "store.example.com", None),
            ("store.example.com.", "store.example.com", None),
            ("store.example.com:443", "store.example.com", Some(443)),
            ("store.example.com.:00080", "store.example.com", Some(80)),
            ("a_b-c", "a_b-c", None),
            ("127.0.0.1.:8080", "127.0.0.1", Some(8080)),
            ("[::1]", "::1", None),
            ("[0:0::0:1]:443", "::1", Some(443)),
            ("[2001:DB8::1]", "2001:db8::1", None),
            ("a:65535", "a", Some(65535)),
        ] {
            let authority = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((authority.name(), authority.port), (name, port), "{text}");
        }
        assert_eq!(parse("[0::1]:80").unwrap().url_host(), "[::1]");
        assert_eq!(parse("A.:80").unwrap().url_host(), "a");
    }

    #[test]
    fn what_is_no_host() {
        for text in [
            "",
            ".",
            "..",
            "a..",
            ".a",
            "a..b",
            "a..:443",
            ":80",
            ".:80",
            "a:",
            "a:65536",
            "a:100000",
            "a:80:80",
            "a:x",
            "a:+1",
            "a:-1",
            "a: 80",
            "a b",
            "a/b",
            "a@b",
            "x@a:80",
            "a%2e",
            "a\0",
            "a,b",
            "bücher",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1].",
            "[]",
            "[a]",
            "[1]",
            "[::1%25eth0]",
            "*.a",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse(&"a".repeat(255)).is_some());
        assert!(parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn the_same_host_and_port() {
        for (one, other, default, same) in [
            ("a", "A.", 443, true),
            ("a:443", "a", 443, true),
            ("a:443", "a", 80, false),
            ("a:80", "a.", 80, true),
            ("a:8080", "a:8080", 80, true),
            ("a:8080", "a:8081", 80, false),
            ("a:0443", "a:443", 80, true),
            ("a", "b", 80, false),
            ("[::1]", "[0::1]:80", 80, true),
        ] {
            let (one, other) = (parse(one).unwrap(), parse(other).unwrap());
            assert_eq!(one.is_same(&other, default), same, "{one:?} {other:?} {default}");
            assert_eq!(other.is_same(&one, default), same, "{one:?} {other:?} {default}");
        }
        assert_eq!(default_port(b"HTTPS"), Some(443));
        assert_eq!(default_port(b"http"), Some(80));
        assert_eq!(default_port(b"ftp"), None);
    }

    proptest! {
        /// The normal form of a host is read as the same host again.
        #[test]
        fn normal_forms_are_stable(text in "[a-zA-Z0-9_:.\\[\\]-]{0,20}") {
            if let Some(authority) = parse(&text) {
                let again = authority.url_host().into_owned();
                let known = parse(&again).unwrap();
                prop_assert_eq!(known.name(), authority.name());
                prop_assert!(!again.ends_with('.') && !again.contains(".."));
            }
        }
    }
}
