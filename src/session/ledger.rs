//! What several replicas would have to share: the refreshes under way, their outcomes for the replay window, and the
//! sessions that were ended meanwhile. In memory for now; a store that is shared would come in here, and nowhere else.
//!
//! Nothing here is on the way of a request with a valid JWT.

use std::collections::{HashMap, VecDeque};
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

/// A refresh token of an app, without the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    entries: HashMap<SessionKey, Entry>,
    /// When finished entries may go, oldest first.
    expiries: VecDeque<(Instant, SessionKey)>,
}

#[derive(Debug)]
enum Entry {
    UnderWay { waiter: Waiter, ended: bool },
    Finished { outcome: Outcome, until: Instant },
}

impl Ledger {
    pub(crate) fn new(replay_window: Duration) -> Self {
        Self { replay_window, state: Mutex::default() }
    }

    /// Takes a turn. A known outcome that is not `usable` any more (its own JWT has expired) counts as none.
    pub(crate) fn take_turn(&self, key: SessionKey, usable: impl Fn(&Outcome) -> bool) -> Turn {
        self.with(|state, now| {
            match state.entries.get(&key) {
                // Nobody needs to wait for that, and it holds even if the call never ends.
                Some(Entry::UnderWay { ended: true, .. }) => return Turn::Known(Outcome::Dead),
                // A sender that is gone without an outcome has panicked: the next one calls again.
                Some(Entry::UnderWay { waiter, .. }) if waiter.has_changed().is_ok() => {
                    return Turn::Wait(waiter.clone());
                }
                Some(Entry::Finished { outcome, until }) if now < *until && usable(outcome) => {
                    return Turn::Known(outcome.clone());
                }
                _ => {}
            }
            let (sender, waiter) = watch::channel(None);
            state.entries.insert(key, Entry::UnderWay { waiter, ended: false });
            Turn::Call(sender)
        })
    }

    /// Records an outcome and returns what everyone shall be told: if the session was ended meanwhile, that it is dead.
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome) -> Outcome {
        self.with(|state, now| {
            let ended = matches!(state.entries.get(&key), Some(Entry::UnderWay { ended: true, .. }));
            let outcome = if ended { Outcome::Dead } else { outcome };
            match outcome {
                // The next request tries again: nothing is known.
                Outcome::Unavailable => {
                    state.entries.remove(&key);
                }
                Outcome::Dead if !ended => {
                    state.remember(key, Outcome::Dead, now + DEAD_IS_KEPT.min(self.replay_window));
                }
                _ => state.remember(key, outcome.clone(), now + self.replay_window),
            }
            outcome
        })
    }

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more. Returns the outcome
    /// that the token had led to, whose successor is to be ended as well.
    pub(crate) fn end(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, now| {
            if let Some(Entry::UnderWay { ended, .. }) = state.entries.get_mut(&key) {
                *ended = true;
                return None;
            }
            let before = match state.entries.remove(&key) {
                Some(Entry::Finished { outcome, until }) if now < until => Some(outcome),
                _ => None,
            };
            state.remember(key, Outcome::Dead, now + self.replay_window);
            before
        })
    }

    /// The outcome of a token, if it is known and still told.
    pub(crate) fn known(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, now| match state.entries.get(&key) {
            Some(Entry::Finished { outcome, until }) if now < *until => Some(outcome.clone()),
            Some(Entry::UnderWay { ended: true, .. }) => Some(Outcome::Dead),
            _ => None,
        })
    }

    /// Never held across an await. A panic of another thread in here leaves nothing half done that matters.
    fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.forget_expired(now);
        act(&mut state, now)
    }
}

impl State {
    fn remember(&mut self, key: SessionKey, outcome: Outcome, until: Instant) {
        self.entries.insert(key, Entry::Finished { outcome, until });
        self.expiries.push_back((until, key));
    }

    /// The queue is in order but for the shorter life of "dead", which only keeps such an entry a little longer; nobody
    /// is told an outcome past its time.
    fn forget_expired(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.expiries.front() {
            if now < until && self.expiries.len() <= MAX_ENTRIES {
                break;
            }
            self.expiries.pop_front();
            // An entry that was renewed since stands in the queue again, further back.
            if matches!(self.entries.get(&key), Some(Entry::Finished { until: kept, .. }) if *kept <= until) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
