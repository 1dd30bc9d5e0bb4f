//! The changes of browsers' session cookies in the last hour. `late_answers.rs` reads them.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::numbers::ClientNumber;
use crate::session::expiring_table::Expiring;
use crate::session::new_cookies::{Asker, CookieState};
use crate::session::session_key::SessionKey;

/// The number of changes that are remembered. The oldest are forgotten first.
const MAX_CHANGES: usize = 65_536;

/// The time for which a change is remembered. An app may take this long to answer.
pub(super) const IS_KEPT: Duration = Duration::from_secs(3600);

/// The number of changes of one browser's cookies that are followed.
const MAX_FOLLOWED: usize = 32;

/// The owner of cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A session. It is identified by its first known refresh token.
    Session(SessionKey),
    /// An owner without a readable refresh token.
    Unknown(CookieState),
}

/// The changes of the last hour.
#[derive(Debug)]
pub(crate) struct CookieChanges(Mutex<Changes>);

/// The tables.
#[derive(Debug)]
pub(super) struct Changes {
    /// The time of the last change of cookies. The key is their state before the change.
    pub(super) changed: Expiring<CookieState, Instant>,
    /// Sessions whose cookies were removed from the browser, or replaced by another session's cookies.
    pub(super) gone: Expiring<Owner, Gone>,
    /// The time of the last login to an app. The key is the number of the app's client and the browser's address.
    pub(super) logins: Expiring<(ClientNumber, IpAddr), Instant>,
}

/// The loss of a session's cookies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    at: Instant,
    /// The session that replaced it.
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
    /// Runs `act` with the tables locked. The lock is never held across an await.
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
    /// Tells whether the cookies were removed since the request came in, or were replaced since the browser may have
    /// sent it. If they were removed earlier, the result is also `true` if somebody has logged in from the same address
    /// since the request came in. That may be the same browser, because requests can arrive in another order than they
    /// were sent.
    pub(super) fn is_gone(&self, owner: Owner, asker: &Asker) -> bool {
        self.gone.get(owner).is_some_and(|gone| {
            // Then the browser has the cookies of another session, or will have them.
            let since = if gone.next.is_some() { asker.sent_after() } else { asker.began };
            gone.at >= since || self.has_logged_in(asker, asker.began)
        })
    }

    /// Tells whether somebody has logged in at the same address since `since`.
    pub(super) fn has_logged_in(&self, asker: &Asker, since: Instant) -> bool {
        let logged_in_at = asker.client.and_then(|client| self.logins.get((asker.client_number, client)));
        logged_in_at.is_some_and(|at| *at >= since)
    }

    /// Tells whether cookies in this state were changed since `since`.
    pub(super) fn has_changed(&self, state: CookieState, since: Instant) -> bool {
        self.changed.get(state).is_some_and(|at| *at >= since)
    }

    /// Records that the owner's cookies were removed, or replaced by the cookies of `next`.
    pub(super) fn take_away(&mut self, owner: Owner, next: Option<Owner>, at: Instant) {
        self.gone.insert(owner, Gone { at, next }, at + IS_KEPT);
    }

    /// Notes that another session replaces this one. If a browser sends several logins at once, the last one also
    /// replaces the sessions of the others, although its request did not bring their cookies.
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
