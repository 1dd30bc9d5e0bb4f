//! Marks. A mark identifies a session, a JWT or a subject that can be revoked.

use aws_lc_rs::digest::{Context, SHA256};

use crate::access::numbers::ProviderNumber;

/// Identifies something that can be revoked. It is 128 bits of a SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark([u8; 16]);

impl Mark {
    /// Returns the mark of a provider's session, by claim `sid` (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub fn session(provider: ProviderNumber, sid: &str) -> Self {
        Self::new(b"sid", Some(provider), sid.as_bytes())
    }

    /// Returns the mark of one JWT, by its claim `jti` (RFC 7519 section 4.1.7).
    pub fn token_id(provider: ProviderNumber, jti: &str) -> Self {
        Self::new(b"jti", Some(provider), jti.as_bytes())
    }

    /// Returns the mark of one JWT, by its text.
    pub fn token(provider: ProviderNumber, jwt: &str) -> Self {
        Self::new(b"jwt", Some(provider), jwt.as_bytes())
    }

    /// Returns the mark of one JWT, by its text, whichever provider gave it. No JWT is revoked by this mark.
    pub(crate) fn token_of_any_provider(jwt: &str) -> Self {
        Self::new(b"jwt", None, jwt.as_bytes())
    }

    /// Returns the mark of one JWT without `jti`, by its signed part. The signature is left out, because a JWT may have
    /// several valid signatures: ECDSA has two forms of each.
    pub fn unnamed_token(provider: ProviderNumber, jwt: &str) -> Self {
        let signed = jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed);
        Self::new(b"signed", Some(provider), signed.as_bytes())
    }

    /// Returns the mark of a subject, by claim `sub` (RFC 7519 section 4.1.2).
    pub fn subject(provider: ProviderNumber, sub: &str) -> Self {
        Self::new(b"sub", Some(provider), sub.as_bytes())
    }

    /// Returns the mark of a session of this gateway, by the random id that is sealed with its refresh token.
    pub fn sealed_session(provider: ProviderNumber, id: &[u8]) -> Self {
        Self::new(b"seal", Some(provider), id)
    }

    /// Returns the mark of a logout token, by its signed part. The `jti` is not used, because a `jti` that a provider
    /// uses twice must not hide a logout.
    pub fn logout_token(provider: ProviderNumber, token: &str) -> Self {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        Self::new(b"logout token", Some(provider), signed.as_bytes())
    }

    /// Returns the mark of a JWT's admission.
    pub(super) fn admission(token: Self) -> Self {
        Self::new(b"admission", None, &token.0)
    }

    /// Makes a mark. `provider` is `None` if the mark is the same at every provider.
    fn new(kind: &[u8], provider: Option<ProviderNumber>, value: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(&[0]);
        context.update(&provider.map_or([0; 8], ProviderNumber::bytes));
        context.update(value);
        Self::from_digest(context.finish().as_ref())
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Restores a mark from bytes that were kept elsewhere.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the mark, for keeping elsewhere.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the number of the part of the list that holds the mark.
    pub(super) fn part(self, parts: usize) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_be_bytes([first, second])).checked_rem(parts).unwrap_or_default()
    }
}

/// All marks by which a JWT can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMarks {
    /// Its session, if it names one.
    pub session: Option<Mark>,
    /// The JWT itself, by `jti`, or else by its signed part.
    pub token: Mark,
    /// Its subject.
    pub subject: Mark,
    /// The time (Unix seconds) from which it cannot be used anyway. Its revocation is kept until then.
    pub usable_until: u64,
}

impl TokenMarks {
    /// Tells whether two JWTs may belong to one session. They must have the same subject. If both have a `sid`, it must
    /// be the same.
    pub fn is_same_session(&self, other: &Self) -> bool {
        let sessions = self.session.zip(other.session);
        self.subject == other.subject && sessions.is_none_or(|(one, other)| one == other)
    }
}
