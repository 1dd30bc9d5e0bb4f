//! The sealed cookie of the refresh token. The cookie is useless outside this gateway, and a refresh token that was
//! stolen from the provider or from a log is useless here.
//!
//! A cookie is `KEY ID.BASE64URL(nonce, ciphertext, tag)`. It is encrypted with AES-256-GCM-SIV (RFC 8452) and a fresh
//! random nonce each time. A repeated nonce does not break this cipher. The associated data binds the cookie to the app
//! and to the cookie's name. The first key seals. All keys open, so that a key can be replaced while sessions live. If
//! cookies are sealed, a plain refresh token is refused.
//!
//! A [`SessionRecord`] is sealed together with the refresh token. It shows whether a JWT belongs to the refresh token,
//! and how old the session is. So no table of sessions is needed.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::access::revocations::Mark;
use crate::access::tokens::RefreshToken;
use crate::config::SealKey;
use crate::syntax::redacted::Redacted;

/// The format of the sealed data. It is part of the associated data. Change it if marks are made in another way.
/// Otherwise an old record could open, and its session would be taken for somebody else's.
const FORMAT: &[u8] = b"portcullis session 2";

/// The record that is sealed together with a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRecord {
    /// The id of the session. It is random, and stays the same from login to logout.
    pub id: [u8; 16],
    /// The session's subject.
    pub subject: Mark,
    /// The JWT that was given to the browser together with the refresh token.
    pub access_token: Mark,
    /// The time until which that JWT could be used, in Unix seconds.
    pub access_token_expires_at: u64,
    /// The time at which the user logged in, in Unix seconds.
    pub started_at: u64,
    /// The time at which that JWT was given, in Unix seconds.
    pub renewed_at: u64,
}

impl SessionRecord {
    const LENGTH: usize = 3 * 16 + 3 * 8;

    fn write(&self, bytes: &mut Vec<u8>) {
        let Self { id, subject, access_token, access_token_expires_at, started_at, renewed_at } = *self;
        for part in [id, subject.bytes(), access_token.bytes()] {
            bytes.extend_from_slice(&part);
        }
        for time in [access_token_expires_at, started_at, renewed_at] {
            bytes.extend_from_slice(&time.to_be_bytes());
        }
    }

    /// Reads a record. Also returns the bytes after it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (subject, rest) = rest.split_first_chunk()?;
        let (access_token, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (started_at, rest) = rest.split_first_chunk()?;
        let (renewed_at, rest) = rest.split_first_chunk()?;
        let record = Self {
            id: *id,
            subject: Mark::from_bytes(*subject),
            access_token: Mark::from_bytes(*access_token),
            access_token_expires_at: u64::from_be_bytes(*expires_at),
            started_at: u64::from_be_bytes(*started_at),
            renewed_at: u64::from_be_bytes(*renewed_at),
        };
        Some((record, rest))
    }
}

/// Seals and opens one app's refresh token cookies.
#[derive(Debug)]
pub struct Seal {
    /// The keys. The first one seals.
    keys: Vec<Key>,
    associated_data: Vec<u8>,
}

#[derive(Debug)]
struct Key {
    id: String,
    key: Redacted<RandomizedNonceKey>,
}

impl Key {
    fn new(key: &SealKey) -> Option<Self> {
        let id = key_id(key);
        Some(Self { id, key: Redacted(RandomizedNonceKey::new(&AES_256_GCM_SIV, key.expose()).ok()?) })
    }
}

/// Derives a key's id from the key. So nobody has to name keys, and no two keys can have the same name.
fn key_id(key: &SealKey) -> String {
    let labelled = Zeroizing::new([b"portcullis seal key id".as_slice(), key.expose()].concat());
    let digest = digest(&SHA256, &labelled);
    URL_SAFE_NO_PAD.encode(digest.as_ref().first_chunk::<6>().copied().unwrap_or_default())
}

impl Seal {
    /// Makes a seal with these keys. Returns `None` if there are no keys.
    pub fn new(keys: &[SealKey], app: &str, cookie: &str) -> Option<Self> {
        let keys: Vec<_> = keys.iter().filter_map(Key::new).collect();
        // With the lengths, no two pairs of names give the same bytes.
        let length = |text: &str| (text.len() as u64).to_be_bytes();
        let associated_data =
            [FORMAT, &length(app), app.as_bytes(), &length(cookie), cookie.as_bytes()].concat();
        (!keys.is_empty()).then_some(Self { keys, associated_data })
    }

    /// Seals a refresh token.
    pub fn close(
        &self,
        refresh_token: &str,
        record: &SessionRecord,
    ) -> Result<Zeroizing<String>, Unspecified> {
        let Key { id, key } = self.keys.first().ok_or(Unspecified)?;
        let mut sealed =
            Zeroizing::new(Vec::with_capacity(SessionRecord::LENGTH + refresh_token.len() + 16 + NONCE_LEN));
        record.write(&mut sealed);
        sealed.extend_from_slice(refresh_token.as_bytes());
        let nonce = key.seal_in_place_append_tag(Aad::from(&self.associated_data), &mut *sealed)?;
        let cookie = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(Zeroizing::new(format!("{id}.{}", URL_SAFE_NO_PAD.encode(cookie))))
    }

    /// Opens a cookie. Returns `None` if it was not sealed for this app and this cookie with one of the keys.
    pub fn open(&self, cookie: &str) -> Option<(RefreshToken, SessionRecord)> {
        let (id, sealed) = cookie.split_once('.')?;
        let Key { key, .. } = self.keys.iter().find(|key| key.id == id)?;
        let mut sealed = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(&self.associated_data), sealed).ok()?;
        let (record, refresh_token) = SessionRecord::read(opened)?;
        let refresh_token = std::str::from_utf8(refresh_token).ok().filter(|token| !token.is_empty())?;
        Some((RefreshToken::new(refresh_token), record))
    }
}

#[cfg(test)]
mod tests;
