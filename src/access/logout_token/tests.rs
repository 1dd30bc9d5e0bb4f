//! Forged and unsuitable logout tokens, each refused for its own reason, and those at the edge that are taken.

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;
use crate::access::testing::{self, NOW, base64url, jwk, key_set, mint_raw, token_rules};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#;

/// The claims of a good logout token, as Keycloak writes them, changed: `null` takes a claim away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": testing::ISSUER, "aud": "store", "sub": "alice", "sid": "s1", "jti": "j1", "iat": NOW - 1, "exp": NOW + 119,
        "typ": "Logout", "events": { EVENT: {}, "revoke_offline_access": true },
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn outcome(token: &str) -> Result<LogoutToken, LogoutTokenError> {
    verify(token, &token_rules(), &key_set(), NOW)
}

fn with_claims(changes: &Value) -> Result<LogoutToken, LogoutTokenError> {
    outcome(&mint_raw("EdDSA", HEADER, claims(changes).to_string()))
}

fn with_header(algorithm: &str, header: &str) -> Result<LogoutToken, LogoutTokenError> {
    outcome(&mint_raw(algorithm, header, claims(&json!({})).to_string()))
}

/// With one claim whose value is any JSON text.
fn with_raw_claim(name: &str, json: &str) -> Result<LogoutToken, LogoutTokenError> {
    let rest = claims(&json!({ name: null })).to_string();
    outcome(&mint_raw("EdDSA", HEADER, rest.replacen('{', &format!("{{\"{name}\":{json},"), 1)))
}

#[test]
fn what_a_logout_token_says() {
    let token = |session: Option<&str>, subject: Option<&str>| LogoutToken {
        session: session.map(str::to_owned),
        subject: subject.map(str::to_owned),
        issued_at: NOW - 1,
        counts_until: NOW - 1 + MAX_AGE + 5,
    };
    for (changes, expected) in [
        (json!({}), token(Some("s1"), Some("alice"))),
        (json!({"sid": null}), token(None, Some("alice"))),
        (json!({"sub": null}), token(Some("s1"), None)),
        (json!({"aud": ["forums", "store"]}), token(Some("s1"), Some("alice"))),
        // Drafts of the standard had no `exp`; the claim `typ` is Keycloak's own.
        (json!({"exp": null, "typ": null}), token(Some("s1"), Some("alice"))),
        (json!({"exp": NOW - 4}), token(Some("s1"), Some("alice"))),
        (json!({"events": {EVENT: {"more": 1}}}), token(Some("s1"), Some("alice"))),
    ] {
        assert_eq!(with_claims(&changes), Ok(expected), "{changes}");
    }
    let late = with_claims(&json!({"iat": NOW + 5})).unwrap();
    assert_eq!(late.issued_at, NOW + 5);
    assert!(with_claims(&json!({"iat": NOW - 604})).is_ok());
}

#[test]
fn the_same_algorithms_and_keys_as_for_access_tokens() {
    for (algorithm, key) in [("RS256", "rsa"), ("ES256", "p256"), ("EdDSA", "ed")] {
        for typ in ["", r#","typ":"JWT""#, r#","typ":"application/logout+jwt""#, r#","typ":"LOGOUT+JWT""#] {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"{key}"{typ}}}"#);
            assert!(with_header(algorithm, &header).is_ok(), "{header}");
        }
    }
}

#[test]
fn forged_headers_and_signatures() {
    use TokenError::{Algorithm as Alg, CriticalExtension, Malformed, Signature, Type, UnknownKey};
    let pem_like = format!("HS256 {}", jwk("rsa")["n"].as_str().unwrap());
    for (algorithm, header, error) in [
        ("EdDSA by a stranger", HEADER, Signature),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA","typ":"logout+jwt"}"#, Signature),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"stranger"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"p256"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"none","kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"kid":"ed"}"#, Alg),
        (&pem_like, r#"{"alg":"HS256","kid":"rsa"}"#, Alg),
        ("ES384", r#"{"alg":"ES384","kid":"p384"}"#, Alg),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#, Type),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":"secevent+jwt"}"#, Type),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":null}"#, Type),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":["logout+jwt"]}"#, Type),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","crit":["exp"]}"#, CriticalExtension),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","b64":true}"#, CriticalExtension),
        ("EdDSA", r#"{"alg":"EdDSA","kid":7}"#, Malformed("`kid` is not a string")),
        ("EdDSA", r#"{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}"#, Malformed("not a strict JSON object")),
    ] {
        assert_eq!(with_header(algorithm, header), Err(error.into()), "{header} by {algorithm}");
    }
    let good = mint_raw("EdDSA", HEADER, claims(&json!({})).to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = mint_raw("EdDSA", HEADER, claims(&json!({"sub": "eve"})).to_string());
    let (other_signed, _) = other.rsplit_once('.').unwrap();
    for (token, error) in [
        (format!("{signed}."), Signature),
        (format!("{other_signed}.{signature}"), Signature),
        (signed.to_owned(), Malformed("not three parts")),
        (String::new(), Malformed("not three parts")),
        (format!("{good}.{signature}"), Signature),
        (format!("{}.{signature}", base64url(HEADER)), Malformed("not three parts")),
        (format!("=.{signed}"), Malformed("not base64url")),
        (mint_raw("EdDSA", HEADER, "[]"), Malformed("not a strict JSON object")),
        ("x".repeat(17_000), TokenError::TooLong),
    ] {
        assert_eq!(outcome(&token), Err(error.into()), "{token:.300}");
    }
}

#[test]
fn forged_claims() {
    use LogoutTokenError::{Event, Nobody, Nonce, TooOld};
    use TokenError::{Audience, Claim, Expired, Issuer, NotYetValid, Type};
    let cases: [(Value, LogoutTokenError); 36] = [
        (json!({"iss": null}), Claim("iss").into()),
        (json!({"iss": "https://id.example.com/"}), Issuer.into()),
        (json!({"iss": [testing::ISSUER]}), Claim("iss").into()),
        (json!({"aud": null}), Audience.into()),
        (json!({"aud": "forums"}), Audience.into()),
        (json!({"aud": ["forums", "account"]}), Audience.into()),
        (json!({"aud": ["store", 1]}), Claim("aud").into()),
        (json!({"aud": {"store": true}}), Claim("aud").into()),
        // Only an access token is for a client by its `azp`.
        (json!({"aud": "account", "azp": "store"}), Audience.into()),
        (json!({"iat": null}), Claim("iat").into()),
        (json!({"iat": "1800000000"}), Claim("iat").into()),
        (json!({"iat": NOW + 31}), NotYetValid("iat").into()),
        (json!({"iat": NOW - 605}), TooOld),
        (json!({"iat": NOW - 605, "exp": null}), TooOld),
        (json!({"iat": 0, "exp": NOW + 999_999}), TooOld),
        (json!({"exp": NOW - 5}), Expired.into()),
        (json!({"exp": "never"}), Claim("exp").into()),
        (json!({"exp": -1}), Claim("exp").into()),
        (json!({"nbf": NOW + 6}), NotYetValid("nbf").into()),
        (json!({"jti": null}), Claim("jti").into()),
        (json!({"jti": ""}), Claim("jti").into()),
        (json!({"jti": 7}), Claim("jti").into()),
        (json!({"events": null}), Event),
        (json!({"events": {}}), Event),
        (json!({"events": [EVENT]}), Event),
        (json!({"events": EVENT}), Event),
        (json!({"events": {EVENT: true}}), Event),
        (json!({"events": {EVENT: []}}), Event),
        (json!({"events": {"http://schemas.openid.net/event/other": {}}}), Event),
        (json!({"nonce": "n"}), Nonce),
        (json!({"sub": null, "sid": null}), Nobody),
        (json!({"sub": ""}), Claim("sub").into()),
        (json!({"sid": 7}), Claim("sid").into()),
        (json!({"typ": "Bearer"}), Type.into()),
        (json!({"at_hash": "x"}), Type.into()),
        (json!({"scope": "openid"}), Type.into()),
    ];
    for (changes, error) in cases {
        assert_eq!(with_claims(&changes), Err(error), "{changes}");
    }
    for (claim, json, error) in [
        ("nonce", "null", Nonce),
        ("events", "null", Event),
        ("sid", "null", Claim("sid").into()),
        ("exp", "1e400", TokenError::Malformed("not a strict JSON object").into()),
        ("iat", "1e18", Claim("iat").into()),
        ("sid", r#""s1","sid":"s2""#, TokenError::Malformed("not a strict JSON object").into()),
    ] {
        assert_eq!(with_raw_claim(claim, json), Err(error), "{claim}: {json}");
    }
}

#[test]
fn access_and_id_tokens_are_no_logout_tokens_nor_the_other_way_round() {
    let access_token = testing::mint(&testing::claims(&json!({"sid": "s1", "jti": "j1"})));
    assert_eq!(outcome(&access_token), Err(LogoutTokenError::Event));
    let id_token =
        testing::mint(&testing::claims(&json!({"sid": "s1", "jti": "j1", "nonce": "n", "typ": "ID"})));
    assert_eq!(outcome(&id_token), Err(LogoutTokenError::Event));
    for header in [HEADER, r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#] {
        for typ in [json!("Logout"), Value::Null] {
            let logout_token = mint_raw("EdDSA", header, claims(&json!({"typ": typ})).to_string());
            let refused = crate::access::token::verify(&logout_token, &token_rules(), &key_set(), NOW);
            assert_eq!(refused.unwrap_err(), TokenError::Type);
        }
    }
}

#[test]
fn an_hmac_secret_where_that_is_configured() {
    let rules = TokenRules { algorithms: vec![Algorithm::HS256], ..token_rules() };
    let keys = KeySet::from_hmac_secret(b"secret");
    let token = |secret| mint_raw(secret, r#"{"alg":"HS256"}"#, claims(&json!({})).to_string());
    assert!(verify(&token("HS256 secret"), &rules, &keys, NOW).is_ok());
    let forged = verify(&token("HS256 other"), &rules, &keys, NOW);
    assert_eq!(forged, Err(TokenError::Signature.into()));
}
