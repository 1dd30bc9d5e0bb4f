//! Recognises requests that come back, by `CDN-Loop` (RFC 8586).
//!
//! Every request to an app carries a mark that says it went through here. If an incoming request already has the mark,
//! an app has sent it back to where it came from. The usual cause is an upstream with the gateway's own address.
//! Without this check, the request would go round for ever.
//!
//! `Via` (RFC 9110 section 7.6.3) would also work, but other software acts on it: some apps and content delivery
//! networks do not compress answers to requests that come through a proxy.

use std::fmt::Write;

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The mark of this process. Other processes write other marks, and each process recognises its own mark in a request
/// that comes back.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    id: Finder<'static>,
    value: HeaderValue,
}

impl Mark {
    /// Makes a mark that no other process has. Nobody may be able to guess it: anyone who knows it can get requests
    /// refused, although only their own.
    pub(super) fn random() -> Self {
        let mut bytes = [0_u8; 16];
        // Without randomness, all processes have the same mark, and two gateways in a row look like a loop.
        let _ = rand::fill(&mut bytes);
        let mut text = "portcullis; id=".to_owned();
        let start = text.len();
        for byte in bytes {
            let _never_fails = write!(text, "{byte:02x}");
        }
        // The text is leaked, once for each gateway. With a reference-counted value, all workers would write to the
        // same counter for each request.
        let text: &'static str = text.leak();
        let id = text.get(start..).unwrap_or_default();
        Self { id: Finder::new(id), value: HeaderValue::from_static(text) }
    }

    /// Tells whether a request has already passed through this process.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(CDN_LOOP).iter().any(|value| self.id.find(value.as_bytes()).is_some())
    }

    /// Adds the mark to the marks of others in the request. `from` has the fields as they came, before any field that
    /// `Connection` names was removed.
    pub(super) fn add(&self, from: &HeaderMap, to: &mut HeaderMap) {
        let mut others = from.get_all(CDN_LOOP).iter().map(HeaderValue::as_bytes).peekable();
        let value = if others.peek().is_none() {
            self.value.clone()
        } else {
            let all: Vec<&[u8]> = others.chain([self.value.as_bytes()]).collect();
            // Each part is a valid header value, so the joined value is valid too.
            HeaderValue::from_bytes(&all.join(b", ".as_slice())).unwrap_or_else(|_| self.value.clone())
        };
        to.insert(CDN_LOOP, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&[u8]]) -> HeaderMap {
        let field = |value: &&[u8]| (CDN_LOOP, HeaderValue::from_bytes(value).expect("valid"));
        values.iter().map(field).fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn each_gateway_sees_its_own_mark_and_no_other() {
        let (ours, other) = (Mark::random(), Mark::random());
        let mut sent = HeaderMap::new();
        ours.add(&HeaderMap::new(), &mut sent);
        assert!(ours.is_in(&sent) && !other.is_in(&sent));
        let mut further = sent.clone();
        other.add(&sent, &mut further);
        assert!(ours.is_in(&further) && other.is_in(&further));
        assert_eq!(further.get_all(CDN_LOOP).iter().count(), 1);
        // The request may come back with the mark in any form.
        let id = sent[CDN_LOOP].to_str().expect("text").rsplit('=').next().expect("an id");
        for value in
            [format!("a, portcullis;id={id}"), format!("portcullis ; id=\"{id}\";x=y"), format!("{id},b")]
        {
            assert!(ours.is_in(&with(&[b"x", value.as_bytes()])), "{value}");
        }
        assert!(!ours.is_in(&with(&[b"portcullis; id=", b"", b"\xff"])));
    }

    #[test]
    fn what_others_say_is_kept_in_order() {
        let ours = Mark::random();
        let mut to = with(&[b"stays not"]);
        ours.add(&with(&[b"cloudflare; loops=1", b"a, \xe9"]), &mut to);
        let value = to.get(CDN_LOOP).expect("one").as_bytes();
        assert!(
            value.starts_with(b"cloudflare; loops=1, a, \xe9, portcullis; id="),
            "{}",
            value.escape_ascii()
        );
    }
}
