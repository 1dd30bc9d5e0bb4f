//! Assesses a request's cookies: whether there is a session, and whether it needs a new JWT.

use std::sync::Arc;

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::cookies::{Presented, SessionCookies};
use crate::access::identity::Identity;
use crate::access::lifetime::{Age, Lifetime, Over};
use crate::access::reason::Reason;
use crate::access::revocations::{Mark, Revocation};
use crate::access::token::{self, Verification};
use crate::access::token_error::TokenError;
use crate::access::tokens::AccessToken;
use crate::access::verified_tokens::{Remembered, Scope};

pub use crate::access::grant::{Grant, Previous};

/// The result for a request's cookies.
pub(super) enum Assessment {
    /// There is no session.
    None(Reason),
    /// There is a session.
    Valid(Arc<Identity>),
    /// There may be a session, after a refresh.
    Refresh(Grant, Option<Previous>),
    /// There was a session. It must not be refreshed.
    Over(Option<Grant>, Reason),
    /// The JWT names a key that is not known.
    FetchKeys,
    /// The JWT cannot be verified now.
    Unverifiable,
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
    let jwt = match cookies.access_token.as_deref() {
        None => Jwt::Refused(Reason::NoSession),
        Some(access_token) => check_token(rules, access_token, cookies, known),
    };
    match (jwt, cookies.refresh_token.as_deref()) {
        (Jwt::Usable(identity), None) => Assessment::Valid(identity),
        (Jwt::Usable(identity), Some(_)) if !identity.is_about_to_expire(known.refresh_ahead, known.now) => {
            Assessment::Valid(identity)
        }
        (Jwt::Refused(reason) | Jwt::Unusable(_, reason) | Jwt::Over(_, reason), None) => {
            without_refresh_token(reason, known)
        }
        (Jwt::Over(identity, reason), Some(refresh_token)) => {
            beside_a_token_that_is_over(rules, cookies, refresh_token, &identity, reason, known)
        }
        (Jwt::Usable(identity), Some(refresh_token)) => {
            let previous = previous(cookies, identity, true);
            for_refresh(rules, cookies, refresh_token, Some(previous), known)
        }
        (Jwt::Unusable(identity, reason), Some(refresh_token)) => {
            let mut previous = previous(cookies, identity, false);
            if let Reason::Revoked(revocation) = reason {
                previous.over = Some(revocation);
            }
            for_refresh(rules, cookies, refresh_token, Some(previous), known)
        }
        (Jwt::Refused(Reason::Token(TokenError::UnknownKey)), _) if !known.keys_are_fresh => {
            Assessment::FetchKeys
        }
        // The JWT may be valid, so it is neither refreshed nor treated as missing.
        (Jwt::Refused(Reason::Token(TokenError::UnknownKey)), _) if known.keys.is_empty() => {
            Assessment::Unverifiable
        }
        (Jwt::Refused(_), Some(refresh_token)) => for_refresh(rules, cookies, refresh_token, None, known),
    }
}

fn without_refresh_token(reason: Reason, known: &Knowledge<'_>) -> Assessment {
    match reason {
        Reason::Token(TokenError::UnknownKey) if !known.keys_are_fresh => Assessment::FetchKeys,
        Reason::Token(TokenError::UnknownKey) if known.keys.is_empty() => Assessment::Unverifiable,
        reason => Assessment::None(reason),
    }
}

/// Copies the JWT, which is rarely needed.
fn previous(cookies: &SessionCookies<'_>, identity: Arc<Identity>, still_valid: bool) -> Previous {
    let access_token = AccessToken::new(cookies.access_token.as_deref().unwrap_or_default());
    Previous { identity, access_token, still_valid, over: None }
}

/// Assesses a refresh token together with a JWT whose session is over. The refresh token's session is over as well only
/// if it is the same session. A late answer may have left the JWT of an older session beside the current refresh token.
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
        // The cookie is not sealed. Only a refresh shows the refresh token's subject, in the new JWT.
        (None, Reason::Revoked(revocation)) => {
            let previous = Previous { over: Some(*revocation), ..previous };
            Assessment::Refresh(grant, Some(previous))
        }
        _ => for_refresh(rules, cookies, refresh_token, None, known),
    }
}

/// Decides whether a session may be refreshed. If it may not, its JWT is used as long as it is valid.
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
    match grant
        .record
        .as_ref()
        .map_or(Ok(()), |record| rules.session.check_record(record, known.memory, known.now))
    {
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

/// The result for a request's JWT alone.
enum Jwt {
    /// There is no JWT, or it is not genuine, or it cannot be verified now.
    Refused(Reason),
    /// It is valid, and names the user of the request.
    Usable(Arc<Identity>),
    /// It is genuine, but must not be used any more. Its session may go on.
    Unusable(Arc<Identity>, Reason),
    /// It is genuine, and its session is over.
    Over(Arc<Identity>, Reason),
}

impl Jwt {
    /// Returns the result for a genuine JWT, by the lifetime of its session.
    fn within(lives: Result<(), Over>, identity: Arc<Identity>) -> Self {
        match lives {
            Ok(()) => Self::Usable(identity),
            Err(over) => Self::Over(identity, over.into()),
        }
    }
}

/// Verifies a JWT, or finds it among those that were verified before.
fn check_token(
    rules: &AppRules,
    access_token: &str,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Jwt {
    let scope = Scope { app: rules.app_number, key_generation: known.key_generation };
    let Some(remembered) = known.memory.verified.get(access_token, scope, known.now) else {
        return verify(rules, access_token, cookies, known).unwrap_or_else(Jwt::Refused);
    };
    let Remembered { identity, lives, is_provisional } = remembered;
    if let Some(revocation) = revocation(&identity, known) {
        return revoked(identity, revocation);
    }
    let lives = if is_provisional && cookies.refresh_token.is_some() {
        // A thief may have brought the JWT first, and must not decide when its session ends.
        remember(rules, access_token, &identity, cookies, known)
    } else {
        lives
    };
    Jwt::within(lives, identity)
}

/// Verifies a JWT that was not seen before. Refuses it if it is not genuine.
fn verify(
    rules: &AppRules,
    access_token: &str,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Result<Jwt, Reason> {
    let Verification { claims, validity } = token::verify(access_token, &rules.token, known.keys, known.now)?;
    let identity = Arc::new(Identity::new(claims, &rules.identity)?);
    known.memory.saw(rules.token.provider, &identity, known.now);
    if let Some(revocation) = revocation(&identity, known) {
        return Ok(revoked(identity, revocation));
    }
    if let Err(error) = validity.check() {
        return Ok(Jwt::Unusable(identity, error.into()));
    }
    let lives = remember(rules, access_token, &identity, cookies, known);
    Ok(Jwt::within(lives, identity))
}

/// Remembers a verified JWT with the lifetime of its session. Returns an error if the session is over.
fn remember(
    rules: &AppRules,
    access_token: &str,
    identity: &Arc<Identity>,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> Result<(), Over> {
    let scope = Scope { app: rules.app_number, key_generation: known.key_generation };
    let lifetime = lifetime(rules, access_token, identity, cookies, known);
    let lives = lifetime.check_request(known.now);
    known.memory.verified.insert(access_token, scope, identity, lifetime, known.now);
    lives
}

fn revocation(identity: &Identity, known: &Knowledge<'_>) -> Option<Revocation> {
    known.memory.revocations.of_token(identity.marks(), identity.issued_at(), known.now)
}

fn revoked(identity: Arc<Identity>, revocation: Revocation) -> Jwt {
    match revocation {
        Revocation::Token => Jwt::Unusable(identity, Reason::Revoked(revocation)),
        Revocation::Session(_) => Jwt::Over(identity, Reason::Revoked(revocation)),
    }
}

/// Returns the lifetime of a JWT's session. Without the cookie that was sealed together with the JWT, it is computed
/// from the JWT alone.
pub(super) fn lifetime(
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
