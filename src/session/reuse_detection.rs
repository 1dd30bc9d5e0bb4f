//! Reuse detection. It remembers the refresh tokens of one session in their order. If a replaced refresh token is used
//! again after its replay window, somebody has stolen this token or its successor (RFC 9700 section 4.14.2).
//!
//! A successor counts as delivered when a request brings it, or brings the JWT that was given together with it. An
//! answer with the successor does not count: the client may have left before, and a browser may restore an older state.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::revocations::{Mark, TokenMarks};
use crate::access::tokens::RefreshToken;
use crate::session::expiring_table::Expiring;
use crate::session::session_key::SessionKey;

/// The largest number of refresh tokens. The refresh tokens that expire first are removed first.
const MAX_MEMBERS: usize = 262_144;

/// The time for which a refresh token's family is remembered.
const IS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longer time that holds while the newest refresh token is unused. It is for this token, and for the one that a
/// browser used last. The browser may be asleep. If its refresh token were forgotten, the browser would look like a
/// thief to a provider that rotates.
const UNUSED_IS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The largest number of remembered JWTs of one family. After an early refresh the old JWT stays valid beside the new
/// one.
const MAX_JWTS: usize = 16;

/// The largest number of remembered first uses of one family. If there are more within a replay window, the oldest are
/// forgotten, and the next remembered use stands in for a forgotten one.
const MAX_USES: usize = 64;

/// The marks by which a JWT can be revoked, and its expiry time (Unix seconds).
pub(crate) type Jwt = (TokenMarks, u64);

/// A refresh token of a family. The generation is its place in the order.
#[derive(Debug, Default, Clone)]
struct Member {
    generation: u64,
    family: Arc<Mutex<Family>>,
    /// The refresh token that has replaced it, if another replica has received that one and this replica knows its text.
    next: Option<RefreshToken>,
}

/// The newest refresh token, the uses, and the JWTs of a session.
#[derive(Debug, Default)]
struct Family {
    first: Option<SessionKey>,
    newest: Option<Newest>,
    /// The newest JWT.
    newest_jwt: Option<Mark>,
    /// The latest refresh token that a request brought.
    last_used: Option<SessionKey>,
    /// The first uses: a generation, and the time at which a request first brought it. Each is later than the one
    /// before.
    uses: Vec<(u64, Instant)>,
    jwts: Vec<Jwt>,
    /// The time at which the session began (Unix seconds), if it began in this process.
    started_at: Option<u64>,
}

#[derive(Debug)]
struct Newest {
    key: SessionKey,
    generation: u64,
    /// `None` if another replica has received it, and this replica does not know its text.
    token: Option<RefreshToken>,
}

/// The changes by a refresh.
struct Renewed {
    /// The family did not have this JWT before.
    is_new: bool,
    /// The refresh token that a request brought last.
    last_used: SessionKey,
    /// No request has brought the current refresh token yet.
    is_unused: bool,
}

/// The refresh token that has replaced another one.
#[derive(Debug)]
pub(crate) struct Successor {
    /// The key of the family's newest refresh token.
    pub(super) key: SessionKey,
    /// The newest refresh token of the family whose text is known here.
    pub(crate) token: Option<RefreshToken>,
    /// The time at which a request first brought this refresh token, or one between the replaced one and this one.
    /// `None` if no request has.
    pub(crate) used_at: Option<Instant>,
}

impl Successor {
    /// Tells whether the replay window is over, so that the replaced refresh token no longer leads to this one.
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
    /// Records that a login has brought a session's first tokens at `started_at` (Unix seconds). JWTs that the same
    /// refresh token gave before stay in the family, and end together with it.
    pub(super) fn begin(&mut self, key: SessionKey, jwt: Jwt, started_at: u64, now: Instant) {
        let member = Member::default();
        let jwts = self.jwts(key);
        with(&member, |family| {
            family.first = Some(key);
            family.jwts = jwts;
            family.remember(jwt);
            family.started_at = Some(started_at);
        });
        self.members.insert(key, member, now + IS_KEPT);
    }

    /// Records that a refresh token has given a JWT and, if the provider rotates, a new refresh token.
    pub(super) fn renew(
        &mut self,
        key: SessionKey,
        next: Option<(SessionKey, &RefreshToken)>,
        jwt: Option<Jwt>,
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
                family.newest = Some(Newest { key, generation, token: Some(token.clone()) });
            }
            let is_new = jwt.is_some_and(|jwt| family.remember(jwt));
            family.first.get_or_insert(key);
            // A family always begins with a refresh token that a request brought.
            let last_used = *family.last_used.get_or_insert(key);
            Renewed { is_new, last_used, is_unused: !family.is_used(generation) }
        });
        if let Some((marks, _)) =
            jwt.filter(|_| renewed.is_new && renewed.is_unused && given != renewed.last_used)
        {
            self.unused_jwts.insert(marks.token, given, now + IS_KEPT);
        }
        self.members.insert(key, member, now + IS_KEPT);
        if let Some((next, next_member)) = next_member {
            self.members.insert(next, next_member, now + UNUSED_IS_KEPT);
            self.keep(renewed.last_used, now + UNUSED_IS_KEPT);
        }
    }

    /// Records that another replica has refreshed a session. The text of the new refresh token is not known.
    pub(super) fn learn(
        &mut self,
        key: SessionKey,
        next: Option<SessionKey>,
        jwt: Option<Jwt>,
        now: Instant,
    ) {
        let member = self.members.get(key).cloned().unwrap_or_default();
        let next = next.filter(|next| *next != key).map(|next| (next, self.next_member(next, &member)));
        with(&member, |family| {
            family.first.get_or_insert(key);
            if let Some((key, Member { generation, .. })) = next {
                // A message may come late. A refresh token that was replaced does not become the newest again.
                let is_newer = |newest: &Newest| newest.generation < generation;
                if family.newest.as_ref().is_none_or(is_newer) {
                    family.newest = Some(Newest { key, generation, token: None });
                }
            }
            if let Some(jwt) = jwt {
                family.remember(jwt);
            }
        });
        self.members.insert(key, member, now + IS_KEPT);
        if let Some((next, member)) = next {
            let is_unused = with(&member, |family| !family.is_used(member.generation));
            if let Some((marks, _)) = jwt.filter(|_| is_unused) {
                self.unused_jwts.insert(marks.token, next, now + IS_KEPT);
            }
            self.members.insert(next, member, now + UNUSED_IS_KEPT);
        }
    }

    /// Records the text of the refresh token that has replaced another one. Returns `true` if it is the newest of its
    /// family.
    pub(super) fn provide(
        &mut self,
        key: SessionKey,
        (next_key, next): (SessionKey, &RefreshToken),
        now: Instant,
    ) -> bool {
        self.learn(key, Some(next_key), None, now);
        let Some(member) = self.members.get_mut(key) else { return false };
        member.next = Some(next.clone());
        with(member, |family| {
            let newest = family.newest.as_mut().filter(|newest| newest.key == next_key);
            let is_newest = newest.is_some();
            if let Some(newest) = newest {
                newest.token.get_or_insert_with(|| next.clone());
            }
            is_newest
        })
    }

    /// Remembers a refresh token until then.
    fn keep(&mut self, key: SessionKey, until: Instant) {
        if let Some(member) = self.members.remove(key) {
            self.members.insert(key, member, until);
        }
    }

    fn next_member(&self, next: SessionKey, member: &Member) -> Member {
        // A provider may give a refresh token again that it gave before.
        let known = self.members.get(next).filter(|known| Arc::ptr_eq(&known.family, &member.family));
        known.cloned().unwrap_or_else(|| {
            let newest = with(member, |family| family.newest.as_ref().map(|newest| newest.generation));
            let generation = newest.unwrap_or_default().max(member.generation) + 1;
            Member { generation, family: Arc::clone(&member.family), next: None }
        })
    }

    /// Records that a request has brought a refresh token. Returns `true` if no request had brought it, or a later one,
    /// before.
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

    /// Records that a request has brought a JWT. If this is the first use, returns the refresh token that was given
    /// together with the JWT.
    pub(super) fn jwt_used(&mut self, jwt: Mark, now: Instant) -> Option<SessionKey> {
        let key = self.unused_jwts.remove(jwt)?;
        self.used(key, now).then_some(key)
    }

    /// Returns the first known refresh token of a family.
    pub(super) fn first(&self, key: SessionKey) -> SessionKey {
        self.members.get(key).and_then(|member| with(member, |family| family.first)).unwrap_or(key)
    }

    /// Returns the newest refresh token of a family.
    pub(super) fn newest(&self, key: SessionKey) -> Option<SessionKey> {
        with(self.members.get(key)?, |family| family.newest.as_ref().map(|newest| newest.key))
    }

    /// Tells whether a refresh token, and the JWT beside it, are the newest of their family. `true` if the family is
    /// not known.
    pub(super) fn are_newest(&self, key: SessionKey, jwt: Option<Mark>) -> bool {
        let Some(member) = self.members.get(key) else { return true };
        with(member, |family| {
            family.newest.as_ref().is_none_or(|newest| newest.key == key)
                && jwt.is_none_or(|jwt| family.newest_jwt.is_none_or(|newest| newest == jwt))
        })
    }

    /// Returns the successor of a refresh token that was replaced.
    pub(super) fn successor(&self, key: SessionKey) -> Option<Successor> {
        let member = self.members.get(key)?;
        with(member, |family| {
            let newest = family.newest.as_ref().filter(|newest| newest.key != key)?;
            let mut uses = family.uses.iter();
            let used_at = uses.find(|(generation, _)| *generation > member.generation).map(|(_, at)| *at);
            let token = newest.token.clone().or_else(|| member.next.clone());
            Some(Successor { key: newest.key, token, used_at })
        })
    }

    /// Returns the JWTs that a refresh token and its predecessors gave.
    pub(super) fn jwts(&self, key: SessionKey) -> Vec<Jwt> {
        self.members.get(key).map(|member| with(member, |family| family.jwts.clone())).unwrap_or_default()
    }

    /// Tells whether `is_such` holds for a JWT of a family.
    pub(super) fn has_jwt(&self, key: SessionKey, is_such: impl Fn(&Jwt) -> bool) -> bool {
        self.members.get(key).is_some_and(|member| with(member, |family| family.jwts.iter().any(is_such)))
    }

    /// Tells whether this process knows the refresh token from a login or a refresh.
    pub(super) fn is_known(&self, key: SessionKey) -> bool {
        self.members.get(key).is_some()
    }

    /// Returns the time at which a session began, in Unix seconds, if it began in this process.
    pub(super) fn started_at(&self, key: SessionKey) -> Option<u64> {
        with(self.members.get(key)?, |family| family.started_at)
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        self.members.forget_expired(now);
        self.unused_jwts.forget_expired(now);
    }
}

impl Family {
    /// Remembers a JWT. Returns `false` if the family had it before.
    fn remember(&mut self, jwt: Jwt) -> bool {
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

    /// Tells whether a request has brought this generation, or a later one.
    fn is_used(&self, generation: u64) -> bool {
        self.uses.last().is_some_and(|(last, _)| generation <= *last)
    }

    /// Records the use of a generation. Returns `false` if this generation, or a later one, was used before.
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

/// Runs `act` with the family locked. The lock is only taken inside the replay window's lock, and never held across an
/// await.
fn with<T>(member: &Member, act: impl FnOnce(&mut Family) -> T) -> T {
    act(&mut member.family.lock().unwrap_or_else(PoisonError::into_inner))
}
