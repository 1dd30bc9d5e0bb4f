//! One identity provider: its endpoints, its keys, its grants, and how its answers are to be understood.

use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::access::key_set::KeySet;
use crate::config;

/// The client of an app at its provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; `None` for a public client.
    pub secret: Option<config::Secret>,
}

/// What a user typed into the app's login form.
pub struct Credentials {
    /// The user name, as typed.
    pub username: String,
    /// The password, zeroised on drop.
    pub password: Zeroizing<String>,
}

/// The usable part of a successful token answer.
pub struct TokenSet {
    /// The JWT, not verified yet.
    pub access_token: Zeroizing<String>,
    /// Absent in an answer: the old one stays.
    pub refresh_token: Option<Zeroizing<String>>,
}

/// Why a password grant gave no tokens.
#[derive(Debug, PartialEq)]
pub enum LoginError {
    /// Wrong user name or password, locked, disabled: told apart for nobody.
    InvalidCredentials,
    /// The provider wants another step; its ids and methods are in the value.
    Challenge(ChallengeKind, Value),
    /// The provider cannot be used now; the text is for the log.
    Unavailable(String),
    /// The provider refuses this client: the operator's fault; the text is for the log.
    Misconfigured(String),
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
    /// The provider cannot be used now; the session is kept. The text is for the log.
    Unavailable(String),
    /// The provider refuses this client: the operator's fault; the session is kept. The text is for the log.
    Misconfigured(String),
}

/// Who asks for a key that the key set lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeySource {
    /// A token from a browser: anyone can send one, so fetches are rate-limited by `jwks_cooldown`.
    Request,
    /// A token that the provider itself just answered with: limited separately, to one fetch a second.
    TokenAnswer,
}

/// One identity provider at run time.
#[derive(Debug)]
pub struct IdentityProvider;

impl IdentityProvider {
    /// Prepares the provider; makes no connection.
    pub fn new(config: &config::IdentityProvider) -> Result<Self, String> {
        let _ = config;
        Err(String::from("not built yet"))
    }

    /// The keys known now: no I/O, no lock.
    pub fn key_set(&self) -> Arc<KeySet> {
        Arc::default()
    }
}
