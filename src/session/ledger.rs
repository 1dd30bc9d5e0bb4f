//! What several replicas would have to share: the refreshes under way, their outcomes for the replay window, and the
//! sessions that were ended meanwhile. In memory for now; a store that is shared would come in here, and nowhere else.
//!
//! Nothing here is on the way of a request with a valid JWT.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::session::Outcome;
use crate::session::expiring::Expiring;
use crate::session::family::{Families, Jwt, Successor};

/// Outcomes that are remembered at once; the oldest are forgotten first. An outcome takes a few kilobytes.
const MAX_ENTRIES: usize = 65_536;

/// How long "this grant is dead" is remembered: long enough for a page's parallel requests, too short to hide a grant
/// that comes to life again.
const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// How long early refreshes of a token rest after one that failed: its JWT is still valid, so nothing is lost.
const UNAVAILABLE_IS_KEPT: Duration = Duration::from_secs(5);

/// How long an ended session is remembered: longer than revoking it is tried.
const ENDED_IS_KEPT: Duration = Duration::from_secs(15 * 60);

/// Calls that may be under way or wait for their turn at once. Anyone can send a made-up refresh token.
const MAX_UNDER_WAY: usize = 16_384;

/// A refresh token of a client, without the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    app: usize,
    digest: [u8; 32],
}

impl SessionKey {
    pub(crate) fn new(app: usize, refresh_token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, refresh_token.as_bytes()).as_ref());
        Self { app, digest: bytes }
    }
}

/// Tells the outcome to everyone who waits for it; `None` until there is one.
pub(crate) type Waiter = watch::Receiver<Option<Outcome>>;

/// What a request with a refresh token has to do.
pub(crate) enum Turn {
    /// Call the provider, and [`Ledger::finish`].
    Call(watch::Sender<Option<Outcome>>),
    /// Wait for the one who does.
    Wait(Waiter),
    /// Nothing: this is the outcome.
    Known(Outcome),
    /// Go on with this newest refresh token: the one at hand has been replaced, which nobody has been told yet, since the
    /// client had left or had been answered before.
    Replaced(Zeroizing<String>),
    /// End the session: this refresh token has been replaced, and its replay window is over. The newest one follows.
    Reused(Zeroizing<String>),
}

/// The refreshes of the last seconds.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Milliseconds.
    replay_window: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    under_way: HashMap<SessionKey, Waiter>,
    outcomes: Expiring<SessionKey, Told>,
    /// The sessions that were ended. Apart from the outcomes: anyone can log out with a made-up token, and that must not
    /// push out what others wait for.
    ended: Expiring<SessionKey, End>,
    families: Families,
}

/// How a session was ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Over,
    /// By another login in the same browser.
    Replaced,
}

impl End {
    /// What a request is told that still brings its refresh token.
    const fn outcome(self) -> Outcome {
        match self {
            Self::Over => Outcome::Dead,
            Self::Replaced => Outcome::Ended,
        }
    }
}

/// An outcome, and whether its cookies have been put on a response.
#[derive(Debug)]
struct Told {
    outcome: Outcome,
    is_delivered: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            under_way: HashMap::new(),
            outcomes: Expiring::new(MAX_ENTRIES),
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
    pub(crate) successor: Option<Zeroizing<String>>,
    /// The JWTs that it gave.
    pub(crate) jwts: Vec<Jwt>,
}

impl Ledger {
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

    /// Takes a turn. A known outcome that is not `usable` any more (its own JWT has expired) counts as none.
    pub(crate) fn take_turn(&self, key: SessionKey, usable: impl Fn(&Outcome) -> bool) -> Turn {
        self.with(|state, _| {
            // Nobody needs to wait for that, and it holds even if a call under way never ends.
            if let Some(end) = state.end_of(key) {
                return Turn::Known(end.outcome());
            }
            // A sender that is gone without an outcome has panicked: the next one calls again.
            if let Some(waiter) = state.under_way.get(&key).filter(|waiter| waiter.has_changed().is_ok()) {
                return Turn::Wait(waiter.clone());
            }
            if let Some(told) = state.outcomes.get(key).filter(|told| usable(&told.outcome)) {
                return Turn::Known(told.outcome.clone());
            }
            match state.families.successor(key) {
                Some(Successor { token, is_outside: true }) => return Turn::Reused(token),
                Some(Successor { token, is_outside: false }) => return Turn::Replaced(token),
                None => {}
            }
            if state.under_way.len() >= MAX_UNDER_WAY {
                return Turn::Known(Outcome::Unavailable);
            }
            let (sender, waiter) = watch::channel(None);
            state.outcomes.remove(key);
            state.under_way.insert(key, waiter);
            Turn::Call(sender)
        })
    }

    /// Records an outcome and returns what everyone shall be told: if the session was ended meanwhile, that it has ended.
    /// `delivery`: how long it may take until new cookies are on their way, which does not count as replay window.
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome, delivery: Duration) -> Outcome {
        self.with(|state, now| {
            state.under_way.remove(&key);
            if state.end_of(key).is_some() {
                // The mark of the end says it from now on.
                return Outcome::Ended;
            }
            let kept = match &outcome {
                Outcome::Dead | Outcome::ActionRequired(_) => DEAD_IS_KEPT.min(self.replay_window()),
                Outcome::Unavailable | Outcome::Postponed(_) => UNAVAILABLE_IS_KEPT,
                Outcome::Renewed(_) | Outcome::Unverified(_) => self.replay_window() + delivery,
                Outcome::Ended => self.replay_window(),
            };
            state.remember(key, &outcome, now + kept);
            if let Some(next) = outcome.refresh_token() {
                let next = next.map(|next| (SessionKey::new(key.app, next), next));
                let identity = match &outcome {
                    Outcome::Renewed(tokens) => Some(&*tokens.identity),
                    _ => None,
                };
                state.families.renew(key, next, identity, now);
            }
            if let Outcome::Unverified(tokens) = &outcome
                && let Some(next) = &tokens.refresh_token
            {
                // Early refreshes of the successor rest, too: what made this JWT unverifiable may last.
                state.rest(SessionKey::new(key.app, next), now + UNAVAILABLE_IS_KEPT);
            }
            outcome
        })
    }

    /// Replaces an outcome whose JWT could not be verified by one whose could, unless the session was ended meanwhile.
    pub(crate) fn verified(&self, key: SessionKey, outcome: &Outcome) {
        self.with(|state, now| {
            if matches!(state.outcomes.get(key), Some(Told { outcome: Outcome::Unverified(_), .. })) {
                state.remember(key, outcome, now + self.replay_window());
            }
            if let Outcome::Renewed(tokens) = outcome {
                state.families.renew(key, None, Some(&tokens.identity), now);
            }
        });
    }

    /// The cookies of an outcome are on their way to the browser: now its replay window begins. Only for the first
    /// time, or else a stolen token could be kept alive. The same for the refresh token in them.
    pub(crate) fn delivered(&self, key: SessionKey) {
        self.with(|state, now| {
            state.families.delivered(key);
            let Some(Told { is_delivered: false, .. }) = state.outcomes.get(key) else { return };
            if let Some(Told { outcome, .. }) = state.outcomes.remove(key) {
                let told = Told { outcome, is_delivered: true };
                state.outcomes.insert(key, told, now + self.replay_window());
            }
        });
    }

    /// Whether a session was refreshed to such a JWT, as far as they are remembered.
    pub(crate) fn has_jwt(&self, key: SessionKey, is_such: impl Fn(&Jwt) -> bool) -> bool {
        self.with(|state, _| state.families.has_jwt(key, is_such))
    }

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more. `is_replaced`:
    /// another login in the same browser took its place.
    pub(crate) fn end(&self, key: SessionKey, is_replaced: bool) -> Ended {
        self.with(|state, now| {
            // Whoever finds it ended later does not know better.
            let is_replaced = is_replaced || matches!(state.end_of(key), Some(End::Replaced));
            let end = if is_replaced { End::Replaced } else { End::Over };
            let is_new = state.ended.insert(key, end, now + ENDED_IS_KEPT).is_none();
            let successor = state.families.successor(key).map(|successor| successor.token);
            Ended { is_new, successor, jwts: state.families.jwts(key) }
        })
    }

    /// The outcome of a token, if it is known and still told.
    pub(crate) fn known(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, _| match state.end_of(key) {
            Some(end) => Some(end.outcome()),
            None => state.outcomes.get(key).map(|told| told.outcome.clone()),
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
        state.outcomes.forget_expired(now);
        state.ended.forget_expired(now);
        state.families.forget_expired(now);
        act(&mut state, now)
    }
}

impl State {
    /// How the session of a refresh token was ended, if it was: by itself, or by its newest successor, which is all that
    /// who ends it may know.
    fn end_of(&self, key: SessionKey) -> Option<End> {
        let newest = || self.families.newest(key).and_then(|newest| self.ended.get(newest));
        self.ended.get(key).or_else(newest).copied()
    }

    /// Keeps early refreshes of a token away, unless more is known of it.
    fn rest(&mut self, key: SessionKey, until: Instant) {
        if !self.under_way.contains_key(&key) && self.outcomes.get(key).is_none() {
            self.remember(key, &Outcome::Unavailable, until);
        }
    }

    fn remember(&mut self, key: SessionKey, outcome: &Outcome, until: Instant) {
        self.outcomes.insert(key, Told { outcome: outcome.clone(), is_delivered: false }, until);
    }
}

#[cfg(test)]
mod tests;
