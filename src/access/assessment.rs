//! What a request's cookies are worth: whether there is a session, and whether it needs a new JWT.

use std::sync::Arc;

use http::HeaderMap;

use crate::access::cookies::{Presented, SessionCookies};
use crate::access::decision::{AppRules, Knowledge, Reason};
use crate::access::identity::Identity;
use crate::access::lifetime::{Age, Lifetime, Lifetimes, Over};
use crate::access::revocations::{Mark, Revocation, Revocations};
use crate::access::seal::{Seal, SessionRecord};
use crate::access::token::{self, Verification};
use crate::access::token_error::TokenError;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::access::verified_tokens::{Remembered, Scope};
use crate::config;

/// How an app's sessions are protected.
#[derive(Debug)]
pub struct SessionRules {
    /// Number of the identity provider.
    pub provider: usize,
    /// Seals the refresh token's cookie, where there are keys.
    pub seal: Option<Seal>,
    /// Refresh only together with the JWT of the same session.
    pub bind_refresh: bool,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
}

/// A session's right to a new JWT, as its cookie gave it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The refresh token.
    pub refresh_token: RefreshToken,
    /// What was sealed with it, where cookies are sealed.
    pub record: Option<SessionRecord>,
}

/// The genuine JWT of a session that needs a new one.
#[derive(Debug, Clone)]
pub struct Previous {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// The JWT itself: one provider's refresh API wants it, too (FusionAuth).
    pub access_token: AccessToken,
    /// It is still valid: used on if the refresh fails for a passing reason.
    pub still_valid: bool,
    /// It was revoked, or its session, which need not be the one of the refresh token beside it.
    pub over: Option<Revocation>,
}

/// What the cookies are worth.
pub(super) enum Assessment {
    /// There is no session.
    None(Reason),
    /// There is one.
    Valid(Arc<Identity>),
    /// There may be one, after a refresh.
    Refresh(Grant, Option<Previous>),
    /// There was one, and it is not to be refreshed.
    Over(Option<Grant>, Reason),
    /// The JWT names a key that is not known.
    FetchKeys,
    /// Nothing can be said now.
    Unverifiable,
}

impl SessionRules {
    pub(super) fn new(app: &config::App, session: &config::Session, provider: usize) -> Self {
        let seconds = |lifetime: Option<std::time::Duration>| lifetime.map(|lifetime| lifetime.as_secs());
        Self {
            provider,
            seal: Seal::new(&session.seal_keys, &app.name, &app.cookies.refresh_token),
            bind_refresh: session.bind_refresh,
            lifetimes: Lifetimes {
                absolute: seconds(session.absolute_lifetime),
                idle: seconds(session.idle_lifetime),
            },
        }
    }

    /// What a refresh token's cookie holds; `None` where cookies are sealed and this one was not sealed here.
    pub fn open(&self, cookie: &str) -> Option<Grant> {
        match &self.seal {
            None => Some(Grant { refresh_token: RefreshToken::new(cookie), record: None }),
            Some(seal) => {
                let (refresh_token, record) = seal.open(cookie)?;
                Some(Grant { refresh_token, record: Some(record) })
            }
        }
    }

    /// Whether a JWT belongs to a refresh token. Where that is sealed, it says which one was given together with it; that
    /// one was verified then, and its key may be gone by now.
    pub fn is_bound(&self, grant: &Grant, access_token: Option<&str>, previous: Option<&Previous>) -> bool {
        match &grant.record {
            None => previous.is_some(),
            Some(record) => {
                access_token.is_some_and(|token| Mark::token(self.provider, token) == record.access_token)
                    && previous.is_none_or(|previous| previous.identity.marks().subject == record.subject)
            }
        }
    }

    /// Whether the session of a refresh token, or its subject, was revoked.
    pub fn revocation(
        &self,
        record: &SessionRecord,
        revocations: &Revocations,
        now: u64,
    ) -> Option<Revocation> {
        revocations
            .of_session(Mark::sealed_session(self.provider, &record.id), now)
            .or_else(|| revocations.of_subject(record.subject, Some(record.started_at), now))
    }

    /// Why a refresh token whose cookie was good is not to be used.
    fn check_record(&self, record: &SessionRecord, known: &Knowledge<'_>) -> Result<(), Reason> {
        let now = known.now;
        if let Some(revocation) = self.revocation(record, &known.memory.revocations, now) {
            return Err(Reason::Revoked(revocation));
        }
        let age = Age::from(record);
        Ok(known.memory.activities.lifetime(self.lifetimes, &age, now).check_request(now)?)
    }
}

impl From<&SessionRecord> for Age {
    fn from(record: &SessionRecord) -> Self {
        Self {
            id: record.id,
            started_at: record.started_at,
            renewed_at: record.renewed_at,
            usable_until: record.access_token_expires_at,
            is_provisional: false,
        }
    }
}

impl From<Over> for Reason {
    fn from(over: Over) -> Self {
        Self::Lifetime(over)
    }
}

/// Assesses a session's cookies.
pub(super) fn assess(rules: &AppRules, cookies: &SessionCookies<'_>, known: &Knowledge<'_>) -> Assessment {
    if cookies.duplicate {
        return Assessment::None(Reason::DuplicateCookie);
    }
    if cookies.is_empty() {
        let incomplete = cookies.presented != Presented::default();
        return Assessment::None(if incomplete { Reason::IncompleteCookie } else { Reason::NoSession });
    }
    let checked = match cookies.access_token.as_deref() {
        None => Err(Reason::NoSession),
        Some(access_token) => check_token(rules, access_token, cookies, known),
    };
    match (checked, cookies.refresh_token.as_deref()) {
        (Ok(Checked { identity, state: State::Usable }), None) => Assessment::Valid(identity),
        (Ok(Checked { identity, state: State::Usable }), Some(_))
            if !identity.is_about_to_expire(known.refresh_ahead, known.now) =>
        {
            Assessment::Valid(identity)
        }
        (Ok(Checked { state: State::Unusable(reason) | State::Over(reason), .. }) | Err(reason), None) => {
            without_refresh_token(reason, known)
        }
        (Ok(Checked { identity, state: State::Over(reason) }), Some(refresh_token)) => {
            beside_a_token_that_is_over(rules, cookies, refresh_token, &identity, reason, known)
        }
        (Ok(Checked { identity, state }), Some(refresh_token)) => {
            let mut previous = previous(cookies, identity, matches!(state, State::Usable));
            if let State::Unusable(Reason::Revoked(revocation)) = state {
                previous.over = Some(revocation);
            }
            for_refresh(rules, cookies, refresh_token, Some(previous), known)
        }
        (Err(Reason::Token(TokenError::UnknownKey)), _) if !known.keys_are_fresh => Assessment::FetchKeys,
        // It may be as good as any, so it is neither refreshed nor taken for none.
        (Err(Reason::Token(TokenError::UnknownKey)), _) if known.keys.is_empty() => Assessment::Unverifiable,
        (Err(_), Some(refresh_token)) => for_refresh(rules, cookies, refresh_token, None, known),
    }
}

fn without_refresh_token(reason: Reason, known: &Knowledge<'_>) -> Assessment {
    match reason {
        Reason::Token(TokenError::UnknownKey) if !known.keys_are_fresh => Assessment::FetchKeys,
        Reason::Token(TokenError::UnknownKey) if known.keys.is_empty() => Assessment::Unverifiable,
        reason => Assessment::None(reason),
    }
}

/// Copied only where it is needed, which is rare.
fn previous(cookies: &SessionCookies<'_>, identity: Arc<Identity>, still_valid: bool) -> Previous {
    let access_token = AccessToken::new(cookies.access_token.as_deref().unwrap_or_default());
    Previous { identity, access_token, still_valid, over: None }
}

/// What a refresh token is worth beside a JWT whose session is over. That ends the refresh token's session only where it is
/// the same: a late answer may have left the JWT of an older session beside the refresh token of the present one.
fn beside_a_token_that_is_over(
    rules: &AppRules,
    cookies: &SessionCookies<'_>,
    refresh_token: &str,
    identity: &Arc<Identity>,
    reason: Reason,
    known: &Knowledge<'_>,
) -> Assessment {
    let Some(grant) = rules.session.open(refresh_token) else {
        return Assessment::Over(None, reason);
    };
    let previous = previous(cookies, Arc::clone(identity), false);
    match (&grant.record, &reason) {
        (Some(_), _) if rules.session.is_bound(&grant, cookies.access_token.as_deref(), Some(&previous)) => {
            Assessment::Over(Some(grant), reason)
        }
        // Not sealed: only the JWT that it gives tells whose it is.
        (None, Reason::Revoked(revocation)) => {
            let previous = Previous { over: Some(*revocation), ..previous };
            Assessment::Refresh(grant, Some(previous))
        }
        _ => for_refresh(rules, cookies, refresh_token, None, known),
    }
}

/// Whether a session may be refreshed. Where it may not, a JWT that is still valid is used as long as it is.
fn for_refresh(
    rules: &AppRules,
    cookies: &SessionCookies<'_>,
    refresh_token: &str,
    previous: Option<Previous>,
    known: &Knowledge<'_>,
) -> Assessment {
    let Some(grant) = rules.session.open(refresh_token) else {
        return without_refresh(previous, None, Reason::NotSealedHere);
    };
    let access_token = cookies.access_token.as_deref();
    if rules.session.bind_refresh && !rules.session.is_bound(&grant, access_token, previous.as_ref()) {
        return without_refresh(previous, Some(grant), Reason::NotBound);
    }
    match grant.record.as_ref().map_or(Ok(()), |record| rules.session.check_record(record, known)) {
        Ok(()) => Assessment::Refresh(grant, previous),
        Err(reason) => Assessment::Over(Some(grant), reason),
    }
}

fn without_refresh(previous: Option<Previous>, grant: Option<Grant>, reason: Reason) -> Assessment {
    match previous {
        Some(Previous { identity, still_valid: true, .. }) => Assessment::Valid(identity),
        _ => Assessment::Over(grant, reason),
    }
}

/// The session that a request brings along to a login or a logout, whether or not it still lives.
#[derive(Debug)]
pub struct PresentedSession {
    /// Which cookies there were.
    pub presented: Presented,
    /// The refresh token, if its cookie can be read.
    pub grant: Option<Grant>,
    /// Whose JWT there was, if it is genuine.
    pub identity: Option<Arc<Identity>>,
}

impl PresentedSession {
    /// Reads a request's cookies.
    pub fn read(rules: &AppRules, headers: &HeaderMap, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let identity = cookies.access_token.as_deref().and_then(|access_token| {
            let verified = token::verify(access_token, &rules.token, known.keys, known.now).ok()?;
            // Whatever its time: one whose time has not come could be used later.
            Identity::new(verified.claims, &rules.identity).ok().map(Arc::new)
        });
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { presented: cookies.presented, grant, identity }
    }
}

/// The session behind a request that was let through.
#[derive(Debug)]
pub struct SessionAtHand {
    /// What it can be refreshed with, if anything.
    pub grant: Option<Grant>,
    /// Its ends.
    pub lifetime: Lifetime,
}

impl SessionAtHand {
    /// Reads a request's cookies; `identity` is whose it was found to be.
    pub fn read(rules: &AppRules, headers: &HeaderMap, identity: &Identity, known: &Knowledge<'_>) -> Self {
        let cookies = rules.cookies.read(headers);
        let access_token = cookies.access_token.as_deref().unwrap_or_default();
        let lifetime = lifetime(rules, access_token, identity, &cookies, known);
        let grant = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie));
        Self { grant, lifetime }
    }
}

/// A genuine JWT.
struct Checked {
    identity: Arc<Identity>,
    state: State,
}

/// What a genuine JWT is good for.
enum State {
    /// It says whose request it is.
    Usable,
    /// It itself is not to be used any more; its session may go on.
    Unusable(Reason),
    /// Its session is over.
    Over(Reason),
}

/// Verifies a JWT, or finds it verified before.
fn check_token(
    rules: &AppRules,
    access_token: &str,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Result<Checked, Reason> {
    let scope = Scope { app: rules.index, key_generation: known.key_generation };
    if let Some(Remembered { identity, lives, is_provisional }) =
        known.memory.verified.get(access_token, scope, known.now)
    {
        let state = revocation_state(&identity, known);
        if !matches!(state, State::Usable) {
            return Ok(Checked { identity, state });
        }
        let lives = if is_provisional && cookies.refresh_token.is_some() {
            // Whoever brought the JWT first, perhaps a thief, must not decide on the ends of its session.
            remember(rules, access_token, &identity, cookies, known)
        } else {
            lives
        };
        return Ok(Checked { identity, state: lives.into() });
    }
    let Verification { claims, validity } = token::verify(access_token, &rules.token, known.keys, known.now)?;
    let identity = Arc::new(Identity::new(claims, &rules.identity)?);
    known.memory.saw(rules.token.provider, &identity, known.now);
    let state = match (revocation_state(&identity, known), validity.check()) {
        (State::Usable, Err(error)) => State::Unusable(error.into()),
        (State::Usable, Ok(())) => remember(rules, access_token, &identity, cookies, known).into(),
        (state, _) => state,
    };
    Ok(Checked { identity, state })
}

impl From<Result<(), Over>> for State {
    fn from(lives: Result<(), Over>) -> Self {
        lives.map_or_else(|over| Self::Over(over.into()), |()| Self::Usable)
    }
}

/// Remembers a verified JWT with the ends of its session, and says whether that still lives.
fn remember(
    rules: &AppRules,
    access_token: &str,
    identity: &Arc<Identity>,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Result<(), Over> {
    let scope = Scope { app: rules.index, key_generation: known.key_generation };
    let lifetime = lifetime(rules, access_token, identity, cookies, known);
    let lives = lifetime.check_request(known.now);
    known.memory.verified.insert(access_token, scope, identity, lifetime, known.now);
    lives
}

fn revocation_state(identity: &Identity, known: &Knowledge<'_>) -> State {
    match known.memory.revocations.of_token(identity.marks(), identity.issued_at(), known.now) {
        None => State::Usable,
        Some(token @ Revocation::Token) => State::Unusable(Reason::Revoked(token)),
        Some(session @ Revocation::Session(_)) => State::Over(Reason::Revoked(session)),
    }
}

/// The ends of a JWT's session. Without the cookie that was sealed together with it, the JWT stands for itself.
fn lifetime(
    rules: &AppRules,
    access_token: &str,
    identity: &Identity,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Lifetime {
    let limits = rules.session.lifetimes;
    if limits.absolute.is_none() && limits.idle.is_none() {
        return Lifetime::UNLIMITED;
    }
    let token = Mark::token(rules.session.provider, access_token);
    let record = cookies.refresh_token.as_deref().and_then(|cookie| rules.session.open(cookie)?.record);
    let age = record.filter(|record| record.access_token == token).map_or_else(
        || {
            let issued_at = identity.issued_at().unwrap_or(known.now);
            Age {
                id: token.bytes(),
                started_at: issued_at,
                renewed_at: issued_at,
                usable_until: identity.expires_at(),
                is_provisional: true,
            }
        },
        |record| Age::from(&record),
    );
    known.memory.activities.lifetime(limits, &age, known.now)
}

#[cfg(test)]
mod tests;
