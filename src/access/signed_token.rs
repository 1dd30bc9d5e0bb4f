//! The checks of every signed token: length, parts, header and signature (RFC 7515, RFC 8725). It also reads single
//! claims. `key_set` checks signatures. Everything else is checked strictly here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::access::claims::Claims;
use crate::access::key_set::KeySet;
use crate::access::token_error::{MAX_TOKEN_LENGTH, TokenError};
use crate::config::algorithm_named;
use crate::syntax::json;

/// The largest depth of nested objects in a JWT. Keycloak's `resource_access.CLIENT.roles` needs 4.
const MAX_DEPTH: usize = 16;

/// The last second of the year 9999. A token's date must not be later, because RFC 3339 has no later date.
const MAX_DATE: f64 = 253_402_300_799.0;

/// The number of seconds that `iat` may be ahead of our clock, or `leeway` if that is more. `iat` says when a token was
/// made, and nobody gains anything by a token that was made early. A provider whose clock is a little ahead must not
/// keep everybody out. For `exp` and `nbf`, only `leeway` counts.
const ISSUED_AHEAD: u64 = 30;

/// Returns the latest `iat` (Unix seconds) that is accepted at `now`.
pub(crate) fn latest_issue(now: u64, leeway: u64) -> u64 {
    now.saturating_add(leeway.max(ISSUED_AHEAD))
}

/// Returns the claims of a token with a valid signature. `is_type` judges `typ` (without `application/`). It gets
/// `None` if there is no `typ`.
pub(crate) fn open(
    token: &str,
    algorithms: &[Algorithm],
    is_type: impl Fn(Option<&str>) -> bool,
    keys: &KeySet,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(TokenError::TooLong);
    }
    let no_jwt =
        || if is_opaque(token) { TokenError::Opaque } else { TokenError::Malformed("not three parts") };
    let (message, signature) = token.rsplit_once('.').ok_or_else(no_jwt)?;
    let (header, payload) = message.split_once('.').ok_or_else(no_jwt)?;
    if is_encrypted(token, payload) {
        return Err(TokenError::Encrypted);
    }
    let (algorithm, key_id) = check_header(&object(header)?, algorithms, is_type)?;
    check_signature(message, signature, algorithm, key_id.as_deref(), keys)?;
    Ok(Claims(object(payload)?.into()))
}

/// Tells whether a token of one or two parts is opaque. One part is always opaque. Two parts are opaque if the first
/// part is not a JSON object, as in Hydra's `ory_at_….…` and Google's `ya29.…`.
fn is_opaque(token: &str) -> bool {
    match token.split_once('.') {
        None => !token.is_empty(),
        Some((first, _)) => !first.is_empty() && object(first).is_err(),
    }
}

/// Tells whether a token is a JWE. A JWE has five parts, and an `enc` in its header (RFC 7516 sections 3.1 and 4.1.2).
/// `rest` is the token without its first and last part.
fn is_encrypted(token: &str, rest: &str) -> bool {
    let has_enc = |header| object(header).is_ok_and(|header| header.contains_key("enc"));
    rest.bytes().filter(|byte| *byte == b'.').count() == 2 && token.split('.').next().is_some_and(has_enc)
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed("not base64url"))?;
    json::parse_object(&json, MAX_DEPTH).map_err(|_| TokenError::Malformed("not a strict JSON object"))
}

/// Reads the algorithm and the key id from a header. The header may only choose among the configured algorithms.
/// Members such as `jku`, `x5u` and `jwk` are ignored, because a token must not cause a connection or supply a key.
fn check_header(
    header: &Map<String, Value>,
    algorithms: &[Algorithm],
    is_type: impl Fn(Option<&str>) -> bool,
) -> Result<(Algorithm, Option<String>), TokenError> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenError::CriticalExtension);
    }
    let is_right_type = match header.get("typ") {
        None => is_type(None),
        Some(Value::String(kind)) => is_type(Some(kind.strip_prefix("application/").unwrap_or(kind))),
        Some(_) => false,
    };
    if !is_right_type {
        return Err(TokenError::Type);
    }
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(algorithm_named)
        .filter(|algorithm| algorithms.contains(algorithm))
        .ok_or(TokenError::Algorithm)?;
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(key_id)) => Ok((algorithm, Some(key_id.clone()))),
        Some(_) => Err(TokenError::Malformed("`kid` is not a string")),
    }
}

fn check_signature(
    message: &str,
    signature: &str,
    algorithm: Algorithm,
    key_id: Option<&str>,
    keys: &KeySet,
) -> Result<(), TokenError> {
    let mut error = TokenError::UnknownKey;
    for key in keys.candidates(key_id, algorithm) {
        if key.verifies(message, signature, algorithm) {
            return Ok(());
        }
        error = TokenError::Signature;
    }
    // A key without an id matches every id. If the set lacks the id that the token names, the set may be old.
    let knows_id = key_id.is_none_or(|id| keys.candidates(key_id, algorithm).any(|key| key.id() == Some(id)));
    Err(if knows_id { error } else { TokenError::UnknownKey })
}

/// Returns a claim, which must be a string if it is present.
pub(crate) fn string<'a>(claims: &'a Claims, name: &'static str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Claim(name)),
    }
}

/// Returns a NumericDate (RFC 7519 section 2) in whole seconds. A fraction is dropped.
pub(super) fn date(claims: &Claims, name: &'static str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            #[expect(clippy::cast_precision_loss, reason = "only compared with a bound far above")]
            (Some(seconds), _) if seconds as f64 <= MAX_DATE => Ok(Some(seconds)),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds")]
            (None, Some(seconds)) if (0.0..=MAX_DATE).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(TokenError::Claim(name)),
        },
        Some(_) => Err(TokenError::Claim(name)),
    }
}
