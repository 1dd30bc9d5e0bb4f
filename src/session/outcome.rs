//! The outcome of a refresh, and the tokens in it. All requests that wait for the refresh get the same outcome.

use std::sync::Arc;

use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Mark};
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::identity_provider::ChallengeKind;

/// Tokens that the provider gave and that were verified.
#[derive(Debug)]
pub struct Tokens {
    /// The JWT.
    pub access_token: AccessToken,
    /// The refresh token, if the provider gave one. At a refresh, `None` means that the old one stays in use.
    pub refresh_token: Option<RefreshToken>,
    /// The identity that they belong to.
    pub identity: Arc<Identity>,
    /// `AppRules::generation` of the rules that they were verified by.
    pub rules: u64,
}

/// Tokens that the provider gave at a refresh. Their JWT could not be verified then.
#[derive(Debug)]
pub struct UnverifiedTokens {
    pub(super) access_token: AccessToken,
    /// The provider's new refresh token, if it rotated the old one. Without it the session would be lost.
    pub refresh_token: Option<RefreshToken>,
    /// This process has tried to verify the JWT, and failed. `false` means that another replica received the tokens,
    /// and that this process has not tried yet.
    pub(super) is_refused: bool,
}

/// The outcome of a refresh. All requests that waited for it get the same outcome.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// There is a new JWT.
    Renewed(Arc<Tokens>),
    /// There is a new JWT, but it cannot be verified now. There is no identity. The session is kept.
    Unverified(Arc<UnverifiedTokens>),
    /// The provider said that this grant is dead, or the session had been ended before.
    Dead,
    /// The session was ended here while it was being refreshed, or another login in the same browser replaced it. The
    /// browser learns this from another answer.
    Ended,
    /// The session is kept, but the provider requires another step of its user before it gives a new JWT.
    ActionRequired(ChallengeKind),
    /// The refresh had no result. The session is kept.
    Unavailable,
    /// The refresh had no result, and the provider wants no further calls for this number of seconds. The session is
    /// kept.
    Postponed(u64),
}

/// The result of a refresh for one request.
#[derive(Debug)]
pub struct Refreshed {
    /// The outcome.
    pub outcome: Outcome,
    /// The refresh token to use next: the newest one that is known, or the one that the request brought.
    pub refresh_token: RefreshToken,
}

impl Outcome {
    /// Returns the answer to a request that still brings the refresh token of an ended session.
    pub(super) const fn of_end(by: EndedBy) -> Self {
        match by {
            EndedBy::Revocation => Self::Dead,
            EndedBy::AnotherLogin => Self::Ended,
        }
    }

    /// Returns the subject of the new JWT.
    pub(super) fn subject(&self) -> Option<&str> {
        match self {
            Self::Renewed(tokens) => Some(tokens.identity.subject()),
            _ => None,
        }
    }

    /// Tells whether the session goes on without a new JWT.
    pub(super) fn says_nothing(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Postponed(_) | Self::ActionRequired(_))
    }

    /// Returns the JWT, if the provider answered with tokens.
    pub(super) fn access_token(&self) -> Option<&AccessToken> {
        match self {
            Self::Renewed(tokens) => Some(&tokens.access_token),
            Self::Unverified(tokens) => Some(&tokens.access_token),
            Self::Dead | Self::Ended | Self::ActionRequired(_) | Self::Postponed(_) | Self::Unavailable => {
                None
            }
        }
    }

    /// Returns the provider's new refresh token, if it answered with tokens.
    #[expect(
        clippy::option_option,
        reason = "no tokens, and tokens without a new refresh token, are two things"
    )]
    pub(super) fn refresh_token(&self) -> Option<Option<&RefreshToken>> {
        match self {
            Self::Renewed(tokens) => Some(tokens.refresh_token.as_ref()),
            Self::Unverified(tokens) => Some(tokens.refresh_token.as_ref()),
            Self::Dead | Self::Ended | Self::ActionRequired(_) | Self::Postponed(_) | Self::Unavailable => {
                None
            }
        }
    }
}

/// Returns the mark that identifies a JWT among the outcomes of refreshes.
pub(super) fn jwt_mark(access_token: &AccessToken) -> Mark {
    Mark::token_of_any_provider(access_token)
}
