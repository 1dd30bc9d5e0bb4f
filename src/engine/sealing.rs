//! The keys of the fleet, and what is sealed with them.
//!
//! From each configured key, four keys are derived (HKDF, RFC 5869): one for names, one for results, one for messages,
//! and one for the fingerprint by which replicas compare their keys. The first configured key names and seals. All are
//! understood, so that a key can be replaced while replicas run.
//!
//! - **Results** have the new tokens in them. They are sealed with a key that is derived from the *old* refresh token
//!   as well. So nobody who only has the configured key can open them.
//! - **Messages** have digests in them, and no tokens. They are sealed with the key for messages. The seal also shows
//!   that a replica has written them.
//!
//! The cipher is AES-256-GCM-SIV (RFC 8452) with a random nonce each time. A repeated nonce does not break this cipher.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::config::SealKey;
use crate::engine::commands::RecordState;
use crate::engine::names::Name;
use crate::syntax::redacted::Redacted;

/// The version of what replicas write for each other. Replicas with different versions share no results.
pub(crate) const VERSION: u8 = 1;

/// Sealed results are padded to a multiple of this, so that their sizes say little.
const PADDED_TO: usize = 512;

/// Identifies a configured key.
pub(crate) type Fingerprint = [u8; 8];

/// The keys of the fleet.
#[derive(Debug)]
pub(crate) struct FleetKeys {
    keys: Vec<FleetKey>,
}

#[derive(Debug)]
struct FleetKey {
    fingerprint: Fingerprint,
    names: Redacted<hmac::Key>,
    results: Redacted<Zeroizing<[u8; 32]>>,
    messages: Redacted<RandomizedNonceKey>,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Derives bytes for a purpose. The purpose is a list of parts.
fn derive(salt: &[u8], secret: &[u8], purpose: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let mut derived = Zeroizing::new([0; 32]);
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    key.expand(purpose, Length(32)).ok()?.fill(derived.as_mut_slice()).ok()?;
    Some(derived)
}

impl FleetKey {
    fn new(key: &SealKey) -> Option<Self> {
        let of = |purpose: &str| derive(b"portcullis shared state 1", key.expose(), &[purpose.as_bytes()]);
        Some(Self {
            fingerprint: of("fingerprint")?.first_chunk().copied()?,
            names: Redacted(Name::key(of("names")?.as_slice())),
            results: Redacted(of("results")?),
            messages: Redacted(RandomizedNonceKey::new(&AES_256_GCM_SIV, of("messages")?.as_slice()).ok()?),
        })
    }

    /// Returns the key that seals the result of one refresh token.
    fn of_result(&self, client: &[u8], refresh_token: &str) -> Option<RandomizedNonceKey> {
        let purpose = [b"result".as_slice(), &[VERSION], client];
        let derived = derive(self.results.0.as_slice(), refresh_token.as_bytes(), &purpose)?;
        RandomizedNonceKey::new(&AES_256_GCM_SIV, derived.as_slice()).ok()
    }
}

/// Returns what binds a result to its record.
fn associated(name: &Name, state: RecordState) -> Vec<u8> {
    [name.bytes().as_slice(), state.word().as_bytes()].concat()
}

impl FleetKeys {
    /// Derives the keys. Returns `None` if there is no key.
    pub(crate) fn new(keys: &[SealKey]) -> Option<Self> {
        let keys = keys.iter().map(FleetKey::new).collect::<Option<Vec<_>>>()?;
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Returns the names of a value by all keys. The first one is written.
    pub(crate) fn names(&self, kind: &str, parts: &[&[u8]]) -> Vec<Name> {
        self.keys.iter().map(|key| Name::new(&key.names.0, kind, parts)).collect()
    }

    /// Returns the fingerprints of all keys. The first one is that of the key that is written with.
    pub(crate) fn fingerprints(&self) -> Vec<Fingerprint> {
        self.keys.iter().map(|key| key.fingerprint).collect()
    }

    /// Seals new tokens for whoever has the old refresh token. `client` is the number of the client.
    pub(crate) fn seal_result(
        &self,
        client: &[u8],
        refresh_token: &str,
        (name, state): (&Name, RecordState),
        plain: &[u8],
    ) -> Option<Vec<u8>> {
        let length = u32::try_from(plain.len()).ok()?;
        let padded = (plain.len() + 4).next_multiple_of(PADDED_TO);
        let mut sealed = Zeroizing::new(Vec::with_capacity(padded + NONCE_LEN + 16));
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(plain);
        sealed.resize(padded, 0);
        let key = self.keys.first()?.of_result(client, refresh_token)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(associated(name, state)), &mut *sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Opens sealed tokens. `place` is the place of the name among all names of the refresh token.
    pub(crate) fn open_result(
        &self,
        client: &[u8],
        refresh_token: &str,
        (name, state): (&Name, RecordState),
        place: usize,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.keys.get(place)?.of_result(client, refresh_token)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::from(associated(name, state)), &mut opened).ok()?;
        let (length, plain) = plain.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        plain.get(..length).map(|plain| Zeroizing::new(plain.to_vec()))
    }

    /// Seals a message. `purpose` is its kind, which keeps a message from being taken for another one.
    pub(crate) fn seal_message(&self, purpose: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.messages.0.seal_in_place_append_tag(Aad::from(purpose), &mut sealed).ok()?;
        Some([key.fingerprint.as_slice(), nonce.as_ref(), &sealed].concat())
    }

    /// Opens a message. Returns `None` if no replica with one of these keys has sealed it.
    pub(crate) fn open_message(&self, purpose: &str, message: &[u8]) -> Option<Vec<u8>> {
        let (fingerprint, message) = message.split_first_chunk::<8>()?;
        let (nonce, sealed) = message.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.fingerprint == *fingerprint)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.messages.0.open_in_place(nonce, Aad::from(purpose), &mut opened).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(of: &[u8]) -> FleetKeys {
        let keys: Vec<_> = of.iter().map(|byte| SealKey::new([*byte; 32])).collect();
        FleetKeys::new(&keys).unwrap()
    }

    #[test]
    fn a_result_opens_with_its_old_refresh_token_client_record_and_key_only() {
        let fleet = keys(&[1]);
        let name = fleet.names("r", &[b"client", b"token"])[0];
        let as_tokens = (&name, RecordState::Tokens);
        let sealed = fleet.seal_result(b"client", "old", as_tokens, b"new tokens").unwrap();
        assert_eq!(sealed.len(), PADDED_TO + NONCE_LEN + 16, "the size says little");
        let open = |keys: &FleetKeys, client: &[u8], token: &str, of, place| {
            keys.open_result(client, token, of, place, &sealed).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&fleet, b"client", "old", as_tokens, 0).unwrap(), b"new tokens");
        assert_eq!(open(&fleet, b"other", "old", as_tokens, 0), None);
        assert_eq!(open(&fleet, b"client", "other", as_tokens, 0), None);
        assert_eq!(open(&fleet, b"client", "old", (&name, RecordState::Dead), 0), None);
        let other = Name::from_bytes([0; 16]);
        assert_eq!(open(&fleet, b"client", "old", (&other, RecordState::Tokens), 0), None);
        assert_eq!(open(&keys(&[2]), b"client", "old", as_tokens, 0), None);
        assert_eq!(open(&keys(&[2, 1]), b"client", "old", as_tokens, 1).unwrap(), b"new tokens");
    }

    #[test]
    fn a_message_opens_with_each_of_the_keys_and_for_its_purpose_only() {
        let sealed = keys(&[1, 2]).seal_message("done", b"hello").unwrap();
        assert_eq!(keys(&[2, 1]).open_message("done", &sealed).unwrap(), b"hello");
        assert_eq!(keys(&[2, 1]).open_message("rev", &sealed), None);
        assert_eq!(keys(&[2]).open_message("done", &sealed), None);
        let mut forged = sealed.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(keys(&[1]).open_message("done", &forged), None);
        for length in 0..sealed.len() {
            assert_eq!(keys(&[1]).open_message("done", &sealed[..length]), None);
        }
    }

    #[test]
    fn names_differ_by_key_kind_and_parts() {
        let fleet = keys(&[1, 2]);
        let names = fleet.names("r", &[b"ab", b"c"]);
        assert_eq!(names, fleet.names("r", &[b"ab", b"c"]));
        assert_ne!(names[0], names[1]);
        assert_eq!(names[1], keys(&[2]).names("r", &[b"ab", b"c"])[0]);
        assert_ne!(names, fleet.names("r", &[b"a", b"bc"]));
        assert_ne!(names, fleet.names("t", &[b"ab", b"c"]));
    }
}
