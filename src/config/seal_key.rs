//! Lists of keys that the operator makes: `session.seal_keys` and `shared_state.keys`.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use zeroize::Zeroizing;

use crate::config::placeholder::StandIn;
use crate::config::reader::Item;
use crate::config::secret::secret;
use crate::config::toml_tree::Value;
use crate::syntax::redacted::Redacted;

/// A key of 32 bytes. `session.seal_keys` has those that seal cookies. `shared_state.keys` has those from which the
/// replicas derive the keys of their names and messages. A key is never shown, and is zeroised on drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealKey(Redacted<Zeroizing<[u8; Self::LENGTH]>>);

impl SealKey {
    /// The size of a key in bytes (AES-256).
    pub const LENGTH: usize = 32;

    /// Makes a key.
    pub fn new(key: [u8; Self::LENGTH]) -> Self {
        Self(Redacted(Zeroizing::new(key)))
    }

    /// Returns the key. Only code that derives keys from it, or seals with it, calls this.
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }
}

const HINT: &str = "make one with `openssl rand -base64 32`, and keep it as you keep client secrets";

/// Reads the keys. `hint` says what to write instead of a value that is no list. Neither such a value nor a key that is
/// listed twice may be shown, as [`Item::each`] would.
pub(super) fn seal_keys(item: &Item<'_>, hint: &str) -> Option<Vec<SealKey>> {
    if !matches!(item.value(), Value::List(_)) {
        return item.fault(format!("this is {}, but a list is expected", item.value().kind()), hint);
    }
    let items = item.list(hint)?;
    let read: Vec<_> = items.iter().map(|item| (item, seal_key(item))).collect();
    let mut keys = Vec::new();
    for (item, key) in read {
        let key = key?;
        if keys.contains(&key) {
            return item.fault("this key is listed twice", "remove one of the two");
        }
        keys.push(key);
    }
    Some(keys)
}

/// Reads 32 bytes in base64, in either alphabet, with or without padding.
fn seal_key(item: &Item<'_>) -> Option<SealKey> {
    let text = secret(item)?;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = [&alphabet::STANDARD, &alphabet::URL_SAFE].into_iter().find_map(|alphabet| {
        GeneralPurpose::new(alphabet, config).decode(text.expose()).ok().map(Zeroizing::new)
    });
    let Some(decoded) = decoded else {
        let what = StandIn::of(text.expose()).map_or("is not base64", StandIn::message);
        return item.fault(format!("the key {what}"), HINT);
    };
    let Some(key) = decoded.first_chunk().filter(|_| decoded.len() == SealKey::LENGTH) else {
        if text.expose().bytes().all(|byte| byte.is_ascii_hexdigit())
            && text.expose().len() == 2 * SealKey::LENGTH
        {
            return item.fault("the key is hexadecimal, not base64", HINT);
        }
        let message = format!("the key has {} bytes instead of {}", decoded.len(), SealKey::LENGTH);
        return item.fault(message, HINT);
    };
    if decoded.windows(2).all(|pair| pair.first() == pair.last()) {
        return item.fault("all bytes of the key are the same", HINT);
    }
    Some(SealKey::new(*key))
}
