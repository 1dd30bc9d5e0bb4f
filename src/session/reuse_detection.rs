//! The refresh tokens of one session as they followed each other, to recognize one that is used again too late: either
//! it or its successor is in the wrong hands (RFC 9700 section 4.14.2).
//!
//! A successor counts as delivered once a request brings it, or the JWT that was given together with it. That an answer
//! with it was written says little: the client may have left, and a browser may be restored from before that answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::identity::Identity;
use crate::access::revocations::{Mark, TokenMarks};
use crate::access::tokens::RefreshToken;
use crate::session::expiring_table::Expiring;
use crate::session::session_key::SessionKey;

/// Refresh tokens whose family is known; the first to be forgotten go first.
const MAX_MEMBERS: usize = 262_144;

/// How long a refresh token's family is remembered.
const IS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The same of the refresh token that a browser used last, and of the newest one, while nobody has used that: the browser
/// may be asleep, and would look like a thief to a provider that rotates.
const UNUSED_IS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// JWTs of one family that are remembered: those of early refreshes live on beside their successors.
const MAX_JWTS: usize = 16;

/// First uses of one family that are remembered one by one. More of them within a replay window count from the last one.
const MAX_USES: usize = 64;

/// A JWT, by what it can be revoked, and when it expires (Unix seconds).
pub(crate) type Jwt = (TokenMarks, u64);

/// A refresh token of a family, by its place in the line.
#[derive(Debug, Default, Clone)]
struct Member {
    generation: u64,
    family: Arc<Mutex<Family>>,
}

/// What the newest refresh token is, what was used of the family, and which JWTs were given.
#[derive(Debug, Default)]
struct Family {
    first: Option<SessionKey>,
    newest: Option<Newest>,
    /// The newest JWT.
    newest_jwt: Option<Mark>,
    /// The latest generation that a request brought.
    last_used: Option<SessionKey>,
    /// When a request first brought a later generation than those before, the latest last.
    uses: Vec<(u64, Instant)>,
    jwts: Vec<Jwt>,
    /// When the session began, if that was here, in Unix seconds.
    started_at: Option<u64>,
}

#[derive(Debug)]
struct Newest {
    key: SessionKey,
    generation: u64,
    token: RefreshToken,
}

/// What a refresh changed.
struct Renewed {
    /// The JWT was not there before.
    is_new: bool,
    /// The refresh token that a request brought last.
    last_used: SessionKey,
    /// No request has brought the refresh token that there is now.
    is_unused: bool,
}

/// What a refresh token was replaced by.
#[derive(Debug)]
pub(crate) struct Successor {
    /// What the token below is known by.
    pub(super) key: SessionKey,
    /// The newest refresh token of the family.
    pub(crate) token: RefreshToken,
    /// When a request first brought it, or one between; `None`: none ever did.
    pub(crate) used_at: Option<Instant>,
}

impl Successor {
    /// Whether the refresh token at hand leads to it no more: the replay window is over.
    pub(super) fn is_over(&self, replay_window: Duration, now: Instant) -> bool {
        self.used_at.is_some_and(|used_at| now >= used_at + replay_window)
    }
}

/// The families of all sessions that began or were refreshed here.
#[derive(Debug)]
pub(crate) struct Families {
    members: Expiring<SessionKey, Member>,
    /// JWTs that no request has brought yet, with the refresh token that was given together with each.
    unused_jwts: Expiring<Mark, SessionKey>,
}

impl Default for Families {
    fn default() -> Self {
        Self { members: Expiring::new(MAX_MEMBERS), unused_jwts: Expiring::new(MAX_MEMBERS) }
    }
}

impl Families {
    /// A login has brought a session's first tokens at `started_at` (Unix seconds). What the refresh token has given before is
    /// remembered: it ends together.
    pub(super) fn begin(&mut self, key: SessionKey, identity: &Identity, started_at: u64, now: Instant) {
        let member = Member::default();
        let jwts = self.jwts(key);
        with(&member, |family| {
            family.first = Some(key);
            family.jwts = jwts;
            family.remember(identity);
            family.started_at = Some(started_at);
        });
        self.members.insert(key, member, now + IS_KEPT);
    }

    /// A refresh token has given a JWT and, if the provider rotates, a new refresh token.
    pub(super) fn renew(
        &mut self,
        key: SessionKey,
        next: Option<(SessionKey, &RefreshToken)>,
        identity: Option<&Identity>,
        now: Instant,
    ) {
        let member = self.members.get(key).cloned().unwrap_or_default();
        let next_member =
            next.filter(|(next, _)| *next != key).map(|(next, _)| (next, self.next_member(next, &member)));
        let (given, generation) = next_member
            .as_ref()
            .map_or((key, member.generation), |(next, member)| (*next, member.generation));
        let renewed = with(&member, |family| {
            if let Some((key, token)) = next {
                family.newest = Some(Newest { key, generation, token: token.clone() });
            }
            let is_new = identity.is_some_and(|identity| family.remember(identity));
            family.first.get_or_insert(key);
            // Only what a request brought is ever the first of a family.
            let last_used = *family.last_used.get_or_insert(key);
            Renewed { is_new, last_used, is_unused: !family.is_used(generation) }
        });
        if let Some(identity) =
            identity.filter(|_| renewed.is_new && renewed.is_unused && given != renewed.last_used)
        {
            self.unused_jwts.insert(identity.marks().token, given, now + IS_KEPT);
        }
        self.members.insert(key, member, now + IS_KEPT);
        if let Some((next, next_member)) = next_member {
            self.members.insert(next, next_member, now + UNUSED_IS_KEPT);
            self.keep(renewed.last_used, now + UNUSED_IS_KEPT);
        }
    }

    /// Remembers a refresh token until then.
    fn keep(&mut self, key: SessionKey, until: Instant) {
        if let Some(member) = self.members.remove(key) {
            self.members.insert(key, member, until);
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

    /// A request has brought a refresh token. `true`: no request had brought it, or a later one, before.
    pub(super) fn used(&mut self, key: SessionKey, now: Instant) -> bool {
        let Some(member) = self.members.get(key) else { return false };
        let generation = member.generation;
        let changed = with(member, |family| {
            let is_first = family.note_use(generation, now);
            let is_newest = family.newest.as_ref().is_none_or(|newest| newest.generation <= generation);
            is_first.then(|| (family.last_used.replace(key), is_newest))
        });
        let Some((before, is_newest)) = changed else { return false };
        if let Some(before) = before {
            self.keep(before, now + IS_KEPT);
        }
        self.keep(key, now + if is_newest { IS_KEPT } else { UNUSED_IS_KEPT });
        true
    }

    /// A request has brought a JWT; the refresh token that was given together with it, if this is the first time.
    pub(super) fn jwt_used(&mut self, jwt: Mark, now: Instant) -> Option<SessionKey> {
        let key = self.unused_jwts.remove(jwt)?;
        self.used(key, now).then_some(key)
    }

    /// The first refresh token of a family that is known.
    pub(super) fn first(&self, key: SessionKey) -> SessionKey {
        self.members.get(key).and_then(|member| with(member, |family| family.first)).unwrap_or(key)
    }

    /// The newest refresh token of a family.
    pub(super) fn newest(&self, key: SessionKey) -> Option<SessionKey> {
        with(self.members.get(key)?, |family| family.newest.as_ref().map(|newest| newest.key))
    }

    /// Whether a refresh token, and a JWT beside it, are the newest of their family, as far as is known.
    pub(super) fn are_newest(&self, key: SessionKey, jwt: Option<Mark>) -> bool {
        let Some(member) = self.members.get(key) else { return true };
        with(member, |family| {
            family.newest.as_ref().is_none_or(|newest| newest.key == key)
                && jwt.is_none_or(|jwt| family.newest_jwt.is_none_or(|newest| newest == jwt))
        })
    }

    /// What follows a refresh token that was replaced.
    pub(super) fn successor(&self, key: SessionKey) -> Option<Successor> {
        let member = self.members.get(key)?;
        with(member, |family| {
            let newest = family.newest.as_ref().filter(|newest| newest.key != key)?;
            let mut uses = family.uses.iter();
            let used_at = uses.find(|(generation, _)| *generation > member.generation).map(|(_, at)| *at);
            Some(Successor { key: newest.key, token: newest.token.clone(), used_at })
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

    /// Whether a refresh token was given here.
    pub(super) fn is_known(&self, key: SessionKey) -> bool {
        self.members.get(key).is_some()
    }

    /// When a session began, in Unix seconds, if that was here.
    pub(super) fn started_at(&self, key: SessionKey) -> Option<u64> {
        with(self.members.get(key)?, |family| family.started_at)
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        self.members.forget_expired(now);
        self.unused_jwts.forget_expired(now);
    }
}

impl Family {
    /// `false`: it was given before.
    fn remember(&mut self, identity: &Identity) -> bool {
        let jwt = (*identity.marks(), identity.expires_at());
        self.newest_jwt = Some(jwt.0.token);
        if self.jwts.contains(&jwt) {
            return false;
        }
        if self.jwts.len() >= MAX_JWTS {
            self.jwts.remove(0);
        }
        self.jwts.push(jwt);
        true
    }

    /// Whether a request has brought this generation, or a later one.
    fn is_used(&self, generation: u64) -> bool {
        self.uses.last().is_some_and(|(last, _)| generation <= *last)
    }

    /// `false`: this generation, or a later one, was used before.
    fn note_use(&mut self, generation: u64, now: Instant) -> bool {
        if self.is_used(generation) {
            return false;
        }
        if self.uses.len() >= MAX_USES {
            self.uses.remove(0);
        }
        self.uses.push((generation, now));
        true
    }
}

/// Only ever locked inside the ledger's lock, and never across an await.
fn with<T>(member: &Member, act: impl FnOnce(&mut Family) -> T) -> T {
    act(&mut member.family.lock().unwrap_or_else(PoisonError::into_inner))
}
