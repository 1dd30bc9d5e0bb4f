//! What an answer to a grant means: pure functions of phase, status and content.
//!
//! Providers agree on little (docs: how identity providers differ). The rules, first match wins:
//!
//! 1. 1xx, 3xx, 408, 425, 429 and 5xx say nothing about the user: the provider is unavailable.
//! 2. 200 (and 201, which some frameworks answer to every POST) is a success only with a usable token.
//! 3. A challenge, by `error` or FusionAuth's `error_reason`, is neither success nor wrong password.
//! 4. `error` decides, whatever the 4xx status: codes about the client or its settings are the operator's fault.
//! 5. Without a code that is known, 400, 401, 403 and 422 refuse the user or the refresh token, which several
//!    providers do with an empty or a non-JSON body. Other statuses mean a wrong URL: the operator's fault.
//!
//! `invalid_request` counts as a refusal in both phases: our requests are well-formed, and some providers answer
//! bad credentials and malformed refresh tokens with it. `invalid_scope` and `unsupported_grant_type` at a refresh
//! are a changed setting at the provider, not the end of this grant: the session is kept until that is put right.

use super::error_answer::ErrorAnswer;
use super::http::Answer;
use super::{LoginError, RefreshError, RevokeError, TokenSet, token_answer};

/// What an answer to a password grant means. `secrets` are kept out of the texts for the log.
pub(super) fn login(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, LoginError> {
    if matches!(answer.status, 200 | 201) {
        return token_answer::parse(&answer.body).map_err(|problem| {
            match ErrorAnswer::read(answer).challenge() {
                Some((kind, value)) => LoginError::Challenge(kind, value),
                None => LoginError::Unavailable(problem.to_owned()),
            }
        });
    }
    let error = ErrorAnswer::read(answer);
    let text = || error.describe(answer.status, secrets);
    if is_passing(answer.status) {
        return Err(LoginError::Unavailable(text()));
    }
    if let Some((kind, value)) = error.challenge() {
        return Err(LoginError::Challenge(kind, value));
    }
    Err(match error.blame() {
        Some(Blame::Provider) => LoginError::Unavailable(text()),
        Some(Blame::User) => LoginError::InvalidCredentials,
        None if is_refusal(answer.status) => LoginError::InvalidCredentials,
        Some(Blame::Operator) | None => LoginError::Misconfigured(text()),
    })
}

/// What an answer to a refresh grant means.
pub(super) fn refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    if matches!(answer.status, 200 | 201) {
        return token_answer::parse(&answer.body)
            .map_err(|problem| RefreshError::Unavailable(problem.to_owned()));
    }
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer.status, secrets);
    if is_passing(answer.status) {
        return Err(RefreshError::Unavailable(text));
    }
    Err(match error.blame() {
        Some(Blame::Provider) => RefreshError::Unavailable(text),
        Some(Blame::User) => RefreshError::Dead(text),
        None if is_block_page(answer) => RefreshError::Unavailable(text),
        None if is_refusal(answer.status) => RefreshError::Dead(text),
        Some(Blame::Operator) | None => RefreshError::Misconfigured(text),
    })
}

/// What an answer of FusionAuth's `POST /api/jwt/refresh` means. It authenticates no client, and says "expired,
/// revoked or unknown" by 400, or by 404 without a body; a 404 with a body comes from something else at that URL.
pub(super) fn jwt_refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    let text = || ErrorAnswer::read(answer).describe(answer.status, secrets);
    match answer.status {
        200 | 201 => token_answer::parse_jwt_refresh(&answer.body)
            .map_err(|problem| RefreshError::Unavailable(problem.to_owned())),
        status if is_passing(status) => Err(RefreshError::Unavailable(text())),
        400 => Err(RefreshError::Dead(text())),
        404 if answer.body.is_empty() => Err(RefreshError::Dead(text())),
        _ => Err(RefreshError::Misconfigured(text())),
    }
}

/// Whose fault an `error` code says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Wrong credentials, or a dead refresh token.
    User,
    /// The client, or what it may do, is set up wrongly here or at the provider.
    Operator,
    /// A passing trouble of the provider.
    Provider,
}

/// Statuses that pass by themselves.
fn is_passing(status: u16) -> bool {
    matches!(status, 0..=399 | 408 | 425 | 429 | 500..)
}

/// Statuses by which providers refuse a user or a refresh token.
fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 422)
}

/// A 403 in HTML is a firewall's page in front of the provider, which says nothing about a refresh token.
fn is_block_page(answer: &Answer) -> bool {
    answer.status == 403 && answer.media_type == "text/html" && !answer.body.is_empty()
}

/// What an answer to a revocation means: `Err` is a text for the log. Any body will do (RFC 7009 section 2.2), and
/// a token that the provider cannot revoke is nothing that could be done better.
pub(super) fn revocation(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    if matches!(answer.status, 200..=299) {
        return Ok(());
    }
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer.status, secrets);
    if is_passing(answer.status) {
        Err(RevokeError::Unavailable(text))
    } else if matches!(error.code(), "unsupported_token_type" | "invalid_token") {
        Ok(())
    } else {
        Err(RevokeError::Refused(text))
    }
}

/// What an answer to a refresh token at the `end_session_endpoint` means. Keycloak answers 204, also if the session had
/// ended before. A page in HTML is for a browser: such a provider ends no session by a refresh token.
pub(super) fn end_session(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    let text = || ErrorAnswer::read(answer).describe(answer.status, secrets);
    match answer.status {
        200..=299 if answer.media_type == "text/html" => {
            Err(RevokeError::Refused(String::from("the answer is a page for a browser")))
        }
        200..=299 => Ok(()),
        status if is_passing(status) => Err(RevokeError::Unavailable(text())),
        _ => Err(RevokeError::Refused(text())),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
