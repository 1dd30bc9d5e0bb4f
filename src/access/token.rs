//! Verifies an access token. `signed_token` checks the signature, and this module then checks every claim strictly
//! (RFC 7519, RFC 8725).
//!
//! Only [`verify`] makes [`VerifiedClaims`].

use serde_json::Value;

use crate::access::audience;
use crate::access::claims::Claims;
use crate::access::key_set::KeySet;
use crate::access::revocations::{Mark, TokenMarks};
use crate::access::signed_token::{self, date, string};

pub(crate) use crate::access::signed_token::latest_issue;
pub use crate::access::token_error::{ClaimFault, MAX_TOKEN_LENGTH, TokenError};
pub use crate::access::token_rules::TokenRules;

/// Claims of a token with a valid signature that was made for this app.
///
/// Code can read and pass them on, but cannot make them up:
///
/// ```
/// fn subject(claims: &portcullis::access::token::VerifiedClaims) -> &str {
///     claims.subject()
/// }
/// ```
///
/// ```compile_fail,E0451
/// fn forge(claims: portcullis::access::claims::Claims) -> portcullis::access::token::VerifiedClaims {
///     let (subject, expires_at, issued_at, marks) = (String::from("admin"), u64::MAX, None, todo!());
///     portcullis::access::token::VerifiedClaims { claims, subject, expires_at, issued_at, marks }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    claims: Claims,
    subject: String,
    expires_at: u64,
    issued_at: Option<u64>,
    marks: TokenMarks,
}

impl VerifiedClaims {
    /// Returns all claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns `exp`, in Unix seconds.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Returns `iat`, in Unix seconds.
    pub fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    /// Returns the marks by which the token can be revoked.
    pub fn marks(&self) -> &TokenMarks {
        &self.marks
    }
}

/// A token with a valid signature that was made for this app. It may have expired, or may not be valid yet.
#[derive(Debug)]
pub struct Verification {
    /// The claims.
    pub claims: VerifiedClaims,
    /// The token's validity at this time.
    pub validity: Validity,
}

/// The validity of a genuine token at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// The token may be used.
    Valid,
    /// `exp` is over, leeway included.
    Expired,
    /// The named claim, `iat` or `nbf`, is too far in the future. This takes precedence over [`Self::Expired`].
    NotYetValid(&'static str),
}

impl Validity {
    /// Returns an error if the token may not be used now.
    pub const fn check(self) -> Result<(), TokenError> {
        match self {
            Self::Valid => Ok(()),
            Self::Expired => Err(TokenError::Expired),
            Self::NotYetValid(claim) => Err(TokenError::NotYetValid(claim)),
        }
    }
}

/// Verifies a token. All other checks also apply to a token that has expired or is not valid yet, because it still
/// names the session's subject.
pub fn verify(token: &str, rules: &TokenRules, keys: &KeySet, now: u64) -> Result<Verification, TokenError> {
    let claims = signed_token::open(token, &rules.algorithms, is_access_token_type, keys)?;
    check_claims(token, claims, rules, now)
}

/// Tells whether `typ` may be that of an access token. RFC 9068 section 4 requires `at+jwt`. Most providers write
/// `JWT`.
fn is_access_token_type(kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt"))
}

fn check_claims(
    token: &str,
    claims: Claims,
    rules: &TokenRules,
    now: u64,
) -> Result<Verification, TokenError> {
    rules.check_not_another_kind(&claims)?;
    if string(&claims, "iss")?.ok_or(TokenError::Claim("iss"))? != rules.issuer {
        return Err(TokenError::Issuer);
    }
    audience::check(&claims, rules)?;
    let subject =
        string(&claims, "sub")?.filter(|subject| !subject.is_empty()).ok_or(TokenError::Claim("sub"))?;
    let subject = subject.to_owned();
    let expires_at = date(&claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
    let issued_at = date(&claims, "iat")?;
    let not_before = date(&claims, "nbf")?;
    // An empty id is ignored, because it would be the same for everybody.
    let id = |name| string(&claims, name).map(|id| id.filter(|id| !id.is_empty()));
    let marks = TokenMarks {
        session: id("sid")?.map(|sid| Mark::session(rules.provider, sid)),
        token: id("jti")?.map_or_else(
            || Mark::unnamed_token(rules.provider, token),
            |jti| Mark::token_id(rules.provider, jti),
        ),
        subject: Mark::subject(rules.provider, &subject),
        usable_until: expires_at.saturating_add(rules.leeway).saturating_add(1),
    };
    let is_after = |date: Option<u64>, latest| date.is_some_and(|at| at > latest);
    let validity = if is_after(issued_at, latest_issue(now, rules.leeway)) {
        Validity::NotYetValid("iat")
    } else if is_after(not_before, now.saturating_add(rules.leeway)) {
        Validity::NotYetValid("nbf")
    } else if expires_at.saturating_add(rules.leeway) <= now {
        Validity::Expired
    } else {
        Validity::Valid
    };
    Ok(Verification { claims: VerifiedClaims { claims, subject, expires_at, issued_at, marks }, validity })
}

impl TokenRules {
    /// Refuses ID, refresh and logout tokens. Keycloak gives them the same `typ` header as access tokens. Claims show
    /// the difference: Keycloak's `typ`, Cognito's `token_use`, `events` (back-channel logout section 2.4), `at_hash`
    /// and `c_hash` (OpenID Connect Core section 3.1.3.6). Only the last two can be permitted. A provider that writes
    /// the kind of a token into it has no access tokens that look like other kinds.
    fn check_not_another_kind(&self, claims: &Claims) -> Result<(), TokenError> {
        const OTHER_KINDS: [&str; 5] = ["id", "refresh", "offline", "logout", "serialized-id"];
        let named = |claim: &str, kinds: &[&str]| {
            claims
                .get(claim)
                .and_then(Value::as_str)
                .is_some_and(|kind| kinds.iter().any(|other| kind.eq_ignore_ascii_case(other)))
        };
        if named("typ", &OTHER_KINDS) || named("token_use", &["id"]) || claims.get("events").is_some() {
            return Err(TokenError::Type);
        }
        match ["at_hash", "c_hash"].into_iter().find(|claim| claims.get(claim).is_some()) {
            Some(claim) if !self.access_token_is_id_token => Err(TokenError::IdToken(claim)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
