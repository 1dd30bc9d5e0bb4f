//! Forged and unsuitable tokens, each refused for its own reason, and those at the edge that are taken.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::access::testing::{
    ISSUER, NOW, base64url, claims, jwk, jwks, key_set, mint, mint_raw, sign, token_rules,
};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#;

fn outcome(token: &str) -> Result<bool, TokenError> {
    verify(token, &token_rules(), &key_set(), NOW).and_then(|verification| is_expired(&verification))
}

/// Whether a token that is not too new has expired.
fn is_expired(verification: &Verification) -> Result<bool, TokenError> {
    match verification.validity.check() {
        Ok(()) => Ok(false),
        Err(TokenError::Expired) => Ok(true),
        Err(error) => Err(error),
    }
}

/// With a good payload.
fn with_header(algorithm: &str, header: &str) -> String {
    mint_raw(algorithm, header, claims(&json!({})).to_string())
}

fn with_claims(changes: &Value) -> Result<bool, TokenError> {
    outcome(&mint(&claims(changes)))
}

/// With one claim whose value is any JSON text.
fn with_raw_claim(name: &str, json: &str) -> Result<bool, TokenError> {
    let rest = claims(&json!({ name: null })).to_string();
    outcome(&mint_raw("EdDSA", HEADER, rest.replacen('{', &format!("{{\"{name}\":{json},"), 1)))
}

#[test]
fn good_tokens_of_every_algorithm() {
    for (algorithm, key_id) in [("RS256", "rsa"), ("ES256", "p256"), ("EdDSA", "ed")] {
        for typ in
            ["", r#","typ":"JWT""#, r#","typ":"at+jwt""#, r#","typ":"application/at+jwt""#, r#","typ":"jwt""#]
        {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"{key_id}"{typ}}}"#);
            assert_eq!(outcome(&with_header(algorithm, &header)), Ok(false), "{header}");
        }
    }
    let verification = verify(&mint(&claims(&json!({"x": 1}))), &token_rules(), &key_set(), NOW).unwrap();
    let verified = verification.claims;
    assert_eq!((verified.subject(), verified.expires_at()), ("alice", NOW + 300));
    assert_eq!((verified.issued_at(), verified.claims().get("x")), (Some(NOW - 60), Some(&json!(1))));
}

#[test]
fn algorithms_and_keys() {
    use TokenError::{Algorithm as Alg, Malformed, Signature, UnknownKey};
    let public = jwk("rsa")["n"].as_str().unwrap().to_owned();
    let pem_like = format!("HS256 {public}");
    for (algorithm, header, error) in [
        ("EdDSA", r#"{"alg":"none","kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"alg":"NONE","kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"alg":"","kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"alg":"eddsa","kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"alg":null,"kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"alg":["EdDSA"],"kid":"ed"}"#, Alg),
        ("EdDSA", r#"{"kid":"ed"}"#, Alg),
        // The public key as the secret of an HMAC.
        (&pem_like, r#"{"alg":"HS256","kid":"rsa"}"#, Alg),
        // A key that is in the set, with an algorithm that is not configured.
        ("ES384", r#"{"alg":"ES384","kid":"p384"}"#, Alg),
        ("RS384", r#"{"alg":"RS384","kid":"rsa"}"#, Alg),
        ("PS256", r#"{"alg":"PS256","kid":"rsa"}"#, Alg),
        // Another algorithm of the same key than the header says.
        ("PS256", r#"{"alg":"RS256","kid":"rsa"}"#, Signature),
        ("RS384", r#"{"alg":"RS256","kid":"rsa"}"#, Signature),
        // An algorithm that does not fit the key of that id.
        ("ES256", r#"{"alg":"ES256","kid":"rsa"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"p256"}"#, UnknownKey),
        ("RS256", r#"{"alg":"RS256","kid":"ed"}"#, UnknownKey),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"ed"}"#, Signature),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA"}"#, Signature),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"stranger"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"../../ed"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed' OR 1=1"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ED"}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":""}"#, UnknownKey),
        ("EdDSA", r#"{"alg":"EdDSA","kid":1}"#, Malformed("`kid` is not a string")),
        ("EdDSA", r#"{"alg":"EdDSA","kid":null}"#, Malformed("`kid` is not a string")),
        ("EdDSA", r#"{"alg":"EdDSA","kid":["ed"]}"#, Malformed("`kid` is not a string")),
    ] {
        assert_eq!(outcome(&with_header(algorithm, header)), Err(error), "{header} by {algorithm}");
    }
}

#[test]
fn keys_in_the_header_are_not_looked_at() {
    let stranger = jwk("stranger");
    let header = json!({
        "alg": "EdDSA", "kid": "ed", "jwk": stranger, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/",
    });
    let forged = with_header("EdDSA by a stranger", &header.to_string());
    assert_eq!(outcome(&forged), Err(TokenError::Signature));
    assert_eq!(outcome(&with_header("EdDSA", &header.to_string())), Ok(false));
}

#[test]
fn a_token_without_a_key_id_may_be_of_any_key_that_fits() {
    assert_eq!(outcome(&with_header("RS256", r#"{"alg":"RS256"}"#)), Ok(false));
    // And a key without an id stands for every id; what it did not sign may be a newer key's.
    let mut nameless = jwk("ed");
    nameless.as_object_mut().unwrap().remove("kid");
    let keys = KeySet::from_jwks(&jwks(&[nameless]), &[Algorithm::EdDSA]).unwrap();
    let with_nameless = |token: &str| {
        verify(token, &token_rules(), &keys, NOW).and_then(|verification| is_expired(&verification))
    };
    assert_eq!(with_nameless(&with_header("EdDSA", HEADER)), Ok(false));
    assert_eq!(with_nameless(&with_header("EdDSA by a stranger", HEADER)), Err(TokenError::UnknownKey));
    let no_keys = KeySet::default();
    assert_eq!(
        verify(&with_header("EdDSA", HEADER), &token_rules(), &no_keys, NOW).map(|_| ()),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn an_hmac_secret_set_on_purpose() {
    let keys = KeySet::from_hmac_secret(b"a secret of the operator");
    let rules = TokenRules { algorithms: vec![Algorithm::HS256], ..token_rules() };
    let check =
        |token: &str| verify(token, &rules, &keys, NOW).and_then(|verification| is_expired(&verification));
    let header = r#"{"alg":"HS256"}"#;
    assert_eq!(check(&with_header("HS256 a secret of the operator", header)), Ok(false));
    assert_eq!(check(&with_header("HS256 another secret", header)), Err(TokenError::Signature));
    assert_eq!(check(&with_header("HS256 ", header)), Err(TokenError::Signature));
    assert_eq!(check(&with_header("EdDSA", HEADER)), Err(TokenError::Algorithm));
}

#[test]
fn headers() {
    use TokenError::{CriticalExtension, Malformed, Type};
    const NOT_STRICT: TokenError = Malformed("not a strict JSON object");
    for (header, error) in [
        (r#"{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}"#, CriticalExtension),
        (r#"{"alg":"EdDSA","kid":"ed","crit":[]}"#, CriticalExtension),
        (r#"{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}"#, CriticalExtension),
        (r#"{"alg":"EdDSA","kid":"ed","b64":false}"#, CriticalExtension),
        (r#"{"alg":"EdDSA","kid":"ed","b64":true}"#, CriticalExtension),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"ID"}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"rt+jwt"}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"secevent+jwt"}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":""}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":null}"#, Type),
        (r#"{"alg":"EdDSA","kid":"ed","typ":["JWT"]}"#, Type),
        (r#"{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}"#, NOT_STRICT),
        (r#"{"alg":"EdDSA","kid":"other","\u006bid":"ed"}"#, NOT_STRICT),
        (r#"{"alg":"EdDSA","kid":"ed","x":{"a":1,"a":1}}"#, NOT_STRICT),
        (r#"{"alg":"EdDSA","kid":"ed"} {}"#, NOT_STRICT),
        (r#"["EdDSA"]"#, NOT_STRICT),
        (r#""EdDSA""#, NOT_STRICT),
        ("", NOT_STRICT),
    ] {
        assert_eq!(outcome(&with_header("EdDSA", header)), Err(error), "{header}");
    }
}

#[test]
fn tokens_of_another_kind() {
    for changes in [
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "Logout"}),
        json!({"typ": "Serialized-ID"}),
        json!({"typ": "id"}),
        json!({"token_use": "id"}),
        json!({"typ": "ID", "at_hash": "x"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
    ] {
        assert_eq!(with_claims(&changes), Err(TokenError::Type), "{changes}");
    }
    for changes in [json!({"typ": "Bearer"}), json!({"token_use": "access"})] {
        assert_eq!(with_claims(&changes), Ok(false), "{changes}");
    }
}

#[test]
fn hashes_of_id_tokens_are_permitted_on_purpose_and_nothing_else_is() {
    let permitted = TokenRules { access_token_is_id_token: true, ..token_rules() };
    let with = |changes: &Value, rules: &TokenRules| {
        verify(&mint(&claims(changes)), rules, &key_set(), NOW).map(|_| ())
    };
    for claim in ["at_hash", "c_hash"] {
        for value in [json!("x"), json!(null), json!(1)] {
            // `null` would take the claim away there.
            let rest = claims(&json!({})).to_string();
            let token = mint_raw("EdDSA", HEADER, rest.replacen('{', &format!("{{\"{claim}\":{value},"), 1));
            assert_eq!(outcome(&token), Err(TokenError::IdToken(claim)), "{claim}: {value}");
            assert!(verify(&token, &permitted, &key_set(), NOW).is_ok(), "{claim}: {value}");
        }
        for (other, error) in [
            (json!({"typ": "ID"}), TokenError::Type),
            (json!({"typ": "Refresh"}), TokenError::Type),
            (json!({"token_use": "id"}), TokenError::Type),
            (json!({"events": {}}), TokenError::Type),
            (json!({"aud": "forums", "azp": null}), TokenError::Audience),
            (json!({"azp": "forums"}), TokenError::AuthorizedParty("azp")),
            (json!({"sub": null}), TokenError::Claim("sub")),
        ] {
            let mut changes = other.clone();
            changes[claim] = json!("x");
            assert_eq!(with(&changes, &permitted), Err(error), "{changes}");
        }
    }
    assert_eq!(TokenError::IdToken("at_hash").code().as_str(), "token_type");
    assert!(TokenError::IdToken("at_hash").to_string().contains("`access_token_is_id_token = true`"));
    // The headers' `typ` counts all the same.
    let header = HEADER.replace("JWT", "logout+jwt");
    let token = mint_raw("EdDSA", &header, claims(&json!({"at_hash": "x"})).to_string());
    assert_eq!(verify(&token, &permitted, &key_set(), NOW).map(|_| ()).unwrap_err(), TokenError::Type);
}

#[test]
fn encrypted_and_opaque_tokens_are_told_apart_from_damaged_ones() {
    let header = base64url(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    let good = mint(&claims(&json!({})));
    for (token, error) in [
        (format!("{header}.a2V5.aXY.dGV4dA.dGFn"), TokenError::Encrypted),
        (format!("{header}..aXY.dGV4dA.dGFn"), TokenError::Encrypted),
        (format!("{header}...."), TokenError::Encrypted),
        (format!("{header}.a.b.c"), TokenError::Algorithm),
        (format!("{header}.a.b.c.d.e"), TokenError::Algorithm),
        (format!("{}.a.b.c.d", base64url(HEADER)), TokenError::Signature),
        (String::from("not-a-header.a.b.c.d"), TokenError::Malformed("not base64url")),
        (format!("{good}.a.b"), TokenError::Signature),
        (String::from("2YotnFZFEjr1zCsicMWpAA"), TokenError::Opaque),
        (String::new(), TokenError::Malformed("not three parts")),
        (String::from("ory_at_yq8YiBvYyVz.K9-bvJ2pJw"), TokenError::Opaque),
        (String::from("ya29.a0AfB_byC"), TokenError::Opaque),
        (String::from(".b"), TokenError::Malformed("not three parts")),
    ] {
        let found = outcome(&token).unwrap_err();
        if let TokenError::Malformed(_) = error {
            assert!(matches!(found, TokenError::Malformed(_)), "{token}: {found:?}");
        } else {
            assert_eq!(found, error, "{token}");
        }
    }
    assert_eq!(TokenError::Encrypted.code().as_str(), "token_encrypted");
    assert_eq!(TokenError::Opaque.code().as_str(), "token_malformed");
}

#[test]
fn claims_of_wrong_types() {
    use TokenError::Claim;
    for (name, value, error) in [
        ("exp", "\"1800000300\"", Claim("exp")),
        ("exp", "1e18", Claim("exp")),
        ("exp", "253402300800", Claim("exp")),
        ("exp", "18446744073709551615", Claim("exp")),
        ("exp", "99999999999999999999", Claim("exp")),
        ("exp", "-1", Claim("exp")),
        ("exp", "-0.5", Claim("exp")),
        ("exp", "null", Claim("exp")),
        ("exp", "true", Claim("exp")),
        ("exp", "[1800000300]", Claim("exp")),
        ("iat", "\"1799999940\"", Claim("iat")),
        ("iat", "-1", Claim("iat")),
        ("nbf", "\"1799999940\"", Claim("nbf")),
        ("nbf", "1e300", Claim("nbf")),
        ("iss", r#"["https://id.example.com"]"#, Claim("iss")),
        ("iss", "null", Claim("iss")),
        ("iss", "{}", Claim("iss")),
        ("aud", "1", Claim("aud")),
        ("aud", r#"{"store":true}"#, Claim("aud")),
        ("aud", r#"["store",1]"#, Claim("aud")),
        ("aud", r#"[["store"]]"#, Claim("aud")),
        ("aud", "null", Claim("aud")),
        ("sub", "1", Claim("sub")),
        ("sub", "\"\"", Claim("sub")),
        ("sub", "null", Claim("sub")),
        ("sub", r#"["alice"]"#, Claim("sub")),
        ("azp", "1", Claim("azp")),
        ("azp", r#"["store"]"#, Claim("azp")),
        ("client_id", "{}", Claim("client_id")),
        ("cid", "7", Claim("cid")),
        ("cid", r#"["store"]"#, Claim("cid")),
    ] {
        assert_eq!(with_raw_claim(name, value), Err(error), "{name}: {value}");
    }
    for missing in ["exp", "iss", "sub"] {
        assert_eq!(with_claims(&json!({ missing: null })), Err(Claim(missing)));
    }
    assert_eq!(with_raw_claim("exp", "1800000300.75"), Ok(false));
    assert_eq!(with_raw_claim("exp", "1.8000003e9"), Ok(false));
    assert_eq!(with_claims(&json!({"iat": null})), Ok(false));
}

#[test]
fn payloads_that_two_readers_may_read_differently() {
    const NOT_STRICT: TokenError = TokenError::Malformed("not a strict JSON object");
    let good = claims(&json!({})).to_string();
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let inserted = |text: &str| good.replacen('{', &format!("{{{text},"), 1);
    for payload in [
        inserted(r#""sub":"admin""#),
        inserted(r#""\u0073ub":"admin""#),
        inserted(r#""exp":1"#),
        inserted(r#""realm_access":{"roles":["a"],"roles":["admin"]}"#),
        inserted(r#""a":[{"b":1,"b":2}]"#),
        inserted(&format!(r#""a":{}"#, deep(16))),
        inserted(&format!(r#""a":{}"#, deep(4000))),
        inserted(r#""a":"\ud800""#),
        inserted(r#""a":NaN"#),
        format!("{good}x"),
        format!("[{good}]"),
        String::new(),
    ] {
        let short: String = payload.chars().take(120).collect();
        assert_eq!(outcome(&mint_raw("EdDSA", HEADER, &payload)), Err(NOT_STRICT), "{short}");
    }
    let not_utf8 = [&b"{\"a\":\"\xff\xfe\","[..], &good.as_bytes()[1..]].concat();
    assert_eq!(outcome(&mint_raw("EdDSA", HEADER, not_utf8)), Err(NOT_STRICT));
    assert_eq!(outcome(&mint_raw("EdDSA", b"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", &good)), Err(NOT_STRICT));
    assert_eq!(outcome(&mint_raw("EdDSA", HEADER, inserted(&format!(r#""a":{}"#, deep(15))))), Ok(false));
}

#[test]
fn issuer_audience_and_client() {
    use TokenError::{Audience, AuthorizedParty, Issuer};
    for (changes, expected) in [
        (json!({"iss": format!("{ISSUER}/")}), Err(Issuer)),
        (json!({"iss": "https://ID.example.com"}), Err(Issuer)),
        (json!({"iss": "http://id.example.com"}), Err(Issuer)),
        (json!({"iss": format!(" {ISSUER}")}), Err(Issuer)),
        (json!({"iss": ""}), Err(Issuer)),
        (json!({"aud": "forums", "azp": null}), Err(Audience)),
        (json!({"aud": "Store", "azp": null}), Err(Audience)),
        (json!({"aud": "store2", "azp": null}), Err(Audience)),
        (json!({"aud": "account", "azp": null}), Err(Audience)),
        (json!({"aud": [], "azp": null}), Err(Audience)),
        (json!({"aud": null, "azp": null}), Err(Audience)),
        (json!({"azp": "forums"}), Err(AuthorizedParty("azp"))),
        (json!({"azp": ""}), Err(AuthorizedParty("azp"))),
        (json!({"azp": "STORE"}), Err(AuthorizedParty("azp"))),
        (json!({"client_id": "forums"}), Err(AuthorizedParty("client_id"))),
        (json!({"cid": "forums"}), Err(AuthorizedParty("cid"))),
        (json!({"azp": null, "cid": "forums"}), Err(AuthorizedParty("cid"))),
        (json!({"azp": null, "aud": "api", "cid": "store"}), Ok(false)),
        (json!({"appid": "forums", "ver": "1.0", "tid": "t"}), Err(AuthorizedParty("appid"))),
        (json!({"azp": null, "aud": "api", "appid": "store", "ver": "1.0", "tid": "t"}), Ok(false)),
        (json!({"appid": "forums"}), Ok(false)),
        (json!({"azp": null, "client_id": "forums"}), Err(AuthorizedParty("client_id"))),
        (json!({"azp": null, "aud": ["store", "forums"]}), Ok(false)),
        (json!({"azp": null, "aud": "store"}), Ok(false)),
        // A stock Keycloak.
        (json!({"aud": "account"}), Ok(false)),
        (json!({"aud": null}), Ok(false)),
        (json!({"aud": "account", "azp": null, "client_id": "store"}), Ok(false)),
    ] {
        assert_eq!(with_claims(&changes), expected, "{changes}");
    }
}

#[test]
fn a_configured_audience_counts_alone() {
    let rules = TokenRules {
        audience: vec!["api".into(), "web".into()],
        authorized_parties: vec!["store".into(), "mobile".into()],
        ..token_rules()
    };
    for (changes, expected) in [
        (json!({"aud": "api"}), Ok(())),
        (json!({"aud": ["x", "web"], "azp": "mobile"}), Ok(())),
        (json!({"aud": "web", "azp": null}), Ok(())),
        (json!({"aud": "store"}), Err(TokenError::Audience)),
        (json!({"aud": null}), Err(TokenError::Audience)),
        (json!({"aud": "api", "azp": "forums"}), Err(TokenError::AuthorizedParty("azp"))),
        (
            json!({"aud": "api", "azp": "store", "client_id": "forums"}),
            Err(TokenError::AuthorizedParty("client_id")),
        ),
    ] {
        let result = verify(&mint(&claims(&changes)), &rules, &key_set(), NOW).map(|_| ());
        assert_eq!(result, expected, "{changes}");
    }
}

#[test]
fn times_to_the_second() {
    use TokenError::NotYetValid;
    for (changes, expected) in [
        (json!({"exp": NOW + 1}), Ok(false)),
        (json!({"exp": NOW}), Ok(false)),
        (json!({"exp": NOW - 4}), Ok(false)),
        (json!({"exp": NOW - 5}), Ok(true)),
        (json!({"exp": 0}), Ok(true)),
        (json!({"exp": 253_402_300_799_u64}), Ok(false)),
        (json!({"iat": NOW + 30}), Ok(false)),
        (json!({"iat": NOW + 31}), Err(NotYetValid("iat"))),
        (json!({"iat": NOW + 31, "nbf": NOW + 6}), Err(NotYetValid("iat"))),
        (json!({"iat": NOW + 31, "exp": NOW - 10}), Err(NotYetValid("iat"))),
        (json!({"nbf": NOW + 5}), Ok(false)),
        (json!({"nbf": NOW + 6}), Err(NotYetValid("nbf"))),
        (json!({"nbf": NOW + 6, "exp": NOW - 10}), Err(NotYetValid("nbf"))),
        // Not of this time, and refused for the rest all the same.
        (json!({"exp": NOW - 10, "azp": "forums"}), Err(TokenError::AuthorizedParty("azp"))),
        (json!({"iat": NOW + 31, "azp": "forums"}), Err(TokenError::AuthorizedParty("azp"))),
        (json!({"nbf": NOW + 6, "aud": "forums", "azp": null}), Err(TokenError::Audience)),
    ] {
        assert_eq!(with_claims(&changes), expected, "{changes}");
    }
    let no_leeway = TokenRules { leeway: 0, ..token_rules() };
    for (now, expired) in [(NOW + 299, false), (NOW + 300, true), (u64::MAX, true)] {
        let verification = verify(&mint(&claims(&json!({}))), &no_leeway, &key_set(), now).unwrap();
        assert_eq!(is_expired(&verification), Ok(expired), "{now}");
    }
    // `leeway`, where that is more.
    for (leeway, ahead, expected) in
        [(0, 30, Ok(false)), (0, 31, Err(NotYetValid("iat"))), (60, 60, Ok(false))]
    {
        let rules = TokenRules { leeway, ..token_rules() };
        let token = mint(&claims(&json!({"iat": NOW + ahead})));
        let verification = verify(&token, &rules, &key_set(), NOW).unwrap();
        assert_eq!(is_expired(&verification), expected, "{leeway} {ahead}");
    }
}

#[test]
fn a_token_whose_time_has_not_come_is_told_from_a_forged_one() {
    for (changes, claim) in [(json!({"iat": NOW + 31}), "iat"), (json!({"nbf": NOW + 6}), "nbf")] {
        let verification = verify(&mint(&claims(&changes)), &token_rules(), &key_set(), NOW).unwrap();
        assert_eq!(verification.validity, Validity::NotYetValid(claim));
        assert_eq!(verification.claims.subject(), "alice");
        let forged = mint_raw("EdDSA by a stranger", HEADER, claims(&changes).to_string());
        let refused = verify(&forged, &token_rules(), &key_set(), NOW).map(|_| ());
        assert_eq!(refused, Err(TokenError::Signature));
    }
}

#[test]
fn signatures_and_spellings() {
    use TokenError::{Malformed, Signature};
    const NOT_BASE64: TokenError = Malformed("not base64url");
    let good = mint(&claims(&json!({})));
    let other = mint(&claims(&json!({"sub": "admin"})));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let other_payload = other.split('.').nth(1).unwrap();
    let other_signature = other.split('.').nth(2).unwrap();
    // 64 bytes leave 4 unused bits in the last of 86 characters.
    let last = signature.chars().last().unwrap();
    let sloppy = match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    };
    for (token, error) in [
        (format!("{header}.{other_payload}.{signature}"), Signature),
        (format!("{header}.{payload}.{other_signature}"), Signature),
        (format!("{header}.{payload}."), Signature),
        (format!("{header}.{payload}.{}", &signature[..84]), Signature),
        (format!("{header}.{payload}.{signature}AA"), Signature),
        (format!("{header}.{payload}.{signature}=="), Signature),
        (format!("{header}.{payload}.{}{sloppy}", &signature[..85]), Signature),
        (format!("{good}\n"), Signature),
        (format!("{good} "), Signature),
        (format!("{header}.{payload}.{}", "A".repeat(86)), Signature),
        (format!("{good}.{signature}"), Signature),
        (format!("{good}."), Signature),
        (format!(" {good}"), NOT_BASE64),
        (format!("{header}=.{payload}.{signature}"), NOT_BASE64),
        (format!("{}+.{payload}.{signature}", &header[..header.len() - 1]), NOT_BASE64),
        (format!("{header}.{payload}"), Malformed("not three parts")),
        (format!(".{payload}.{signature}"), Malformed("not a strict JSON object")),
        (format!("{payload}.{signature}"), Malformed("not three parts")),
        (String::from(payload), TokenError::Opaque),
        (String::new(), Malformed("not three parts")),
        (String::from("."), Malformed("not three parts")),
        (String::from(".."), Malformed("not a strict JSON object")),
        (String::from("Bearer x.y.z"), NOT_BASE64),
    ] {
        assert_eq!(outcome(&token), Err(error), "{token}");
    }
    // A payload that is no base64url, with a good signature over it.
    let message = format!("{header}.{payload}=");
    let token = format!("{message}.{}", base64url(sign("EdDSA", message.as_bytes())));
    assert_eq!(outcome(&token), Err(NOT_BASE64));
    let message = format!("{header}.{payload}.x");
    let token = format!("{message}.{}", base64url(sign("EdDSA", message.as_bytes())));
    assert_eq!(outcome(&token), Err(NOT_BASE64));
}

#[test]
fn an_ecdsa_signature_has_one_form() {
    let header = r#"{"alg":"ES256","kid":"p256"}"#;
    let token = with_header("ES256", header);
    let (message, _) = token.rsplit_once('.').unwrap();
    for signature in [vec![0; 64], vec![0xff; 64], vec![0; 63], vec![0x30, 6, 2, 1, 1, 2, 1, 1]] {
        assert_eq!(outcome(&format!("{message}.{}", base64url(signature))), Err(TokenError::Signature));
    }
}

#[test]
fn the_two_forms_of_an_ecdsa_signature_name_one_token() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let marks = |token: &str| *verify(token, &token_rules(), &key_set(), NOW).unwrap().claims.marks();
    let token = with_header("ES256", r#"{"alg":"ES256","kid":"p256"}"#);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (difference, one) = order.overflowing_sub(*byte);
        let (difference, other) = difference.overflowing_sub(borrow);
        (*byte, borrow) = (difference, u8::from(one || other));
    }
    let other = format!("{message}.{}", base64url(signature));
    assert_ne!(other, token);
    assert_eq!(marks(&other), marks(&token));
    assert_ne!(marks(&mint(&claims(&json!({"iat": NOW})))).token, marks(&mint(&claims(&json!({})))).token);
}

#[test]
fn an_empty_id_names_nothing() {
    let marks = |changes: Value| {
        let token = mint(&claims(&changes));
        *verify(&token, &token_rules(), &key_set(), NOW).unwrap().claims.marks()
    };
    let empty = || json!({"sid": "", "jti": ""});
    assert_eq!(marks(empty()).session, None);
    assert_ne!(marks(empty()).token, marks(json!({"sid": "", "jti": "", "sub": "bob"})).token);
}

#[test]
fn the_length_is_bounded_before_anything_is_read() {
    let short = mint(&claims(&json!({"x": ""}))).len();
    let filled = |length: usize| mint(&claims(&json!({"x": "x".repeat((length - short) * 3 / 4)})));
    let just = filled(MAX_TOKEN_LENGTH);
    assert!(just.len() <= MAX_TOKEN_LENGTH && just.len() > MAX_TOKEN_LENGTH - 8);
    assert_eq!(outcome(&just), Ok(false));
    assert_eq!(outcome(&filled(MAX_TOKEN_LENGTH + 40)), Err(TokenError::TooLong));
    assert_eq!(outcome(&"x".repeat(MAX_TOKEN_LENGTH + 1)), Err(TokenError::TooLong));
    assert_eq!(outcome(&"x".repeat(MAX_TOKEN_LENGTH)), Err(TokenError::Opaque));
}

proptest::proptest! {
    /// Whatever is done to a good token: it is refused, or it is that token.
    #[test]
    fn no_mutation_passes(at in 0_usize..400, byte in 0_u8..128, kind in 0_u8..3) {
        let good = mint(&claims(&json!({})));
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        let mutated = String::from_utf8(bytes).unwrap();
        proptest::prop_assert!(mutated == good || outcome(&mutated).is_err());
    }

    #[test]
    fn never_panics(text in "\\PC{0,60}(\\.\\PC{0,60}){0,3}") {
        proptest::prop_assert!(outcome(&text).is_err());
    }
}
