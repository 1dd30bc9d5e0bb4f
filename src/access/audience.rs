//! For whom a token was made: its `aud`, and the claims that name the client it was issued to.

use serde_json::Value;

use crate::access::claims::Claims;
use crate::access::client_claims;
use crate::access::token_error::TokenError;

/// The app that a token must have been made for.
pub(super) struct Audience<'a> {
    /// The issuer whose tokens these are.
    pub(super) issuer: &'a str,
    /// The app's client.
    pub(super) client_id: &'a str,
    /// Any of these must be in `aud`. Empty: the default rule of [`check`].
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

/// A JWT must have been made for this app's client: `aud` names what is configured, or, where nothing is, the
/// client itself, or a claim names the client that it was issued to (a stock Keycloak's `aud` is `account` for
/// everyone). One that was issued to another client is refused whatever `aud` says.
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
