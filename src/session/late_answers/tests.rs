//! Answers in the order in which their heads go out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::*;
use crate::access::numbers::testing::{CLIENT, PROVIDER};
use crate::access::revocations::Mark;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::session::outcome::{Outcome, UnverifiedTokens};
use crate::session::session_key::SessionKey;
use crate::session::shared_state::values::Gain;
use crate::session::tests::harness::sessions_without_provider;
use crate::syntax::redacted::Redacted;

const SECOND: Duration = Duration::from_secs(1);

fn brought(number: u8) -> Brought {
    Brought::tokens(CLIENT, "jwt", Some(SessionKey::new(CLIENT, &number.to_string())))
}

fn cookies(before: u8, change: Change) -> NewCookies {
    let before = (before != 0).then(|| brought(before));
    NewCookies { headers: Redacted(Vec::new()), change, before }
}

fn begin(to: u8) -> Change {
    Change::Begin(brought(to))
}

fn renew(to: u8) -> Change {
    Change::Renew {
        key: SessionKey::new(CLIENT, &to.to_string()),
        jwt: Some(Mark::token(PROVIDER, "the same")),
    }
}

fn renew_alone(to: u8) -> Change {
    Change::Renew { key: SessionKey::new(CLIENT, &to.to_string()), jwt: None }
}

/// The provider replaces one refresh token by another.
fn refresh(sessions: &Sessions, before: u8, change: Change) {
    let Change::Renew { key, .. } = change else { return };
    let number = (0..=u8::MAX).find(|number| SessionKey::new(CLIENT, &number.to_string()) == key).unwrap();
    let tokens = UnverifiedTokens {
        access_token: AccessToken::new("jwt"),
        refresh_token: Some(RefreshToken::new(number.to_string())),
        is_refused: true,
    };
    let before = SessionKey::new(CLIENT, &before.to_string());
    sessions.replay_window.finish(before, Outcome::Unverified(Arc::new(tokens)), Gain::default());
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
        (
            "what was sent before the login in its place was answered, and came in after that",
            vec![
                (0, 1, begin(57), true),
                (2, 1, Change::Clear, false),
                (3, 1, renew(58), false),
                (100, 1, Change::Clear, true),
            ],
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
            vec![(0, 1, renew(30), true), (2, 1, renew_alone(30), false), (100, 1, renew_alone(30), true)],
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
                && !sessions.replay_window.is_known(key)
            {
                refresh(&sessions, before, change);
            }
            let client = "192.0.2.1".parse().ok();
            let asker = Asker { client_number: CLIENT, client, began };
            let written = sessions.may_change_cookies(&cookies(before, change), &asker);
            assert_eq!(written, is_written, "{story}: step {step}");
        }
    }
}
