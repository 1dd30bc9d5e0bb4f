//! Decides which cookies go out with an answer that comes late.
//!
//! A browser keeps the cookies of the last answer, and answers may come in another order than requests. So the decision
//! about cookies is made when the head of an answer goes out. Otherwise cookies that are no longer the newest of their
//! session would replace newer ones, and a late "clear both" would remove the cookies of a login that came in the
//! meantime. An answer without its cookies does no harm: a browser that lacks the newest cookies gets them with its
//! next request.

use crate::session::cookie_changes::{IS_KEPT, Owner};
use crate::session::new_cookies::{Asker, Brought, Change, NewCookies};
use crate::session::sessions::Sessions;

impl Sessions {
    /// Tells whether these cookies may go out with an answer whose head goes out now. It uses only local state, and
    /// never waits.
    pub(crate) fn may_change_cookies(&self, cookies: &NewCookies, asker: &Asker) -> bool {
        if let (Change::Begin(_), Some(client)) = (cookies.change, asker.client) {
            let place = (asker.client_number, client);
            self.cookie_changes.with(|changes, now| changes.logins.insert(place, now, now + IS_KEPT));
        }
        let Some(before) = cookies.before else { return true };
        let owner = self.owner(&before);
        let next = match &cookies.change {
            Change::Begin(next) => Some(self.owner(next)),
            _ => None,
        };
        let is_newest = match cookies.change {
            Change::Renew { key, jwt } => self.replay_window.are_newest(key, jwt),
            Change::Begin(_) | Change::Clear => true,
        };
        self.cookie_changes.with(|changes, now| {
            let is_timely = match cookies.change {
                // The answer to a login always sets the cookies of that login.
                Change::Begin(_) => true,
                Change::Renew { jwt, .. } => {
                    // A refresh token without a JWT belongs to the JWT that the request brought. It does not fit any
                    // other JWT: not the JWT of another refresh, and not the JWT of another login at the same time.
                    let sent_after = asker.sent_after();
                    let fits = jwt.is_some()
                        || !changes.has_changed(before.state, sent_after)
                            && !changes.has_logged_in(asker, sent_after);
                    is_newest && fits && !changes.is_gone(owner, asker)
                }
                Change::Clear => {
                    !changes.has_changed(before.state, asker.began) && !changes.is_gone(owner, asker)
                }
            };
            if is_timely {
                changes.changed.insert(before.state, now, now + IS_KEPT);
                match (cookies.change, next) {
                    (Change::Renew { .. }, _) => {}
                    (_, Some(next)) => changes.replace(owner, next, now),
                    (_, None) => changes.take_away(owner, None, now),
                }
            }
            is_timely
        })
    }

    fn owner(&self, brought: &Brought) -> Owner {
        match brought.key {
            Some(key) => Owner::Session(self.replay_window.first(key)),
            None => Owner::Unknown(brought.state),
        }
    }
}

#[cfg(test)]
mod tests;
