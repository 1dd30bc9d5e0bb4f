//! The tables of the replay window, and for how long each entry is kept.

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

/// Outcomes that are remembered at once; the first to be forgotten go first. An outcome takes a few kilobytes.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// The time for which "this grant is dead" is remembered: long enough for a page's parallel requests, too short to hide a grant
/// that comes to life again.
pub(super) const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// The time for which refreshes of a token rest after one that gained nothing: see [`Rest`].
pub(super) const REST: Duration = Duration::from_secs(5);

/// The longest time for which new tokens are kept that nobody has used yet. Whoever comes later with the old ones gets newer ones.
pub(super) const UNUSED_IS_KEPT: Duration = Duration::from_secs(600);

/// The time for which an ended session is remembered: longer than revoking it is tried.
pub(super) const ENDED_IS_KEPT: Duration = Duration::from_secs(15 * 60);

/// Calls that may be under way or wait for their turn at once. Anyone can send a made-up refresh token.
pub(super) const MAX_UNDER_WAY: usize = 16_384;

/// The tables.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) under_way: HashMap<SessionKey, Waiter>,
    /// The newest tokens of a session, by the refresh token that is one of them: for those who do not have them yet.
    pub(super) given: Expiring<SessionKey, Given>,
    /// Refresh tokens that are not to be used, for now or at all.
    pub(super) refused: Expiring<SessionKey, Refused>,
    /// The sessions that were ended. Apart from the outcomes: anyone can log out with a made-up token, and that must not
    /// push out what others wait for.
    pub(super) ended: Expiring<SessionKey, EndedBy>,
    pub(super) families: Families,
}

/// New tokens.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) outcome: Outcome,
    /// The refresh token is a new one, too: who brings it has had all of them.
    pub(super) is_rotated: bool,
}

impl Given {
    /// The JWT among them.
    pub(super) fn jwt(&self) -> Option<Mark> {
        self.outcome.access_token().map(jwt_mark)
    }
}

/// The reason why a refresh token is not to be used.
#[derive(Debug)]
pub(super) enum Refused {
    /// The provider has said so: it is dead, or another step is wanted first.
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
    /// Returns how the session of a refresh token was ended, if it was: by itself, or by its newest successor, which is all
    /// that who ends it may know.
    pub(super) fn end_of(&self, key: SessionKey) -> Option<EndedBy> {
        let newest = || self.families.newest(key).and_then(|newest| self.ended.get(newest));
        self.ended.get(key).or_else(newest).copied()
    }

    /// Keeps new tokens for those who do not have them yet.
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
        // As long as no other JWT is asked for, this one may come to be good.
        let kept = if gain.rest.is_some() { kept.max(REST) } else { kept };
        self.given.insert(given, Given { outcome: outcome.clone(), is_rotated }, now + kept);
        self.refused.remove(given);
        if let Some(rest) = gain.rest {
            self.rest(given, rest, now);
        }
    }

    /// Lets refreshes of a token rest.
    pub(super) fn rest(&mut self, key: SessionKey, rest: Rest, now: Instant) {
        self.refused.insert(key, Refused::Rest(rest), now + REST);
    }

    /// Keeps tokens for no longer than until then: their client has them.
    pub(super) fn keep_given(&mut self, key: SessionKey, until: Instant) {
        if let Some(tokens) = self.given.remove(key) {
            self.given.insert(key, tokens, until);
        }
    }
}
