//! Checks for which app a token was made, by its `aud` and by the claims that name its client.

use serde_json::Value;

use crate::access::claims::Claims;
use crate::access::client_claims;
use crate::access::token_error::TokenError;

/// The app for which a token must have been made.
pub(super) struct Audience<'a> {
    /// The issuer of the tokens.
    pub(super) issuer: &'a str,
    /// The app's client.
    pub(super) client_id: &'a str,
    /// The accepted values: `aud` must have one of them. If it is empty, the default rule of [`check`] applies.
    pub(super) accepted: &'a [String],
    /// The clients to which a token may have been issued.
    pub(super) authorized_parties: &'a [String],
}

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
pub(super) fn check(claims: &Claims, for_whom: &Audience<'_>) -> Result<(), TokenError> {
    let audience = of(claims)?;
    let clients = client_claims::clients(for_whom.issuer, claims)?;
    let is_authorized = |client| for_whom.authorized_parties.iter().any(|authorized| authorized == client);
    if let Some((claim, _)) = clients.iter().find(|(_, client)| !is_authorized(*client)) {
        return Err(TokenError::AuthorizedParty(claim));
    }
    let accepted = if for_whom.accepted.is_empty() {
        audience.contains(&for_whom.client_id)
            || clients.iter().any(|(_, client)| *client == for_whom.client_id)
    } else {
        for_whom.accepted.iter().any(|wanted| audience.contains(&wanted.as_str()))
    };
    if accepted { Ok(()) } else { Err(TokenError::Audience) }
}
