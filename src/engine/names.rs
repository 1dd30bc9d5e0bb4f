//! The names under which the engine knows what replicas share. A name is an HMAC, so it gives away no address, user
//! name or token.

use aws_lc_rs::hmac::{self, HMAC_SHA256};

/// The name of a record, a bucket or a turn: 128 bits of an HMAC-SHA256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name([u8; 16]);

impl std::fmt::Debug for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Name({})", self.text())
    }
}

impl Name {
    /// Returns the name of a value of a kind. The parts of the value are told apart by their lengths.
    pub(super) fn new(key: &hmac::Key, kind: &str, parts: &[&[u8]]) -> Self {
        let mut context = hmac::Context::with_key(key);
        for part in [kind.as_bytes()].iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self(context.sign().as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Makes the key of names.
    pub(super) fn key(bytes: &[u8]) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, bytes)
    }

    /// Returns the bytes.
    pub(crate) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Restores a name.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the name in base64url.
    pub(crate) fn text(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0)
    }
}
