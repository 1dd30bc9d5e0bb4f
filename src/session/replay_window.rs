//! The replay window. It holds the refreshes under way, their outcomes, and the sessions that were ended. A request
//! that still brings the old refresh token gets the recorded outcome. The window is local. `shared_state.rs` says what
//! replicas share of it.
//!
//! A request with a JWT that was seen before does not use it.

mod entries;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::revocations::{EndedBy, Mark};
use crate::session::outcome::Outcome;
use crate::session::replay_window::entries::{
    DEAD_IS_KEPT, ENDED_IS_KEPT, Entries, Given, MAX_UNDER_WAY, Refused, jwt_of,
};
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::values::{Asked, Claim, Claimed, Ended, Gain, Rest};

/// The refreshes of the last seconds.
#[derive(Debug)]
pub(crate) struct ReplayWindow {
    /// Milliseconds.
    length: AtomicU64,
    state: Mutex<Entries>,
}

impl ReplayWindow {
    /// Creates a window of this length.
    pub(crate) fn new(length: Duration) -> Self {
        let window = Self { length: AtomicU64::new(0), state: Mutex::default() };
        window.set_length(length);
        window
    }

    /// Sets the length for later requests.
    pub(crate) fn set_length(&self, length: Duration) {
        let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.length.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_millis(self.length.load(Ordering::Relaxed))
    }

    /// Records that a login has brought the first tokens of a session at `started_at` (Unix seconds). A session with
    /// the same refresh token may have ended before, because some providers have one refresh token for each user.
    pub(crate) fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64) {
        self.with(|state, now| {
            state.ended.remove(key);
            state.refused.remove(key);
            state.given.remove(key);
            state.families.begin(key, jwt, started_at, now);
        });
    }

    /// Records that a request has brought a refresh token. This starts the replay window of the refresh tokens before
    /// it. Returns `true` if no request had brought it before.
    pub(crate) fn brought(&self, key: SessionKey) -> bool {
        let window = self.length();
        self.with(|state, now| {
            let is_first = state.families.used(key, now);
            if is_first {
                state.keep_given(key, now + window);
            }
            is_first
        })
    }

    /// Records that a request has brought a JWT. So its client also has the refresh token that was given together with
    /// it. Returns that refresh token if this is its first use.
    pub(crate) fn brought_jwt(&self, jwt: Mark) -> Option<SessionKey> {
        let window = self.length();
        self.with(|state, now| {
            let key = state.families.jwt_used(jwt, now)?;
            state.keep_given(key, now + window);
            Some(key)
        })
    }

    /// Records that another replica has refreshed a session. `next` is the new refresh token, if there is one.
    pub(crate) fn learn_renewed(&self, key: SessionKey, next: Option<SessionKey>, jwt: Option<Jwt>) {
        self.with(|state, now| {
            // A request has brought the refresh token there.
            state.families.used(key, now);
            state.families.learn(key, next, jwt, now);
            if next.is_none_or(|next| next == key) {
                // There is a newer JWT.
                state.given.remove(key);
            }
            state.refused.remove(next.unwrap_or(key));
        });
    }

    /// Records the tokens that another replica has received for a refresh token. They are kept for `kept` at least.
    pub(crate) fn receive(&self, key: SessionKey, outcome: &Outcome, kept: Duration) {
        let kept = kept.max(self.length());
        self.with(|state, now| state.receive(key, outcome, now, now + kept));
    }

    /// Claims a refresh, or says what to do instead.
    pub(crate) fn claim(&self, key: SessionKey, asked: Asked) -> Claim {
        let window = self.length();
        self.with(|state, now| {
            // The end of a session is known without waiting, even if a call under way never ends.
            if let Some(end) = state.end_of(key) {
                return Claim::Known(Outcome::of_end(end));
            }
            // If the sender was dropped without an outcome, its task has panicked. Then this request calls again.
            if let Some(waiter) = state.under_way.get(&key).filter(|waiter| waiter.has_changed().is_ok()) {
                return Claim::Wait(waiter.clone());
            }
            if let Some(successor) = state.families.successor(key) {
                if successor.is_over(window, now) {
                    return Claim::Reused(successor.token);
                }
                // If only another replica knows the successor's text, the engine is asked for it.
                if let Some(token) = successor.token {
                    return Claim::Replaced(token);
                }
            }
            let refused = state.refused.get(key);
            if let Some(Refused::Said(outcome)) = refused {
                return Claim::Known(outcome.clone());
            }
            if let Some(given @ Given { outcome, is_rotated }) = state.given.get(key) {
                let may_lack_it =
                    !is_rotated || !asked.is_presented || matches!(outcome, Outcome::Unverified(_));
                if may_lack_it && asked.useless.is_none_or(|useless| given.jwt() != Some(useless)) {
                    return Claim::Known(outcome.clone());
                }
            }
            let rests = match refused {
                Some(Refused::Rest(rest)) => asked.is_early || *rest == Rest::All,
                _ => false,
            };
            if rests || state.under_way.len() >= MAX_UNDER_WAY {
                return Claim::Known(Outcome::Unavailable);
            }
            let (claimed, waiter) = Claimed::new(key);
            state.under_way.insert(key, waiter);
            Claim::Mine(claimed)
        })
    }

    /// Forgets a claim that nobody will use. The requests that wait for it claim again.
    pub(crate) fn abandon(&self, key: SessionKey) {
        self.with(|state, _| {
            state.under_way.remove(&key);
        });
    }

    /// Records an outcome, and returns the outcome for all requests. If the session was ended meanwhile, that is
    /// [`Outcome::Ended`].
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome, gain: Gain) -> Outcome {
        let window = self.length();
        self.with(|state, now| {
            state.under_way.remove(&key);
            if state.end_of(key).is_some() {
                // Later requests find the end of the session itself.
                return Outcome::Ended;
            }
            match &outcome {
                Outcome::Dead | Outcome::ActionRequired(_) => {
                    let refused = Refused::Said(outcome.clone());
                    state.refused.insert(key, refused, now + DEAD_IS_KEPT.min(window));
                }
                Outcome::Unavailable | Outcome::Postponed(_) => state.rest(key, Rest::Early, now),
                Outcome::Renewed(_) | Outcome::Unverified(_) => state.give(key, &outcome, gain, now, window),
                Outcome::Ended => {}
            }
            outcome
        })
    }

    /// Lets refreshes of this token rest, because its browser cannot use the JWT that was given together with it.
    pub(crate) fn gained_nothing(&self, key: SessionKey) {
        self.with(|state, now| state.rest(key, Rest::All, now));
    }

    /// Records that the JWT beside this refresh token has now been verified. Before, that was not possible.
    pub(crate) fn verified(&self, key: SessionKey, outcome: &Outcome) {
        self.with(|state, now| {
            let next = outcome.refresh_token().flatten();
            let given = next.map_or(key, |next| SessionKey::new(key.client_number, next));
            for key in [key, given] {
                if let Some(given) = state.given.get_mut(key)
                    && matches!(given.outcome, Outcome::Unverified(_))
                {
                    given.outcome = outcome.clone();
                }
            }
            if let Outcome::Renewed(tokens) = outcome {
                state.families.renew(key, None, Some(jwt_of(&tokens.identity)), now);
            }
        });
    }

    /// Returns the newest tokens of a session, if they are still kept. `key` is an older refresh token whose replay
    /// window is not over.
    pub(crate) fn newer(&self, key: SessionKey) -> Option<Outcome> {
        let window = self.length();
        self.with(|state, now| {
            let successor = state.families.successor(key).filter(|next| !next.is_over(window, now))?;
            state.given.get(successor.key).map(|given| given.outcome.clone())
        })
    }

    /// Returns the first known refresh token of a session. It stays the same as long as the session is remembered.
    pub(crate) fn first(&self, key: SessionKey) -> SessionKey {
        self.with(|state, _| state.families.first(key))
    }

    /// Tells whether a refresh token, and the JWT beside it, are the newest of their session. `false` if the session
    /// was ended here.
    pub(crate) fn are_newest(&self, key: SessionKey, jwt: Option<Mark>) -> bool {
        self.with(|state, _| state.end_of(key).is_none() && state.families.are_newest(key, jwt))
    }

    /// Returns the time at which a session began, in Unix seconds, if it began in this process.
    pub(crate) fn started_at(&self, key: SessionKey) -> Option<u64> {
        self.with(|state, _| state.families.started_at(key))
    }

    /// Tells whether this process knows the refresh token from a login or a refresh.
    pub(crate) fn is_known(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.families.is_known(key))
    }

    /// Tells whether `is_such` holds for one of the remembered JWTs of a session.
    pub(crate) fn has_jwt(&self, key: SessionKey, is_such: impl Fn(&Jwt) -> bool) -> bool {
        self.with(|state, _| state.families.has_jwt(key, is_such))
    }

    /// Ends the session of a refresh token. From now on the session gets no JWT, not even from a refresh under way.
    pub(crate) fn end(&self, key: SessionKey, by: EndedBy) -> Ended {
        self.with(|state, now| {
            let end = by.or_before(state.end_of(key));
            let is_new = state.ended.insert(key, end, now + ENDED_IS_KEPT).is_none();
            let successor = state.families.successor(key);
            let successor_key = successor.as_ref().map(|successor| successor.key);
            let successor = successor.and_then(|successor| successor.token);
            Ended { is_new, successor, successor_key, jwts: state.families.jwts(key) }
        })
    }

    /// Tells whether a session was ended here.
    pub(crate) fn has_ended(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.end_of(key).is_some())
    }

    /// Runs `act` with the tables locked. The lock is never held across an await. If another thread panics in `act`,
    /// the tables stay usable.
    fn with<T>(&self, act: impl FnOnce(&mut Entries, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.given.forget_expired(now);
        state.refused.forget_expired(now);
        state.ended.forget_expired(now);
        state.families.forget_expired(now);
        act(&mut state, now)
    }
}

#[cfg(test)]
mod tests;
