//! What several replicas would have to share: the refreshes under way, their outcomes for the replay window, and the
//! sessions that were ended meanwhile. In memory for now; a store that is shared would come in here, and nowhere else.
//!
//! Nothing here is on the way of a request with a valid JWT.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Mark};
use crate::access::tokens::RefreshToken;
use crate::session::expiring_table::Expiring;
use crate::session::outcome::Outcome;
use crate::session::reuse_detection::{Families, Jwt};
use crate::session::session_key::SessionKey;

/// Outcomes that are remembered at once; the first to be forgotten go first. An outcome takes a few kilobytes.
const MAX_ENTRIES: usize = 65_536;

/// How long "this grant is dead" is remembered: long enough for a page's parallel requests, too short to hide a grant
/// that comes to life again.
const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// How long refreshes of a token rest after one that gained nothing: see [`Rest`].
const REST: Duration = Duration::from_secs(5);

/// How long new tokens that nobody has used yet are kept at most. Whoever comes later with the old ones gets newer ones.
const UNUSED_IS_KEPT: Duration = Duration::from_secs(600);

/// How long an ended session is remembered: longer than revoking it is tried.
const ENDED_IS_KEPT: Duration = Duration::from_secs(15 * 60);

/// Calls that may be under way or wait for their turn at once. Anyone can send a made-up refresh token.
const MAX_UNDER_WAY: usize = 16_384;

/// Tells the outcome to everyone who waits for it; `None` until there is one.
pub(crate) type Waiter = watch::Receiver<Option<Outcome>>;

/// What a request with a refresh token has to do.
pub(crate) enum Turn {
    /// Call the provider, and [`ReplayWindow::finish`].
    Call(watch::Sender<Option<Outcome>>),
    /// Wait for the one who does.
    Wait(Waiter),
    /// Nothing: this is the outcome.
    Known(Outcome),
    /// Go on with this newest refresh token: the one at hand has been replaced, and no request has brought a later one for
    /// longer than the replay window.
    Replaced(RefreshToken),
    /// End the session: this refresh token has been replaced, and its replay window is over. This is the newest one.
    Reused(RefreshToken),
}

/// The refreshes of the last seconds.
#[derive(Debug)]
pub(crate) struct ReplayWindow {
    /// Milliseconds.
    replay_window: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    under_way: HashMap<SessionKey, Waiter>,
    /// The newest tokens of a session, by the refresh token that is one of them: for those who do not have them yet.
    given: Expiring<SessionKey, Given>,
    /// Refresh tokens that are not to be used, for now or at all.
    refused: Expiring<SessionKey, Refused>,
    /// The sessions that were ended. Apart from the outcomes: anyone can log out with a made-up token, and that must not
    /// push out what others wait for.
    ended: Expiring<SessionKey, EndedBy>,
    families: Families,
}

/// New tokens.
#[derive(Debug)]
struct Given {
    outcome: Outcome,
    /// The refresh token is a new one, too: who brings it has had all of them.
    is_rotated: bool,
}

/// Why a refresh token is not to be used.
#[derive(Debug)]
enum Refused {
    /// The provider has said so: it is dead, or another step is wanted first.
    Said(Outcome),
    /// A refresh has just gained nothing.
    Rest(Rest),
}

/// Which refreshes rest after one that gained nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Early ones: the JWT at hand is still valid, so nothing is lost.
    Early,
    /// All: the provider gives a JWT again that is of no use.
    All,
}

/// How a refresh token is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The JWT at hand is valid.
    pub(crate) is_early: bool,
    /// It is the one that the request brought, and not one that followed it.
    pub(crate) is_presented: bool,
}

/// What a refresh has gained.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    /// How long the new JWT can be used.
    pub(crate) lasts: Duration,
    /// What rests, where it gained nothing.
    pub(crate) rest: Option<Rest>,
}

impl Default for State {
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

/// What was ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The first one to end it, and not one who comes after.
    pub(crate) is_new: bool,
    /// The refresh token that followed it, which is to be ended as well.
    pub(crate) successor: Option<RefreshToken>,
    /// The JWTs that it gave.
    pub(crate) jwts: Vec<Jwt>,
}

impl ReplayWindow {
    pub(crate) fn new(replay_window: Duration) -> Self {
        let ledger = Self { replay_window: AtomicU64::new(0), state: Mutex::default() };
        ledger.set_replay_window(replay_window);
        ledger
    }

    /// Sets it for what comes.
    pub(crate) fn set_replay_window(&self, replay_window: Duration) {
        let milliseconds = u64::try_from(replay_window.as_millis()).unwrap_or(u64::MAX);
        self.replay_window.store(milliseconds, Ordering::Relaxed);
    }

    fn replay_window(&self) -> Duration {
        Duration::from_millis(self.replay_window.load(Ordering::Relaxed))
    }

    /// A login has brought the first tokens of a session at `started_at` (Unix seconds). Its refresh token may be the one of a
    /// session that has ended: some providers have one for each user.
    pub(crate) fn begin(&self, key: SessionKey, identity: &Identity, started_at: u64) {
        self.with(|state, now| {
            state.ended.remove(key);
            state.refused.remove(key);
            state.given.remove(key);
            state.families.begin(key, identity, started_at, now);
        });
    }

    /// A request has brought a refresh token. From now on the replay window of those before it runs.
    pub(crate) fn brought(&self, key: SessionKey) {
        let window = self.replay_window();
        self.with(|state, now| {
            if state.families.used(key, now) {
                state.keep_given(key, now + window);
            }
        });
    }

    /// A request has brought a JWT: so its client has the refresh token that was given together with it.
    pub(crate) fn brought_jwt(&self, jwt: Mark) {
        let window = self.replay_window();
        self.with(|state, now| {
            if let Some(key) = state.families.jwt_used(jwt, now) {
                state.keep_given(key, now + window);
            }
        });
    }

    /// Takes a turn. Tokens that are known and not `usable` any more count as unknown.
    pub(crate) fn take_turn(&self, key: SessionKey, asked: Asked, usable: impl Fn(&Outcome) -> bool) -> Turn {
        let window = self.replay_window();
        self.with(|state, now| {
            // Nobody needs to wait for that, and it holds even if a call under way never ends.
            if let Some(end) = state.end_of(key) {
                return Turn::Known(Outcome::of_end(end));
            }
            // A sender that is gone without an outcome has panicked: the next one calls again.
            if let Some(waiter) = state.under_way.get(&key).filter(|waiter| waiter.has_changed().is_ok()) {
                return Turn::Wait(waiter.clone());
            }
            if let Some(successor) = state.families.successor(key) {
                let is_over = successor.is_over(window, now);
                return if is_over { Turn::Reused(successor.token) } else { Turn::Replaced(successor.token) };
            }
            let refused = state.refused.get(key);
            if let Some(Refused::Said(outcome)) = refused {
                return Turn::Known(outcome.clone());
            }
            if let Some(Given { outcome, is_rotated }) = state.given.get(key) {
                let may_lack_it =
                    !is_rotated || !asked.is_presented || matches!(outcome, Outcome::Unverified(_));
                if may_lack_it && usable(outcome) {
                    return Turn::Known(outcome.clone());
                }
            }
            let rests = match refused {
                Some(Refused::Rest(rest)) => asked.is_early || *rest == Rest::All,
                _ => false,
            };
            if rests || state.under_way.len() >= MAX_UNDER_WAY {
                return Turn::Known(Outcome::Unavailable);
            }
            let (sender, waiter) = watch::channel(None);
            state.under_way.insert(key, waiter);
            Turn::Call(sender)
        })
    }

    /// Records an outcome and returns what everyone shall be told: if the session was ended meanwhile, that it has ended.
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome, gain: Gain) -> Outcome {
        let window = self.replay_window();
        self.with(|state, now| {
            state.under_way.remove(&key);
            if state.end_of(key).is_some() {
                // The mark of the end says it from now on.
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

    /// What this refresh token was given together with is of no use to its browser: refreshes of it rest.
    pub(crate) fn gained_nothing(&self, key: SessionKey) {
        self.with(|state, now| state.rest(key, Rest::All, now));
    }

    /// The JWT beside this refresh token could not be verified, and now it could.
    pub(crate) fn verified(&self, key: SessionKey, outcome: &Outcome) {
        self.with(|state, now| {
            if let Some(given) = state.given.get_mut(key)
                && matches!(given.outcome, Outcome::Unverified(_))
            {
                given.outcome = outcome.clone();
            }
            if let Outcome::Renewed(tokens) = outcome {
                state.families.renew(key, None, Some(&tokens.identity), now);
            }
        });
    }

    /// The newest tokens of a session, as far as they are kept, for who brings an older refresh token that still leads to them.
    pub(crate) fn newer(&self, key: SessionKey) -> Option<Outcome> {
        let window = self.replay_window();
        self.with(|state, now| {
            let successor = state.families.successor(key).filter(|next| !next.is_over(window, now))?;
            state.given.get(successor.key).map(|given| given.outcome.clone())
        })
    }

    /// The first refresh token of a session that is known: it stays the same as long as the session is remembered.
    pub(crate) fn first(&self, key: SessionKey) -> SessionKey {
        self.with(|state, _| state.families.first(key))
    }

    /// Whether a refresh token, and a JWT beside it, are the newest of their session, and that was not ended here.
    pub(crate) fn are_newest(&self, key: SessionKey, jwt: Option<Mark>) -> bool {
        self.with(|state, _| state.end_of(key).is_none() && state.families.are_newest(key, jwt))
    }

    /// When a session began, in Unix seconds, if that was here.
    pub(crate) fn started_at(&self, key: SessionKey) -> Option<u64> {
        self.with(|state, _| state.families.started_at(key))
    }

    /// Whether the refresh token is one that was given here.
    pub(crate) fn is_known(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.families.is_known(key))
    }

    /// Whether a session was refreshed to such a JWT, as far as they are remembered.
    pub(crate) fn has_jwt(&self, key: SessionKey, is_such: impl Fn(&Jwt) -> bool) -> bool {
        self.with(|state, _| state.families.has_jwt(key, is_such))
    }

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more.
    pub(crate) fn end(&self, key: SessionKey, by: EndedBy) -> Ended {
        self.with(|state, now| {
            let end = by.or_before(state.end_of(key));
            let is_new = state.ended.insert(key, end, now + ENDED_IS_KEPT).is_none();
            let successor = state.families.successor(key).map(|successor| successor.token);
            Ended { is_new, successor, jwts: state.families.jwts(key) }
        })
    }

    /// Whether a session was ended here.
    pub(crate) fn has_ended(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.end_of(key).is_some())
    }

    /// Never held across an await. A panic of another thread in here leaves nothing half done that matters.
    fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.given.forget_expired(now);
        state.refused.forget_expired(now);
        state.ended.forget_expired(now);
        state.families.forget_expired(now);
        act(&mut state, now)
    }
}

impl State {
    /// How the session of a refresh token was ended, if it was: by itself, or by its newest successor, which is all that
    /// who ends it may know.
    fn end_of(&self, key: SessionKey) -> Option<EndedBy> {
        let newest = || self.families.newest(key).and_then(|newest| self.ended.get(newest));
        self.ended.get(key).or_else(newest).copied()
    }

    /// Keeps new tokens for those who do not have them yet.
    fn give(&mut self, key: SessionKey, outcome: &Outcome, gain: Gain, now: Instant, window: Duration) {
        let next = outcome.refresh_token().flatten().map(|next| (SessionKey::new(key.app, next), next));
        let given = next.map_or(key, |(given, _)| given);
        let (identity, lasts) = match outcome {
            Outcome::Renewed(tokens) => (Some(&*tokens.identity), gain.lasts),
            _ => (None, Duration::ZERO),
        };
        self.families.renew(key, next, identity, now);
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

    fn rest(&mut self, key: SessionKey, rest: Rest, now: Instant) {
        self.refused.insert(key, Refused::Rest(rest), now + REST);
    }

    /// Keeps tokens for no longer than until then: their client has them.
    fn keep_given(&mut self, key: SessionKey, until: Instant) {
        if let Some(tokens) = self.given.remove(key) {
            self.given.insert(key, tokens, until);
        }
    }
}

#[cfg(test)]
mod tests;
