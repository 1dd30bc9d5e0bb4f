//! The changes of browsers' session cookies in the last hour. `late_answers.rs` reads them.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::numbers::ClientNumber;
use crate::session::expiring_table::Expiring;
use crate::session::new_cookies::{Asker, CookieState};
use crate::session::session_key::SessionKey;

/// Changes that are remembered at once; the oldest are forgotten first.
const MAX_CHANGES: usize = 65_536;

/// The time for which a change is remembered: as long as an app may take for its answer.
pub(super) const IS_KEPT: Duration = Duration::from_secs(3600);

/// Changes of one browser's cookies that are followed.
const MAX_FOLLOWED: usize = 32;

/// The owner of cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A session, by the first of its refresh tokens that is known.
    Session(SessionKey),
    /// One that has no refresh token, or none that can be read.
    Unknown(CookieState),
}

/// The changes of the last hour.
#[derive(Debug)]
pub(crate) struct CookieChanges(Mutex<Changes>);

/// The tables.
#[derive(Debug)]
pub(super) struct Changes {
    /// When cookies were last changed, by what they were before.
    pub(super) changed: Expiring<CookieState, Instant>,
    /// Sessions whose cookies were taken away, or replaced by another's.
    pub(super) gone: Expiring<Owner, Gone>,
    /// When somebody last logged in to an app, by the number of its client and the browser's address.
    pub(super) logins: Expiring<(ClientNumber, IpAddr), Instant>,
}

/// The loss of a session's cookies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    at: Instant,
    /// The session that took its place.
    next: Option<Owner>,
}

impl Default for CookieChanges {
    fn default() -> Self {
        Self(Mutex::new(Changes {
            changed: Expiring::new(MAX_CHANGES),
            gone: Expiring::new(MAX_CHANGES),
            logins: Expiring::new(MAX_CHANGES),
        }))
    }
}

impl CookieChanges {
    /// Never held across an await.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Changes, Instant) -> T) -> T {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        changes.changed.forget_expired(now);
        changes.gone.forget_expired(now);
        changes.logins.forget_expired(now);
        act(&mut changes, now)
    }
}

impl Changes {
    /// Says that the cookies were taken away since the request came in, or before, and somebody has logged in since at the
    /// same address: that may be the same browser, whose requests come in another order than it sent them.
    pub(super) fn is_gone(&self, owner: Owner, asker: &Asker) -> bool {
        self.gone
            .get(owner)
            .is_some_and(|gone| gone.at >= asker.began || self.has_logged_in(asker, asker.began))
    }

    /// Says that somebody has logged in at the same address since then.
    pub(super) fn has_logged_in(&self, asker: &Asker, since: Instant) -> bool {
        let logged_in_at = asker.client.and_then(|client| self.logins.get((asker.client_number, client)));
        logged_in_at.is_some_and(|at| *at >= since)
    }

    /// Says that such cookies were changed since then.
    pub(super) fn has_changed(&self, state: CookieState, since: Instant) -> bool {
        self.changed.get(state).is_some_and(|at| *at >= since)
    }

    /// Notes that the cookies were taken away.
    pub(super) fn take_away(&mut self, owner: Owner, next: Option<Owner>, at: Instant) {
        self.gone.insert(owner, Gone { at, next }, at + IS_KEPT);
    }

    /// Notes that another session takes the place. Of several logins at once in one browser the last one counts, though it does not know
    /// of those before it.
    pub(super) fn replace(&mut self, owner: Owner, next: Owner, at: Instant) {
        let mut last = owner;
        for _ in 0..MAX_FOLLOWED {
            let before = self.gone.get(last).and_then(|gone| gone.next).filter(|before| *before != next);
            self.take_away(last, Some(next), at);
            match before {
                Some(before) => last = before,
                None => return,
            }
        }
    }
}
