//! What several replicas would have to share: the refreshes under way, their outcomes for the replay window, and the
//! sessions that were ended meanwhile. In memory for now; a store that is shared would come in here, and nowhere else.
//!
//! Nothing here is on the way of a request with a valid JWT.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::session::Outcome;

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

/// A refresh token of an app, without the token itself.
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
}

/// The refreshes of the last seconds.
#[derive(Debug)]
pub(crate) struct Ledger {
    replay_window: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<SessionKey, Waiter>,
    outcomes: Expiring<Outcome>,
    /// The sessions that were ended. Apart from the outcomes: anyone can log out with a made-up token, and that must not
    /// push out what others wait for.
    ended: Expiring<()>,
}

/// Values that are each kept until an instant; beyond [`MAX_ENTRIES`] the first to go make room.
#[derive(Debug)]
struct Expiring<V> {
    entries: HashMap<SessionKey, (V, Instant)>,
    /// When entries may go, the first at the top. An entry that was replaced stands here more than once.
    expiries: BinaryHeap<Reverse<(Instant, SessionKey)>>,
}

impl<V> Default for Expiring<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), expiries: BinaryHeap::new() }
    }
}

impl Ledger {
    pub(crate) fn new(replay_window: Duration) -> Self {
        Self { replay_window, state: Mutex::default() }
    }

    /// Takes a turn. A known outcome that is not `usable` any more (its own JWT has expired) counts as none.
    pub(crate) fn take_turn(&self, key: SessionKey, usable: impl Fn(&Outcome) -> bool) -> Turn {
        self.with(|state, _| {
            // Nobody needs to wait for that, and it holds even if a call under way never ends.
            if state.ended.get(key).is_some() {
                return Turn::Known(Outcome::Dead);
            }
            // A sender that is gone without an outcome has panicked: the next one calls again.
            if let Some(waiter) = state.under_way.get(&key).filter(|waiter| waiter.has_changed().is_ok()) {
                return Turn::Wait(waiter.clone());
            }
            if let Some(outcome) = state.outcomes.get(key).filter(|outcome| usable(outcome)) {
                return Turn::Known(outcome.clone());
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
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome) -> Outcome {
        self.with(|state, now| {
            state.under_way.remove(&key);
            if state.ended.get(key).is_some() {
                // The mark of the end says it from now on.
                return Outcome::Ended;
            }
            let kept = match &outcome {
                Outcome::Dead => DEAD_IS_KEPT.min(self.replay_window),
                Outcome::Unavailable => UNAVAILABLE_IS_KEPT,
                Outcome::Renewed(_) | Outcome::Unverified(_) | Outcome::Ended => self.replay_window,
            };
            state.outcomes.insert(key, outcome.clone(), now + kept);
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
            if matches!(state.outcomes.get(key), Some(Outcome::Unverified(_))) {
                state.outcomes.insert(key, outcome.clone(), now + self.replay_window);
            }
        });
    }

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more. Returns the outcome
    /// that the token had led to, whose successor is to be ended as well.
    pub(crate) fn end(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, now| {
            let had_ended = state.ended.insert(key, (), now + ENDED_IS_KEPT).is_some();
            state.outcomes.get(key).filter(|_| !had_ended).cloned()
        })
    }

    /// The outcome of a token, if it is known and still told.
    pub(crate) fn known(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, _| match state.ended.get(key) {
            Some(()) => Some(Outcome::Dead),
            None => state.outcomes.get(key).cloned(),
        })
    }

    /// Whether a session was ended here.
    pub(crate) fn has_ended(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.ended.get(key).is_some())
    }

    /// Never held across an await. A panic of another thread in here leaves nothing half done that matters.
    fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.outcomes.forget_expired(now);
        state.ended.forget_expired(now);
        act(&mut state, now)
    }
}

impl State {
    /// Keeps early refreshes of a token away, unless more is known of it.
    fn rest(&mut self, key: SessionKey, until: Instant) {
        if !self.under_way.contains_key(&key) && self.outcomes.get(key).is_none() {
            self.outcomes.insert(key, Outcome::Unavailable, until);
        }
    }
}

impl<V> Expiring<V> {
    /// A value that is still kept: [`Ledger::with`] has thrown out the others.
    fn get(&self, key: SessionKey) -> Option<&V> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    /// Returns the value before.
    fn insert(&mut self, key: SessionKey, value: V, until: Instant) -> Option<V> {
        self.expiries.push(Reverse((until, key)));
        self.entries.insert(key, (value, until)).map(|(before, _)| before)
    }

    fn remove(&mut self, key: SessionKey) {
        self.entries.remove(&key);
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(&Reverse((until, key))) = self.expiries.peek() {
            // The first to go say the least: failures and made-up tokens are kept for seconds only.
            if now < until && self.expiries.len() <= MAX_ENTRIES {
                break;
            }
            self.expiries.pop();
            // An entry that was replaced since stands in the heap again, further down.
            if self.entries.get(&key).is_some_and(|(_, kept)| *kept <= until) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
