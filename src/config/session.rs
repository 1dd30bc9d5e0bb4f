//! `[session]`: the protection and the lifetime of sessions.

use std::time::Duration;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use zeroize::Zeroizing;

use crate::config::placeholder::StandIn;
use crate::config::reader::{Item, Section, boolean};
use crate::config::secret::secret;
use crate::config::values::duration::duration;
use crate::syntax::redacted::Redacted;

/// `[session]`.
#[derive(Debug, Clone)]
pub struct Session {
    /// The keys that seal the refresh token's cookie. The first key seals, and all of them open. If the list is empty,
    /// the cookie is not sealed.
    pub seal_keys: Vec<SealKey>,
    /// If true, a refresh needs the JWT of the same session. The default is true if cookies are sealed.
    pub bind_refresh: bool,
    /// The lifetime from the login. With `None`, a session lasts as long as the provider refreshes it.
    pub absolute_lifetime: Option<Duration>,
    /// The lifetime from the last request. With `None`, there is no limit.
    pub idle_lifetime: Option<Duration>,
    /// The time for which the revocation of a session or a subject is kept. It should exceed the lifetime of refresh
    /// tokens.
    pub revocation_lifetime: Duration,
}

/// A key that seals cookies. It is never shown, and is zeroised on drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealKey(Redacted<Zeroizing<[u8; Self::LENGTH]>>);

impl SealKey {
    /// The size of a key in bytes (AES-256).
    pub const LENGTH: usize = 32;

    /// Makes a key.
    pub fn new(key: [u8; Self::LENGTH]) -> Self {
        Self(Redacted(Zeroizing::new(key)))
    }

    /// Returns the key. Only the code that seals cookies calls this.
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }
}

const SEAL_KEY_HINT: &str = "make one with `openssl rand -base64 32`, and keep it as you keep client secrets";

/// Reads `[session]`.
pub(super) fn session(root: &Section<'_>) -> Option<Session> {
    let section = root.section("session");
    let seal_keys = section.defaulted("seal_keys", "[]", seal_keys);
    let bind_refresh = section.optional("bind_refresh", "true with seal_keys, else false", boolean);
    let lifetime = |name| {
        section.optional(name, "no limit", |item| {
            if seal_keys.as_ref().is_some_and(Vec::is_empty) {
                return item.fault(
                    format!(
                        "`{name}` needs `session.seal_keys`: a session's age is kept in the sealed cookie"
                    ),
                    "add `seal_keys = [{ env = \"SEAL_KEY\" }]`",
                );
            }
            duration(item, "1s", "400d")
        })
    };
    let absolute_lifetime = lifetime("absolute_lifetime");
    let idle_lifetime = lifetime("idle_lifetime");
    let revocation_lifetime =
        section.defaulted("revocation_lifetime", "\"30d\"", |item| duration(item, "1m", "400d"));
    let (absolute_lifetime, idle_lifetime) = (absolute_lifetime?, idle_lifetime?);
    if let Some((absolute, idle)) = absolute_lifetime.zip(idle_lifetime)
        && absolute < idle
    {
        return section.fault_at(
            "idle_lifetime",
            "it is longer than `absolute_lifetime` and would never end a session",
            "write a shorter duration, or leave the key out",
        );
    }
    let seal_keys = seal_keys?;
    Some(Session {
        bind_refresh: bind_refresh?.unwrap_or(!seal_keys.is_empty()),
        seal_keys,
        absolute_lifetime,
        idle_lifetime,
        revocation_lifetime: revocation_lifetime?,
    })
}

/// Reads the keys. [`Item::each`] would show a key that is listed twice, so it is not used.
fn seal_keys(item: &Item<'_>) -> Option<Vec<SealKey>> {
    let items = item.list("write a list of secrets, or `[]`")?;
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
        return item.fault(format!("the key {what}"), SEAL_KEY_HINT);
    };
    let Some(key) = decoded.first_chunk().filter(|_| decoded.len() == SealKey::LENGTH) else {
        if text.expose().bytes().all(|byte| byte.is_ascii_hexdigit())
            && text.expose().len() == 2 * SealKey::LENGTH
        {
            return item.fault("the key is hexadecimal, not base64", SEAL_KEY_HINT);
        }
        let message = format!("the key has {} bytes instead of {}", decoded.len(), SealKey::LENGTH);
        return item.fault(message, SEAL_KEY_HINT);
    };
    if decoded.windows(2).all(|pair| pair.first() == pair.last()) {
        return item.fault("all bytes of the key are the same", SEAL_KEY_HINT);
    }
    Some(SealKey::new(*key))
}
