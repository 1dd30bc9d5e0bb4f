//! The meaning of an answer. These are pure functions of phase, status and content. If kinds of providers differ, the
//! dialect decides. The rules below are those of the standards' dialect.
//!
//! Providers agree on little (docs: how identity providers differ). Besides, an answer may come from something else
//! than the provider: a firewall, a proxy in front of it, a load balancer. So an answer counts as a "no" only if it has
//! a known code of a provider (`codes`), or if it is one of the bare answers below. Everything else is unclear, and
//! **unclear is not no**: the session is kept, and no guess is counted. The first rule that matches counts:
//!
//! 1. 1xx, 3xx, 408, 425, 429 and 5xx say nothing about the user: the provider is unavailable. There is one exception:
//!    the user is told about a 429 at a login, because it may be about the user's account.
//! 2. 200 is a success only with a usable token. So is 201, which some frameworks answer to every POST. Without a
//!    token, an `error` counts as in a 4xx.
//! 3. A known code decides, whatever the 4xx status is.
//! 4. An answer without a body, a type and a request for credentials is a "no" with some statuses. Glewlwyd refuses a
//!    refresh token by a bare 400, and a password by a bare 403 (others by 400 or 401).
//! 5. 404, 405, 410 and 415 mean a wrong URL, which the operator must correct.
//! 6. For everything else, the provider is unavailable.

use crate::identity_provider::client_fix::client_fix;
use crate::identity_provider::code_row::{AtLogin, AtLogout, AtRefresh, Member, Row};
use crate::identity_provider::codes;
use crate::identity_provider::dialect::{Dialect, Said, kinds};
use crate::identity_provider::error_answer::{ErrorAnswer, Shape};
use crate::identity_provider::outcome::{ClientRefusal, LoginError, RefreshError, RevokeError, TokenSet};
use crate::identity_provider::provider_answer::Answer;
use crate::identity_provider::retry_after::RetryAfter;
use crate::identity_provider::token_answer;
use crate::identity_provider::token_fate::TokenFate;

/// Reads the answer to a login. `secrets` are kept out of the texts for the log.
pub(super) fn login(
    dialect: &dyn Dialect,
    answer: &Answer,
    secrets: &[&str],
) -> Result<TokenSet, LoginError> {
    let (error, text) = match tokens(answer, secrets, token_answer::parse) {
        Ok(tokens) => return Ok(tokens),
        Err(error) => error,
    };
    let said = said(dialect, answer, &error);
    Err(match dialect.blame_login(&said) {
        AtLogin::TooMany => LoginError::TooMany(text, RetryAfter::of(answer)),
        AtLogin::WrongPassword => LoginError::InvalidCredentials(says_more(&error).then_some(text)),
        AtLogin::Step(kind) => {
            let names = dialects(dialect).flat_map(Dialect::challenge).copied();
            LoginError::Challenge(kind, error.challenge(names, said.row.is_some_and(is_by_reason)), text)
        }
        AtLogin::Operator => LoginError::Misconfigured(refusal(&error, text, "password")),
        AtLogin::Passing => LoginError::Unavailable(text.into(), RetryAfter::of(answer)),
    })
}

/// Reads the answer to a refresh.
///
/// If it has no word about the refresh token, it may still prove that the provider has not processed the token. This is
/// so for 429 and 503: who says that has not begun with the request (RFC 6585 section 4, RFC 9110 section 15.6.4). It
/// is also so for a refusal of the client, which comes before the look at the grant. Everything else proves nothing. A
/// proxy in front of the provider may say 503 because it has lost the provider's answer. Then the new tokens are lost
/// with that answer, whatever comes next.
pub(super) fn refresh(
    dialect: &dyn Dialect,
    answer: &Answer,
    secrets: &[&str],
) -> Result<TokenSet, RefreshError> {
    let (error, text) = match tokens(answer, secrets, |json| dialect.read_refresh(json)) {
        Ok(tokens) => return Ok(tokens),
        Err(error) => error,
    };
    Err(match dialect.blame_refresh(&said(dialect, answer, &error)) {
        AtRefresh::Dead => RefreshError::Dead(text),
        AtRefresh::Step(kind) => RefreshError::Challenge(kind, text),
        AtRefresh::Operator => {
            let fate = fate_if(codes::refuses_client(error.code()));
            RefreshError::Misconfigured(refusal(&error, text, "refresh_token"), fate)
        }
        AtRefresh::Passing => {
            let fate = fate_if(matches!(answer.status, 429 | 503));
            RefreshError::Unavailable(text.into(), RetryAfter::of(answer), fate)
        }
    })
}

/// Reads the answer to a logout.
pub(super) fn logout(dialect: &dyn Dialect, answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    let error = ErrorAnswer::read(answer);
    let blame = dialect.blame_logout(&said(dialect, answer, &error));
    let text = || blame.words.map_or_else(|| error.describe(answer, secrets), String::from);
    match blame.meaning {
        AtLogout::Done => Ok(()),
        AtLogout::Refused => Err(RevokeError::Refused(text())),
        AtLogout::Passing => Err(RevokeError::Unavailable(text().into())),
    }
}

/// Returns the tokens of a success. Otherwise returns the content of the answer and a text for the log.
fn tokens(
    answer: &Answer,
    secrets: &[&str],
    parse: impl Fn(&[u8]) -> Result<TokenSet, &'static str>,
) -> Result<TokenSet, (ErrorAnswer, String)> {
    let problem = match answer.status {
        200 | 201 => match parse(answer.json()) {
            Ok(tokens) => return Ok(tokens),
            Err(problem) => Some(problem),
        },
        _ => None,
    };
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer, secrets);
    let text = match problem.filter(|_| error.shape() != Shape::Code) {
        Some(problem) => format!("{problem} ({text})"),
        None => text,
    };
    Err((error, text))
}

/// Returns an answer together with the row of its code.
pub(super) fn said<'a>(dialect: &dyn Dialect, answer: &'a Answer, error: &'a ErrorAnswer) -> Said<'a> {
    Said {
        status: answer.status,
        media_type: &answer.media_type,
        error,
        row: codes::find(dialect, error, answer.status),
    }
}

fn refusal(error: &ErrorAnswer, reason: String, grant: &str) -> ClientRefusal {
    ClientRefusal { reason, fix: client_fix(error.code(), grant) }
}

/// Returns the fate of a refresh token, from an answer that may prove that the token was not processed.
const fn fate_if(is_not_processed: bool) -> TokenFate {
    if is_not_processed { TokenFate::NotProcessed } else { TokenFate::Unknown }
}

/// Lists this dialect, and then all known ones.
fn dialects(own: &dyn Dialect) -> impl Iterator<Item = &dyn Dialect> {
    std::iter::once(own).chain(kinds::ALL)
}

/// Tells whether the answer says more than that the password is wrong.
fn says_more(error: &ErrorAnswer) -> bool {
    kinds::ALL.into_iter().filter_map(Dialect::wrong_password).all(|words| error.says_more_than(words))
}

/// Tells whether a row is about a reason. A reason is more precise than the code beside it.
pub(super) fn is_by_reason(row: &Row) -> bool {
    row.member == Member::Reason
}

#[cfg(test)]
mod tests;
