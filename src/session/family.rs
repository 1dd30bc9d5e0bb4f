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

/// A refresh token of a family, by its place in the line.
#[derive(Debug, Default, Clone)]
struct Member {
    generation: u64,
    family: Arc<Mutex<Family>>,
}

/// What the newest refresh token is, and which JWTs were given.
#[derive(Default)]
struct Family {
    newest: Option<Newest>,
    /// The newest generation that left this gateway, or came to it. A later one is nowhere else.
    known_outside: u64,
    jwts: Vec<Jwt>,
}

struct Newest {
    key: SessionKey,
    generation: u64,
    token: Zeroizing<String>,
}

/// What a refresh token was replaced by.
#[derive(Debug)]
pub(crate) struct Successor {
    /// The newest refresh token of the family.
    pub(crate) token: Zeroizing<String>,
    /// Whether it, or one between, ever left this gateway: only then can two be using the family.
    pub(crate) is_outside: bool,
}

impl fmt::Debug for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Family").field("jwts", &self.jwts.len()).finish_non_exhaustive()
    }
}

/// The families of all sessions that were refreshed.
#[derive(Debug)]
pub(crate) struct Families {
    members: Expiring<SessionKey, Member>,
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
        let member = self.members.get(key).cloned().unwrap_or_default();
        let next_member =
            next.filter(|(next, _)| *next != key).map(|(next, _)| (next, self.next_member(next, &member)));
        with(&member, |family| {
            if let Some(identity) = identity {
                family.remember(identity);
            }
            if let Some((key, token)) = next {
                let generation = next_member.as_ref().map_or(member.generation, |(_, next)| next.generation);
                family.newest = Some(Newest { key, generation, token: token.clone() });
            }
        });
        for (key, member) in [Some((key, member)), next_member].into_iter().flatten() {
            self.members.insert(key, member, now + IS_KEPT);
        }
    }

    fn next_member(&self, next: SessionKey, member: &Member) -> Member {
        // A provider may come back to a token that it gave before.
        let known = self.members.get(next).filter(|known| Arc::ptr_eq(&known.family, &member.family));
        known.cloned().unwrap_or_else(|| {
            let newest = with(member, |family| family.newest.as_ref().map(|newest| newest.generation));
            let generation = newest.unwrap_or_default().max(member.generation) + 1;
            Member { generation, family: Arc::clone(&member.family) }
        })
    }

    /// A refresh token is on its way to the browser.
    pub(super) fn delivered(&self, key: SessionKey) {
        if let Some(member) = self.members.get(key) {
            with(member, |family| family.known_outside = family.known_outside.max(member.generation));
        }
    }

    /// The newest refresh token of a family.
    pub(super) fn newest(&self, key: SessionKey) -> Option<SessionKey> {
        with(self.members.get(key)?, |family| family.newest.as_ref().map(|newest| newest.key))
    }

    /// What follows a refresh token that was replaced.
    pub(super) fn successor(&self, key: SessionKey) -> Option<Successor> {
        let member = self.members.get(key)?;
        with(member, |family| {
            let newest = family.newest.as_ref().filter(|newest| newest.key != key)?;
            let is_outside = family.known_outside > member.generation;
            Some(Successor { token: newest.token.clone(), is_outside })
        })
    }

    /// The JWTs that a refresh token and its predecessors gave.
    pub(super) fn jwts(&self, key: SessionKey) -> Vec<Jwt> {
        self.members.get(key).map(|member| with(member, |family| family.jwts.clone())).unwrap_or_default()
    }

    /// Whether a family was given such a JWT.
    pub(super) fn has_jwt(&self, key: SessionKey, is_such: impl Fn(&Jwt) -> bool) -> bool {
        self.members.get(key).is_some_and(|member| with(member, |family| family.jwts.iter().any(is_such)))
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
fn with<T>(member: &Member, act: impl FnOnce(&mut Family) -> T) -> T {
    act(&mut member.family.lock().unwrap_or_else(PoisonError::into_inner))
}
