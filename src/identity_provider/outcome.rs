//! The outcomes of a login, a refresh and a logout at a provider. They do not depend on the words of the provider.

use std::fmt;

use serde_json::Value;

use crate::access::tokens::{AccessToken, RefreshToken};
use crate::identity_provider::retry_after::RetryAfter;
use crate::identity_provider::token_fate::TokenFate;
use crate::system::explained::Explained;

/// The usable part of a successful token answer.
#[derive(Debug)]
pub struct TokenSet {
    /// The JWT, not verified yet.
    pub access_token: AccessToken,
    /// The refresh token. If the answer has none, the old one stays.
    pub refresh_token: Option<RefreshToken>,
}

/// The reason why a password grant gave no tokens.
#[derive(PartialEq)]
pub enum LoginError {
    /// The user name or the password is wrong, or the account is locked or disabled. No user is told which of them it
    /// is. The text is for the log, and has the provider's words if they say more.
    InvalidCredentials(Option<String>),
    /// The provider wants another step. The value is an object with the ids and methods that the provider gave:
    /// `two_factor_id`, `two_factor_methods`, `change_password_id`, and a `reason`. The text is for the log.
    Challenge(ChallengeKind, Value, String),
    /// The provider takes no more logins for now, perhaps only for this account. The text is for the log.
    TooMany(String, Option<RetryAfter>),
    /// The provider cannot be used now. The text is for the log.
    Unavailable(Explained, Option<RetryAfter>),
    /// The provider refuses this client. The operator must correct that.
    Misconfigured(ClientRefusal),
}

impl fmt::Debug for LoginError {
    /// Leaves out a challenge's ids, because they open the next step.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidCredentials(text) => write!(formatter, "InvalidCredentials({text:?})"),
            Self::Challenge(kind, ..) => write!(formatter, "Challenge({kind:?}, ..)"),
            Self::TooMany(text, after) => write!(formatter, "TooMany({text:?}, {after:?})"),
            Self::Unavailable(text, after) => write!(formatter, "Unavailable({text:?}, {after:?})"),
            Self::Misconfigured(text) => write!(formatter, "Misconfigured({text:?})"),
        }
    }
}

/// The step that a provider wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A second factor.
    TwoFactor,
    /// A new password.
    PasswordChange,
    /// Anything else: a verified e-mail address, a registration, a completed profile.
    AccountAction,
}

/// The reason why a refresh gave no tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum RefreshError {
    /// The provider definitely says that the grant is dead. This ends the session. The text is for the log.
    Dead(String),
    /// The grant is alive, but the provider wants another step from the user first. The session is kept. The text is
    /// for the log.
    Challenge(ChallengeKind, String),
    /// The provider cannot be used now. The session is kept. The text is for the log.
    Unavailable(Explained, Option<RetryAfter>, TokenFate),
    /// The provider refuses this client. The operator must correct that. The session is kept.
    Misconfigured(ClientRefusal, TokenFate),
}

impl From<RefreshError> for Explained {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Unavailable(explained, ..) => explained,
            RefreshError::Dead(text) | RefreshError::Challenge(_, text) => Self::from(text),
            RefreshError::Misconfigured(refusal, _) => Self::from(refusal.reason),
        }
    }
}

/// The refusal of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRefusal {
    /// The provider's words, for the log.
    pub reason: String,
    /// The operator's remedy.
    pub fix: String,
}

/// The reason why a refresh token may not have been revoked. The session ends anyway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The provider cannot be used now. The text is for the log.
    #[error("identity provider unavailable: {0}")]
    Unavailable(Explained),
    /// The provider refuses to revoke, mostly because of a mistake of the operator. The text is for the log.
    #[error("revocation refused: {0}")]
    Refused(String),
}

impl From<RevokeError> for Explained {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Unavailable(explained) => explained.after("identity provider unavailable: "),
            refused @ RevokeError::Refused(_) => Self::from(refused.to_string()),
        }
    }
}
