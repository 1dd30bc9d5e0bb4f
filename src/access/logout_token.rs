//! Verifies a logout token (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6). With a logout token the
//! provider says which sessions end. The provider signs it.
//!
//! A logout token that comes again has no effect. The provider may use the `sid` again for a new login, and the new
//! session must not end.

use serde_json::Value;

use crate::access::audience;
use crate::access::claims::Claims;
use crate::access::key_set::KeySet;
use crate::access::signed_token::{self, date, latest_issue, string};
use crate::access::token::TokenRules;
use crate::access::token_error::TokenError;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The number of seconds after `iat` for which a logout token counts, without leeway. The standard recommends an `exp`
/// of at most two minutes. This bound also covers providers that follow drafts of the standard, which had no `exp`.
const MAX_AGE: u64 = 600;

/// A verified logout token. It names the sessions that end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// `sid`. Only this session ends.
    pub session: Option<String>,
    /// `sub`. Without a `sid`, all sessions of this subject end. A token has at least one of `sid` and `sub`.
    pub subject: Option<String>,
    /// `iat`, in Unix seconds.
    pub issued_at: u64,
    /// The time (Unix seconds) after which the token does not count any more.
    pub counts_until: u64,
}

/// The reason why a logout token is refused. The texts are for logs. They contain no part of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogoutTokenError {
    /// It has a fault that any token can have.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `events` does not say that it is about a logout.
    #[error("`events` does not name the back-channel logout")]
    Event,
    /// It has a `nonce`, which only an ID token may have (section 2.4).
    #[error("it has a `nonce`, as only ID tokens have")]
    Nonce,
    /// It has neither `sub` nor `sid`.
    #[error("neither `sub` nor `sid` says whose sessions end")]
    Nobody,
    /// It was issued too long ago.
    #[error("`iat` is more than {MAX_AGE} s ago")]
    TooOld,
}

/// Verifies a logout token for the app's client. `aud` must contain the client id itself, because the settings
/// `audience` and `authorized_parties` are for access tokens only.
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

/// Tells whether `typ` may be that of a logout token. The standard recommends `logout+jwt` (section 2.4). Some
/// providers write `JWT`, or nothing. `events` makes the difference then. A token with `at+jwt` is never a logout
/// token.
fn is_logout_token_type(kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("logout+jwt") || kind.eq_ignore_ascii_case("JWT"))
}

/// Checks that a token is a logout token and no other kind. It must have the event. It must not have claims of other
/// kinds: `nonce`, `at_hash` and `c_hash` (ID tokens), `scope` (access tokens, RFC 9068), or `token_use`. Keycloak's
/// claim `typ` must name a logout token.
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

/// Returns `iat` if the token counts now. `iat` must not be in the future or too old, and `exp` must not be over. The
/// standard requires an `exp`. If there is none, the age alone decides.
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
