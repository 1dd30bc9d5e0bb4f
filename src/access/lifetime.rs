//! Absolute and idle session lifetimes (OWASP ASVS 5.0 section 7.3). A request is checked without a table of sessions.
//!
//! The start of a session, and the time of its last new JWT, are sealed with its refresh token. The time of its last
//! *use* is kept in memory: a verified JWT is remembered together with the time of its session's last request. A
//! restart loses this time. That lengthens an idle session by at most the lifetime of its last JWT.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of sessions below which idle ones are never removed.
const MIN_CAPACITY: usize = 65_536;

/// The largest number of sessions that are remembered because other replicas have told of them.
const MAX_TOUCHED: usize = 1_048_576;

/// The largest lifetimes of sessions, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lifetimes {
    /// The time after the login.
    pub absolute: Option<u64>,
    /// The time after the last request.
    pub idle: Option<u64>,
}

/// The age of a session, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// The id of the session.
    pub id: [u8; 16],
    /// The time at which it began, in Unix seconds.
    pub started_at: u64,
    /// The time of its login or last refresh, in Unix seconds. It was certainly in use then.
    pub renewed_at: u64,
    /// The time (Unix seconds) after which it could not be used without a new refresh.
    pub usable_until: u64,
    /// The age is a guess, because the JWT came without the cookie that was sealed together with it.
    pub is_provisional: bool,
}

/// The reasons why a session is over although its tokens are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// See [`Lifetimes::absolute`].
    #[error("the session has reached its absolute lifetime")]
    Absolute,
    /// See [`Lifetimes::idle`].
    #[error("the session was idle for too long")]
    Idle,
}

/// The times at which one session ends.
#[derive(Debug, Clone)]
pub struct Lifetime {
    ends_at: u64,
    is_provisional: bool,
    idle: Option<Idle>,
}

#[derive(Debug, Clone)]
struct Idle {
    limit: u64,
    last_request: Arc<AtomicU64>,
}

impl Lifetime {
    /// A lifetime without an end.
    pub const UNLIMITED: Self = Self { ends_at: u64::MAX, is_provisional: false, idle: None };

    /// Returns [`Age::is_provisional`] of the session's age.
    pub const fn is_provisional(&self) -> bool {
        self.is_provisional
    }

    /// Returns an error if the session is over.
    pub fn check(&self, now: u64) -> Result<(), Over> {
        if now >= self.ends_at {
            return Err(Over::Absolute);
        }
        let is_idle = self
            .idle
            .as_ref()
            .is_some_and(|idle| now.saturating_sub(idle.last_request.load(Ordering::Relaxed)) >= idle.limit);
        if is_idle { Err(Over::Idle) } else { Ok(()) }
    }

    /// Checks the session like [`Self::check`], and records that it is in use, because a request of it has come.
    pub fn check_request(&self, now: u64) -> Result<(), Over> {
        self.check(now)?;
        if let Some(Idle { last_request, .. }) = &self.idle
            && last_request.load(Ordering::Relaxed) < now
        {
            last_request.fetch_max(now, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The time of the last request of a session.
#[derive(Debug)]
struct LastRequest {
    at: Arc<AtomicU64>,
    /// The time that other replicas know, in Unix seconds.
    told: u64,
}

/// The times at which sessions were last in use. The table is only locked at a refresh, and when a JWT is verified for
/// the first time.
#[derive(Debug)]
pub struct Activities {
    /// The time (Unix seconds) before which requests may not be known. It is the start of this process, or the time
    /// until which messages of other replicas may have been missed.
    since: AtomicU64,
    sessions: Mutex<Sessions>,
}

#[derive(Debug)]
struct Sessions {
    last_requests: HashMap<[u8; 16], LastRequest>,
    /// The number of sessions at which idle ones are removed.
    capacity: usize,
}

impl Activities {
    /// Creates an empty table at `now` (Unix seconds).
    pub fn new(now: u64) -> Self {
        let sessions = Sessions { last_requests: HashMap::new(), capacity: MIN_CAPACITY };
        Self { since: AtomicU64::new(now), sessions: Mutex::new(sessions) }
    }

    /// Returns the lifetime of a session.
    pub fn lifetime(&self, limits: Lifetimes, age: &Age, now: u64) -> Lifetime {
        let ends_at = limits.absolute.map_or(u64::MAX, |absolute| age.started_at.saturating_add(absolute));
        let idle = limits.idle.map(|limit| Idle { limit, last_request: self.last_request(age, limit, now) });
        Lifetime { ends_at, is_provisional: age.is_provisional, idle }
    }

    fn last_request(&self, age: &Age, limit: u64, now: u64) -> Arc<AtomicU64> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.last_requests.len() >= sessions.capacity {
            sessions.forget_idle(limit, now);
        }
        // Requests before the start of this process are not known. In doubt, the session was in use.
        let at_latest = age.renewed_at.max(self.since.load(Ordering::Relaxed).min(age.usable_until));
        let last_request = sessions
            .last_requests
            .entry(age.id)
            .or_insert_with(|| LastRequest { at: Arc::new(AtomicU64::new(at_latest)), told: at_latest });
        let before = last_request.at.fetch_max(at_latest, Ordering::Relaxed);
        // A guess is no news for others.
        if before <= last_request.told {
            last_request.told = last_request.told.max(at_latest);
        }
        Arc::clone(&last_request.at)
    }

    /// Returns the sessions that were used since the last call, with the times (Unix seconds) of their last requests.
    pub(crate) fn used(&self) -> Vec<([u8; 16], u64)> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let used = sessions.last_requests.iter_mut().filter_map(|(id, LastRequest { at, told })| {
            let at = at.load(Ordering::Relaxed);
            let is_news = at > *told;
            *told = at.max(*told);
            is_news.then_some((*id, at))
        });
        used.collect()
    }

    /// Records that sessions were used elsewhere. A session that is not known here is remembered for later.
    pub(crate) fn touch(&self, used: impl IntoIterator<Item = ([u8; 16], u64)>) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in used {
            if let Some(known) = sessions.last_requests.get_mut(&id) {
                known.at.fetch_max(at, Ordering::Relaxed);
                known.told = known.told.max(at);
            } else if sessions.last_requests.len() < MAX_TOUCHED {
                sessions.last_requests.insert(id, LastRequest { at: Arc::new(AtomicU64::new(at)), told: at });
            }
        }
    }

    /// Counts all sessions as used at `at` (Unix seconds), because messages of other replicas may have been missed until
    /// then. In doubt, a session was in use.
    pub(crate) fn may_have_missed(&self, at: u64) {
        self.since.fetch_max(at, Ordering::Relaxed);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for last_request in sessions.last_requests.values_mut() {
            let before = last_request.at.fetch_max(at, Ordering::Relaxed);
            // A guess is no news for others.
            if before <= last_request.told {
                last_request.told = last_request.told.max(at);
            }
        }
    }
}

impl Sessions {
    fn forget_idle(&mut self, limit: u64, now: u64) {
        self.last_requests
            .retain(|_, last_request| now.saturating_sub(last_request.at.load(Ordering::Relaxed)) < limit);
        // The table is searched again when it has doubled, so the cost stays small for any number of sessions.
        self.capacity = (self.last_requests.len() * 2).max(MIN_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const BOTH: Lifetimes = Lifetimes { absolute: Some(1000), idle: Some(100) };

    fn age(id: u8) -> Age {
        Age { id: [id; 16], started_at: NOW, renewed_at: NOW, usable_until: NOW + 300, is_provisional: false }
    }

    #[test]
    fn a_session_ends_however_busy_it_is() {
        let activities = Activities::new(NOW);
        let lifetime = activities.lifetime(BOTH, &age(1), NOW);
        for second in 0..1000 {
            assert_eq!(lifetime.check_request(NOW + second), Ok(()));
        }
        assert_eq!(lifetime.check_request(NOW + 1000), Err(Over::Absolute));
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it() {
        let activities = Activities::new(NOW);
        let lifetime = activities.lifetime(BOTH, &age(1), NOW);
        assert_eq!(lifetime.check_request(NOW + 99), Ok(()));
        assert_eq!(lifetime.check(NOW + 198), Ok(()));
        assert_eq!(lifetime.check_request(NOW + 199), Err(Over::Idle));
        assert_eq!(lifetime.check_request(NOW + 199), Err(Over::Idle), "a refused request is no use");
    }

    #[test]
    fn all_tokens_of_a_session_share_its_last_request() {
        let activities = Activities::new(NOW);
        let (one, other) =
            (activities.lifetime(BOTH, &age(1), NOW), activities.lifetime(BOTH, &age(1), NOW + 50));
        assert_eq!(one.check_request(NOW + 90), Ok(()));
        assert_eq!(other.check_request(NOW + 189), Ok(()));
        let stranger = activities.lifetime(BOTH, &age(2), NOW);
        assert_eq!(stranger.check(NOW + 100), Err(Over::Idle));
    }

    #[test]
    fn a_refresh_is_a_use() {
        let activities = Activities::new(NOW);
        activities.lifetime(BOTH, &age(1), NOW);
        let renewed = Age { renewed_at: NOW + 150, ..age(1) };
        assert_eq!(activities.lifetime(BOTH, &renewed, NOW + 240).check(NOW + 240), Ok(()));
    }

    #[test]
    fn what_was_before_a_restart_is_in_doubt_only_while_the_last_jwt_could_be_used() {
        let activities = Activities::new(NOW + 250);
        assert_eq!(activities.lifetime(BOTH, &age(1), NOW + 340).check(NOW + 340), Ok(()));
        let activities = Activities::new(NOW + 9000);
        let only_idle = Lifetimes { absolute: None, ..BOTH };
        assert_eq!(activities.lifetime(only_idle, &age(1), NOW + 9000).check(NOW + 9000), Err(Over::Idle));
    }

    #[test]
    fn without_limits_nothing_ends_and_nothing_is_remembered() {
        let activities = Activities::new(NOW);
        let lifetime = activities.lifetime(Lifetimes::default(), &age(1), NOW);
        assert_eq!(lifetime.check_request(u64::MAX - 1), Ok(()));
        assert_eq!(activities.sessions.lock().unwrap().last_requests.len(), 0);
    }

    #[test]
    fn sessions_that_nobody_uses_are_forgotten() {
        let activities = Activities::new(NOW);
        for number in 0..200_000_u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let now = NOW + number;
            let age = Age { id, started_at: now, renewed_at: now, usable_until: now, is_provisional: false };
            activities.lifetime(BOTH, &age, now);
        }
        let known = activities.sessions.lock().unwrap().last_requests.len();
        assert!(known <= MIN_CAPACITY, "{known}");
    }
}
