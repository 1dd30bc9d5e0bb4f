//! The logins that the provider keeps, each a family of refresh tokens of which only the newest is good.
//!
//! A used refresh token that comes again means that two parties hold it: the whole family dies (RFC 9700 section
//! 4.14.2).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis::system::clock::{Clock, SystemClock};
use serde::Serialize;
use serde_json::json;

use super::keys::{SigningKey, random_text};
use super::users::User;
use crate::DemoError;
use crate::journal::{End, Issued, fingerprint};

/// Logins, and tokens of each, that are remembered; the oldest give way.
const MAX_LOGINS: usize = 500;
const MAX_USED: usize = 500;

/// One sign-in of one user at one client, with the tokens that are current.
#[derive(Debug)]
struct Login {
    session_id: String,
    client_id: String,
    user: &'static User,
    tokens: Tokens,
    used: VecDeque<Tokens>,
    ended: Option<End>,
    thief: Thief,
}

/// A JWT and the refresh token that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    /// The JWT's own name.
    pub(crate) jti: String,
    /// Seconds since the Unix epoch.
    pub(crate) expires_at: u64,
    pub(crate) refresh_token: String,
}

/// The tokens of a login that the demo's thief has.
#[derive(Debug, Default)]
struct Thief {
    jwt: Option<Tokens>,
    refresh_token: Option<Tokens>,
    /// The gateway gave the refresh token to the thief, so no browser has it.
    own: bool,
}

/// The outcome for a refresh token that a client presented.
#[derive(Debug)]
pub(crate) enum Refresh {
    /// It was good; here are its successors.
    Rotated(Tokens, Whose),
    /// It had been used before: the family is dead now.
    Reused(Whose),
    /// Its family was dead already.
    Dead(Whose),
    /// Nobody has ever seen it, or it is another client's.
    Unknown,
}

/// Which login a token belongs to.
#[derive(Debug)]
pub(crate) struct Whose {
    pub(crate) sub: &'static str,
    pub(crate) family: String,
}

/// The facts of a login that the side panel may know: never a token.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoginState {
    family: String,
    /// The pair that was asked for.
    tokens: Issued,
    /// That refresh token has been used: the provider has given a newer one.
    used: bool,
    ended: Option<End>,
    thief: ThiefState,
}

/// The thief's share of it, by fingerprints.
#[derive(Debug, Clone, Serialize)]
struct ThiefState {
    jwt: Option<String>,
    refresh_token: Option<String>,
    /// The pair that the gateway gave the thief, with which he goes on.
    own: Option<Issued>,
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

    /// Returns the lifetime of a JWT, in seconds.
    pub(crate) fn lifetime(&self) -> u64 {
        self.lifetime.as_secs()
    }

    /// Returns what may be told of a pair of tokens.
    pub(crate) fn issued(&self, tokens: &Tokens) -> Issued {
        Issued {
            jti: tokens.jti.clone(),
            jwt: fingerprint("jwt", &tokens.access_token),
            refresh_token: fingerprint("rt", &tokens.refresh_token),
            lifetime: self.lifetime(),
            expires_at: tokens.expires_at,
        }
    }

    /// A new family.
    pub(crate) fn start(&self, client_id: &str, user: &'static User) -> Result<(Tokens, Whose), DemoError> {
        let session_id = random_text(12)?;
        let tokens = self.make_tokens(&session_id, client_id, user)?;
        let mut logins = self.lock();
        if logins.len() == MAX_LOGINS {
            logins.pop_front();
        }
        let login = Login {
            session_id,
            client_id: client_id.to_owned(),
            user,
            tokens: tokens.clone(),
            used: VecDeque::new(),
            ended: None,
            thief: Thief::default(),
        };
        let whose = login.whose();
        logins.push_back(login);
        Ok((tokens, whose))
    }

    /// Takes a refresh token and gives its successor.
    pub(crate) fn refresh(&self, client_id: &str, refresh_token: &str) -> Result<Refresh, DemoError> {
        let mut logins = self.lock();
        let Some(login) = of_refresh_token(&mut logins, client_id, refresh_token) else {
            return Ok(Refresh::Unknown);
        };
        if login.ended.is_some() {
            return Ok(Refresh::Dead(login.whose()));
        }
        if login.tokens.refresh_token != refresh_token {
            login.ended = Some(End::Reused);
            return Ok(Refresh::Reused(login.whose()));
        }
        let tokens = self.make_tokens(&login.session_id, client_id, login.user)?;
        let used = std::mem::replace(&mut login.tokens, tokens.clone());
        if login.used.len() == MAX_USED {
            login.used.pop_front();
        }
        login.used.push_back(used);
        Ok(Refresh::Rotated(tokens, login.whose()))
    }

    /// Ends the family of a refresh token (RFC 7009); returns whose it was.
    pub(crate) fn revoke(&self, client_id: &str, refresh_token: &str) -> Option<Whose> {
        let mut logins = self.lock();
        let login = of_refresh_token(&mut logins, client_id, refresh_token)?;
        login.ended = login.ended.or(Some(End::Revoked));
        Some(login.whose())
    }

    /// Ends the login of a JWT, as an administrator of the provider would.
    pub(crate) fn expire(&self, client_id: &str, jti: &str) -> bool {
        let mut logins = self.lock();
        let Some(login) = of_jwt(&mut logins, client_id, jti) else { return false };
        let living = login.ended.is_none();
        login.ended = login.ended.or(Some(End::Expired));
        living
    }

    /// The JWT that came with this name: what a thief would have copied out of the browser that holds it. Where no
    /// browser holds it any more, the one that the thief has from before.
    pub(crate) fn steal_jwt(&self, client_id: &str, jti: &str, held: bool) -> Option<(Tokens, String)> {
        let mut logins = self.lock();
        let login = of_jwt(&mut logins, client_id, jti)?;
        if held {
            login.thief.jwt = login.find(|tokens| tokens.jti == jti).cloned();
        }
        Some((login.thief.jwt.clone()?, login.family()))
    }

    /// The same for the refresh token beside it; one that the gateway gave the thief comes first. Says whether he had
    /// it before.
    pub(crate) fn steal_refresh_token(
        &self,
        client_id: &str,
        jti: &str,
        held: bool,
    ) -> Option<(Tokens, String, bool)> {
        let mut logins = self.lock();
        let login = of_jwt(&mut logins, client_id, jti)?;
        let again = login.thief.own || !held;
        if !again {
            login.thief.refresh_token = login.find(|tokens| tokens.jti == jti).cloned();
        }
        Some((login.thief.refresh_token.clone()?, login.family(), again))
    }

    /// Notes that the gateway gave this JWT to the thief; with it came a refresh token.
    pub(crate) fn give_to_thief(&self, client_id: &str, access_token: &str) -> Option<Issued> {
        let mut logins = self.lock();
        let mut of_client = logins.iter_mut().rev().filter(|login| login.client_id == client_id);
        let (login, tokens) = of_client.find_map(|login| {
            let tokens = login.find(|tokens| tokens.access_token == access_token).cloned();
            tokens.map(|tokens| (login, tokens))
        })?;
        let issued = self.issued(&tokens);
        login.thief.refresh_token = Some(tokens);
        login.thief.own = true;
        Some(issued)
    }

    /// Returns what had ended the login of a JWT, if anything.
    pub(crate) fn end_of(&self, client_id: &str, jti: &str) -> Option<End> {
        of_jwt(&mut self.lock(), client_id, jti)?.ended
    }

    /// Returns what the side panel shows of the login of a JWT.
    pub(crate) fn state(&self, client_id: &str, jti: &str) -> Option<LoginState> {
        let mut logins = self.lock();
        let login = of_jwt(&mut logins, client_id, jti)?;
        let tokens = login.find(|tokens| tokens.jti == jti)?;
        let Thief { jwt, refresh_token, own } = &login.thief;
        let thief = ThiefState {
            jwt: jwt.as_ref().map(|tokens| fingerprint("jwt", &tokens.access_token)),
            refresh_token: refresh_token.as_ref().map(|tokens| fingerprint("rt", &tokens.refresh_token)),
            own: refresh_token.as_ref().filter(|_| *own).map(|tokens| self.issued(tokens)),
        };
        Some(LoginState {
            family: login.family(),
            tokens: self.issued(tokens),
            used: login.tokens.jti != jti,
            ended: login.ended,
            thief,
        })
    }

    fn make_tokens(&self, session_id: &str, client_id: &str, user: &User) -> Result<Tokens, DemoError> {
        let issued_at = SystemClock.now();
        let expires_at = issued_at + self.lifetime();
        let jti = random_text(12)?;
        let claims = json!({
            "iss": self.issuer, "sub": user.sub, "aud": client_id, "azp": client_id, "client_id": client_id,
            "sid": session_id, "jti": jti, "iat": issued_at, "exp": expires_at,
            "email": user.email, "name": user.name, "preferred_username": user.username, "roles": user.roles,
        });
        Ok(Tokens { access_token: self.key.sign(&claims)?, jti, expires_at, refresh_token: random_text(32)? })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Login>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    fn family(&self) -> String {
        fingerprint("login", &self.session_id)
    }

    fn whose(&self) -> Whose {
        Whose { sub: self.user.sub, family: self.family() }
    }

    /// Among its tokens, newest first.
    fn find(&self, wanted: impl Fn(&Tokens) -> bool) -> Option<&Tokens> {
        std::iter::once(&self.tokens).chain(self.used.iter().rev()).find(|tokens| wanted(tokens))
    }
}

fn of_refresh_token<'a>(
    logins: &'a mut VecDeque<Login>,
    client_id: &str,
    token: &str,
) -> Option<&'a mut Login> {
    logins.iter_mut().find(|login| {
        login.client_id == client_id && login.find(|tokens| tokens.refresh_token == token).is_some()
    })
}

fn of_jwt<'a>(logins: &'a mut VecDeque<Login>, client_id: &str, jti: &str) -> Option<&'a mut Login> {
    logins
        .iter_mut()
        .find(|login| login.client_id == client_id && login.find(|tokens| tokens.jti == jti).is_some())
}
