//! The refresh tokens of one session as they followed each other, to recognize one that is used again too late: either
//! it or its successor is in the wrong hands (RFC 9700 section 4.14.2).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::access::identity::Identity;
use crate::access::revocations::TokenMarks;
use crate::session::expiring::Expiring;
use crate::session::ledger::SessionKey;

/// Refresh tokens whose family is known; the oldest are forgotten first.
const MAX_MEMBERS: usize = 262_144;

/// How long a refresh token's family is remembered.
const IS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// JWTs of one family that are remembered: those of early refreshes live on beside their successors.
const MAX_JWTS: usize = 16;

/// A JWT, by what it can be revoked, and when it expires (Unix seconds).
pub(crate) type Jwt = (TokenMarks, u64);

/// What the newest refresh token is, and which JWTs were given.
#[derive(Default)]
struct Family {
    newest: Option<(SessionKey, Zeroizing<String>)>,
    jwts: Vec<Jwt>,
}

impl fmt::Debug for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Family").field("jwts", &self.jwts.len()).finish_non_exhaustive()
    }
}

/// The families of all sessions that were refreshed.
#[derive(Debug)]
pub(crate) struct Families {
    members: Expiring<SessionKey, Arc<Mutex<Family>>>,
}

impl Default for Families {
    fn default() -> Self {
        Self { members: Expiring::new(MAX_MEMBERS) }
    }
}

impl Families {
    /// A refresh token has given a JWT and, if the provider rotates, a new refresh token.
    pub(super) fn renew(
        &mut self,
        key: SessionKey,
        next: Option<(SessionKey, &Zeroizing<String>)>,
        identity: Option<&Identity>,
        now: Instant,
    ) {
        let family = self.members.get(key).cloned().unwrap_or_default();
        with(&family, |family| {
            if let Some(identity) = identity {
                family.remember(identity);
            }
            if let Some((key, refresh_token)) = next {
                family.newest = Some((key, refresh_token.clone()));
            }
        });
        for key in [Some(key), next.map(|(key, _)| key)].into_iter().flatten() {
            self.members.insert(key, Arc::clone(&family), now + IS_KEPT);
        }
    }

    /// The newest refresh token of the family of one that has a successor.
    pub(super) fn successor(&self, key: SessionKey) -> Option<Zeroizing<String>> {
        with(self.members.get(key)?, |family| {
            family.newest.as_ref().filter(|(newest, _)| *newest != key).map(|(_, token)| token.clone())
        })
    }

    /// The JWTs that a refresh token and its predecessors gave.
    pub(super) fn jwts(&self, key: SessionKey) -> Vec<Jwt> {
        self.members.get(key).map(|family| with(family, |family| family.jwts.clone())).unwrap_or_default()
    }

    /// Until when the newest JWT of a session can be used, in Unix seconds.
    pub(super) fn valid_until(&self, key: SessionKey) -> Option<u64> {
        with(self.members.get(key)?, |family| family.jwts.iter().map(|(_, expires_at)| *expires_at).max())
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        self.members.forget_expired(now);
    }
}

impl Family {
    fn remember(&mut self, identity: &Identity) {
        let jwt = (*identity.marks(), identity.expires_at());
        if self.jwts.contains(&jwt) {
            return;
        }
        if self.jwts.len() >= MAX_JWTS {
            self.jwts.remove(0);
        }
        self.jwts.push(jwt);
    }
}

/// Only ever locked inside the ledger's lock, and never across an await.
fn with<T>(family: &Mutex<Family>, act: impl FnOnce(&mut Family) -> T) -> T {
    act(&mut family.lock().unwrap_or_else(PoisonError::into_inner))
}
