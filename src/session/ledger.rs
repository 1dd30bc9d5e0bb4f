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
    entries: HashMap<SessionKey, Entry>,
    under_way: usize,
    ended: Ended,
    /// When finished entries may go, the first at the top.
    expiries: BinaryHeap<Reverse<(Instant, SessionKey)>>,
}

/// The sessions that were ended, each until an instant. Apart from the outcomes: anyone can log out with a made-up token,
/// and that must not push out what others wait for.
#[derive(Debug, Default)]
struct Ended {
    keys: HashMap<SessionKey, Instant>,
    expiries: BinaryHeap<Reverse<(Instant, SessionKey)>>,
}

#[derive(Debug)]
enum Entry {
    UnderWay { waiter: Waiter },
    Finished { outcome: Outcome, until: Instant },
}

impl Ledger {
    pub(crate) fn new(replay_window: Duration) -> Self {
        Self { replay_window, state: Mutex::default() }
    }

    /// Takes a turn. A known outcome that is not `usable` any more (its own JWT has expired) counts as none.
    pub(crate) fn take_turn(&self, key: SessionKey, usable: impl Fn(&Outcome) -> bool) -> Turn {
        self.with(|state, now| {
            // Nobody needs to wait for that, and it holds even if a call under way never ends.
            if state.ended.contains(key) {
                return Turn::Known(Outcome::Dead);
            }
            match state.entries.get(&key) {
                // A sender that is gone without an outcome has panicked: the next one calls again.
                Some(Entry::UnderWay { waiter }) if waiter.has_changed().is_ok() => {
                    return Turn::Wait(waiter.clone());
                }
                Some(Entry::Finished { outcome, until }) if now < *until && usable(outcome) => {
                    return Turn::Known(outcome.clone());
                }
                _ => {}
            }
            if state.under_way >= MAX_UNDER_WAY {
                return Turn::Known(Outcome::Unavailable);
            }
            let (sender, waiter) = watch::channel(None);
            state.put(key, Entry::UnderWay { waiter });
            Turn::Call(sender)
        })
    }

    /// Records an outcome and returns what everyone shall be told: if the session was ended meanwhile, that it has ended.
    pub(crate) fn finish(&self, key: SessionKey, outcome: Outcome) -> Outcome {
        self.with(|state, now| {
            let outcome = if state.ended.contains(key) { Outcome::Ended } else { outcome };
            match outcome {
                Outcome::Dead => {
                    state.remember(key, Outcome::Dead, now + DEAD_IS_KEPT.min(self.replay_window));
                }
                Outcome::Unavailable => state.remember(key, Outcome::Unavailable, now + UNAVAILABLE_IS_KEPT),
                // The mark of the end says it from now on.
                Outcome::Ended => state.forget(key),
                Outcome::Unverified(ref tokens) => {
                    if let Some(next) = &tokens.refresh_token {
                        // Early refreshes of the successor rest, too: what made this JWT unverifiable may last.
                        let next = SessionKey::new(key.app, next);
                        if next != key {
                            state.rest(next, now + UNAVAILABLE_IS_KEPT);
                        }
                    }
                    state.remember(key, outcome.clone(), now + self.replay_window);
                }
                Outcome::Renewed(_) => {
                    state.remember(key, outcome.clone(), now + self.replay_window);
                }
            }
            outcome
        })
    }

    /// Replaces an outcome whose JWT could not be verified by one whose could, unless the session was ended meanwhile.
    pub(crate) fn verified(&self, key: SessionKey, outcome: &Outcome) {
        self.with(|state, now| {
            if matches!(
                state.entries.get(&key),
                Some(Entry::Finished { outcome: Outcome::Unverified(_), .. })
            ) {
                state.remember(key, outcome.clone(), now + self.replay_window);
            }
        });
    }

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more. Returns the outcome
    /// that the token had led to, whose successor is to be ended as well.
    pub(crate) fn end(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, now| {
            if !state.ended.insert(key, now + ENDED_IS_KEPT) {
                return None;
            }
            match state.entries.get(&key) {
                Some(Entry::Finished { outcome, until }) if now < *until => Some(outcome.clone()),
                _ => None,
            }
        })
    }

    /// The outcome of a token, if it is known and still told.
    pub(crate) fn known(&self, key: SessionKey) -> Option<Outcome> {
        self.with(|state, now| match state.entries.get(&key) {
            _ if state.ended.contains(key) => Some(Outcome::Dead),
            Some(Entry::Finished { outcome, until }) if now < *until => Some(outcome.clone()),
            _ => None,
        })
    }

    /// Whether a session was ended here.
    pub(crate) fn has_ended(&self, key: SessionKey) -> bool {
        self.with(|state, _| state.ended.contains(key))
    }

    /// Never held across an await. A panic of another thread in here leaves nothing half done that matters.
    fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.forget_expired(now);
        state.ended.forget_expired(now);
        act(&mut state, now)
    }
}

impl Ended {
    fn contains(&self, key: SessionKey) -> bool {
        self.keys.contains_key(&key)
    }

    /// Whether it had not ended before.
    fn insert(&mut self, key: SessionKey, until: Instant) -> bool {
        self.expiries.push(Reverse((until, key)));
        self.keys.insert(key, until).is_none()
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(&Reverse((until, key))) = self.expiries.peek() {
            if now < until && self.expiries.len() <= MAX_ENTRIES {
                break;
            }
            self.expiries.pop();
            if self.keys.get(&key).is_some_and(|kept| *kept <= until) {
                self.keys.remove(&key);
            }
        }
    }
}

impl State {
    fn put(&mut self, key: SessionKey, entry: Entry) {
        let is_under_way = |entry: &Entry| matches!(entry, Entry::UnderWay { .. });
        self.under_way += usize::from(is_under_way(&entry));
        let before = self.entries.insert(key, entry);
        self.under_way -= usize::from(before.as_ref().is_some_and(is_under_way));
    }

    fn remember(&mut self, key: SessionKey, outcome: Outcome, until: Instant) {
        self.put(key, Entry::Finished { outcome, until });
        self.expiries.push(Reverse((until, key)));
    }

    fn rest(&mut self, key: SessionKey, until: Instant) {
        if !self.entries.contains_key(&key) {
            self.remember(key, Outcome::Unavailable, until);
        }
    }

    fn forget(&mut self, key: SessionKey) {
        let before = self.entries.remove(&key);
        self.under_way -= usize::from(matches!(before, Some(Entry::UnderWay { .. })));
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(&Reverse((until, key))) = self.expiries.peek() {
            // The first to go say the least: failures and made-up tokens are kept for seconds only.
            if now < until && self.expiries.len() <= MAX_ENTRIES {
                break;
            }
            self.expiries.pop();
            // An entry that was renewed since stands in the heap again, further down.
            if matches!(self.entries.get(&key), Some(Entry::Finished { until: kept, .. }) if *kept <= until) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
