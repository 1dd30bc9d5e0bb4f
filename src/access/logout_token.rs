//! Verification of a logout token (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6): the provider says,
//! signed, whose sessions end.
//!
//! A logout token that comes again has no effect: the provider may go on with the `sid` for a new login, which must not
//! end.

use serde_json::Value;

use crate::access::audience;
use crate::access::claims::Claims;
use crate::access::key_set::KeySet;
use crate::access::signed_token::{self, date, latest_issue, string};
use crate::access::token::TokenRules;
use crate::access::token_error::TokenError;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Seconds after `iat` for which a logout token counts, leeway aside. The standard recommends an `exp` of at most two
/// minutes; this also bounds the tokens of providers that follow its drafts, where there was no `exp`.
const MAX_AGE: u64 = 600;

/// The sessions that end, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// `sid`: the one session that ends.
    pub session: Option<String>,
    /// `sub`: without a `sid`, all sessions of this subject end. There is at least one of the two.
    pub subject: Option<String>,
    /// `iat`, in Unix seconds.
    pub issued_at: u64,
    /// After this time (Unix seconds) it does not count any more.
    pub counts_until: u64,
}

/// The reason why a logout token is refused. The texts are for logs; none carries a part of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogoutTokenError {
    /// For the same reasons as any token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `events` does not say that it is about a logout.
    #[error("`events` does not name the back-channel logout")]
    Event,
    /// There is a `nonce`, which only an ID token has (section 2.4).
    #[error("it has a `nonce`, as only ID tokens have")]
    Nonce,
    /// Neither `sub` nor `sid`.
    #[error("neither `sub` nor `sid` says whose sessions end")]
    Nobody,
    /// It was issued too long ago.
    #[error("`iat` is more than {MAX_AGE} s ago")]
    TooOld,
}

/// Verifies a logout token for the app's client. `aud` must have the client id itself: the settings `audience` and
/// `authorized_parties` are about access tokens.
pub fn verify(
    token: &str,
    rules: &TokenRules,
    keys: &KeySet,
    now: u64,
) -> Result<LogoutToken, LogoutTokenError> {
    let claims = signed_token::open(token, &rules.algorithms, is_logout_token_type, keys)?;
    check_not_another_kind(&claims)?;
    if required(&claims, "iss")? != rules.issuer {
        return Err(TokenError::Issuer.into());
    }
    if !audience::of(&claims)?.contains(&rules.client_id.as_str()) {
        return Err(TokenError::Audience.into());
    }
    let issued_at = check_dates(&claims, rules.leeway, now)?;
    required(&claims, "jti")?;
    let counts_until = issued_at.saturating_add(MAX_AGE).saturating_add(rules.leeway);
    let named = |name| match string(&claims, name)? {
        Some("") => Err(TokenError::Claim(name)),
        text => Ok(text.map(str::to_owned)),
    };
    let (session, subject) = (named("sid")?, named("sub")?);
    if session.is_none() && subject.is_none() {
        return Err(LogoutTokenError::Nobody);
    }
    Ok(LogoutToken { session, subject, issued_at, counts_until })
}

/// `logout+jwt` is recommended (section 2.4); others write `JWT` or nothing, and `events` tells. `at+jwt` is never one.
fn is_logout_token_type(kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("logout+jwt") || kind.eq_ignore_ascii_case("JWT"))
}

/// Only a logout token has the event, and none of the others' marks: `nonce`, `at_hash` and `c_hash` (ID tokens),
/// `scope` (access tokens, RFC 9068), and Keycloak's claim `typ`, which names the kind.
fn check_not_another_kind(claims: &Claims) -> Result<(), LogoutTokenError> {
    let event = claims.get("events").and_then(Value::as_object).and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(LogoutTokenError::Event);
    }
    if claims.get("nonce").is_some() {
        return Err(LogoutTokenError::Nonce);
    }
    let is_named_otherwise = claims
        .get("typ")
        .is_some_and(|kind| !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("Logout")));
    let only_in_others = ["at_hash", "c_hash", "scope", "token_use"];
    if is_named_otherwise || only_in_others.iter().any(|claim| claims.get(claim).is_some()) {
        return Err(TokenError::Type.into());
    }
    Ok(())
}

/// `iat`, if this is its time: not in the future, not too old, `exp` not over. The standard wants an `exp`; where there
/// is none, the age alone decides.
fn check_dates(claims: &Claims, leeway: u64, now: u64) -> Result<u64, LogoutTokenError> {
    let issued_at = date(claims, "iat")?.ok_or(TokenError::Claim("iat"))?;
    if issued_at > latest_issue(now, leeway) {
        return Err(TokenError::NotYetValid("iat").into());
    }
    if date(claims, "nbf")?.is_some_and(|at| at > now.saturating_add(leeway)) {
        return Err(TokenError::NotYetValid("nbf").into());
    }
    if date(claims, "exp")?.is_some_and(|at| at.saturating_add(leeway) <= now) {
        return Err(TokenError::Expired.into());
    }
    if issued_at.saturating_add(MAX_AGE).saturating_add(leeway) <= now {
        return Err(LogoutTokenError::TooOld);
    }
    Ok(issued_at)
}

fn required<'a>(claims: &'a Claims, name: &'static str) -> Result<&'a str, TokenError> {
    string(claims, name)?.filter(|text| !text.is_empty()).ok_or(TokenError::Claim(name))
}

#[cfg(test)]
mod tests;
