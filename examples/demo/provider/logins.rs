//! The logins that the provider keeps, each a family of refresh tokens of which only the newest is good.
//!
//! A used refresh token that comes again means that two parties hold it: the whole family dies (RFC 9700 section 4.14.2).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portcullis::clock::{Clock, SystemClock};
use serde::Serialize;
use serde_json::json;

use super::keys::{SigningKey, random_text};
use super::users::User;
use crate::DemoError;
use crate::journal::fingerprint;

/// Logins and used refresh tokens that are remembered; the oldest give way.
const MAX_LOGINS: usize = 1000;
const MAX_USED: usize = 1000;

/// One sign-in of one user at one client, with the tokens that are current.
#[derive(Debug)]
struct Login {
    session_id: String,
    client_id: String,
    user: &'static User,
    tokens: Tokens,
    used: VecDeque<String>,
    revoked: bool,
}

/// A JWT and the refresh token that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    /// Seconds since the Unix epoch.
    pub(crate) expires_at: u64,
    pub(crate) refresh_token: String,
}

/// What became of a refresh token that a client presented.
#[derive(Debug)]
pub(crate) enum Refresh {
    /// It was good; here are its successors.
    Rotated(Tokens, &'static User),
    /// It had been used before: the family is dead now.
    Reused(&'static User),
    /// Its family was dead already.
    Dead(&'static User),
    /// Nobody has ever seen it, or it is another client's.
    Unknown,
}

/// What the side panel may know about a login: never a token.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoginState {
    pub(crate) jwt: String,
    pub(crate) refresh_token: String,
    pub(crate) expires_at: u64,
    pub(crate) lifetime: u64,
    pub(crate) revoked: bool,
}

/// All logins, and what it takes to make tokens for them.
pub(crate) struct Logins {
    issuer: String,
    key: SigningKey,
    lifetime: Duration,
    families: Mutex<VecDeque<Login>>,
}

impl Logins {
    pub(crate) fn new(issuer: String, key: SigningKey, lifetime: Duration) -> Self {
        Self { issuer, key, lifetime, families: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// How long a JWT lives, in seconds.
    pub(crate) fn lifetime(&self) -> u64 {
        self.lifetime.as_secs()
    }

    /// A new family.
    pub(crate) fn start(&self, client_id: &str, user: &'static User) -> Result<Tokens, DemoError> {
        let session_id = random_text(12)?;
        let tokens = self.make_tokens(&session_id, client_id, user)?;
        let mut logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() == MAX_LOGINS {
            logins.pop_front();
        }
        logins.push_back(Login {
            session_id,
            client_id: client_id.to_owned(),
            user,
            tokens: tokens.clone(),
            used: VecDeque::new(),
            revoked: false,
        });
        Ok(tokens)
    }

    /// Takes a refresh token and gives its successor.
    pub(crate) fn refresh(&self, client_id: &str, refresh_token: &str) -> Result<Refresh, DemoError> {
        let mut logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(login) = find(&mut logins, client_id, refresh_token) else { return Ok(Refresh::Unknown) };
        if login.revoked {
            return Ok(Refresh::Dead(login.user));
        }
        if login.tokens.refresh_token != refresh_token {
            login.revoked = true;
            return Ok(Refresh::Reused(login.user));
        }
        let tokens = self.make_tokens(&login.session_id, client_id, login.user)?;
        let used = std::mem::replace(&mut login.tokens, tokens.clone()).refresh_token;
        if login.used.len() == MAX_USED {
            login.used.pop_front();
        }
        login.used.push_back(used);
        Ok(Refresh::Rotated(tokens, login.user))
    }

    /// Ends the family of a refresh token (RFC 7009); returns whose it was.
    pub(crate) fn revoke(&self, client_id: &str, refresh_token: &str) -> Option<&'static User> {
        let mut logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let login = find(&mut logins, client_id, refresh_token)?;
        login.revoked = true;
        Some(login.user)
    }

    /// Ends the newest login of a user at a client, as an administrator of the provider would.
    pub(crate) fn expire(&self, client_id: &str, sub: &str) -> bool {
        let mut logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let newest =
            logins.iter_mut().rev().find(|login| login.client_id == client_id && login.user.sub == sub);
        newest.is_some_and(|login| !std::mem::replace(&mut login.revoked, true))
    }

    /// The newest login's tokens: what a thief would have copied out of the browser.
    pub(crate) fn steal(&self, client_id: &str, sub: &str) -> Option<Tokens> {
        let logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = logins.iter().rev().find(|login| login.client_id == client_id && login.user.sub == sub);
        newest.map(|login| login.tokens.clone())
    }

    /// What the side panel shows of the newest login.
    pub(crate) fn state(&self, client_id: &str, sub: &str) -> Option<LoginState> {
        let logins = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let newest =
            logins.iter().rev().find(|login| login.client_id == client_id && login.user.sub == sub)?;
        Some(LoginState {
            jwt: fingerprint("jwt", &newest.tokens.access_token),
            refresh_token: fingerprint("rt", &newest.tokens.refresh_token),
            expires_at: newest.tokens.expires_at,
            lifetime: self.lifetime(),
            revoked: newest.revoked,
        })
    }

    fn make_tokens(&self, session_id: &str, client_id: &str, user: &User) -> Result<Tokens, DemoError> {
        let issued_at = SystemClock.now();
        let expires_at = issued_at + self.lifetime();
        let claims = json!({
            "iss": self.issuer, "sub": user.sub, "aud": client_id, "azp": client_id, "client_id": client_id,
            "sid": session_id, "jti": random_text(12)?, "iat": issued_at, "exp": expires_at,
            "email": user.email, "name": user.name, "preferred_username": user.username, "roles": user.roles,
        });
        Ok(Tokens { access_token: self.key.sign(&claims)?, expires_at, refresh_token: random_text(32)? })
    }
}

fn find<'a>(logins: &'a mut VecDeque<Login>, client_id: &str, refresh_token: &str) -> Option<&'a mut Login> {
    logins.iter_mut().find(|login| {
        let known = login.tokens.refresh_token == refresh_token
            || login.used.iter().any(|used| used == refresh_token);
        login.client_id == client_id && known
    })
}
