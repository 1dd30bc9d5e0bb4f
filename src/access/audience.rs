//! Checks for which app a token was made, by its `aud` and by the claims that name its client.

use serde_json::Value;

use crate::access::claims::Claims;
use crate::access::client_claims;
use crate::access::token_error::TokenError;
use crate::access::token_rules::TokenRules;

/// Reads `aud`: a string or an array of strings (RFC 7519 section 4.1.3).
pub(super) fn of(claims: &Claims) -> Result<Vec<&str>, TokenError> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => {
            several.iter().map(|value| value.as_str().ok_or(TokenError::Claim("aud"))).collect()
        }
        Some(_) => Err(TokenError::Claim("aud")),
    }
}

/// Checks that a JWT was made for this app's client. If accepted values are configured, `aud` must have one of them.
/// Otherwise `aud` must name the client, or a claim must say that the JWT was issued to the client. (Keycloak's default
/// `aud` is `account` for every client.) A JWT that was issued to another client is refused, regardless of `aud`.
pub(super) fn check(claims: &Claims, rules: &TokenRules) -> Result<(), TokenError> {
    let audience = of(claims)?;
    let clients = client_claims::clients(&rules.issuer, claims)?;
    let is_authorized = |client| rules.authorized_parties.iter().any(|authorized| authorized == client);
    if let Some((claim, _)) = clients.iter().find(|(_, client)| !is_authorized(*client)) {
        return Err(TokenError::AuthorizedParty(claim));
    }
    let accepted = if rules.audience.is_empty() {
        audience.contains(&rules.client_id.as_str())
            || clients.iter().any(|(_, client)| *client == rules.client_id)
    } else {
        rules.audience.iter().any(|wanted| audience.contains(&wanted.as_str()))
    };
    if accepted { Ok(()) } else { Err(TokenError::Audience) }
}
