//! A `Set-Cookie` as a browser reads it.

use std::collections::BTreeMap;

/// One `Set-Cookie`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Names in lower case.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Bytes of the whole header value.
    pub(crate) length: usize,
}

impl SetCookie {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("`name=value`");
        let attributes = parts
            .map(|part| part.trim().split_once('=').unwrap_or((part.trim(), "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let cookie =
            Self { name: name.trim().into(), value: value.trim().into(), attributes, length: text.len() };
        cookie.insist_on_what_browsers_keep(text);
        cookie
    }

    /// RFC 6265bis: what a browser would drop without a word fails the test.
    pub(super) fn insist_on_what_browsers_keep(&self, text: &str) {
        let octets = |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
        assert!(self.value.bytes().all(octets), "not cookie octets: {text}");
        assert!(self.length <= 4096, "a cookie of {} bytes: {}", self.length, self.name);
        if self.name.starts_with("__Host-") {
            assert!(self.has("secure") && !self.has("domain"), "not a `__Host-` cookie: {text}");
            assert_eq!(self.attribute("path"), Some("/"), "not a `__Host-` cookie: {text}");
        }
        assert!(!self.name.starts_with("__Secure-") || self.has("secure"), "not secure: {text}");
    }

    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.contains_key(attribute)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Returns whether it deletes the cookie.
    pub(crate) fn clears(&self) -> bool {
        match self.attribute("max-age") {
            Some(seconds) => seconds.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
            None => self.attribute("expires").is_some_and(|date| date.contains(" 1970 ")),
        }
    }
}
