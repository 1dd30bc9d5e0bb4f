//! Remembers verified tokens, so that the signature of a token is checked only once.
//!
//! The table has a fixed number of slots. It is read and written without a lock. It holds only verified tokens, so many
//! different invalid tokens do not make it larger, and do not remove entries. An entry is valid for the whole token,
//! for one app and for one state of its provider's keys, until `exp`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::access::identity::Identity;
use crate::access::lifetime::{Lifetime, Over};
use crate::access::numbers::AppNumber;
use crate::access::tokens::AccessToken;

/// The number of slots that are possible for one token.
const WAYS: usize = 4;

/// The number of bytes at the token's end that are hashed. They belong to the signature, which an attacker cannot
/// choose.
const HASHED: usize = 32;

/// The scope in which an entry is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The number of the app. The issuer, audience and algorithms follow from it.
    pub app: AppNumber,
    /// The state of the provider's keys.
    pub key_generation: u64,
}

/// The table.
pub struct VerifiedTokens {
    slots: Box<[ArcSwapOption<Entry>]>,
    hasher: RandomState,
}

/// The remembered result for a token that was verified before.
#[derive(Debug)]
pub struct Remembered {
    /// The identity in the token.
    pub identity: Arc<Identity>,
    /// The state of its session. It is an error if the session is over.
    pub lives: Result<(), Over>,
    /// The state of the session is a guess. See [`Lifetime::is_provisional`].
    pub is_provisional: bool,
}

struct Entry {
    scope: Scope,
    token: AccessToken,
    identity: Arc<Identity>,
    lifetime: Lifetime,
}

impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("VerifiedTokens").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Drop for VerifiedTokens {
    fn drop(&mut self) {
        // Dropping a slot waits for its readers, and this takes long for tens of thousands of slots. An empty slot has
        // no readers, and owns nothing.
        for slot in std::mem::take(&mut self.slots) {
            if slot.load().is_none() {
                std::mem::forget(slot);
            }
        }
    }
}

impl VerifiedTokens {
    /// Makes a table for about `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1);
        let slots = (0..sets * WAYS).map(|_| ArcSwapOption::empty()).collect();
        Self { slots, hasher: RandomState::new() }
    }

    /// Returns the result for a token that was verified before and has not expired. Records that its session is in use.
    pub fn get(&self, token: &str, scope: Scope, now: u64) -> Option<Remembered> {
        self.set(token).iter().find_map(|slot| {
            let entry = slot.load();
            let entry = entry.as_ref()?;
            let is_it = entry.scope == scope && *entry.token == *token && now < entry.identity.expires_at();
            is_it.then(|| Remembered {
                identity: Arc::clone(&entry.identity),
                lives: entry.lifetime.check_request(now),
                is_provisional: entry.lifetime.is_provisional(),
            })
        })
    }

    /// Remembers a token. It takes the token's old slot, or a slot that is free, outdated or expired. If there is none,
    /// it takes a random slot.
    pub fn insert(&self, token: &str, scope: Scope, identity: &Arc<Identity>, lifetime: Lifetime, now: u64) {
        let set = self.set(token);
        let is_free = |slot: &&ArcSwapOption<Entry>| {
            slot.load().as_ref().is_none_or(|entry| {
                *entry.token == *token
                    || now >= entry.identity.expires_at()
                    || (entry.scope.app == scope.app && entry.scope.key_generation != scope.key_generation)
            })
        };
        let random = self.hash(token).rotate_left(32) % (WAYS as u64);
        let victim = set.iter().find(is_free).or_else(|| set.get(usize::try_from(random).unwrap_or(0)));
        if let Some(slot) = victim {
            let token = AccessToken::new(token);
            let identity = Arc::clone(identity);
            slot.store(Some(Arc::new(Entry { scope, token, identity, lifetime })));
        }
    }

    fn set(&self, token: &str) -> &[ArcSwapOption<Entry>] {
        let sets = (self.slots.len() / WAYS).max(1);
        let index = usize::try_from(self.hash(token) % (sets as u64)).unwrap_or(0);
        self.slots.get(index * WAYS..(index + 1) * WAYS).unwrap_or_default()
    }

    fn hash(&self, token: &str) -> u64 {
        let bytes = token.as_bytes();
        self.hasher.hash_one(bytes.last_chunk::<HASHED>().map_or(bytes, |end| end.as_slice()))
    }
}

#[cfg(test)]
mod tests;
