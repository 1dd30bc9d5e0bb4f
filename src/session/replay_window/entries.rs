//! The tables of the replay window, and the time for which each entry is kept.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Mark};
use crate::session::expiring_table::Expiring;
use crate::session::outcome::{Outcome, jwt_mark};
use crate::session::reuse_detection::{Families, Jwt};
use crate::session::session_key::SessionKey;
use crate::session::shared_state::values::{Gain, Rest, Waiter};

/// The largest number of outcomes in a table. The outcomes that expire first are removed first. An outcome takes a few
/// kilobytes.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// The time for which "this grant is dead" is remembered. It is long enough for a page's parallel requests, and too
/// short to hide a grant that becomes valid again.
pub(super) const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// The time for which refreshes of a token rest after a refresh that gained nothing. See [`Rest`].
pub(super) const REST: Duration = Duration::from_secs(5);

/// The longest time for which unused new tokens are kept. A later request with the old tokens causes a new refresh.
pub(super) const UNUSED_IS_KEPT: Duration = Duration::from_secs(600);

/// The time for which an ended session is remembered. It is longer than all attempts to revoke the session take.
pub(super) const ENDED_IS_KEPT: Duration = Duration::from_secs(15 * 60);

/// The largest number of calls that are under way or wait for their turn. Anyone can send a made-up refresh token.
pub(super) const MAX_UNDER_WAY: usize = 16_384;

/// The tables.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) under_way: HashMap<SessionKey, Waiter>,
    /// The newest tokens of a session, for requests that do not have them yet. The key is the newest refresh token.
    pub(super) given: Expiring<SessionKey, Given>,
    /// Refresh tokens that must not be used now, or never again.
    pub(super) refused: Expiring<SessionKey, Refused>,
    /// The sessions that were ended. They have a table of their own, because anyone can log out with a made-up token.
    /// Such a logout must not remove an outcome that others wait for.
    pub(super) ended: Expiring<SessionKey, EndedBy>,
    pub(super) families: Families,
}

/// New tokens.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) outcome: Outcome,
    /// The refresh token is a new one, too. A request that brings it already has all of these tokens.
    pub(super) is_rotated: bool,
}

impl Given {
    /// Returns the mark of the new JWT.
    pub(super) fn jwt(&self) -> Option<Mark> {
        self.outcome.access_token().map(jwt_mark)
    }
}

/// The reason why a refresh token must not be used.
#[derive(Debug)]
pub(super) enum Refused {
    /// The provider has refused it: its grant is dead, or the user must take another step first.
    Said(Outcome),
    /// A refresh has just gained nothing.
    Rest(Rest),
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            under_way: HashMap::new(),
            given: Expiring::new(MAX_ENTRIES),
            refused: Expiring::new(MAX_ENTRIES),
            ended: Expiring::new(MAX_ENTRIES),
            families: Families::default(),
        }
    }
}

/// Returns a verified JWT as reuse detection remembers it.
pub(super) fn jwt_of(identity: &Identity) -> Jwt {
    (*identity.marks(), identity.expires_at())
}

impl Entries {
    /// Returns the cause of a session's end, or `None` if the session has not ended. A session may be ended by this
    /// refresh token or by its newest successor, because a caller may know only one of them.
    pub(super) fn end_of(&self, key: SessionKey) -> Option<EndedBy> {
        let newest = || self.families.newest(key).and_then(|newest| self.ended.get(newest));
        self.ended.get(key).or_else(newest).copied()
    }

    /// Keeps new tokens for requests that do not have them yet.
    pub(super) fn give(
        &mut self,
        key: SessionKey,
        outcome: &Outcome,
        gain: Gain,
        now: Instant,
        window: Duration,
    ) {
        let next =
            outcome.refresh_token().flatten().map(|next| (SessionKey::new(key.client_number, next), next));
        let given = next.map_or(key, |(given, _)| given);
        let (jwt, lasts) = match outcome {
            Outcome::Renewed(tokens) => (Some(jwt_of(&tokens.identity)), gain.lasts),
            _ => (None, Duration::ZERO),
        };
        self.families.renew(key, next, jwt, now);
        let is_rotated = given != key;
        let kept = if is_rotated { window.max(lasts.min(UNUSED_IS_KEPT)) } else { window };
        // No other JWT is requested during the rest, and this one may be verified meanwhile.
        let kept = if gain.rest.is_some() { kept.max(REST) } else { kept };
        self.given.insert(given, Given { outcome: outcome.clone(), is_rotated }, now + kept);
        self.refused.remove(given);
        if let Some(rest) = gain.rest {
            self.rest(given, rest, now);
        }
    }

    /// Keeps tokens that another replica has received, if they are the newest of their session.
    pub(super) fn receive(&mut self, key: SessionKey, outcome: &Outcome, now: Instant, until: Instant) {
        let next = outcome.refresh_token().flatten();
        let next = next.map(|next| (SessionKey::new(key.client_number, next), next));
        let next = next.filter(|(next, _)| *next != key);
        let is_newest = next.is_none_or(|next| self.families.provide(key, next, now));
        let (given, is_rotated) = next.map_or((key, false), |(next, _)| (next, true));
        if is_newest && self.given.get(given).is_none() {
            self.given.insert(given, Given { outcome: outcome.clone(), is_rotated }, until);
        }
    }

    /// Lets refreshes of a token rest.
    pub(super) fn rest(&mut self, key: SessionKey, rest: Rest, now: Instant) {
        self.refused.insert(key, Refused::Rest(rest), now + REST);
    }

    /// Keeps tokens until `until` only, because their client has them.
    pub(super) fn keep_given(&mut self, key: SessionKey, until: Instant) {
        if let Some(tokens) = self.given.remove(key) {
            self.given.insert(key, tokens, until);
        }
    }
}
