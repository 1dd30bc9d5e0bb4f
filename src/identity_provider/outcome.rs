//! The outcomes of a login, a refresh and a logout at a provider, whatever words it has for them.

use std::fmt;

use serde_json::Value;

use crate::access::tokens::{AccessToken, RefreshToken};
use crate::identity_provider::retry_after::RetryAfter;

/// The usable part of a successful token answer.
#[derive(Debug)]
pub struct TokenSet {
    /// The JWT, not verified yet.
    pub access_token: AccessToken,
    /// Absent in an answer: the old one stays.
    pub refresh_token: Option<RefreshToken>,
}

/// Why a password grant gave no tokens.
#[derive(PartialEq)]
pub enum LoginError {
    /// Wrong user name or password, locked, disabled: told apart for no user. The text is for the log: what the provider says
    /// where that is more.
    InvalidCredentials(Option<String>),
    /// The provider wants another step. The value is an object with the provider's ids and methods, as far as it
    /// gave any: `two_factor_id`, `two_factor_methods`, `change_password_id`, and FusionAuth's `reason`. The text is for the log.
    Challenge(ChallengeKind, Value, String),
    /// The provider takes no more logins for now, be it of this account; the text is for the log.
    TooMany(String, Option<RetryAfter>),
    /// The provider cannot be used now; the text is for the log.
    Unavailable(String, Option<RetryAfter>),
    /// The provider refuses this client: the operator's fault; the text is for the log.
    Misconfigured(String),
}

impl fmt::Debug for LoginError {
    /// Without a challenge's ids, which open the next step.
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

/// Which step a provider wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A second factor.
    TwoFactor,
    /// A new password.
    PasswordChange,
    /// Anything else: a verified e-mail address, a registration, a completed profile.
    AccountAction,
}

/// Why a refresh gave no tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum RefreshError {
    /// A definite "this grant is dead"; ends the session. The text is for the log.
    Dead(String),
    /// The grant lives, and the provider wants another step of the user first; the session is kept. The text is for the log.
    Challenge(ChallengeKind, String),
    /// The provider cannot be used now; the session is kept. The text is for the log.
    Unavailable(String, Option<RetryAfter>),
    /// The provider refuses this client: the operator's fault; the session is kept. The text is for the log.
    Misconfigured(String),
}

impl RefreshError {
    /// The text for the log.
    pub fn text(&self) -> &str {
        match self {
            Self::Dead(text)
            | Self::Challenge(_, text)
            | Self::Unavailable(text, _)
            | Self::Misconfigured(text) => text,
        }
    }
}

/// Why a refresh token may not have been revoked. The session ends anyway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The provider cannot be used now; the text is for the log.
    #[error("identity provider unavailable: {0}")]
    Unavailable(String),
    /// The provider refuses to revoke: mostly the operator's fault; the text is for the log.
    #[error("revocation refused: {0}")]
    Refused(String),
}
