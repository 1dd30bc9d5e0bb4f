//! What became of browsers' session cookies while requests were under way.
//!
//! A browser keeps what the last answer says, and answers come in another order than requests. So what goes out is decided
//! when an answer's head does: cookies that are no longer the newest of their session would be written over newer ones, and
//! a late "clear both" would take away the cookies of a login that came meanwhile. An answer that keeps its cookies to
//! itself costs nothing: a browser that has not got the newer ones comes again with the old ones, and gets them then.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use tokio::time::Instant;

use crate::access::revocations::Mark;
use crate::session::expiring_table::Expiring;
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;
use crate::syntax::redacted::Redacted;

/// Changes that are remembered at once; the oldest are forgotten first.
const MAX_CHANGES: usize = 65_536;

/// How long a change is remembered: as long as an app may take for its answer.
const IS_KEPT: Duration = Duration::from_secs(3600);

/// How long a request may have been on its way before it came in.
const MAX_LATENESS: Duration = Duration::from_secs(60);

/// Changes of one browser's cookies that are followed.
const MAX_FOLLOWED: usize = 32;

/// The session cookies that a request brought, without the cookies themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brought {
    /// All of them.
    state: CookieState,
    /// Their refresh token, where it can be read.
    key: Option<SessionKey>,
}

impl Brought {
    /// The tokens of an app, by its number. A JWT that is not there is empty.
    pub(crate) fn tokens(app: usize, access_token: &str, key: Option<SessionKey>) -> Self {
        let key_bytes = key.as_ref().map_or(&[][..], SessionKey::bytes);
        let state = CookieState::of(b"tokens", app, [access_token.as_bytes(), key_bytes].into_iter());
        Self { state, key }
    }

    /// Cookies that hold no tokens which can be read.
    pub(crate) fn cookies<'a>(app: usize, values: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { state: CookieState::of(b"cookies", app, values), key: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CookieState([u8; 32]);

impl CookieState {
    fn of<'a>(kind: &[u8], app: usize, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(&(app as u64).to_be_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// Whose cookies they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Owner {
    /// A session, by the first of its refresh tokens that is known.
    Session(SessionKey),
    /// One that has no refresh token, or none that can be read.
    Unknown(CookieState),
}

/// What an answer does to the session cookies of its browser.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// A login: the cookies are these from now on.
    Begin(Brought),
    /// The session goes on with other tokens.
    Renew {
        /// Its refresh token.
        key: SessionKey,
        /// Its JWT, where that is a new one.
        jwt: Option<Mark>,
    },
    /// There are none any more.
    Clear,
}

/// `Set-Cookie` headers for the final response to a request.
#[derive(Debug, Clone)]
pub(crate) struct NewCookies {
    /// The headers.
    pub(crate) headers: Redacted<Vec<HeaderValue>>,
    /// What they do.
    pub(crate) change: Change,
    /// What the request brought; `None`: no session cookies.
    pub(crate) before: Option<Brought>,
}

/// Who is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// The app's number.
    pub(crate) app: usize,
    /// The browser's address, if it is known.
    pub(crate) client: Option<IpAddr>,
    /// When the request came in.
    pub(crate) began: Instant,
}

impl Asker {
    /// The browser has sent the request later than that.
    fn sent_after(&self) -> Instant {
        self.began.checked_sub(MAX_LATENESS).unwrap_or(self.began)
    }
}

/// The changes of the last hour.
#[derive(Debug)]
pub(crate) struct CookieChanges(Mutex<Changes>);

#[derive(Debug)]
struct Changes {
    /// When cookies were last changed, by what they were before.
    changed: Expiring<CookieState, Instant>,
    /// Sessions whose cookies were taken away, or replaced by another's.
    gone: Expiring<Owner, Gone>,
    /// When somebody last logged in to an app, by its number and the browser's address.
    logins: Expiring<(usize, IpAddr), Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Gone {
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
    fn with<T>(&self, act: impl FnOnce(&mut Changes, Instant) -> T) -> T {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        changes.changed.forget_expired(now);
        changes.gone.forget_expired(now);
        changes.logins.forget_expired(now);
        act(&mut changes, now)
    }
}

impl Changes {
    /// Whether the cookies were taken away since the request came in, or before, and somebody has logged in since at the
    /// same address: that may be the same browser, whose requests come in another order than it sent them.
    fn is_gone(&self, owner: Owner, asker: &Asker) -> bool {
        self.gone
            .get(owner)
            .is_some_and(|gone| gone.at >= asker.began || self.has_logged_in(asker, asker.began))
    }

    /// Whether somebody has logged in at the same address since then.
    fn has_logged_in(&self, asker: &Asker, since: Instant) -> bool {
        let logged_in_at = asker.client.and_then(|client| self.logins.get((asker.app, client)));
        logged_in_at.is_some_and(|at| *at >= since)
    }

    fn has_changed(&self, state: CookieState, since: Instant) -> bool {
        self.changed.get(state).is_some_and(|at| *at >= since)
    }

    fn take_away(&mut self, owner: Owner, next: Option<Owner>, at: Instant) {
        self.gone.insert(owner, Gone { at, next }, at + IS_KEPT);
    }

    /// Another session takes the place. Of several logins at once in one browser the last one counts, though it does not know
    /// of those before it.
    fn replace(&mut self, owner: Owner, next: Owner, at: Instant) {
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

impl Sessions {
    /// Whether these cookies are to go out with an answer whose head goes out now.
    pub(crate) fn may_change_cookies(&self, cookies: &NewCookies, asker: &Asker) -> bool {
        if let (Change::Begin(_), Some(client)) = (cookies.change, asker.client) {
            let place = (asker.app, client);
            self.cookie_changes.with(|changes, now| changes.logins.insert(place, now, now + IS_KEPT));
        }
        let Some(before) = cookies.before else { return true };
        let owner = self.owner(&before);
        let next = match &cookies.change {
            Change::Begin(next) => Some(self.owner(next)),
            _ => None,
        };
        let is_newest = match cookies.change {
            Change::Renew { key, jwt } => self.ledger.are_newest(key, jwt),
            Change::Begin(_) | Change::Clear => true,
        };
        self.cookie_changes.with(|changes, now| {
            let is_timely = match cookies.change {
                // Whoever logs in is answered with that login.
                Change::Begin(_) => true,
                Change::Renew { jwt, .. } => {
                    // A refresh token alone is for the JWT that the request brought. It would not belong to another one, be it of a
                    // refresh, or of a login at once with the one that these cookies are of.
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
            Some(key) => Owner::Session(self.ledger.first(key)),
            None => Owner::Unknown(brought.state),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::access::tokens::{AccessToken, RefreshToken};
    use crate::session::outcome::{Outcome, UnverifiedTokens};
    use crate::session::replay_window::Gain;
    use crate::session::tests::harness::sessions_without_provider;

    const SECOND: Duration = Duration::from_secs(1);

    fn brought(number: u8) -> Brought {
        Brought::tokens(0, "jwt", Some(SessionKey::new(0, &number.to_string())))
    }

    fn cookies(before: u8, change: Change) -> NewCookies {
        let before = (before != 0).then(|| brought(before));
        NewCookies { headers: Redacted(Vec::new()), change, before }
    }

    fn begin(to: u8) -> Change {
        Change::Begin(brought(to))
    }

    fn renew(to: u8) -> Change {
        Change::Renew { key: SessionKey::new(0, &to.to_string()), jwt: Some(Mark::token(0, "the same")) }
    }

    fn renew_alone(to: u8) -> Change {
        Change::Renew { key: SessionKey::new(0, &to.to_string()), jwt: None }
    }

    /// The provider replaces one refresh token by another.
    fn refresh(sessions: &Sessions, before: u8, change: Change) {
        let Change::Renew { key, .. } = change else { return };
        let number = (0..=u8::MAX).find(|number| SessionKey::new(0, &number.to_string()) == key).unwrap();
        let tokens = UnverifiedTokens {
            access_token: AccessToken::new("jwt"),
            refresh_token: Some(RefreshToken::new(number.to_string())),
        };
        let before = SessionKey::new(0, &before.to_string());
        sessions.ledger.finish(before, Outcome::Unverified(Arc::new(tokens)), Gain::default());
    }

    /// Answers in the order in which their heads go out: when the request came in, what it brought, what the answer does,
    /// and whether that is written.
    #[expect(clippy::too_many_lines, reason = "one table")]
    #[tokio::test(start_paused = true)]
    async fn what_goes_out_is_decided_when_the_head_goes_out() {
        type Answer = (u64, u8, Change, bool);
        let stories: Vec<(&str, Vec<Answer>)> = vec![
            ("the same tokens, to many", vec![(0, 1, renew(2), true), (0, 1, renew(2), true)]),
            (
                "a late clear after a clear and a login",
                vec![(0, 1, Change::Clear, true), (1, 0, begin(50), true), (0, 1, Change::Clear, false)],
            ),
            (
                "a late clear after a login in its place",
                vec![(1, 1, begin(51), true), (0, 1, Change::Clear, false)],
            ),
            ("a late clear after a refresh", vec![(1, 1, renew(2), true), (0, 1, Change::Clear, false)]),
            (
                "a clear after a clear that was lost",
                vec![(0, 1, Change::Clear, true), (100, 1, Change::Clear, true)],
            ),
            (
                "a clear of cookies that were replaced before, by a login of those that followed",
                vec![(0, 1, renew(2), true), (20, 2, begin(52), true), (15, 1, Change::Clear, false)],
            ),
            (
                "late tokens after their session was cleared and another began",
                vec![
                    (1, 1, renew(2), true),
                    (2, 2, Change::Clear, true),
                    (3, 0, begin(53), true),
                    (0, 1, renew(2), false),
                ],
            ),
            (
                "late tokens after a login in the place of those that followed",
                vec![
                    (1, 1, renew(2), true),
                    (2, 2, renew(3), true),
                    (3, 3, begin(54), true),
                    (0, 1, renew(2), false),
                ],
            ),
            ("a login is always written", vec![(1, 1, begin(55), true), (0, 1, begin(56), true)]),
            (
                "late tokens of the first of two logins at once",
                vec![
                    (0, 1, begin(8), true),
                    (0, 1, begin(9), true),
                    (1, 8, renew(10), false),
                    (1, 8, Change::Clear, false),
                    (2, 9, renew(11), true),
                ],
            ),
            (
                "logins of different browsers without cookies",
                vec![(0, 0, begin(12), true), (1, 0, begin(13), true), (0, 12, renew(14), true)],
            ),
            (
                "a refresh token for a JWT that was replaced just before the request came in",
                vec![
                    (0, 1, renew(30), true),
                    (2, 1, renew_alone(30), false),
                    (100, 1, renew_alone(30), true),
                ],
            ),
            (
                "a refresh token alone, for the cookies of one of two logins at once without cookies",
                vec![
                    (0, 0, begin(40), true),
                    (0, 0, begin(41), true),
                    (2, 40, renew_alone(42), false),
                    (100, 40, renew_alone(42), true),
                ],
            ),
            (
                "a clear that came in after another one, and goes out after a login",
                vec![
                    (0, 1, Change::Clear, true),
                    (4, 0, begin(20), true),
                    (3, 1, Change::Clear, false),
                    (6, 1, Change::Clear, true),
                ],
            ),
            (
                "old cookies that come back",
                vec![
                    (0, 1, renew(2), true),
                    (100, 1, renew(2), true),
                    (200, 2, Change::Clear, true),
                    (300, 2, Change::Clear, true),
                ],
            ),
        ];
        for (story, answers) in stories {
            let sessions = sessions_without_provider();
            let start = Instant::now();
            for (step, (began, before, change, is_written)) in answers.into_iter().enumerate() {
                let began = start + SECOND * u32::try_from(began).unwrap();
                advance((began + SECOND).saturating_duration_since(Instant::now())).await;
                if let Change::Renew { key, .. } = change
                    && !sessions.ledger.is_known(key)
                {
                    refresh(&sessions, before, change);
                }
                let client = "192.0.2.1".parse().ok();
                let asker = Asker { app: 0, client, began };
                let written = sessions.may_change_cookies(&cookies(before, change), &asker);
                assert_eq!(written, is_written, "{story}: step {step}");
            }
        }
    }
}
