//! The operator's remedies for a token from the provider that was refused, and the values in the token that caused the
//! refusal.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::access::refusal_notes::shown;
use crate::access::token_error::TokenError;

/// Returns the remedy.
pub fn of(error: &TokenError) -> Cow<'static, str> {
    Cow::Borrowed(match error {
        TokenError::AuthorizedParty(claim) => {
            return Cow::Owned(format!(
                "list what the provider writes into `{claim}` under `authorized_parties`, if tokens of that client are to open the app"
            ));
        }
        TokenError::Issuer => "set `issuer` to what the provider writes into `iss`, byte by byte",
        TokenError::Audience => {
            "set `audience` to what the provider writes into `aud`, or add an audience mapper there"
        }
        TokenError::Algorithm => {
            "add the algorithm to `algorithms`, or let the provider sign with another one"
        }
        TokenError::UnknownKey => "check that `jwks_uri` is the one of this issuer",
        TokenError::Claim("sub") => {
            "add `sub` to the access token (Keycloak: no \"lightweight\" access tokens)"
        }
        TokenError::NotYetValid(_) | TokenError::Expired => "synchronise both clocks (NTP)",
        TokenError::Opaque | TokenError::Malformed(_) => {
            "let the provider issue JWTs as access tokens; some do so only for an `audience` or `resource`, which \
             `token_parameters` sends"
        }
        TokenError::Encrypted => {
            "turn off the encryption of access tokens there; Auth0 encrypts them where no `audience` is asked for, which \
             `token_parameters` does"
        }
        TokenError::IdToken(_) => {
            "set `access_token_is_id_token = true` only if all access tokens of the provider are like that, as Dex's; \
             else look why it answers with an ID token"
        }
        TokenError::UnusableClaim(..) => {
            "take the claim out of `identity_headers`, or correct it at the provider"
        }
        _ => "`docs/behaviour.md`, \"Verification\", says what a JWT must be like",
    })
}

/// Returns the values in the token that were compared, such as ` (`iss` is `https://…`)`. They are not verified, so
/// call this only for a token that the provider has just answered with. None of these values names a user.
pub fn said(error: &TokenError, token: &str) -> String {
    let (part, names): (usize, &[&str]) = match error {
        TokenError::Issuer => (1, &["iss"]),
        TokenError::Audience => (1, &["aud", "azp", "client_id", "cid", "appid"]),
        TokenError::AuthorizedParty(claim) => (1, std::slice::from_ref(claim)),
        TokenError::Algorithm => (0, &["alg"]),
        TokenError::UnknownKey => (0, &["kid", "alg"]),
        TokenError::Type => return said_by(token, &[(0, "typ"), (1, "typ"), (1, "token_use")]),
        TokenError::NotYetValid(claim) | TokenError::Claim(claim) if *claim != "sub" => {
            (1, std::slice::from_ref(claim))
        }
        TokenError::Expired => (1, &["iat", "exp"]),
        _ => return String::new(),
    };
    let places: Vec<(usize, &str)> = names.iter().map(|name| (part, *name)).collect();
    said_by(token, &places)
}

fn said_by(token: &str, places: &[(usize, &str)]) -> String {
    let parts: Vec<Option<Value>> = token
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok())
        .collect();
    let found: Vec<String> = places
        .iter()
        .filter_map(|(part, name)| {
            let value = parts.get(*part)?.as_ref()?.get(name)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(format!("`{name}` is `{}`", shown(text.as_bytes())))
        })
        .collect();
    if found.is_empty() { String::new() } else { format!(" ({})", found.join(", ")) }
}
