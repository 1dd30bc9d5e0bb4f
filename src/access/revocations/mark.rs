//! The names of what can be revoked.

use aws_lc_rs::digest::{Context, SHA256};

use crate::access::numbers::ProviderNumber;

/// The name of something that can be revoked, without the thing itself: 128 bits of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark([u8; 16]);

impl Mark {
    /// The provider's session: claim `sid` (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub fn session(provider: ProviderNumber, sid: &str) -> Self {
        Self::new(b"sid", Some(provider), sid.as_bytes())
    }

    /// One JWT, by its claim `jti` (RFC 7519 section 4.1.7).
    pub fn token_id(provider: ProviderNumber, jti: &str) -> Self {
        Self::new(b"jti", Some(provider), jti.as_bytes())
    }

    /// One JWT, by its own text.
    pub fn token(provider: ProviderNumber, jwt: &str) -> Self {
        Self::new(b"jwt", Some(provider), jwt.as_bytes())
    }

    /// One JWT, by its own text, whoever gave it. It is no name under which a JWT is revoked.
    pub(crate) fn token_of_any_provider(jwt: &str) -> Self {
        Self::new(b"jwt", None, jwt.as_bytes())
    }

    /// One JWT without `jti`, by what is signed. Its signature may have another form that is as good: ECDSA has two of each.
    pub fn unnamed_token(provider: ProviderNumber, jwt: &str) -> Self {
        let signed = jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed);
        Self::new(b"signed", Some(provider), signed.as_bytes())
    }

    /// A subject: claim `sub` (RFC 7519 section 4.1.2).
    pub fn subject(provider: ProviderNumber, sub: &str) -> Self {
        Self::new(b"sub", Some(provider), sub.as_bytes())
    }

    /// A session of this gateway, by the random id that is sealed with its refresh token.
    pub fn sealed_session(provider: ProviderNumber, id: &[u8]) -> Self {
        Self::new(b"seal", Some(provider), id)
    }

    /// A logout token, by what is signed. Not by its `jti`: one that a provider gives twice must not hide a logout.
    pub fn logout_token(provider: ProviderNumber, token: &str) -> Self {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        Self::new(b"logout token", Some(provider), signed.as_bytes())
    }

    /// That one JWT was admitted.
    pub(super) fn admission(token: Self) -> Self {
        Self::new(b"admission", None, &token.0)
    }

    /// `provider`: `None` for what is the same at every provider.
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

    /// A mark that was kept elsewhere.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The mark, to be kept elsewhere.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Which of so many parts of the list holds it.
    pub(super) fn part(self, parts: usize) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_be_bytes([first, second])).checked_rem(parts).unwrap_or_default()
    }
}

/// All names under which a JWT can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMarks {
    /// Its session, where it names one.
    pub session: Option<Mark>,
    /// Itself: by `jti`, or else by what is signed.
    pub token: Mark,
    /// Its subject.
    pub subject: Mark,
    /// From then on (Unix seconds) it cannot be used anyway: so long its revocation is kept.
    pub usable_until: u64,
}

impl TokenMarks {
    /// Says that two JWTs may be of one session: they have one subject, and one `sid` where both have one.
    pub fn is_same_session(&self, other: &Self) -> bool {
        let sessions = self.session.zip(other.session);
        self.subject == other.subject && sessions.is_none_or(|(one, other)| one == other)
    }
}
