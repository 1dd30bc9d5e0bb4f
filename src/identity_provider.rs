//! One identity provider: its endpoints, its keys, its grants, and how its answers are to be understood.
//!
//! | File | What is decided there |
//! |---|---|
//! | `provider` | [`IdentityProvider`]: the grants, revocation, the background task |
//! | `endpoints`, `discovery` | where the provider's endpoints are |
//! | `jwks` | its keys, and when they are fetched |
//! | `classify`, `error_answer`, `token_answer`, `retry_after` | what an answer means; pure, and where providers differ |
//! | `codes` | what providers mean by their codes: one table |
//! | `form` | request bodies and client authentication |
//! | `http` | the one HTTP client: no redirects, time-outs, size caps |
//! | `probe` | the questions that `portcullis doctor` asks |

mod classify;
mod client_fix;
mod codes;
mod discovery;
mod endpoints;
mod error_answer;
mod form;
mod http;
mod jwks;
mod log_text;
pub mod probe;
mod provider;
mod retry_after;
mod single_flight;
mod token_answer;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use crate::access::tokens::{AccessToken, RefreshToken};
use crate::config;
use crate::syntax::redacted::SecretText;

pub(crate) use client_fix::client_fix;
pub use discovery::DiscoveryError;
pub use provider::{IdentityProvider, REFRESH_READ_LIMIT};
pub use retry_after::RetryAfter;

/// The client of an app at its provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; `None` for a public client.
    pub secret: Option<config::Secret>,
    /// What the token endpoint wants beside its grants.
    pub parameters: Vec<config::TokenParameter>,
}

impl Client {
    /// That of an app.
    pub fn of(app: &config::App) -> Self {
        Self {
            id: app.client_id.clone(),
            secret: app.client_secret.clone(),
            parameters: app.token_parameters.clone(),
        }
    }

    /// The secrets that are sent with its calls: no text that repeats one goes into a log.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.parameters.iter().flat_map(|parameter| &parameter.values);
        let of_parameters = values.filter(|value| value.is_secret).map(|value| value.text.expose());
        self.secret.as_ref().map(config::Secret::expose).into_iter().chain(of_parameters)
    }
}

/// What a user typed into the app's login form.
#[derive(Debug)]
pub struct Credentials {
    /// The user name, as typed.
    pub username: SecretText,
    /// The password.
    pub password: SecretText,
}

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

/// Who asks for a key that the key set lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeySource {
    /// A token from a browser: anyone can send one, so fetches are rate-limited by `jwks_cooldown`.
    Request,
    /// A token that the provider itself just answered with: limited separately, to one fetch a second.
    TokenAnswer,
}

/// Why an identity provider cannot be set up as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
    /// An endpoint that must not be used.
    #[error("{0}")]
    Endpoint(String),
    /// A FusionAuth provider of which no address is known.
    #[error(
        "the issuer {0:?} is not a URL: set `token_endpoint` to FusionAuth's `https://HOST/oauth2/token`"
    )]
    NoBase(String),
    /// The endpoints are neither configured nor to be discovered.
    #[error("the issuer {0:?} is not a URL to discover from: set `token_endpoint` and `jwks_uri`")]
    NothingToDiscover(String),
}

/// Why an identity provider cannot serve (yet).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The endpoints are not known.
    #[error("the endpoints are not known: {0}")]
    NoEndpoints(String),
    /// There is no key to verify a token with.
    #[error("no JWKS has been loaded: {0}")]
    NoKeys(String),
}
