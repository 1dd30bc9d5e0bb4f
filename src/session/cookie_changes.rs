//! What became of browsers' session cookies while requests were under way.
//!
//! A browser keeps what the last answer says, and answers come in another order than requests. So what goes out is decided
//! when an answer's head does: cookies that are no longer the newest of their session would be written over newer ones, and
//! a late "clear both" would take away the cookies of a login that came meanwhile. An answer that keeps its cookies to
//! itself costs nothing: a browser that has not got the newer ones comes again with the old ones, and gets them then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use tokio::time::Instant;

use crate::access::revocations::Mark;
use crate::session::Sessions;
use crate::session::expiring::Expiring;
use crate::session::ledger::SessionKey;

/// Changes that are remembered at once; the oldest are forgotten first.
const MAX_CHANGES: usize = 65_536;

/// How long a change is remembered: as long as an app may take for its answer.
const IS_KEPT: Duration = Duration::from_secs(3600);

/// Changes of one browser's cookies that are followed.
const MAX_FOLLOWED: usize = 32;

/// The session cookies that a browser has, without the cookies themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CookieState([u8; 32]);

impl CookieState {
    /// The tokens of an app, by its number. One that is not there is empty.
    pub(crate) fn of_tokens(app: usize, access_token: &str, refresh_token: &str) -> Self {
        Self::of(b"tokens", app, [access_token.as_bytes(), refresh_token.as_bytes()].into_iter())
    }

    /// Cookies that hold no tokens which can be read.
    pub(crate) fn of_cookies<'a>(app: usize, values: impl Iterator<Item = &'a [u8]>) -> Self {
        Self::of(b"cookies", app, values)
    }

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

/// What an answer does to the session cookies of its browser.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// A login.
    Begin {
        /// These are the cookies from now on.
        after: CookieState,
    },
    /// The session goes on with other tokens.
    Renew {
        /// With these cookies.
        after: CookieState,
        /// Its refresh token.
        key: SessionKey,
        /// Its JWT, where that is a new one.
        jwt: Option<Mark>,
    },
    /// There are none any more.
    Clear,
}

/// `Set-Cookie` headers for the final response to a request.
#[derive(Clone)]
pub(crate) struct NewCookies {
    /// The headers.
    pub(crate) headers: Vec<HeaderValue>,
    /// What they do.
    pub(crate) change: Change,
    /// What the request brought; `None`: no session cookies.
    pub(crate) before: Option<CookieState>,
}

impl std::fmt::Debug for NewCookies {
    /// Without the headers, whose values are the session.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { headers, change, .. } = self;
        let mut shown = formatter.debug_struct("NewCookies");
        shown.field("headers", &headers.len()).field("change", change).finish_non_exhaustive()
    }
}

/// What became of cookies.
#[derive(Debug, Clone, Copy)]
struct Changed {
    /// What there was instead, if anything.
    after: Option<CookieState>,
    /// That is of another session.
    is_over: bool,
    at: Instant,
}

type Changes = Expiring<CookieState, Changed>;

/// The changes of the last hour, by what there was before.
#[derive(Debug)]
pub(crate) struct CookieChanges(Mutex<Changes>);

impl Default for CookieChanges {
    fn default() -> Self {
        Self(Mutex::new(Expiring::new(MAX_CHANGES)))
    }
}

impl CookieChanges {
    fn note(&self, before: CookieState, change: Change) {
        self.with(|changes, at| {
            let (after, is_over) = match change {
                Change::Renew { after, .. } => (Some(after), false),
                Change::Begin { after } => (Some(after), true),
                Change::Clear => (None, true),
            };
            let changed = Changed { after, is_over, at };
            if let Change::Begin { .. } = change
                && let Some(last) = followed(changes, before).last().and_then(|changed| changed.after)
                && after != Some(last)
            {
                // Of two logins at once in one browser the later one counts, which does not know of the other.
                changes.insert(last, changed, at + IS_KEPT);
            }
            changes.insert(before, changed, at + IS_KEPT);
        });
    }

    /// Whether any answer has changed these cookies since then.
    fn have_changed(&self, before: CookieState, since: Instant) -> bool {
        self.with(|changes, _| changes.get(before).is_some_and(|changed| changed.at >= since))
    }

    /// Whether these cookies, or those that followed them, were taken away since then, or replaced by another session's.
    fn are_gone(&self, before: CookieState, since: Instant) -> bool {
        self.with(|changes, _| {
            followed(changes, before).any(|changed| changed.is_over && changed.at >= since)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Changes, Instant) -> T) -> T {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        changes.forget_expired(now);
        act(&mut changes, now)
    }
}

/// What became of cookies, one change after the other.
fn followed(changes: &Changes, before: CookieState) -> impl Iterator<Item = Changed> {
    let next = |state: CookieState| changes.get(state).copied().filter(|next| next.after != Some(state));
    std::iter::successors(next(before), move |changed| next(changed.after?)).take(MAX_FOLLOWED)
}

impl Sessions {
    /// Whether these cookies are to go out with an answer whose head goes out now. `began`: when its request came in.
    pub(crate) fn may_change_cookies(&self, cookies: &NewCookies, began: Instant) -> bool {
        let Some(before) = cookies.before else { return true };
        let changes = &self.cookie_changes;
        let is_timely = match cookies.change {
            // Whoever logs in is answered with that login.
            Change::Begin { .. } => true,
            Change::Renew { key, jwt, .. } => {
                self.ledger.are_newest(key, jwt) && !changes.are_gone(before, began)
            }
            Change::Clear => !changes.have_changed(before, began) && !changes.are_gone(before, began),
        };
        if is_timely {
            changes.note(before, cookies.change);
        }
        is_timely
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::session::tests::harness::sessions_without_provider;

    const SECOND: Duration = Duration::from_secs(1);

    fn state(number: u8) -> CookieState {
        CookieState::of_tokens(0, "jwt", &number.to_string())
    }

    fn cookies(before: u8, change: Change) -> NewCookies {
        let before = (before != 0).then(|| state(before));
        NewCookies { headers: Vec::new(), change, before }
    }

    fn begin(to: u8) -> Change {
        Change::Begin { after: state(to) }
    }

    fn renew(to: u8) -> Change {
        Change::Renew { after: state(to), key: SessionKey::new(0, &to.to_string()), jwt: None }
    }

    /// Answers in the order in which their heads go out: when the request came in, what it brought, what the answer does,
    /// and whether that is written.
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
                let written = sessions.may_change_cookies(&cookies(before, change), began);
                assert_eq!(written, is_written, "{story}: step {step}");
            }
        }
    }
}
