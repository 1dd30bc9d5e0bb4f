//! What an answer to a grant means: pure functions of phase, status and content.
//!
//! Providers agree on little (docs: how identity providers differ), and what answers may not be the provider: a firewall, a
//! proxy in front of it, a load balancer. So only what a provider says by a code that is known (`codes`), or by one of the
//! bare answers below, is a no. Everything else is unclear, and **unclear is not no**: the session is kept, and no guess is
//! counted. The rules, first match wins:
//!
//! 1. 1xx, 3xx, 408, 425, 429 and 5xx say nothing about the user: the provider is unavailable. But 429 at a login is told
//!    to the user, whose account it may be about.
//! 2. 200 (and 201, which some frameworks answer to every POST) is a success only with a usable token. Without one, an
//!    `error` counts as with a 4xx.
//! 3. A code that is known decides, whatever the 4xx status.
//! 4. An answer without a body, a type or a question who we are: Glewlwyd refuses a refresh token by a bare 400, and a
//!    password by a bare 403 (others by 400 or 401).
//! 5. 404, 405, 410 and 415 mean a wrong URL: the operator's fault.
//! 6. Everything else: the provider is unavailable.

use crate::identity_provider::codes::{self, AtLogin, AtLogout, AtRefresh, Member, Row};
use crate::identity_provider::error_answer::{ErrorAnswer, Form};
use crate::identity_provider::outcome::{LoginError, RefreshError, RevokeError, TokenSet};
use crate::identity_provider::provider_answer::Answer;
use crate::identity_provider::retry_after::RetryAfter;
use crate::identity_provider::token_answer;

/// What providers say of a plain wrong password (Keycloak): the reason code says as much.
const WRONG_PASSWORD: &str = "Invalid user credentials";

/// What an answer to a password grant means. `secrets` are kept out of the texts for the log.
pub(super) fn login(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, LoginError> {
    let (error, text) = match tokens(answer, secrets, token_answer::parse) {
        Ok(tokens) => return Ok(tokens),
        Err(error) => error,
    };
    let row = codes::find(&error, answer.status);
    let is_bare = error.form() == Form::Bare;
    Err(match row.map(|row| row.login) {
        _ if answer.status == 429 => LoginError::TooMany(text, RetryAfter::of(answer)),
        Some(AtLogin::TooMany) => LoginError::TooMany(text, RetryAfter::of(answer)),
        Some(AtLogin::WrongPassword) => {
            LoginError::InvalidCredentials(error.says_more_than(WRONG_PASSWORD).then_some(text))
        }
        Some(AtLogin::Step(kind)) => {
            LoginError::Challenge(kind, error.challenge(row.is_some_and(is_by_reason)), text)
        }
        Some(AtLogin::Operator) => LoginError::Misconfigured(text),
        None if is_bare && matches!(answer.status, 400 | 401 | 403) => LoginError::InvalidCredentials(None),
        None if is_wrong_url(answer.status) => LoginError::Misconfigured(text),
        Some(AtLogin::Passing) | None => LoginError::Unavailable(text, RetryAfter::of(answer)),
    })
}

/// What an answer to a refresh grant means.
pub(super) fn refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    refreshed(answer, secrets, token_answer::parse, |error| {
        answer.status == 400 && error.form() == Form::Bare
    })
}

/// What an answer of FusionAuth's `POST /api/jwt/refresh` means. It authenticates no client, and says "expired, revoked or
/// unknown" by 400 or 404 without a body, or by a 400 that finds fault with the refresh token.
pub(super) fn jwt_refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    refreshed(answer, secrets, token_answer::parse_jwt_refresh, |error| match error.form() {
        Form::Bare => matches!(answer.status, 400 | 404),
        Form::Json => answer.status == 400 && error.refuses_field("refreshToken"),
        Form::Code | Form::Foreign => false,
    })
}

fn refreshed(
    answer: &Answer,
    secrets: &[&str],
    parse: Parse,
    is_documented_no: impl Fn(&ErrorAnswer) -> bool,
) -> Result<TokenSet, RefreshError> {
    let (error, text) = match tokens(answer, secrets, parse) {
        Ok(tokens) => return Ok(tokens),
        Err(error) => error,
    };
    Err(match codes::find(&error, answer.status).map(|row| row.refresh) {
        Some(AtRefresh::Dead) => RefreshError::Dead(text),
        Some(AtRefresh::Step(kind)) => RefreshError::Challenge(kind, text),
        Some(AtRefresh::Operator) => RefreshError::Misconfigured(text),
        None if is_documented_no(&error) => RefreshError::Dead(text),
        None if is_wrong_url(answer.status) => RefreshError::Misconfigured(text),
        Some(AtRefresh::Passing) | None => RefreshError::Unavailable(text, RetryAfter::of(answer)),
    })
}

/// What an answer to a revocation means: `Err` is a text for the log. Any body will do with a 2xx (RFC 7009 section 2.2) but
/// a code that says otherwise, and a token that the provider cannot revoke is nothing that could be done better. Where the
/// answer is unclear it is worth to ask again.
pub(super) fn revocation(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    let error = ErrorAnswer::read(answer);
    let text = || error.describe(answer, secrets);
    match codes::find(&error, answer.status).map(|row| row.logout) {
        Some(AtLogout::Done) => Ok(()),
        Some(AtLogout::Refused) => Err(RevokeError::Refused(text())),
        None if matches!(answer.status, 200..=299) => Ok(()),
        None if is_final(answer.status, &error) => Err(RevokeError::Refused(text())),
        Some(AtLogout::Passing) | None => Err(RevokeError::Unavailable(text())),
    }
}

/// What an answer to a refresh token at the `end_session_endpoint` means. Keycloak answers 204, also if the session had
/// ended before. A page in HTML is for a browser: such a provider ends no session by a refresh token.
pub(super) fn end_session(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    let error = ErrorAnswer::read(answer);
    let text = || error.describe(answer, secrets);
    match (answer.status, codes::find(&error, answer.status)) {
        (200..=299, _) if answer.media_type == "text/html" => {
            Err(RevokeError::Refused(String::from("the answer is a page for a browser")))
        }
        (_, Some(Row { logout: AtLogout::Passing, .. })) => Err(RevokeError::Unavailable(text())),
        (_, Some(_)) => Err(RevokeError::Refused(text())),
        (200..=299, None) => Ok(()),
        (status, None) if is_final(status, &error) => Err(RevokeError::Refused(text())),
        (_, None) => Err(RevokeError::Unavailable(text())),
    }
}

type Parse = fn(&[u8]) -> Result<TokenSet, &'static str>;

/// The tokens of a success, or else what the answer says and a text for the log.
fn tokens(answer: &Answer, secrets: &[&str], parse: Parse) -> Result<TokenSet, (ErrorAnswer, String)> {
    let problem = match answer.status {
        200 | 201 => match parse(answer.json()) {
            Ok(tokens) => return Ok(tokens),
            Err(problem) => Some(problem),
        },
        _ => None,
    };
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer, secrets);
    let text = match problem.filter(|_| error.form() != Form::Code) {
        Some(problem) => format!("{problem} ({text})"),
        None => text,
    };
    Err((error, text))
}

/// Statuses that say: not here, or not so.
pub(super) const fn is_wrong_url(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 415)
}

/// Whether a revocation without a known code is refused for good: by the provider's own bare answer, or at a wrong URL.
fn is_final(status: u16, error: &ErrorAnswer) -> bool {
    is_wrong_url(status) || (error.form() == Form::Bare && matches!(status, 400 | 401 | 403))
}

/// FusionAuth's reason is more precise than its code.
pub(super) fn is_by_reason(row: &Row) -> bool {
    row.member == Member::Reason
}

#[cfg(test)]
mod tests;
